package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var updateTests = []test{
	{"OneVersionAtATime", testUpdateVersions},
	{"Invalid", testUpdateInvalid},
	{"RaceOfOne", testUpdateRace},
	{"NoLostUpdate", testNoLostUpdate},
	{"WholeRecord", testWholeRecord},
	{"UnknownFields", testUnknownFields},
	{"AnyText", testAnyText},
	{"Times", testTimes},
}

func testUpdateVersions(t *testing.T, e *env) {
	c := e.begun(t, "a")
	c = e.update(t, c, count)
	c = e.update(t, c, count)
	before := e.dump(t, c.CaseID)
	for _, wrong := range []struct {
		name    string
		version int64
	}{
		{"with an old version", 2},
		{"with the same version", 3},
		{"with a skipped version", 5},
		{"as new", 1},
		{"with version 0", 0},
	} {
		w := store.Write{
			Case: c,
			Put:  map[store.Value][]byte{store.Result: []byte("{}")},
			Drop: []store.Value{store.Form},
		}
		w.Case.Version = wrong.version
		w.Case.Checks.Polls = 1000
		wantErr(t, "Update "+wrong.name, e.Store.Update(e.ctx, w), store.ErrConflict)
		if diff := cmp.Diff(before, e.dump(t, c.CaseID)); diff != "" {
			t.Fatalf("what is stored changed (-before +after):\n%s", diff)
		}
	}
	c = e.update(t, c, count)
	e.wantRecord(t, c)
	e.wantHead(t, first(c.CaseID).Head)
}

// testUpdateInvalid checks that an invalid change is rejected and nothing is written.
func testUpdateInvalid(t *testing.T, e *env) {
	c := e.begun(t, "a")
	for name, corrupt := range corruptedWrites {
		t.Run(name, func(t *testing.T) {
			before := e.dump(t, c.CaseID)
			w := store.Write{
				Case: changed(c, count),
				Put:  map[store.Value][]byte{store.Result: []byte("{}")},
				Drop: []store.Value{store.Form},
			}
			corrupt(&w)
			wantErr(t, "Update", e.Store.Update(e.ctx, w), store.ErrInvalid)
			if diff := cmp.Diff(before, e.dump(t, c.CaseID)); diff != "" {
				t.Errorf("what is stored changed (-before +after):\n%s", diff)
			}
		})
	}
}

// corruptedWrites make a write that drops the form invalid, each in one way.
var corruptedWrites = map[string]func(*store.Write){
	"no case":                      func(w *store.Write) { w.Case.CaseID = "" },
	"no run":                       func(w *store.Write) { w.Case.Run = 0 },
	"a value both put and dropped": func(w *store.Write) { w.Put = map[store.Value][]byte{store.Form: nil} },
	"an unknown value to put":      func(w *store.Write) { w.Put = map[store.Value][]byte{"forms": nil} },
	"an unknown value to drop":     func(w *store.Write) { w.Drop = []store.Value{"forms"} },
}

func testUpdateRace(t *testing.T, e *env) {
	c := e.begun(t, "a")
	name := func(i int) []byte { return fmt.Append(nil, "contender ", i) }
	winner := e.race(t, func(s store.Store, i int) error {
		return s.Update(e.ctx, store.Write{
			Case: changed(c, func(c *cases.Case) { c.Outcome.OutputURL = string(name(i)) }),
			Put:  map[store.Value][]byte{store.Result: name(i)},
		})
	})
	if got := e.get(t, c.CaseID, 1); got.Outcome.OutputURL != string(name(winner)) || got.Version != 2 {
		t.Errorf("record written by %s at version %d, the winner is %d", got.Outcome.OutputURL, got.Version, winner)
	}
	e.wantValue(t, c.CaseID, 1, store.Result, name(winner))
}

// testNoLostUpdate lets concurrent writers read, add one and save, and retry after a conflict. No
// addition may be lost.
func testNoLostUpdate(t *testing.T, e *env) {
	const each = 5
	writers := min(20, e.Contenders)
	c := e.begun(t, "a")
	all := e.instances(t)
	together(writers, func(i int) {
		s := all[i%len(all)]
		for range each {
			for {
				was, err := s.Get(e.ctx, c.CaseID, 1)
				if err == nil {
					err = s.Update(e.ctx, store.Write{Case: changed(was, count)})
				}
				if errors.Is(err, store.ErrConflict) {
					continue
				}
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
				break
			}
		}
	})
	got := e.get(t, c.CaseID, 1)
	if want := writers * each; got.Checks.Polls != want || got.Version != int64(want)+1 {
		t.Errorf("count %d at version %d after %d additions", got.Checks.Polls, got.Version, want)
	}
}

// testWholeRecord stores a record with every field set.
func testWholeRecord(t *testing.T, e *env) {
	c := e.begun(t, "a")
	at := created.Add(time.Minute)
	c = e.update(t, c, ended, func(c *cases.Case) {
		reading := cases.Reading{Completed: 51, Total: 52, Percent: 98.1, Current: "doc", Status: "running"}
		c.Job.StartedAt, c.Job.MovedAt, c.Job.CompleteSince, c.Job.SucceededSince = at, at, at, at
		c.Job.Progress = cases.Progress{Completed: 51, Total: 52, Percent: 98.1, Current: "doc"}
		c.Job.Stalled, c.Job.Seen = true, true
		c.Outcome.HasResult, c.Outcome.Dropped.Result, c.Outcome.Reported = true, true, true
		c.Adopted, c.PriorUnreported, c.Bookkeeping.Finalized = true, true, true
		c.Job.Reading, c.Job.Baseline = &reading, &reading
		c.Outcome.EndVersion = c.Version
		c.Outcome.Documents = &cases.Documents{Total: new(52), Succeeded: new(20), Failed: new(32)}
		c.Outcome.OutputURL = "https://example.com/?a=1&b=<2>"
		c.Outcome.Late = &cases.LateReport{
			State:     cases.Failed,
			HasResult: true,
			Message:   "m",
			Source:    cases.SourceEvent,
			At:        at,
			Count:     3,
		}
		c.Outcome.ReportIDs = []string{"w1", "w2"}
		c.Checks = cases.Checks{
			Seq:                 1 << 53,
			NextAt:              at,
			Polls:               9,
			FailedPolls:         4,
			ConsecutiveFailures: 2,
			FailingSince:        at,
			UnknownSince:        at,
		}
		c.Dispatch = cases.Dispatch{
			Phase:            cases.PhaseInFlight,
			Seq:              7,
			At:               at,
			Nonce:            "n",
			RetryCount:       2,
			SentAt:           at,
			UncertainSince:   at,
			Backoffs:         3,
			UnreachableSince: at,
		}
		c.TraceParent, c.FormHash = "00-a-b-01", "f"
		c.Bookkeeping.PolledAfterEnd, c.Bookkeeping.Leaked = 1, 2
		c.Bookkeeping.FormKept = false
	})
	e.wantRecord(t, c)
	// A bare record replaces all of the old one.
	bare := record(c.CaseID, 1)
	bare.Version = c.Version
	e.wantRecord(t, e.update(t, bare))
}

// testUnknownFields checks that this revision keeps the unknown fields of a record of a newer
// revision.
func testUnknownFields(t *testing.T, e *env) {
	data, err := json.Marshal(record(e.id("a"), 1))
	if err != nil {
		t.Fatal(err)
	}
	extra := `{"x_object":{"b":[1,{"a":null}],"a":"\u0000"},"x_number":12345678901234567890.125,"x_null":null,` +
		`"X_Case":true,"":"no name",`
	var c cases.Case
	if err := json.Unmarshal(append([]byte(extra), data[1:]...), &c); err != nil {
		t.Fatal(err)
	}
	b := first(c.CaseID)
	b.Case = c
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	e.wantRecord(t, c)
	c = e.update(t, e.get(t, c.CaseID, 1), count)
	c = e.update(t, e.get(t, c.CaseID, 1), ended)
	e.wantRecord(t, c)
	fields := plain(t, e.get(t, c.CaseID, 1))
	for _, name := range []string{"x_object", "x_number", "x_null", "X_Case", ""} {
		if _, ok := fields[name]; !ok {
			t.Errorf("field %q was lost", name)
		}
	}
	if got := fields["x_number"]; got != json.Number("12345678901234567890.125") {
		t.Errorf("x_number became %v", got)
	}
}

// testAnyText checks that a record keeps every text, because pipelines may send any.
func testAnyText(t *testing.T, e *env) {
	c := e.begun(t, "a")
	texts := append(
		everyRune(128<<10),
		"a\x00b",
		"\x00",
		`\u0000 \ " '`,
		"line\r\n\u2028\u2029<&>",
		"\U0001F600\uFFFE\uFFFF\uFEFF",
	)
	for _, text := range texts {
		c = e.update(t, c, func(c *cases.Case) {
			c.Outcome.End = &cases.End{Message: text}
			c.Outcome.ReportIDs = []string{text}
		})
		got := e.get(t, c.CaseID, 1)
		if got.Outcome.End == nil || got.Outcome.End.Message != text || len(got.Outcome.ReportIDs) != 1 ||
			got.Outcome.ReportIDs[0] != text {
			t.Errorf("a text of %d bytes was read differently", len(text))
		}
	}
}

// testTimes checks that times are kept to the microsecond, and in UTC if they were in UTC.
func testTimes(t *testing.T, e *env) {
	zone := time.FixedZone("", 5*3600+1800)
	c := e.begun(t, "a")
	for _, at := range []time.Time{
		time.Date(2026, 12, 31, 23, 59, 59, 999999000, time.UTC),
		time.Date(2026, 1, 1, 0, 0, 0, 1000, time.UTC),
		time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC),
		time.Date(2026, 6, 30, 12, 0, 0, 123456789, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC),
		time.Date(2026, 6, 30, 12, 0, 0, 5000, zone),
	} {
		c = e.update(t, c, func(c *cases.Case) {
			c.Job.StartedAt, c.Checks.FailingSince, c.Bookkeeping.OverdueAt = at, at, at
		})
		got := e.get(t, c.CaseID, 1)
		for name, read := range map[string]time.Time{
			"StartedAt":    got.Job.StartedAt,
			"FailingSince": got.Checks.FailingSince,
			"OverdueAt":    got.Bookkeeping.OverdueAt,
		} {
			if d := read.Sub(at); d <= -time.Microsecond || d >= time.Microsecond ||
				at.Nanosecond()%1000 == 0 && d != 0 {
				t.Errorf("%s written %v, read %v", name, at, read)
			}
			if at.Location() == time.UTC && read.Location() != time.UTC {
				t.Errorf("%s written in UTC, read in %v", name, read.Location())
			}
		}
	}
	e.update(t, c, func(c *cases.Case) { c.Bookkeeping.OverdueAt, c.Job.StartedAt = never, time.Time{} })
	if got := e.get(t, c.CaseID, 1).Job.StartedAt; !got.IsZero() {
		t.Errorf("a zero time was read as %v", got)
	}
}
