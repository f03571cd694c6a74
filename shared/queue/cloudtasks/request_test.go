package cloudtasks

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/queue"
)

func sampleConfig() Config {
	return Config{
		Project: "demo-p", Location: "us-central1", CheckQueue: "checks", DispatchQueue: "dispatches", Shards: 1,
		CheckURL:    "https://check-123.us-central1.run.app/check",
		DispatchURL: "https://dispatch-123.us-central1.run.app",
	}.withDefaults()
}

func TestCreateRequest(t *testing.T) {
	created := time.Date(2026, 3, 4, 5, 6, 7, 891011000, time.UTC)
	at := time.Date(2026, 3, 4, 5, 6, 9, 5000, time.UTC)
	check := queue.Task{Kind: queue.Check, CaseID: "case-1", Run: 1, Seq: 1, CreatedAt: created, At: at}
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

	tests := []struct {
		name   string
		config func(*Config)
		task   func(*queue.Task)
		want   *cloudtaskspb.CreateTaskRequest
	}{
		{
			name: "check",
			want: &cloudtaskspb.CreateTaskRequest{
				Parent: "projects/demo-p/locations/us-central1/queues/checks",
				Task: &cloudtaskspb.Task{
					Name: "projects/demo-p/locations/us-central1/queues/checks/tasks/" + check.Name(),
					MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
						Url:        "https://check-123.us-central1.run.app/check",
						HttpMethod: cloudtaskspb.HttpMethod_POST,
						Headers:    map[string]string{"Content-Type": "application/json"},
						Body:       []byte(`{"case_id":"case-1","run":1,"seq":1}`),
					}},
					ScheduleTime:     &timestamppb.Timestamp{Seconds: at.Unix(), Nanos: 5000},
					DispatchDeadline: &durationpb.Duration{Seconds: 60},
				},
			},
		},
		{
			name: "dispatch with everything",
			config: func(c *Config) {
				c.Shards, c.DispatchDeadline = 4, 20*time.Minute
				c.ServiceAccount = "tasks@demo-p.iam.gserviceaccount.com"
				c.DispatchURL = "https://dispatch-123.us-central1.run.app:8443/dispatch?x=1"
			},
			task: func(x *queue.Task) {
				x.Kind, x.Run, x.Seq, x.TraceParent, x.At = queue.Dispatch, 2, 3, trace, time.Time{}
			},
			want: &cloudtaskspb.CreateTaskRequest{
				Parent: "projects/demo-p/locations/us-central1/queues/dispatches",
				Task: &cloudtaskspb.Task{
					Name: "projects/demo-p/locations/us-central1/queues/dispatches/tasks/" +
						queue.Task{Kind: queue.Dispatch, CaseID: "case-1", Run: 2, Seq: 3, CreatedAt: created}.Name(),
					MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
						Url:        "https://dispatch-123.us-central1.run.app:8443/dispatch?x=1",
						HttpMethod: cloudtaskspb.HttpMethod_POST,
						Headers:    map[string]string{"Content-Type": "application/json", "traceparent": trace},
						Body:       []byte(`{"case_id":"case-1","run":2,"seq":3}`),
						AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
							ServiceAccountEmail: "tasks@demo-p.iam.gserviceaccount.com",
							Audience:            "https://dispatch-123.us-central1.run.app:8443",
						}},
					}},
					DispatchDeadline: &durationpb.Duration{Seconds: 1200},
				},
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg, task := sampleConfig(), check
			if test.config != nil {
				test.config(&cfg)
			}
			if test.task != nil {
				test.task(&task)
			}
			if diff := cmp.Diff(test.want, createRequest(cfg, task), protocmp.Transform()); diff != "" {
				t.Errorf("createRequest (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(createRequest(cfg, task), createRequest(cfg, task), protocmp.Transform()); diff != "" {
				t.Errorf("two requests for one task differ:\n%s", diff)
			}
		})
	}
}

func TestDispatchDeadlineIsTheLongestAllowed(t *testing.T) {
	got := createRequest(sampleConfig(), queue.Task{Kind: queue.Dispatch}).GetTask().GetDispatchDeadline().AsDuration()
	if got != 30*time.Minute {
		t.Errorf("dispatch_deadline = %v, want 30m", got)
	}
}

// A stop calls the function dispatch, and waits in the queue of checks.
func TestStopRequest(t *testing.T) {
	got := createRequest(sampleConfig(), queue.Task{Kind: queue.Stop, CaseID: "c", Run: 2, Seq: 3, Pipeline: "render"})
	http := got.GetTask().GetHttpRequest()
	if got.GetParent() != "projects/demo-p/locations/us-central1/queues/checks" ||
		http.GetUrl() != "https://dispatch-123.us-central1.run.app" ||
		string(http.GetBody()) != `{"kind":"stop","case_id":"c","run":2,"seq":3}` ||
		got.GetTask().GetDispatchDeadline().AsDuration() != time.Minute {
		t.Errorf("%v", got)
	}
}

func TestEachPipelineHasAQueueOfDispatches(t *testing.T) {
	cfg := sampleConfig()
	cfg.Pipelines = []string{"documents", "render"}
	for pipeline, want := range map[string]string{
		"": "dispatches", "documents": "dispatches", "render": "dispatches-render", "gone": "dispatches-gone",
	} {
		task := queue.Task{Kind: queue.Dispatch, CaseID: "c", Run: 1, Seq: 1, Pipeline: pipeline}
		got := createRequest(cfg, task).GetParent()
		if got != "projects/demo-p/locations/us-central1/queues/"+want {
			t.Errorf("pipeline %q: %s, want %s", pipeline, got, want)
		}
		if name := queue.Stop.Function(); name != "dispatch" {
			t.Error(name)
		}
	}
	got := cfg.Queues()
	if len(got) != 3 || got[2] != "projects/demo-p/locations/us-central1/queues/dispatches-render" {
		t.Errorf("%v", got)
	}
}

func TestShards(t *testing.T) {
	cfg := sampleConfig()
	cfg.Shards = 3
	want := []string{
		"projects/demo-p/locations/us-central1/queues/checks-0",
		"projects/demo-p/locations/us-central1/queues/checks-1",
		"projects/demo-p/locations/us-central1/queues/checks-2",
		"projects/demo-p/locations/us-central1/queues/dispatches",
	}
	if diff := cmp.Diff(want, cfg.Queues()); diff != "" {
		t.Errorf("Queues (-want +got):\n%s", diff)
	}
	used := map[string]bool{}
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		check := queue.Task{Kind: queue.Check, CaseID: id}
		if got, want := createRequest(cfg, check).GetParent(), want[queue.Shard(id, 3)]; got != want {
			t.Errorf("checks of %s are in %s, want %s", id, got, want)
		}
		used[cfg.queueOf(check)] = true
		if got := cfg.queueOf(queue.Task{Kind: queue.Dispatch, CaseID: id}); got != want[3] {
			t.Errorf("the dispatch of %s is in %s, want %s", id, got, want[3])
		}
	}
	if len(used) != 3 {
		t.Errorf("%d shards are used, want 3", len(used))
	}
}

func TestNewListsEveryProblem(t *testing.T) {
	_, err := New(t.Context(), Config{
		CheckURL: "localhost:80", DispatchURL: "/x", CheckDeadline: time.Second, DispatchDeadline: time.Hour,
	})
	if err == nil {
		t.Fatal("New accepted an invalid configuration")
	}
	for _, problem := range []string{
		"Project is missing", "Location is missing", "CheckQueue is missing", "DispatchQueue is missing", "Shards is 0",
		"CheckURL has", "DispatchURL has", "CheckDeadline is 1s", "DispatchDeadline is 1h0m0s",
	} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("got error %v, want it to contain %q", err, problem)
		}
	}
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}
