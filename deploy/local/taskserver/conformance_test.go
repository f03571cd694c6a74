package taskserver_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/casewatch/casewatch/deploy/local/taskserver"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/queue/cloudtasks"
	"github.com/casewatch/casewatch/shared/queue/queuetest"
)

// TestQueueConformance runs the queue's conformance suite on the production adapter, with Google's
// client and this server.
func TestQueueConformance(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run("shards="+strconv.Itoa(shards), func(t *testing.T) {
			queuetest.Run(t, func(t *testing.T) queuetest.Harness { return harness(t, shards) })
		})
	}
}

func harness(t *testing.T, shards int) queuetest.Harness {
	deliveries := make(chan queuetest.Delivery, 1000)
	var failures atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received := time.Now()
		body, _ := io.ReadAll(r.Body)
		retries, _ := strconv.Atoi(r.Header.Get("X-CloudTasks-TaskRetryCount"))
		if failures.Add(-1) >= 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		deliveries <- queuetest.Delivery{
			Kind:        queue.Kind(r.URL.Path[1:]),
			Name:        r.Header.Get("X-CloudTasks-TaskName"),
			RetryCount:  retries,
			ContentType: r.Header.Get("Content-Type"),
			TraceParent: r.Header.Get("Traceparent"),
			Body:        body,
			Received:    received,
		}
	}))
	t.Cleanup(target.Close)

	cfg := cloudtasks.Config{
		Project:        "demo-p",
		Location:       "us-central1",
		CheckQueue:     "checks",
		DispatchQueue:  "dispatches",
		Shards:         shards,
		CheckURL:       target.URL + "/check",
		DispatchURL:    target.URL + "/dispatch",
		ServiceAccount: "tasks@demo-p.iam.gserviceaccount.com",
	}
	var queues []*cloudtaskspb.Queue
	for _, name := range cfg.Queues() {
		queues = append(queues, &cloudtaskspb.Queue{Name: name, RetryConfig: &cloudtaskspb.RetryConfig{
			MinBackoff: durationpb.New(time.Millisecond),
			MaxBackoff: durationpb.New(5 * time.Millisecond),
		}})
	}
	server, err := taskserver.Open(taskserver.Options{
		Dir:    t.TempDir(),
		Queues: queues,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	cfg.EmulatorHost = server.Addr()
	adapter, err := cloudtasks.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = adapter.Close() })
	return queuetest.Harness{
		Queue:      adapter,
		Deliveries: deliveries,
		Fail:       func(n int) { failures.Store(int64(n)) },
	}
}
