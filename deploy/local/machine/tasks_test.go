package machine_test

import (
	"fmt"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// purgeChecks purges the queue of checks as an operator would, with Google's client.
func (s *system) purgeChecks() {
	s.t.Helper()
	client, err := cloudtasks.NewClient(s.t.Context(), option.WithEndpoint(s.m.Tasks.Addr()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	cfg := s.m.Config
	name := fmt.Sprintf("projects/%s/locations/%s/queues/%s", cfg.Project, cfg.Queue.Location, cfg.Queue.Check)
	// A purge takes the pending tasks, not the one that is just being delivered: repeat it until none is left.
	for range 100 {
		if _, err := client.PurgeQueue(s.t.Context(), &cloudtaskspb.PurgeQueueRequest{Name: name}); err != nil {
			s.t.Fatal(err)
		}
		if s.m.Tasks.Counts()[name].Pending == 0 {
			return
		}
	}
	s.t.Fatal("the queue does not empty")
}
