package machine_test

import (
	"fmt"
	"time"

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
	// A purge does not stop a check that is just being made, which then schedules the next: repeat it until none is left.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := client.PurgeQueue(s.t.Context(), &cloudtaskspb.PurgeQueueRequest{Name: name}); err != nil {
			s.t.Fatal(err)
		}
		if n := s.m.Tasks.Counts()[name]; n.Pending == 0 && n.Running == 0 {
			return
		}
	}
	s.t.Fatal("the queue does not empty")
}
