package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
)

// What a finished run tells of its duration begins with the last check that found the work not
// done, and ends with the one that found it done.
func TestRunEndedBetweenTwoChecks(t *testing.T) {
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	check := func(seconds int, in CheckOutcome) CheckOutcome {
		in.BeganAt = at(seconds).Add(-100 * time.Millisecond)
		return in
	}
	undone := func(seconds int) time.Time { return check(seconds, CheckOutcome{}).BeganAt }
	play := func(at1, at2, at3 CheckOutcome) *life {
		l := accepted(rules) // at 2 s
		return l.do(8*time.Second, check(10, at1)).do(10*time.Second, check(20, at2)).do(10*time.Second, check(30, at3))
	}
	done := shows(4, 4, StatusSucceeded)
	for name, test := range map[string]struct {
		l           *life
		first, last time.Time
	}{
		"two polls found it undone": {play(shows(1, 4, ""), shows(3, 4, ""), done), undone(20), at(30)},
		"with a status": {
			play(shows(1, 4, StatusRunning), shows(3, 4, StatusRunning), done), undone(20), at(30),
		},
		"a poll that failed tells nothing": {play(shows(1, 4, ""), failed, done), undone(10), at(30)},
		"all was counted before its report": {
			play(shows(1, 4, ""), shows(4, 4, StatusRunning), done), undone(10), at(20),
		},
		"no poll found it undone": {play(failed, failed, done), epoch.Add(time.Second), at(30)},
		"its report counts less": {play(shows(1, 4, ""), shows(2, 4, ""), shows(3, 4, StatusFailed)),
			undone(20), at(30)},
		"all was counted all along": {play(shows(4, 4, StatusRunning), shows(4, 4, StatusRunning), done),
			epoch.Add(time.Second), at(10)},
	} {
		sample, ok := test.l.c.DurationSample(0)
		if !ok || !sample.First.Equal(test.first) || !sample.Last.Equal(test.last) || !sample.FoundByPoll {
			t.Errorf("%s: got %v, %v to %v by a poll %v, want %v to %v by one", name, ok, sample.First, sample.Last,
				sample.FoundByPoll, test.first, test.last)
		}
	}
}

// The first check of a run comes when earlier runs suggest it. Without any it comes soon.
func TestFirstCheckGoesByEarlierRuns(t *testing.T) {
	took := func(d time.Duration) *schedule.DurationStats {
		var stats schedule.DurationStats
		for n := range 40 {
			now := epoch.Add(time.Duration(n) * time.Hour) // of runs that end together not all count
			stats, _ = stats.With(schedule.Sample{Documents: 4, StartedAt: now.Add(-d), First: now, Last: now}, now, 0)
		}
		return &stats
	}
	first := func(earlier *schedule.DurationStats) time.Duration {
		l := &life{r: rules, now: epoch}
		l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: earlier})
		return l.c.Checks.NextAt.Sub(epoch)
	}
	if got := first(nil); got != rules.CheckMinInterval {
		t.Errorf("without earlier runs it comes after %v, want %v", got, rules.CheckMinInterval)
	}
	if got := first(took(15 * time.Second)); got < 10*time.Second || got > 20*time.Second {
		t.Errorf("where runs took 15 s it comes after %v, want about that", got)
	}
	if got := first(took(10 * time.Minute)); got < 25*time.Second || got > rules.CheckMaxInterval {
		t.Errorf("where runs took 10 min it comes after %v, want almost %v", got, rules.CheckMaxInterval)
	}
}
