package cases_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestCaseID(t *testing.T) {
	for id, valid := range map[string]bool{
		"a": true, "z": true, "A": true, "Z": true, "0": true, "9": true,
		"a.b": true, "a_b": true, "a:b": true, "a-b": true, "a-._:": true,
		strings.Repeat("x", 128): true,

		"": false, strings.Repeat("x", 129): false,
		".a": false, "_a": false, ":a": false, "-a": false,
		// The neighbours of what is allowed, in ASCII.
		"@": false, "[": false, "`": false, "{": false, "/": false, ";": false,
		"a@": false, "a[": false, "a`": false, "a{": false, "a/": false, "a;": false,
		"a b": false, "a\n": false, "a\x00": false, "é": false,
	} {
		if got := ValidID(id); got != valid {
			t.Errorf("%q: got %v, want %v", id, got, valid)
		}
	}
}

func TestStatusesOfThePipeline(t *testing.T) {
	for status, want := range map[Status]struct{ known, terminal bool }{
		StatusNotGiven:  {false, false},
		StatusRunning:   {true, false},
		StatusSucceeded: {true, true},
		StatusFailed:    {true, true},
		"queued":        {false, false},
		"Running":       {false, false},
	} {
		if status.Known() != want.known || status.Terminal() != want.terminal {
			t.Errorf("%q: known %v, terminal %v, want %+v", status, status.Known(), status.Terminal(), want)
		}
	}
}

// A run that ends before it was seen at work began when its request was sent, if the pipeline says
// how it ended. Without that it is not known to have begun.
func TestStartOfARun(t *testing.T) {
	sent := epoch.Add(time.Second)
	inFlight := func() *life { return begin(rules, nil).inFlight() }
	for name, test := range map[string]struct {
		l    *life
		want time.Time
	}{
		"accepted":                    {accepted(rules), sent},
		"polled":                      {inFlight().read(time.Minute, 1, 4), sent},
		"its answer says succeeded":   {inFlight().outcome(DispatchSucceeded), sent},
		"its answer says failed":      {inFlight().outcome(DispatchFailed), sent},
		"an event says failed":        {inFlight().do(time.Minute, Event{ID: "e", Status: StatusFailed}), sent},
		"accepted, then it failed":    {accepted(rules).do(0, Event{ID: "e", Status: StatusFailed}), sent},
		"adopted, when it was polled": {adopt().read(time.Minute, 1, 4), epoch.Add(time.Minute)},

		"in flight":            {inFlight(), time.Time{}},
		"refused":              {inFlight().outcome(DispatchRefused), time.Time{}},
		"cancelled in flight":  {inFlight().do(0, Cancel{}), time.Time{}},
		"timed out in flight":  {inFlight().do(time.Hour, Tick{}), time.Time{}},
		"cancelled, queued":    {begin(rules, nil).do(0, Cancel{}), time.Time{}},
		"cancelled, not taken": {inFlight().outcome(DispatchBusy).do(0, Cancel{}), time.Time{}},
	} {
		if got := test.l.c.Job.StartedAt; !got.Equal(test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
