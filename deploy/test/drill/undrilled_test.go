package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/api/iterator"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/ctxtime"
)

// What did not happen is not said to have been kept.
func TestFaultThatMeetsAnEndedCaseIsNotDrilled(t *testing.T) {
	t.Parallel()
	undrilled := []string{
		"lost-event", "repeated-event", "disordered-events", "contradicting-events", "kill-at-check", "freeze",
		"stale-tasks", "supersede", "cancel-twice",
	}
	where := newTarget(t, at("/start", func(m *machine.Machine, h http.Handler) http.Handler {
		// each case has ended before its start is answered
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			var s started
			if json.Unmarshal(answer.Body.Bytes(), &s) == nil && s.CaseID != "" {
				post(strings.TrimSuffix(m.Config.URLs.Start, "/start")+"/publish", fmt.Sprintf(
					`{"case_id":%q,"run":%d,"status":"succeeded","result":{"success":true}}`, s.CaseID, s.Run))
				for !over(m, s.CaseID) && ctxtime.Sleep(r.Context(), 50*time.Millisecond) == nil {
					continue
				}
			}
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		})
	}))
	code, rep, table := drilled(t, where, "--only", "late-event,repeated-start,"+strings.Join(undrilled, ","))
	if code != 2 || rep.NotDrilled != len(undrilled) || rep.Broken != 0 {
		t.Errorf("code %d, %d not drilled of %d", code, rep.NotDrilled, len(undrilled))
	}
	for _, o := range rep.Faults {
		want := kept
		if o.Fault != "late-event" && o.Fault != "repeated-start" {
			want = notJudged
		}
		if o.Promises[witness.Final] != want || (o.Error == "") != (want == kept) {
			t.Errorf("%s: %v, %q, %v", o.Fault, o.Promises, o.Error, o.Ended)
		}
	}
	if !strings.Contains(table, "NOT DRILLED  freeze: it did not hang: the event ended it") {
		t.Error("it does not say how freeze went")
	}
}

// Events that nobody is told of, and tasks that nobody takes, prove nothing. What was queued for it
// is taken back.
func TestFaultThatIsNotDeliveredIsNotDrilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes 20 s: leave out -short")
	}
	where := newTarget(t, nil)
	deaf, mislaid := *where, *where
	deaf.EventsTopic, deaf.Patience = "casewatch-ended", 10
	mislaid.CheckURL += "/nowhere"
	t.Run("all", func(t *testing.T) {
		for _, test := range []struct {
			where *target.Target
			fault string
			want  string
		}{
			{&deaf, "repeated-event", "none of the events that were published has ended it, but the deadline"},
			{&mislaid, "stale-tasks", "tasks of ours one is still there after 20s: it was tried"},
		} {
			t.Run(test.fault, func(t *testing.T) {
				t.Parallel()
				rep, err := Run(t.Context(), test.where, settings{only: []string{test.fault}}, logged{t})
				if err != nil {
					t.Fatal(err)
				}
				o := rep.Faults[0]
				if !strings.Contains(o.Error, test.want) || o.Promises[witness.Once] != notJudged ||
					rep.Broken != 0 || rep.NotDrilled != 1 {
					t.Errorf("%q, without %q: %v, %s", o.Error, test.want, o.Promises, rep.words())
				}
			})
		}
	})
	g := clients(t, where)
	for _, name := range g.queues() {
		for all := g.tasks.ListTasks(t.Context(), &cloudtaskspb.ListTasksRequest{Parent: name}); ; {
			task, err := all.Next()
			if err != nil {
				if !errors.Is(err, iterator.Done) {
					t.Error(err)
				}
				break
			}
			if strings.Contains(task.GetName(), ownPrefix) {
				t.Errorf("left behind: %s", task.GetName())
			}
		}
	}
}

// clients are the queue and the topic of a test.
func clients(t *testing.T, where *target.Target) *google {
	t.Helper()
	g, err := openGoogle(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// A queue that an operator has stopped stays so.
func TestPausedQueueIsLeftAlone(t *testing.T) {
	t.Parallel()
	where := newTarget(t, nil)
	g := clients(t, where)
	if err := g.hold(t.Context(), where.Dispatch); err != nil {
		t.Fatal(err)
	}
	rep, err := Run(t.Context(), where, settings{only: []string{"kill-at-start"}}, logged{t})
	if err != nil || !strings.Contains(rep.Faults[0].Error, "casewatch-dispatch is paused, by somebody else") {
		t.Errorf("%v, %+v", err, rep)
	}
	if stopped, err := g.paused(t.Context(), where.Dispatch); err != nil || !stopped {
		t.Errorf("paused: %v, %v", stopped, err)
	}
}

// Whoever stops a drill at its worst moment finds the queues running, and no case open.
func TestStoppedDrillLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	where := newTarget(t, at("/start", func(_ *machine.Machine, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			if bytes.Contains(data, []byte("-kill-at-start")) { // the queues are held
				stop()
			}
			r.Body = io.NopCloser(bytes.NewReader(data))
			h.ServeHTTP(w, r)
		})
	}))
	said := &bytes.Buffer{}
	rep, err := Run(ctx, where, settings{only: []string{"lost-event", "freeze", "kill-at-start", "stale-tasks"}}, said)
	if rep != nil || err == nil || err.Error() != "it was stopped; nothing of it is left open" {
		t.Errorf("%+v, %v", rep, err)
	}
	if !strings.Contains(said.String(), "it was stopped; cleaning up") {
		t.Errorf("it did not say that it cleans up: %s", said)
	}
	g, door := clients(t, where), newDoor(where)
	defer door.http.CloseIdleConnections()
	for _, name := range g.queues() {
		if stopped, err := g.paused(t.Context(), name); err != nil || stopped {
			t.Errorf("%s: paused: %v, %v", name, stopped, err)
		}
	}
	var h health
	if err := door.console(t.Context(), "/-/health", &h); err != nil || h.Open != 0 {
		t.Errorf("%+v, %v", h, err)
	}
}

// A system that is gone in the middle is not judged.
func TestSystemThatDiesIsNotJudged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes 20 s: leave out -short")
	}
	var dead atomic.Bool
	where := newTarget(t, func(_ *machine.Machine, path string, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if dead.Load() {
				panic(http.ErrAbortHandler)
			}
			if h.ServeHTTP(w, r); path == "/dispatch" {
				dead.Store(true)
			}
		})
	})
	rep, err := Run(t.Context(), where, settings{only: []string{"lost-event"}}, logged{t})
	if rep != nil || err == nil || !strings.Contains(err.Error(), "nothing answers at "+where.Start+" any more") ||
		!strings.Contains(err.Error(), "1 cases named drill-") || strings.Contains(err.Error(), "token=") {
		t.Errorf("%+v, %v", rep, err)
	}
}
