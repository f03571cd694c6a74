package cases_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
)

// object decodes JSON, or fails.
func object(t *testing.T, data string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(data), &o); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return o
}

// ended is a record with something in every group.
func ended(t *testing.T) Case {
	l := accepted(rules).read(time.Second, 1, 40).do(0, Viewed{}).read(time.Minute, 2, 40)
	l.do(time.Second, Event{ID: "e", Status: StatusSucceeded, Result: result(t, `{"success":true}`)})
	return l.do(time.Second, Event{ID: "f", Status: StatusFailed}).c
}

func TestRecordIsReadAsItWasWritten(t *testing.T) {
	want := dump(ended(t))
	var c Case
	if err := json.Unmarshal([]byte(want), &c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object(t, want), object(t, dump(c))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An older revision keeps what a newer one added, in every object, when it changes the record.
func TestRecordKeepsUnknownMembers(t *testing.T) {
	record := object(t, dump(ended(t)))
	want := map[string]any{"a": []any{1.0, 2.5}}
	paths := []string{
		"", "origin", "checks", "dispatch", "job", "job.progress", "job.reading", "outcome", "outcome.end",
		"outcome.late", "viewers", "viewers.lease", "viewers.shown", "durations", "bookkeeping",
	}
	at := func(record map[string]any, path string) map[string]any {
		for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
			inside, ok := record[name].(map[string]any)
			if !ok {
				t.Fatalf("the record has no object %s: %v", path, record)
			}
			record = inside
		}
		return record
	}
	for _, path := range paths {
		at(record, path)["newer"] = want
	}
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	var c Case
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	c.Version++
	got := object(t, dump(c))
	for _, path := range paths {
		if diff := cmp.Diff(any(want), at(got, path)["newer"]); diff != "" {
			t.Errorf("in %q (-want +got):\n%s", path, diff)
		}
	}
	if got["version"] != float64(c.Version) {
		t.Errorf("version %v, want %d", got["version"], c.Version)
	}
}

// An object that is omitted for being zero keeps what it does not know; one that is gone does not.
func TestRecordKeepsUnknownMembersOfWhatIsOmitted(t *testing.T) {
	var c Case
	if err := json.Unmarshal([]byte(`{"shape":2,"viewers":{"lease":{"newer":1}},"job":{"baseline":{"newer":2}}}`),
		&c); err != nil {
		t.Fatal(err)
	}
	c.Job.Baseline = nil
	got := object(t, dump(c))
	lease := got["viewers"].(map[string]any)["lease"]
	if diff := cmp.Diff(any(map[string]any{"newer": 1.0}), lease); diff != "" {
		t.Errorf("the lease (-want +got):\n%s", diff)
	}
	if baseline, ok := got["job"].(map[string]any)["baseline"]; ok {
		t.Errorf("the baseline is %v, want none", baseline)
	}
}

func TestRecordThatCannotBeRead(t *testing.T) {
	for data, want := range map[string]string{
		`[]`:                         "cannot unmarshal array",
		`{`:                          "unexpected end of JSON input",
		`{"case_id":"c","run":1}`:    "the record has shape 0, and this program reads shape 2: empty the store",
		`{"shape":3,"version":1}`:    "the record has shape 3",
		`{"shape":2,"version":"x"}`:  "cannot unmarshal string",
		`{"shape":2,"checks":[]}`:    "cannot unmarshal array",
		`{"shape":2} {"version": 1}`: "after top-level value",
	} {
		var c Case
		if err := json.Unmarshal([]byte(data), &c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", data, err, want)
		}
		if err := c.UnmarshalJSON([]byte(data)); err == nil {
			t.Errorf("%s was decoded", data)
		}
	}
}

// A record that can be read is written so that it reads the same, with the members that are not
// known, and is written the same again.
func FuzzRecord(f *testing.F) {
	for _, c := range []Case{{}, {
		Origin:  Origin{CaseID: "a", Run: 1},
		Version: 2,
		State:   Running,
		Job:     Job{Progress: Progress{Completed: 1, Total: 2, Current: "\u2028\x00"}},
		Outcome: Outcome{End: &End{Reason: ReasonDeadline}},
	}} {
		record, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record)
	}
	f.Add([]byte(`{"shape":2,"origin":{"case_id":"a","CASE_ID":"b"},"later":{"x":[1e400]},
		"VIEWERS":{"LEASE":{"a":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c, again Case
		if json.Unmarshal(data, &c) != nil {
			return
		}
		first, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		if err := json.Unmarshal(first, &again); err != nil || again.CaseID != c.CaseID || again.Run != c.Run ||
			again.Version != c.Version || again.State != c.State {
			t.Fatalf("%q is %+v, then %+v, %v", data, c, again, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%q is written as %s, then %s, %v", data, first, second, err)
		}
	})
}
