package cases_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	. "github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rules = Rules{
		PipelineTimeout: 29 * time.Minute, CheckMinInterval: 2 * time.Second, CheckMaxInterval: 30 * time.Second,
		StartGrace: 2 * time.Minute, CompletionGrace: 30 * time.Second, StallAfter: 5 * time.Minute,
		UnreachableAfter: 10 * time.Minute, Retention: 720 * time.Hour, FormRetention: 24 * time.Hour,
	}
	idempotent = func() Rules { r := rules; r.Idempotent = true; return r }()
	// named are the rules of a pipeline that names its jobs and can cancel them.
	named = func() Rules {
		r := rules
		r.PollNeedsJob, r.PollsOwnRun, r.CanCancel, r.CancelNeedsJob = true, true, true, true
		return r
	}()
	// byRun are those of one that is asked for a job, and to cancel it, by the case and run.
	byRun = func() Rules { r := rules; r.PollsOwnRun, r.CanCancel = true, true; return r }()
)

var (
	failed  = CheckOutcome{Kind: CheckFailed, Message: "connection refused"}
	unknown = CheckOutcome{Kind: CheckUnknown}
)

// life is a run and the time it has got to; its methods play inputs.
type life struct {
	r   Rules
	c   Case
	now time.Time
	v   Verdict
}

func begin(r Rules, prior *Case) *life {
	run := 1
	if prior != nil {
		run = prior.Run + 1
	}
	l := &life{r: r, now: epoch}
	if prior != nil {
		l.now = prior.UpdatedAt.Add(time.Minute)
	}
	return l.do(0, Started{CaseID: "c", Run: run, Pipeline: "default", Deadline: time.Hour, Prior: prior})
}

func adopt() *life {
	l := &life{r: rules, now: epoch}
	return l.do(0, Started{CaseID: "c", Run: 1, Pipeline: "default", Deadline: time.Hour, Adopt: true})
}

func accepted(r Rules) *life { return begin(r, nil).inFlight().outcome(DispatchAccepted) }

func (l *life) do(after time.Duration, in Input) *life {
	l.now = l.now.Add(after)
	if check, ok := in.(CheckOutcome); ok {
		if check.Seq == 0 {
			check.Seq = l.c.Checks.Seq
		}
		if check.BeganAt.IsZero() {
			check.BeganAt = l.c.CreatedAt // in time
		}
		in = check
	}
	l.c, l.v = l.r.Apply(l.c, in, l.now, 0.5)
	return l
}

func (l *life) copy() *life { d := *l; return &d }

func (l *life) inFlight() *life {
	return l.do(time.Second, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: fmt.Sprint("n", l.c.Dispatch.Seq)})
}

func (l *life) outcome(kind DispatchKind) *life {
	return l.do(time.Second, DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: kind, Message: "said so"})
}

func (l *life) read(after time.Duration, completed, total int) *life {
	return l.do(after, CheckOutcome{
		Kind:    CheckReading,
		Reading: Reading{Completed: completed, Total: total, Percent: -1},
	})
}

// answers plays the answer to the request in flight, which names the job.
func (l *life) answers(kind DispatchKind, job string) *life {
	return l.do(time.Second, DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: kind, JobID: job, Message: "said so"})
}

// stop plays the outcome of the pending request to cancel the job.
func (l *life) stop(after time.Duration, kind CancelKind) *life {
	return l.do(after, StopOutcome{Seq: l.c.Stop.Seq, CancelOutcome: CancelOutcome{Kind: kind, Message: "said so"}})
}

// poll plays checks with the same finding, each when it is due, until the run ends or the time is
// up. It returns their number.
func (l *life) poll(in CheckOutcome, until time.Duration) int {
	n, end := 0, l.now.Add(until)
	for !l.c.State.Ended() && !l.c.Checks.NextAt.After(end) {
		l.now = later(l.now, l.c.Checks.NextAt)
		if !l.r.ShouldPoll(l.c, l.now) {
			l.do(0, CheckOutcome{Kind: CheckSkipped})
			continue
		}
		l.do(0, in)
		n++
	}
	return n
}

func (l *life) want(t *testing.T, state State, reason Reason, source Source) {
	t.Helper()
	var got End
	if l.c.Outcome.End != nil {
		got = *l.c.Outcome.End
	}
	if l.c.State != state || got.Reason != reason || got.Source != source {
		t.Fatalf("got %s, %s by %s; want %s, %s by %s", l.c.State, got.Reason, got.Source, state, reason, source)
	}
}

// shows is a poll's answer with a status.
func shows(completed, total int, status Status) CheckOutcome {
	return CheckOutcome{
		Kind:    CheckReading,
		Reading: Reading{Completed: completed, Total: total, Percent: -1, Status: status},
	}
}

func running(id string, progress *Reading) Event {
	return Event{ID: id, Status: "running", Progress: progress}
}

// busy is a poll that is answered with 429, or with 503 and Retry-After.
func busy(after time.Duration) CheckOutcome {
	return CheckOutcome{Kind: CheckBusy, RetryAfter: after, Message: "the pipeline answered 429"}
}

// later429 is the answer to a dispatch that says: not now.
func (l *life) later429(t testing.TB, saysFailed bool) *life {
	out := DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchBusy, SaysFailed: saysFailed, Message: "too many"}
	if saysFailed {
		out.Result = result(t, `{"success":false,"error":"too many"}`)
	}
	return l.do(time.Second, out)
}

func result(t testing.TB, text string) *Result {
	t.Helper()
	res, err := report.ParseResult([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return res.Kept()
}

func dump(c Case) string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
