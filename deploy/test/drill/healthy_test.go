package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

// A machine without a bug keeps every promise through every fault, and nothing of the drill is left open.
func TestHealthyMachineKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute: leave out -short")
	}
	where := newTarget(t, nil)
	dir := t.TempDir()
	if err := where.Write(dir); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := command(t.Context(), []string{"--json", "--target", filepath.Join(dir, target.File)}, func(string) (string, bool) { return "", false }, &out, logged{t})
	var rep report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	var table strings.Builder
	if err := rep.print(&table); err != nil {
		t.Error(err)
	}
	t.Log("\n" + table.String())
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
		for _, p := range promises {
			if o.Promises[p.promise] != kept {
				t.Errorf("%s, %s: %s", o.Fault, p.promise, o.Promises[p.promise])
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
