package cases_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestSucceededEventWaitsForTheAnswer(t *testing.T) {
	wait := func() *life { return begin(rules, nil).inFlight().do(0, Event{ID: "e", Status: "succeeded"}) }
	l := wait()
	if !rules.ShouldPoll(l.c, l.now) {
		t.Error("progress is still of interest")
	}
	l.poll(CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 1, Total: 2, Percent: -1}}, time.Minute)
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if d := l.c.Outcome.EndedAt.Sub(l.c.Job.SucceededSince); d != rules.CompletionGrace {
		t.Errorf("waited %v", d)
	}
	l.do(time.Second, DispatchOutcome{
		Nonce:  "n1",
		Kind:   DispatchSucceeded,
		Result: result(t, `{"success":true,"output_url":"u"}`),
	})
	if l.v.Kind != Filled || l.v.Keep != KeepResult || !l.c.Outcome.HasResult || l.c.Outcome.OutputURL != "u" ||
		l.c.Outcome.Late != nil {
		t.Errorf("the missing result was not filled in: %+v", l.v)
	}
	for _, kind := range []DispatchKind{DispatchUncertain, DispatchAccepted, DispatchRefused, DispatchUnreachable} {
		wait().outcome(kind).want(t, Succeeded, ReasonCompleted, SourceEvent)
	}
	l = wait()
	l.do(time.Hour, Tick{}).want(t, Succeeded, ReasonCompleted, SourceEvent)
}

// An event that says running is believed over polls that only count. It ends the grace; a later
// poll begins another.
func TestRunningEventsKeepARunOpen(t *testing.T) {
	l := accepted(rules)
	for until := l.now.Add(5 * rules.CompletionGrace); l.now.Before(until); {
		l.do(time.Second, running("e", &Reading{Completed: 3, Total: 3, Percent: -1}))
		if l.c.Job.CompleteSince.IsZero() && !l.c.Checks.NextAt.After(l.now) {
			if !rules.ShouldPoll(l.c, l.now) {
				t.Fatal("a check asks nothing, and there is no grace")
			}
			l.do(0, shows(3, 3, ""))
		}
		if l.c.State != Running {
			t.Fatalf("it ended while its events say running: %+v", l.c.Outcome.End)
		}
	}
	l.do(0, shows(3, 3, ""))
	from := l.now
	l.poll(shows(3, 3, ""), time.Hour)
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
	if waited := l.c.Outcome.EndedAt.Sub(from); waited != rules.CompletionGrace {
		t.Errorf("it ended %v after the last poll, want %v", waited, rules.CompletionGrace)
	}
}

// An event that named no run and may be about another one ends no run. Nor is it kept as late of an
// open one.
func TestUnattributedReportEndsNothing(t *testing.T) {
	l := accepted(rules)
	for _, status := range []Status{StatusSucceeded, StatusFailed} {
		l.do(time.Second, Event{
			ID:           string(status),
			Unattributed: true,
			Status:       status,
			Result:       result(t, `{"success":true}`),
		})
		if l.v.Kind != Ignored || l.c.State != Running {
			t.Errorf("%s: %s, %s", status, l.v.Kind, l.c.State)
		}
	}
}

func TestAdoptedRunOwnsUnattributedEvents(t *testing.T) {
	first := accepted(rules).do(time.Minute, Cancel{})
	l := &life{r: rules, now: first.now.Add(time.Minute)}
	l.do(0, Started{CaseID: "c", Run: 2, Deadline: time.Hour, Adopt: true, Prior: &first.c})
	if !l.c.OwnsUnattributed(l.now) {
		t.Error("a report of the work that it adopted is not its own")
	}
	third := begin(rules, &l.do(time.Second, Event{ID: "e", Status: "succeeded"}).c).inFlight()
	if third.c.OwnsUnattributed(third.now) {
		t.Error("a report of the first run may still come")
	}
}

// An event whose result could not be read waits for the answer to the request in flight, which has the
// result. If none arrives, the end says what was dropped. If one does, nothing is missing.
func TestUnreadableResultOfAnAnnouncedSuccess(t *testing.T) {
	const dropped = "the result could not be read and was dropped"
	announced := func() *life {
		l := begin(rules, nil).inFlight()
		return l.do(time.Second, Event{ID: "e", Status: StatusSucceeded, Dropped: Dropped{Result: true}})
	}
	l := announced()
	l.poll(shows(1, 3, ""), time.Hour)
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if got := l.c.Outcome.End.Message; !strings.HasSuffix(got, "; "+dropped) {
		t.Errorf("without an answer the message is %q, want it to end with %q", got, dropped)
	}
	result := &Result{Raw: []byte("{}")}
	l = announced().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: result})
	l.want(t, Succeeded, ReasonCompleted, SourceDispatch)
	if got := l.c.Outcome.End.Message; got != "" {
		t.Errorf("with an answer the message is %q, want none", got)
	}
}
