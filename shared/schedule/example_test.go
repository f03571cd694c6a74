package schedule_test

import (
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// The worked example of the package documentation.
func ExampleForecast_Wait() {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	interval := schedule.Interval{Min: 2 * time.Second, Max: 30 * time.Second}

	// 200 earlier runs with 30 documents took 18 to 22 s.
	var earlier schedule.DurationStats
	for i := range 200 {
		started := began.Add(time.Duration(i-200) * time.Hour)
		end := started.Add(18*time.Second + time.Duration(i)*20*time.Millisecond)
		sample := schedule.Sample{Documents: 30, StartedAt: started, First: end, Last: end, FoundByPoll: true}
		earlier, _ = earlier.With(sample, end, 0)
	}
	run := schedule.Run{BeganAt: began, DeadlineAt: began.Add(time.Hour), Earlier: &earlier}
	for _, elapsed := range []time.Duration{0, 19500 * time.Millisecond, 2 * time.Minute} {
		wait := schedule.NewForecast(run, began.Add(elapsed), interval).Wait(interval, 0.5)
		fmt.Printf("after %v: wait %v\n", elapsed, wait.Round(100*time.Millisecond))
	}

	// Another run has 10 of its 30 documents after a minute.
	now := began.Add(time.Minute)
	run.Estimate, _ = schedule.EstimateEnd(began, now, 10, 30, 0)
	fmt.Printf("expected to end after %v\n", run.Estimate.EndAt.Sub(began).Round(time.Second))
	wait := schedule.NewForecast(run, now, interval).Wait(interval, 0.5)
	fmt.Printf("after 1m0s: wait %v\n", wait.Round(100*time.Millisecond))
	// Output:
	// after 0s: wait 19.1s
	// after 19.5s: wait 2s
	// after 2m0s: wait 18s
	// expected to end after 2m51s
	// after 1m0s: wait 29.6s
}
