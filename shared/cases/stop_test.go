package cases_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// job is a run of a pipeline that names its jobs, whose answer named "j".
func job(r Rules) *life { return begin(r, nil).inFlight().answers(DispatchAccepted, "j") }

func TestStopFollowsTheEnd(t *testing.T) {
	cannot := named
	cannot.CanCancel = false
	for name, test := range map[string]struct {
		l    *life
		want StopState
	}{
		"cancelled":  {job(named).do(0, Cancel{}), StopRequested},
		"superseded": {job(named).do(0, Cancel{Superseded: true}), StopRequested},
		"timed out": {
			job(named).do(time.Hour, CheckOutcome{Kind: CheckSkipped}),
			StopRequested,
		},
		"timed out, by the sweep":   {job(named).do(time.Hour, Tick{}), StopRequested},
		"cancelled, by run":         {begin(byRun, nil).inFlight().do(0, Cancel{}), StopRequested},
		"succeeded":                 {job(named).do(0, shows(0, 0, "succeeded")), StopNone},
		"failed":                    {job(named).do(0, shows(0, 0, "failed")), StopNone},
		"cancelled by the pipeline": {job(named).do(0, shows(0, 0, "cancelled")), StopNone},
		"cancelled by a callback": {
			job(named).do(0, Event{ID: "e", Status: "cancelled", Callback: true}),
			StopNone,
		},
		"lost":                         {job(named).do(0, unknown).do(11*time.Minute, unknown), StopNone},
		"cancelled before it was sent": {begin(named, nil).do(0, Cancel{}), StopNone},
		"cancelled before, by run":     {begin(byRun, nil).do(0, Cancel{}), StopNone},
		"cancelled, job not named":     {begin(named, nil).inFlight().do(0, Cancel{}), StopNone},
		"the pipeline cannot cancel":   {job(cannot).do(0, Cancel{}), StopNone},
		"the answer came late": {
			begin(named, nil).inFlight().do(0, Cancel{}).answers(DispatchAccepted, "j"),
			StopRequested,
		},
		"a late answer without a name": {
			begin(named, nil).inFlight().do(0, Cancel{}).answers(DispatchAccepted, ""),
			StopNone,
		},
		"a late answer, by run": {
			begin(byRun, nil).inFlight().do(0, Cancel{}).stop(0, CancelConfirmed).answers(DispatchAccepted, ""),
			StopRequested,
		},
		"a late answer after a success": {
			begin(named, nil).inFlight().do(0, Event{ID: "e", Status: "failed"}).answers(DispatchAccepted, "j"),
			StopNone,
		},
		"a late answer that nothing began": {
			begin(named, nil).inFlight().do(0, Cancel{}).answers(DispatchBusy, ""),
			StopNone,
		},
		"a late uncertain answer with name": {
			begin(named, nil).inFlight().do(0, Cancel{}).answers(DispatchUncertain, "j"),
			StopRequested,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.l.c.Stop.State != test.want {
				t.Errorf("stop is %q, want %q: %s", test.l.c.Stop.State, test.want, dump(test.l.c))
			}
		})
	}
}

func TestStopIsTriedUntilItIsKnown(t *testing.T) {
	l := job(named).do(time.Second, Cancel{}).do(0, Finalized{})
	if l.c.Stop.Seq != 1 || !l.c.Stop.At.Equal(l.now) || !l.c.Bookkeeping.OverdueAt.Equal(l.now) {
		t.Fatalf("%+v", l.c.Stop)
	}
	first := l.now.Add(time.Second)
	l.stop(time.Second, CancelAgain)
	if l.c.Stop.Seq != 2 || !l.c.Stop.At.After(l.now) || l.c.Stop.At.After(l.now.Add(2*time.Second)) {
		t.Fatalf("after a second: %+v", l.c.Stop)
	}
	old := l.c.Stop.Seq - 1
	if l.do(0, StopOutcome{Seq: old, CancelOutcome: CancelOutcome{Kind: CancelConfirmed}}); l.v.Kind != Stale {
		t.Errorf("an outcome of the request before is %s", l.v.Kind)
	}
	in := StopOutcome{Seq: 2, CancelOutcome: CancelOutcome{Kind: CancelAgain, RetryAfter: time.Minute}}
	if l.do(time.Second, in); !l.c.Stop.At.Equal(l.now.Add(time.Minute)) {
		t.Errorf("the pipeline asked for a minute: %+v at %v", l.c.Stop, l.now)
	}
	for n := 0; l.c.Stop.State == StopRequested; n++ {
		if n > 100 {
			t.Fatal("it is tried for ever")
		}
		l.now = later(l.now, l.c.Stop.At)
		l.stop(0, CancelAgain)
	}
	if l.c.Stop.State != StopFailed || !l.now.Equal(first.Add(rules.UnreachableAfter)) ||
		l.c.Stop.Problem != "said so" {
		t.Errorf("%+v after %v", l.c.Stop, l.now.Sub(first))
	}
	if !l.c.Bookkeeping.OverdueAt.Equal(rules.FormExpiresAt(l.c)) || !l.c.UpdatedAt.Equal(l.now) {
		t.Errorf("%s", dump(l.c))
	}
	l = job(named).do(0, Cancel{}).stop(time.Second, CancelConfirmed)
	if l.c.Stop.State != StopConfirmed || !l.c.UpdatedAt.Equal(l.now) || l.c.State != Cancelled {
		t.Errorf("%s", dump(l.c))
	}
	if l.stop(0, CancelConfirmed); l.v.Kind != Stale {
		t.Error(l.v.Kind)
	}
	l = job(named).do(0, Cancel{}).stop(time.Second, CancelFailed)
	if l.c.Stop.State != StopFailed || l.c.Stop.Problem != "said so" {
		t.Errorf("%+v", l.c.Stop)
	}
}

func TestAnswerAfterTheEndIsTakenInOnce(t *testing.T) {
	l := begin(named, nil).inFlight().do(0, Cancel{}).do(0, Finalized{}).answers(DispatchAccepted, "j")
	if l.c.Job.ID != "j" || l.c.Stop.Seq != 1 {
		t.Fatalf("%s", dump(l.c))
	}
	if l.answers(DispatchAccepted, "j"); l.v.Kind != Ignored {
		t.Errorf("the same answer again is %s", l.v.Kind)
	}
}

func TestStopIsRepairedAndConfirmedByAReport(t *testing.T) {
	l := job(named).do(0, Cancel{}).do(0, Finalized{})
	if l.do(time.Minute, Tick{}); l.v.Kind != Ignored {
		t.Errorf("nothing is lost: %s", l.v.Kind)
	}
	if l.do(0, Tick{StopLost: true}); l.c.Stop.Seq != 2 || !l.c.Stop.At.Equal(l.now) {
		t.Errorf("%+v", l.c.Stop)
	}
	l.do(time.Second, Event{ID: "e", Status: StatusCancelled, Callback: true})
	if l.c.Stop.State != StopConfirmed || l.c.Outcome.Late != nil {
		t.Errorf("the pipeline said that it cancelled the job: %s", dump(l.c))
	}
	if l.do(0, Tick{StopLost: true}); l.v.Kind != Ignored {
		t.Error(l.v.Kind)
	}
	l = job(named).do(0, Cancel{}).do(time.Second, Event{ID: "e", Status: StatusSucceeded, Callback: true})
	if l.c.Stop.State != StopRequested || l.c.Outcome.Late == nil || l.c.Outcome.Late.Source != SourceCallback {
		t.Errorf("a job that succeeds all the same is late: %s", dump(l.c))
	}
	l = job(named).do(0, shows(0, 0, "failed")).do(0, Event{ID: "e", Status: StatusCancelled, Callback: true})
	if l.c.Outcome.Late == nil || l.c.Outcome.Late.State != Cancelled {
		t.Errorf("%s", dump(l.c))
	}
}

func TestStopDeliveryIsComparedWithTheRecord(t *testing.T) {
	l := job(named).do(0, Cancel{})
	for range 3 {
		l.stop(time.Second, CancelAgain)
	}
	for seq, want := range map[int64]Delivery{
		5: DeliveryNewer, 4: DeliveryCurrent, 3: DeliveryOlder, 2: DeliveryStale,
	} {
		if got := l.c.StopDelivery(seq); got != want {
			t.Errorf("%d: %s, want %s", seq, got, want)
		}
	}
	if got := l.stop(0, CancelFailed).c.StopDelivery(4); got != DeliveryEnded {
		t.Error(got)
	}
}

func TestTheTimelineTellsOfTheStop(t *testing.T) {
	l := job(named).do(0, Cancel{}).stop(0, CancelAgain).stop(0, CancelFailed)
	var got []string
	for _, n := range l.c.Timeline {
		if strings.HasPrefix(string(n.What), "stop") {
			got = append(got, string(n.What)+" "+string(n.Source)+" "+n.Detail)
		}
	}
	want := "stopped cancel |stop_again cancel said so|stop_failed cancel said so"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
}
