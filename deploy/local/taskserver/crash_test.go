package taskserver

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
)

// After a crash, a task whose attempt was interrupted is delivered again with a higher retry count.
// Other tasks are still pending, and names stay taken.
func TestStateSurvivesACrash(t *testing.T) {
	now := newClock()
	dir := t.TempDir()
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-CloudTasks-TaskName") != "running" {
			return
		}
		switch r.Header.Get("X-CloudTasks-TaskRetryCount") {
		case "0":
			w.WriteHeader(http.StatusConflict)
		case "1":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	first := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client := dial(t, first.Addr())
	mustCreate(t, client, x.task("executed"))
	x.next(t)
	eventually(t, first, "executed", func(c Counts) bool { return c.Succeeded == 1 })
	mustCreate(t, client, x.taskAt("deleted", now.Now().Add(time.Hour)))
	mustDelete(t, client, "deleted")
	mustCreate(t, client, x.taskAt("pending", now.Now().Add(time.Hour)))
	mustCreate(t, client, x.task("running"))
	x.next(t).want(t, "running", "0")
	eventually(t, first, "failed once", func(c Counts) bool { return c.Failed == 1 })
	now.advance(first, time.Second)
	x.next(t).want(t, "running", "1") // the target does not answer this one before the crash
	mustPause(t, client, "q")
	first.abandon(t)
	close(release)

	second := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client = dial(t, second.Addr())
	if got := second.counts(); got.Pending != 2 || got.Attempts != 0 {
		t.Fatalf("after the restart the counts are %+v, want 2 pending tasks in the paused queue", got)
	}
	mustResume(t, client, "q")
	d := x.next(t)
	d.want(t, "running", "2")
	d.wantHeaders(t, map[string]string{
		"X-CloudTasks-TaskExecutionCount":   "1",
		"X-CloudTasks-TaskPreviousResponse": "409",
		"X-CloudTasks-TaskRetryReason":      "Unavailable",
	})
	for _, id := range []string{"executed", "deleted", "pending"} {
		if _, err := client.CreateTask(t.Context(), x.task(id)); status.Code(err) != codes.AlreadyExists {
			t.Errorf("after the restart CreateTask of %s returned %v, want AlreadyExists", id, err)
		}
	}
	now.advance(second, time.Hour)
	d = x.next(t)
	d.want(t, "pending", "0")
	if d.body != "payload" {
		t.Errorf("delivered the body %q, want payload", d.body)
	}
}

// The outcome of an attempt survives a crash: the response, and the time of the next attempt.
func TestOutcomeOfAnAttemptSurvivesACrash(t *testing.T) {
	now := newClock()
	dir := t.TempDir()
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	first := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client := dial(t, first.Addr())
	task := mustCreate(t, client, x.task("t"))
	x.next(t)
	eventually(t, first, "failed", func(c Counts) bool { return c.Failed == 1 })
	request := &cloudtaskspb.GetTaskRequest{Name: task.GetName(), ResponseView: cloudtaskspb.Task_FULL}
	before, err := client.GetTask(t.Context(), request) // ensures that the outcome is written
	if err != nil {
		t.Fatal(err)
	}
	first.abandon(t)

	second := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client = dial(t, second.Addr())
	after, err := client.GetTask(t.Context(), request)
	if diff := cmp.Diff(before, after, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("GetTask after the restart returned %v (-before +after):\n%s", err, diff)
	}
	if after.GetResponseCount() != 1 || after.GetScheduleTime().AsTime().Sub(now.Now()) != time.Minute {
		t.Errorf("the task is %v, want one response and the next attempt in a minute", after)
	}
}

func TestPauseSurvivesACrash(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{Dir: dir}, nil)
	mustPause(t, dial(t, first.Addr()), "q")
	first.abandon(t)
	second := start(t, Options{Dir: dir}, nil)
	q, err := dial(t, second.Addr()).GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: name("q")})
	if err != nil || q.GetState() != cloudtaskspb.Queue_PAUSED {
		t.Errorf("GetQueue returned %v, %v; want a paused queue", q, err)
	}
}

// The files of a running server are complete: a server that is opened on a copy of them has every
// task that was created. A crash would leave the same files.
func TestFilesOfARunningServerAreComplete(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	first := start(t, Options{Dir: dir}, nil)
	client := dial(t, first.Addr())
	for i := range 200 {
		mustCreate(t, client, later(fmt.Sprint("t", i)))
	}
	copyFile(t, filepath.Join(dir, "tasks.db"), elsewhere)
	copyFile(t, filepath.Join(dir, "tasks.db-wal"), elsewhere)
	second := start(t, Options{Dir: elsewhere}, nil)
	if got := second.counts().Pending; got != 200 {
		t.Errorf("the copy has %d tasks, want 200", got)
	}
}

// TestNoTaskIsLostByKill9 kills a real process with SIGKILL while it accepts and delivers tasks.
// Every accepted task must be delivered. A second delivery must have a higher retry count.
func TestNoTaskIsLostByKill9(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	delivered := map[string]int{} // from the task to its highest retry count
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var n int
		_, _ = fmt.Sscan(r.Header.Get("X-CloudTasks-TaskRetryCount"), &n)
		id := r.Header.Get("X-CloudTasks-TaskName")
		if before, again := delivered[id]; again && n <= before {
			t.Errorf("%s was delivered with retry count %d after %d, want a higher one", id, n, before)
		}
		delivered[id] = n
	})
	accepted := map[string]bool{}
	for round := range 3 {
		child, addr := spawn(t, dir)
		client := dial(t, addr)
		const each = 300
		killed := make(chan struct{})
		for i := range each {
			id := fmt.Sprintf("r%d-%d", round, i)
			if i == each/2 {
				go func() {
					defer close(killed)
					_ = child.Process.Kill()
					_ = child.Wait()
				}()
			}
			_, err := client.CreateTask(t.Context(), x.task(id))
			if err == nil {
				accepted[id] = true
			} else if i < each/2 {
				t.Fatalf("CreateTask: %v", err)
			} else {
				break
			}
		}
		<-killed
	}
	last := start(t, Options{Dir: dir}, nil)
	eventually(t, last, "drained", func(c Counts) bool { return c.Pending == 0 })
	mu.Lock()
	defer mu.Unlock()
	for id := range accepted {
		if _, ok := delivered[id]; !ok {
			t.Errorf("%s was accepted, but never delivered", id)
		}
	}
	if len(accepted) < 450 {
		t.Errorf("%d tasks were accepted, want at least 450", len(accepted))
	}
}

// spawn starts this program as a server on dir, and returns its process and address.
func spawn(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(addr, "error") {
		t.Fatalf("the child process printed %q (%v), want its address", addr, err)
	}
	return child, strings.TrimSpace(addr)
}
