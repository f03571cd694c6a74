package main

import (
	"testing"

	"github.com/casewatch/casewatch/deploy/test/witness"
)

// A machine without a bug keeps every promise through every fault, and nothing of the drill is left
// open.
func TestHealthyMachineKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute: leave out -short")
	}
	where := newTarget(t, nil)
	code, rep, _ := drilled(t, where)
	if code != 0 || rep.Broken != 0 || rep.NotDrilled != 0 || rep.Leaked == nil || *rep.Leaked != 0 {
		t.Errorf("code %d: %+v", code, rep)
	}
	if len(rep.Faults) != len(faults) {
		t.Errorf("%d faults of %d", len(rep.Faults), len(faults))
	}
	for _, o := range rep.Faults {
		if o.Skipped != "" || len(o.Cases) == 0 {
			t.Errorf("%s was skipped: %s", o.Fault, o.Skipped)
		}
		for _, p := range witness.Promises {
			if o.Promises[p.Promise] != kept {
				t.Errorf("%s, %s: %s", o.Fault, p.Promise, o.Promises[p.Promise])
			}
		}
	}
	door := newDoor(where)
	defer door.http.CloseIdleConnections()
	var h health
	if err := door.console(t.Context(), "/-/health", &h); err != nil || h.Open != 0 {
		t.Errorf("open afterwards: %+v, %v", h, err)
	}
}
