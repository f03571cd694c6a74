package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// While a lease is fresh another viewer counts only if the next check can be brought forward. The
// first viewer may have come when its task was not yet seen to be pending.
func TestFreshLeaseLeavesTheCheckToBeBroughtForward(t *testing.T) {
	l := far().do(0, Viewed{})
	lease, seq := l.c.Viewers.Lease, l.c.Checks.Seq
	if l.v.Kind != Applied || lease.Until.IsZero() || !l.r.NextCheckIsFar(l.c, l.now) {
		t.Fatalf("%s: %s", l.v.Kind, dump(l.c))
	}
	if !l.r.AcceptsViewer(l.c, l.now) {
		t.Error("another viewer has no effect, though the next check is far")
	}
	if l.do(time.Second, Viewed{}); l.v.Kind != Ignored {
		t.Errorf("without the task pending it is %s, want it ignored", l.v.Kind)
	}
	if l.do(0, Viewed{CheckPending: true}); l.v.Kind != Applied || l.c.Checks.Seq != seq+1 {
		t.Errorf("with the task pending it is %s, check #%d after #%d", l.v.Kind, l.c.Checks.Seq, seq)
	}
	if l.r.AcceptsViewer(l.c, l.now) {
		t.Error("another viewer would write without effect: the lease is fresh, and the next check is near")
	}
	if l.do(0, Viewed{CheckPending: true}); l.v.Kind != Ignored {
		t.Errorf("a third viewer is %s, want it ignored", l.v.Kind)
	}
}
