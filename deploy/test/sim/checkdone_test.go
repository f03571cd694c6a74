package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

// wroteMark is the write by which a dispatch says that it sends.
func wroteMark(e *Entry, d Commits) bool {
	return e.Run == 2 && strings.HasPrefix(e.Invocation, "dispatch") && d[0].Case.Dispatch.Phase == cases.PhaseInFlight
}

// TestUndoneRecords: what an invocation left undone that says it is done, or did too early or too
// late, is found.
func TestUndoneRecords(t *testing.T) {
	plant(t, map[string]planted{
		"an end that who made it did not tell": {
			dropped(func(e *Entry) bool { return e.What == callTell && e.Run == 2 }),
			Published,
		},
		"a check that who saved it did not schedule": {dropped(func(e *Entry) bool {
			d, ok := e.Data.(TaskChange)
			return ok && e.Run == 2 && d.Kind == queue.Check && d.Seq == 2
		}), Watched},
		"a start that is answered and not queued": {dropped(func(e *Entry) bool {
			d, ok := e.Data.(TaskChange)
			return ok && e.Run == 2 && d.Kind == queue.Dispatch ||
				e.What == "ends" && strings.HasPrefix(e.Invocation, "start")
		}), Watched},
		"a delivery that finds an end untold": {func(t *testing.T, r *Record) {
			dropped(func(e *Entry) bool { return e.What == callTell && e.Run == 2 })(t, r)
			put(
				r,
				find(t, r, ended(2)),
				Entry{What: "ends", Invocation: "check c/2 #9 delivery 1", Began: time.Hour, Seq: 9, Case: "c", Run: 2},
			)
		}, Published},
		"an answer that is dropped": {func(t *testing.T, r *Record) {
			i := find(t, r, func(e *Entry, _ Answered) bool { return e.Run == 2 })
			r.Entries[i].Data = Answered{Outcome: cases.DispatchSucceeded}
		}, Heard},
		"a stale check that asks": {func(t *testing.T, r *Record) {
			scheduled := find(
				t,
				r,
				func(e *Entry, d TaskChange) bool { return e.Run == 2 && d.Kind == queue.Check && d.Created },
			)
			put(
				r,
				scheduled,
				Entry{Run: 2, Invocation: "check c/2 #1 delivery 2", Seq: 1, Began: time.Hour, Data: Looked{}},
			)
		}, StaleDrops},
		"a stale check that writes": {func(t *testing.T, r *Record) {
			i := find(
				t,
				r,
				func(e *Entry, d Commits) bool { return open(2)(e, d) && strings.HasPrefix(e.Invocation, "check") },
			)
			r.Entries[i].Seq--
		}, StaleDrops},
		"a deadline before its time": {
			changed(
				func(e *Entry, d Commits) bool { return ended(2)(e, d) && !d[0].Case.Bookkeeping.Finalized },
				func(_ *Entry, d *Commits) {
					(*d)[0].Case.Outcome.End = &cases.End{Reason: cases.ReasonDeadline, Source: cases.SourceDeadline}
				},
			),
			Patience,
		},
		"a request after the deadline": {func(t *testing.T, r *Record) {
			i := find(t, r, wroteMark)
			put(r, i-1, Entry{At: 0, Run: 2, Case: "c", Invocation: r.Entries[i].Invocation, Data: Got{1}})
			r.Entries[i].At = r.Entries[i].At + time.Hour
			r.Entries[i-1].At = r.Entries[i].At
			put(r, i-1, Entry{Run: 2, Case: "c", Invocation: r.Entries[i].Invocation, Data: Got{1}})
		}, Ends},
		"a repair in health": {changed(all[Swept], func(_ *Entry, d *Swept) { d.Report.Rescheduled = 1 }), Idle},
		"a run that two sweeps left without its check": {func(t *testing.T, r *Record) {
			i := find(t, r, open(2))
			put(r, i, Entry{Data: Swept{Began: 70 * time.Second, Done: true}})
			put(r, i, Entry{Data: Swept{Began: 70 * time.Second, Done: true}})
		}, Watched},
		"a run purged early": {
			func(t *testing.T, r *Record) { put(r, len(r.Entries)-1, Entry{Run: 2, Case: "c", Data: Purged{}}) },
			Forgotten,
		},
		"a late result nowhere": {again(func(c *Commit) {
			c.Case.Outcome.Late = &cases.LateReport{State: cases.Failed, Count: 1, HasResult: true}
		}), LateKept},
		"a run nobody superseded": {
			changed(
				func(_ *Entry, d Asked) bool { return d.Begun && d.Run == 2 },
				func(_ *Entry, d *Asked) { d.Action.Supersede = false },
			),
			StartKept,
		},
		"a rerun of another run": {
			changed(
				func(_ *Entry, d Asked) bool { return d.Begun && d.Run == 2 },
				func(_ *Entry, d *Asked) { d.Of = 2 },
			),
			StartKept,
		},
		"a start that led to an end": {func(t *testing.T, r *Record) {
			put(
				r,
				len(r.Entries)-1,
				Entry{
					What:  "answered",
					Began: time.Hour,
					Run:   2,
					Case:  "c",
					Data: Asked{Action: Action{Do: "start"}, Run: 2,
						Created:    r.Entries[find(t, r, open(2))].Data.(Commits)[0].Case.CreatedAt,
						DeadlineAt: r.Entries[find(t, r, open(2))].Data.(Commits)[0].Case.DeadlineAt},
				},
			)
		}, StartKept},
	})
}

// look is the last poll of run 2 that showed progress, and the write of its check.
func look(t *testing.T, r *Record) (asked, wrote int) {
	t.Helper()
	wrote = find(t, r, func(e *Entry, d Commits) bool {
		return open(2)(e, d) && strings.HasPrefix(e.Invocation, "check") && d[0].Case.Job.Progress.Total > 0
	})
	asked = find(t, r, func(e *Entry, d Looked) bool { return e.Invocation == r.Entries[wrote].Invocation })
	return asked, wrote
}

// TestBusyAndWholeRecords: a pipeline that is polled before the time that it named, asked again for
// what it was seen to work on, and 100 % that is none, are found.
func TestBusyAndWholeRecords(t *testing.T) {
	first := func(change func(*Commit)) func(*testing.T, *Record) {
		return changed(
			func(e *Entry, d Commits) bool { return ended(2)(e, d) && !d[0].Case.Bookkeeping.Finalized },
			func(_ *Entry, d *Commits) { change(&(*d)[0]) },
		)
	}
	plant(t, map[string]planted{
		"a poll before its time": {func(t *testing.T, r *Record) {
			asked, wrote := look(t, r)
			e := r.Entries[asked]
			answer := Polled{Outcome: cases.CheckOutcome{Kind: cases.CheckBusy, RetryAfter: time.Minute}}
			r.Entries[find(t, r, func(o *Entry, _ Polled) bool { return o.Invocation == e.Invocation })].Data = answer
			put(
				r,
				wrote,
				Entry{
					Invocation: "check c/2 #9 delivery 1",
					Began:      r.Entries[wrote].At + time.Nanosecond,
					Seq:        r.Entries[wrote].Seq + 1,
					Run:        2,
					Data:       Looked{},
				},
			)
		}, Polite},
		"a request for what is at work": {func(t *testing.T, r *Record) {
			_, wrote := look(t, r)
			sent := r.Entries[find(t, r, func(e *Entry, d Sent) bool { return e.Run == 2 })]
			d := sent.Data.(Sent)
			d.Started = false
			sent.Data, sent.Invocation = d, "dispatch c/2 #9 delivery 1"
			put(
				r,
				wrote,
				Entry{
					Invocation: "complete c/2 m99 delivery 1",
					Run:        2,
					Data:       Commits{r.Entries[wrote].Data.(Commits)[0]},
				},
			)
			put(r, wrote+1, sent)
		}, StartedOnce},
		"100 % while it runs": {
			changed(
				func(e *Entry, d Commits) bool { return open(2)(e, d) && d[0].Case.Job.Progress.Total > 0 },
				func(_ *Entry, d *Commits) {
					(*d)[0].Case.Job.Progress.Percent = 100
				},
			),
			Whole,
		},
		"a success of 99 %":           {first(func(c *Commit) { c.Case.Job.Progress.Percent = 99 }), Whole},
		"a success that is not whole": {first(func(c *Commit) { c.Case.Job.Progress.Completed-- }), Whole},
		"a success without its documents": {first(func(c *Commit) {
			c.Case.Job.Progress.Completed, c.Case.Job.Progress.Total = 3, 3
		}), Whole},
	})
}

// TestGivenUpEarly: an end that comes before its grace is over is found, and only then.
func TestGivenUpEarly(t *testing.T) {
	for name, longer := range map[string]func(*cases.Rules){
		"it says 202, and nothing more":   func(r *cases.Rules) { r.CompletionGrace += 10 * time.Second },
		"it cuts the connection, and not": func(r *cases.Rules) { r.StartGrace += 15 * time.Second },
	} {
		r := Small()[name].Run(t)
		if v := Check(r); len(v) > 0 {
			t.Errorf("%s: %v", name, v)
		}
		longer(&r.Plan.Rules)
		if v := Check(r); len(v) != 1 || v[0].Promise != Patience {
			t.Errorf("%s: %v, want that it was given up early", name, v)
		}
	}
}
