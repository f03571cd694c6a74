package sim

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// healthy is a record without a fault: two runs of a case, the second of which ends by an event
// with a result, and a reader.
func healthy(t *testing.T) *Record {
	t.Helper()
	p := Small()["it says 202, then an event"]
	p.Until = 3 * time.Minute
	p.Cases[0].Actions = append(
		p.Cases[0].Actions,
		Action{At: 5 * time.Second, Do: "start", Supersede: true, Tries: 1},
		Action{At: 5200 * time.Millisecond, Do: "start", Key: "k", Tries: 1},
	)
	p.Cases[0].Readers = []Reader{{From: time.Second, To: time.Minute, Every: 2 * time.Second}}
	rec := p.Run(t)
	if v := Check(rec); len(v) > 0 {
		t.Fatalf("%v\n%s", v, rec.Story(""))
	}
	return rec
}

// find returns where the last entry is for which is holds.
func find[T any](t *testing.T, r *Record, is func(*Entry, T) bool) int {
	t.Helper()
	for i := len(r.Entries) - 1; i >= 0; i-- {
		if d, ok := r.Entries[i].Data.(T); ok && is(&r.Entries[i], d) {
			return i
		}
	}
	t.Fatal("the record has no such entry")
	return -1
}

// put puts an entry after another, at its time and a moment more.
func put(r *Record, after int, e Entry) {
	e.At = r.Entries[after].At + time.Microsecond
	if e.Case == "" {
		e.Case = r.Entries[after].Case
	}
	if e.Run == 0 {
		e.Run = r.Entries[after].Run
	}
	r.Entries = slices.Insert(r.Entries, after+1, e)
}

func open(run int) func(*Entry, Commits) bool {
	return func(_ *Entry, d Commits) bool { return len(d) == 1 && d[0].Case.Run == run && !d[0].Case.State.Ended() }
}

func ended(run int) func(*Entry, Commits) bool {
	return func(_ *Entry, d Commits) bool {
		return slices.ContainsFunc(d, func(c Commit) bool { return c.Case.Run == run && c.Case.State.Ended() })
	}
}

// again puts a further write after the last of a run that had ended, with a change.
func again(change func(*Commit)) func(*testing.T, *Record) {
	return func(t *testing.T, r *Record) {
		i := find(t, r, ended(2))
		c := r.Entries[i].Data.(Commits)[0]
		c.Case.Version++
		change(&c)
		put(r, i, Entry{What: "store: update", Data: Commits{c}})
	}
}

// dropped takes out what is.
func dropped(is func(*Entry) bool) func(*testing.T, *Record) {
	return func(_ *testing.T, r *Record) {
		r.Entries = slices.DeleteFunc(r.Entries, func(e Entry) bool { return is(&e) })
	}
}

// changed changes what a kind of entry says, the last of them.
func changed[T any](is func(*Entry, T) bool, change func(*Entry, *T)) func(*testing.T, *Record) {
	return func(t *testing.T, r *Record) {
		i := find(t, r, is)
		d := r.Entries[i].Data.(T)
		change(&r.Entries[i], &d)
		r.Entries[i].Data = d
	}
}

func all[T any](*Entry, T) bool { return true }

// planted is what is done to a healthy record, and the promise that it breaks.
type planted struct {
	plant func(*testing.T, *Record)
	want  Promise
}

func plant(t *testing.T, tests map[string]planted) {
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			r := healthy(t)
			test := tests[name]
			test.plant(t, r)
			found := Check(r)
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Promise == test.want }) {
				t.Errorf("found %v, want %q", found, test.want)
			}
		})
	}
}

// TestBrokenRecords: each promise that a record breaks is found.
func TestBrokenRecords(t *testing.T) {
	tests := map[string]planted{
		"a run that never ends": {dropped(func(e *Entry) bool {
			d, ok := e.Data.(Commits)
			return ok && ended(2)(e, d) || e.What == "shown" || e.What == callTell && e.Run == 2
		}), Ends},
		"a run that outlives its deadline by two sweeps": {func(t *testing.T, r *Record) {
			i := find(t, r, open(2))
			put(r, i, Entry{Data: Swept{Began: time.Hour, Done: true}})
			put(r, i, Entry{Data: Swept{Began: time.Hour, Done: true}})
		}, Ends},
		"a deadline that moves": {
			changed(ended(2), func(_ *Entry, d *Commits) { (*d)[0].Case.DeadlineAt = time.Now() }),
			Ends,
		},
		"a run purged while open": {
			func(t *testing.T, r *Record) { put(r, find(t, r, open(2)), Entry{Run: 2, Case: "c", Data: Purged{}}) },
			Ends,
		},
		"two open runs": {
			changed(
				func(_ *Entry, d Commits) bool { return len(d) == 2 },
				func(_ *Entry, d *Commits) { *d = (*d)[1:] },
			),
			OneOpen,
		},
		"another end": {again(func(c *Commit) { c.Case.State = cases.TimedOut }), Final},
		"another reason": {again(func(c *Commit) {
			c.Case.Outcome.End = &cases.End{Reason: cases.ReasonDeadline, Source: c.Case.Outcome.End.Source}
		}), Final},
		"an open state again": {
			again(func(c *Commit) { c.Case.State, c.Case.Outcome.End = cases.Running, nil }),
			Final,
		},
		"progress after the end": {again(func(c *Commit) { c.Case.Job.Progress.Completed++ }), Final},
		"another result": {
			again(func(c *Commit) { c.Result = strings.Replace(c.Result, `"word":`, `"word":9`, 1) }),
			Fills,
		},
		"a result of another run": {
			changed(
				func(e *Entry, d Commits) bool { return ended(2)(e, d) && !d[0].Case.Bookkeeping.Finalized },
				func(_ *Entry, d *Commits) {
					(*d)[0].Result = strings.Replace((*d)[0].Result, `"of_run":2`, `"of_run":1`, 1)
				},
			),
			OwnResult,
		},
		"a result that does not agree": {
			changed(
				func(e *Entry, d Commits) bool { return ended(2)(e, d) && !d[0].Case.Bookkeeping.Finalized },
				func(_ *Entry, d *Commits) {
					(*d)[0].Result = strings.Replace((*d)[0].Result, `"success":true`, `"success":false`, 1)
				},
			),
			Fills,
		},
		"a late word that is not kept": {func(t *testing.T, r *Record) {
			i := find(t, r, ended(2))
			put(r, i, Entry{Run: 2, Case: "c", Data: Taken{77}})
			put(
				r,
				i,
				Entry{
					Run:  2,
					Case: "c",
					Data: Said{Case: "c", Run: 2, Named: true, Status: "failed", Word: 77, ID: "m77"},
				},
			)
		}, LateKept},
		"a late word that is forgotten": {func(t *testing.T, r *Record) {
			again(func(c *Commit) { c.Case.Outcome.Late = &cases.LateReport{State: cases.Failed, Count: 1} })(t, r)
			again(func(c *Commit) { c.Case.Outcome.Late = nil })(t, r)
		}, LateKept},
		"progress that goes backwards": {changed(func(_ *Entry, d Commits) bool {
			return d[0].Case.Run == 2 && !d[0].Case.State.Ended() && d[0].Case.Job.Progress.Completed > 0
		}, func(_ *Entry, d *Commits) {
			(*d)[0].Case.Job.Progress.Completed = -1
		}), Forwards},
		"a percentage that goes backwards": {changed(func(_ *Entry, d Commits) bool {
			return d[0].Case.Run == 2 && !d[0].Case.State.Ended() && d[0].Case.Job.Progress.Completed > 0
		}, func(_ *Entry, d *Commits) {
			(*d)[0].Case.Job.Progress.Percent = -1
		}), Forwards},
		"a second request": {func(t *testing.T, r *Record) {
			i := find(t, r, func(e *Entry, _ Sent) bool { return e.Run == 2 })
			put(r, i, r.Entries[i])
		}, StartedOnce},
		"a look after the end": {func(t *testing.T, r *Record) {
			i := find(t, r, ended(2))
			put(r, i, Entry{Began: time.Hour, Data: Looked{}})
		}, NoneAfterEnd},
		"a request after the end": {func(t *testing.T, r *Record) {
			i := find(t, r, ended(2))
			put(r, i, Entry{Began: time.Hour, Data: Sent{Form: form2(t, r)}})
		}, NoneAfterEnd},
		"another form": {
			changed(func(e *Entry, _ Sent) bool { return e.Run == 2 }, func(_ *Entry, d *Sent) { d.Form = "{}" }),
			StartKept,
		},
		"two checks": {func(t *testing.T, r *Record) {
			put(
				r,
				find(t, r, open(2)),
				Entry{
					Data: Sample{
						Tasks: []Task{
							{Kind: "check", Case: "c", Run: 2, Seq: 1},
							{Kind: "check", Case: "c", Run: 2, Seq: 2},
						},
					},
				},
			)
		}, OneChain},
		"no check": {func(t *testing.T, r *Record) {
			for range 4 {
				put(r, find(t, r, open(2)), Entry{Data: Sample{Quiet: true}})
			}
		}, Watched},
		"a task left over": {
			func(_ *testing.T, r *Record) { r.Left = []Task{{Kind: "check", Case: "c", Run: 2}} },
			NothingLeft,
		},
		"an end not published": {dropped(func(e *Entry) bool { return e.What == callTell && e.Run == 1 }), Published},
		"another id":           {changed(all[Told], func(_ *Entry, d *Told) { d.ID = "c:9:ended" }), Published},
		"another content": {
			changed(
				all[Told],
				func(_ *Entry, d *Told) { d.Data = bytes.Replace(d.Data, []byte("succeeded"), []byte("timed_out"), 1) },
			),
			Published,
		},
		"told before the end": {func(t *testing.T, r *Record) {
			put(r, find(t, r, open(2)), r.Entries[find(t, r, func(e *Entry, _ Told) bool { return e.Run == 2 })])
		}, Published},
		"a start that is lost": {changed(all[Asked], func(_ *Entry, d *Asked) { d.Run = 7 }), StartKept},
		"other times":          {changed(all[Asked], func(_ *Entry, d *Asked) { d.DeadlineAt = d.Created }), StartKept},
		"one key for two runs": {
			changed(
				func(_ *Entry, d Asked) bool { return d.Action.Key == "k" },
				func(_ *Entry, d *Asked) { d.Run = 2 },
			),
			OneKey,
		},
		"a version of nobody": {changed(all[Shown], func(_ *Entry, d *Shown) { d.View.Version = 99 }), ReadersSee},
		"another view": {
			changed(all[Shown], func(_ *Entry, d *Shown) { d.View.State = cases.Pending }),
			ReadersSee,
		},
		"an older view": {func(t *testing.T, r *Record) {
			e := r.Entries[find(t, r, func(_ *Entry, d Shown) bool { return d.View.Run == 2 && !d.View.State.Ended() })]
			e.Began = time.Hour
			put(r, len(r.Entries)-1, e)
		}, ReadersSee},
		"the run before": {func(t *testing.T, r *Record) {
			e := r.Entries[find(t, r, func(_ *Entry, d Shown) bool { return d.View.Run == 1 })]
			e.Began = time.Hour
			put(r, len(r.Entries)-1, e)
		}, ReadersSee},
		"a leak": {func(t *testing.T, r *Record) {
			i := find(t, r, all[Swept])
			d := r.Entries[i].Data.(Swept)
			d.Report.Leaked = 1
			r.Entries[i].Data = d
		}, NoLeak},
		"an unclassified error": {func(_ *testing.T, r *Record) {
			r.Entries = append(r.Entries, Entry{What: "ends", Invocation: "check", Err: errors.New("x")})
		}, Classified},
		"a look before sending": {func(t *testing.T, r *Record) {
			put(r, find(t, r, func(_ *Entry, d Commits) bool { return len(d) == 2 }), Entry{Run: 2, Data: Looked{}})
		}, SentFirst},
		"an end of an open request": {func(t *testing.T, r *Record) {
			dropped(func(e *Entry) bool {
				_, ok := e.Data.(Answered)
				return ok || e.What == "ends" && strings.HasPrefix(e.Invocation, "dispatch")
			})(t, r)
			changed(
				func(e *Entry, d Commits) bool { return ended(2)(e, d) && !d[0].Case.Bookkeeping.Finalized },
				func(_ *Entry, d *Commits) {
					(*d)[0].Case.Outcome.End = &cases.End{Reason: cases.ReasonPipelineLost, Source: cases.SourceCheck}
				},
			)(
				t,
				r,
			)
		}, OpenRequest},
	}
	plant(t, tests)
}

func form2(t *testing.T, r *Record) string {
	return r.Entries[find(t, r, func(e *Entry, _ Sent) bool { return e.Run == 2 })].Data.(Sent).Form
}
