package cases_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// checkTimeline wants a timeline to go on as it began, in the order of time, within its bound, with
// each end and late report in it.
func checkTimeline(t testing.TB, before, after Case) {
	t.Helper()
	b, a := before.Timeline, after.Timeline
	if len(a) > 50 || len(b) > len(a) {
		t.Fatalf("%d lines after %d", len(a), len(b))
	}
	if first := min(10, len(b)); !slices.Equal(b[:first], a[:first]) {
		t.Fatalf("the beginning changed: %v to %v", b, a)
	}
	if !slices.IsSortedFunc(a, func(x, y Note) int { return x.At.Compare(y.At) }) {
		t.Fatalf("not in the order of time: %v", a)
	}
	count := func(notes []Note, what What) (n int) {
		for _, note := range notes {
			if note.What == what {
				n++
			}
		}
		return n
	}
	if after.State.Ended() != (count(a, NoteEnded) == 1) {
		t.Fatalf("%s, with %d ends in %v", after.State, count(a, NoteEnded), a)
	}
	if after.Outcome.Late != nil && count(a, NoteLate) == 0 {
		t.Fatalf("a late report is missing in %v", a)
	}
}

// story is a timeline without its times.
func story(c Case) string {
	var lines []string
	for _, n := range c.Timeline {
		line := string(n.What)
		if n.Source != "" {
			line += " by " + string(n.Source)
		}
		if n.Detail != "" {
			line += " (" + n.Detail + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestTimelineTellsWhatHappened(t *testing.T) {
	succeeded := Event{ID: "e1", Status: "succeeded", Result: &Result{Raw: []byte(`{}`), Size: 2}}
	for _, test := range []struct {
		name string
		life *life
		want string
	}{
		{"an event ends it, and the answer comes late", begin(rules, nil).inFlight().read(2*time.Second, 1, 4).
			do(time.Second, succeeded).
			do(time.Second, Finalized{}).do(time.Second, DispatchOutcome{
			Nonce:   "n1",
			Kind:    DispatchFailed,
			Message: "no",
		}),
			`began
sent by dispatch (attempt 1)
running by check
ended by event (succeeded, completed)
published
late by dispatch (it says failed)`},
		{"a result comes after the end", accepted(rules).read(time.Second, 4, 4).
			do(time.Second, Event{ID: "e1", Status: "succeeded"}).
			do(time.Second, Event{ID: "e2", Status: "succeeded", Result: succeeded.Result}),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
complete by check
ended by event (succeeded, completed)
filled by event`},
		{"not started, then uncertain, then unknown", begin(rules, nil).inFlight().outcome(DispatchBusy).
			do(time.Second, DispatchBegun{Seq: 2, Nonce: "n2"}).
			do(time.Second, DispatchOutcome{
				Nonce:   "n2",
				Kind:    DispatchUncertain,
				Message: "EOF",
			}).do(time.Second, failed).do(time.Second, unknown).do(time.Hour, unknown),
			`began
sent by dispatch (attempt 1)
not_started by dispatch (said so)
sent by dispatch (attempt 2)
uncertain by dispatch (EOF)
unreachable by check (connection refused)
reachable by check
unknown by check
ended by check (failed, start_unknown: ` + "it is not known whether the request reached the pipeline, " +
				"and the pipeline does not know this case)"},
		{"an uncertain request is repeated, and never arrives", begin(idempotent, nil).inFlight().
			outcome(DispatchUncertain).do(time.Second, unknown).do(rules.StartGrace, unknown).
			do(time.Second, DispatchBegun{
				Seq:   2,
				Nonce: "n2",
			}).do(time.Second, DispatchOutcome{Nonce: "n2", Kind: DispatchUnreachable, Message: "refused"}).
			do(time.Second, DispatchBegun{
				Seq:   3,
				Nonce: "n3",
			}).do(rules.UnreachableAfter, DispatchOutcome{Nonce: "n3", Kind: DispatchUnreachable, Message: "refused"}),
			`began
sent by dispatch (attempt 1)
uncertain by dispatch (said so)
unknown by check
repeated by check
sent by dispatch (attempt 2)
not_started by dispatch (refused)
sent by dispatch (attempt 3)
ended by dispatch (failed, pipeline_unreachable: refused)`},
		{"a request is open for too long", begin(rules, nil).inFlight().do(rules.PipelineTimeout, failed),
			`began
sent by dispatch (attempt 1)
uncertain by check (no answer to the request in time)
stalled by check
unreachable by check (connection refused)`},
		{"it stalls, moves, loses its wake-up and is cancelled", accepted(rules).read(time.Second, 1, 4).
			read(rules.StallAfter, 1, 4).read(time.Second, 2, 4).
			do(time.Minute, Tick{CheckLost: true}).do(time.Second, Cancel{}).do(time.Hour, Tick{FormDropped: true}),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
stalled by check
moved by check
rearmed by sweep
ended by cancel (cancelled, cancelled: cancelled on request)
form_dropped by sweep`},
		{"adopted, and over at its deadline", adopt().do(48*time.Hour, Tick{}),
			`began (the pipeline works on it already)
ended by sweep (timed_out, deadline: the deadline passed before the pipeline was done)`},
		{"a check asks after the end", accepted(rules).do(time.Second, Cancel{}).
			do(time.Minute, CheckOutcome{Kind: CheckReading, BeganAt: epoch.Add(time.Hour), ReadVersion: 100}),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
ended by cancel (cancelled, cancelled: cancelled on request)
asked_after_end by check`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := story(test.life.c); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Its first and its last lines are kept.
func TestTimelineIsBounded(t *testing.T) {
	l := accepted(rules)
	for n := range 100 {
		l.do(time.Second, CheckOutcome{Kind: CheckFailed, Message: strings.Repeat("é", 300)})
		l.read(time.Second, n%2, 4)
	}
	l.do(time.Second, Cancel{})
	notes := l.c.Timeline
	if len(notes) != 50 || notes[0].What != NoteBegan || notes[49].What != NoteEnded {
		t.Errorf("%d lines, from %v to %v", len(notes), notes[0], notes[len(notes)-1])
	}
	if got := []rune(notes[4].Detail); len(got) != 200 || got[199] != '…' {
		t.Errorf("%d characters: %s", len(got), fmt.Sprint(notes[4]))
	}
	for n := range 60 {
		l.do(time.Second, Event{ID: fmt.Sprint("late", n), Status: "failed"})
	}
	if notes = l.c.Timeline; len(notes) != 50 || notes[10].What != NoteEnded || notes[11].What != NoteLate {
		t.Errorf("%d lines, without its end: %v", len(notes), notes)
	}
	if size := len(dump(l.c)); size > 16<<10 {
		t.Errorf("the record has %d bytes", size)
	}
}

// The timeline and the reason for the next check say that the pipeline asked for it, once for many
// answers in a row.
func TestBusyPipelineIsTold(t *testing.T) {
	l := accepted(rules).do(time.Second, failed).do(time.Second, busy(time.Minute)).do(time.Minute, busy(time.Minute))
	if why := l.r.Why(l.c); why == nil || why.Awaits != "busy" {
		t.Errorf("%+v", why)
	}
	l.do(time.Minute, busy(0))
	if why := l.r.Why(l.c); why == nil || why.Awaits != "end" {
		t.Errorf("%+v", why)
	}
	l.read(time.Minute, 1, 4).do(time.Second, busy(time.Minute)).do(time.Minute, failed)
	want := `unreachable by check (connection refused)
reachable by check
busy by check (the pipeline answered 429)
reachable by check
busy by check (the pipeline answered 429)
unreachable by check (connection refused)`
	if got := story(l.c); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}
