package taskserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
)

func TestPendingTasksHaveNoGoroutines(t *testing.T) {
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	mustCreate(t, client, later("first"))
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 125 {
				id := "t" + strconv.Itoa(w) + "-" + strconv.Itoa(i)
				if _, err := client.CreateTask(t.Context(), later(id)); err != nil {
					t.Errorf("CreateTask: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+10; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines with 1,001 pending tasks, want about as many as with one: %d",
				runtime.NumGoroutine(), before)
		}
	}
}

func TestNamesAreForgotten(t *testing.T) {
	now := newClock().Now()
	n := names{}
	for i := range 1000 {
		n.add(hashName(strconv.Itoa(i)), now.Add(time.Duration(i)*time.Minute))
	}
	at := now.Add(500*time.Minute + time.Second)
	for i := range 1000 {
		if got, want := n.has(hashName(strconv.Itoa(i)), at), i > 500; got != want {
			t.Fatalf("name %d is taken: %t, want %t", i, got, want)
		}
	}
	n.forget(at)
	if got := len(n); got != 9 { // the hours from the ninth to the seventeenth
		t.Errorf("%d hours are kept, want 9", got)
	}
	n.forget(now.Add(48 * time.Hour))
	if got := len(n); got != 0 {
		t.Errorf("%d hours are kept after all names became free, want 0", got)
	}
}

// BenchmarkTasks measures tasks a second, from the creation by Google's client to the recorded
// outcome.
func BenchmarkTasks(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir(), Queues: []*cloudtaskspb.Queue{fastQueue("q")}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	client, x := dial(b, s.Addr()), &target{url: server.URL}
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.CreateTask(context.Background(), x.task("")); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for s.counts().Succeeded < int64(b.N) && !b.Failed() {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
