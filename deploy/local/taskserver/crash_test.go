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

// A task that was being attempted when the process died is delivered again, and says so; what was pending is still pending; names stay taken.
func TestStateSurvivesTheDeathOfTheProcess(t *testing.T) {
	now := newClock()
	dir := t.TempDir()
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-CloudTasks-TaskName") == "running" && r.Header.Get("X-CloudTasks-TaskRetryCount") == "1" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		if r.Header.Get("X-CloudTasks-TaskRetryCount") == "0" && r.Header.Get("X-CloudTasks-TaskName") == "running" {
			w.WriteHeader(http.StatusConflict)
		}
	})
	first := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client := dial(t, first.Addr())
	mustCreate(t, client, x.task("executed"))
	x.next(t)
	eventually(t, first, "executed", func(c Counts) bool { return c.Succeeded == 1 })
	mustCreate(t, client, x.taskAt("deleted", now.Now().Add(time.Hour)))
	if err := client.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: name("q") + "/tasks/deleted"}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, client, x.taskAt("pending", now.Now().Add(time.Hour)))
	mustCreate(t, client, x.task("running"))
	if g := x.next(t); g.task() != "running" || g.retries() != "0" {
		t.Fatalf("delivered %s, retry %s", g.task(), g.retries())
	}
	eventually(t, first, "failed once", func(c Counts) bool { return c.Failed == 1 })
	now.advance(first, time.Second)
	if g := x.next(t); g.retries() != "1" { // and hangs
		t.Fatalf("delivered retry %s", g.retries())
	}
	if _, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	first.abandon(t)
	close(release)

	second := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client = dial(t, second.Addr())
	if got := second.Counts()[name("q")]; got.Pending != 2 || got.Attempts != 0 {
		t.Fatalf("the paused queue came back as %+v", got)
	}
	if _, err := client.ResumeQueue(t.Context(), &cloudtaskspb.ResumeQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	g := x.next(t)
	if g.task() != "running" || g.retries() != "2" || g.header.Get("X-CloudTasks-TaskExecutionCount") != "1" ||
		g.header.Get("X-CloudTasks-TaskPreviousResponse") != "409" || g.header.Get("X-CloudTasks-TaskRetryReason") != "Unavailable" {
		t.Errorf("after the restart %s was delivered with %v", g.task(), g.header)
	}
	for _, id := range []string{"executed", "deleted", "pending"} {
		if _, err := client.CreateTask(t.Context(), x.task(id)); status.Code(err) != codes.AlreadyExists {
			t.Errorf("creating %s after the restart: %v, want AlreadyExists", id, err)
		}
	}
	now.advance(second, time.Hour)
	if g := x.next(t); g.task() != "pending" || g.retries() != "0" || g.body != "payload" {
		t.Errorf("delivered %s, retry %s, with %q", g.task(), g.retries(), g.body)
	}
}

// What an attempt came to is kept as well: when the next is due, and what was answered.
func TestOutcomeSurvives(t *testing.T) {
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
	before, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: task.GetName(), ResponseView: cloudtaskspb.Task_FULL})
	if err != nil { // and what it tells is written
		t.Fatal(err)
	}
	first.abandon(t)

	second := start(t, Options{Dir: dir, Now: now.Now}, nil)
	client = dial(t, second.Addr())
	after, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: task.GetName(), ResponseView: cloudtaskspb.Task_FULL})
	if diff := cmp.Diff(before, after, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("GetTask after the restart: %v (-before +after):\n%s", err, diff)
	}
	if after.GetResponseCount() != 1 || after.GetScheduleTime().AsTime().Sub(now.Now()) != time.Minute {
		t.Errorf("the task is %v", after)
	}
}

func TestPauseSurvives(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{Dir: dir}, nil)
	if _, err := dial(t, first.Addr()).PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	first.abandon(t)
	second := start(t, Options{Dir: dir}, nil)
	q, err := dial(t, second.Addr()).GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: name("q")})
	if err != nil || q.GetState() != cloudtaskspb.Queue_PAUSED {
		t.Errorf("GetQueue = %v, %v, want it paused", q, err)
	}
}

// The files as they are while the server runs are those of a crash: a server on a copy of them has everything that was answered.
func TestCopyOfTheFilesOfARunningServer(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	first := start(t, Options{Dir: dir}, nil)
	client, x := dial(t, first.Addr()), newTarget(t, nil)
	for i := range 200 {
		mustCreate(t, client, x.taskAt(fmt.Sprint("t", i), time.Now().Add(time.Hour)))
	}
	copyFile(t, filepath.Join(dir, "tasks.db"), elsewhere)
	copyFile(t, filepath.Join(dir, "tasks.db-wal"), elsewhere)
	second := start(t, Options{Dir: elsewhere}, nil)
	if got := second.Counts()[name("q")].Pending; got != 200 {
		t.Errorf("the copy has %d tasks, want 200", got)
	}
}

// A real process, killed with SIGKILL while it accepts and delivers: no task that was accepted is lost, none that was executed and noted comes again.
func TestKill9(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	delivered := map[string]int{} // the highest retry count
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var n int
		_, _ = fmt.Sscan(r.Header.Get("X-CloudTasks-TaskRetryCount"), &n)
		id := r.Header.Get("X-CloudTasks-TaskName")
		if before, again := delivered[id]; again && n <= before {
			t.Errorf("%s was delivered again with retry count %d after %d", id, n, before)
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
			t.Errorf("%s was accepted and never delivered", id)
		}
	}
	if len(accepted) < 450 {
		t.Errorf("only %d tasks were accepted", len(accepted))
	}
}

// spawn starts this program as a server on dir.
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
		t.Fatalf("the child says %q, %v", addr, err)
	}
	return child, strings.TrimSpace(addr)
}
