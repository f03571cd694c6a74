package sim

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	seeds   = flag.Int("seeds", 150, "how many seeds TestSimulation plays")
	first   = flag.Uint64("first", 1, "the first of them")
	seconds = flag.Int("seconds", 0, "play for so many seconds instead")
	story   = flag.Bool("story", false, "tell the story of every run")
)

func TestSimulation(t *testing.T) {
	began := time.Now()
	runs, all, ends := 0, 0, map[string]int{}
	for seed := *first; ; seed++ {
		if *seconds > 0 && time.Since(began) > time.Duration(*seconds)*time.Second || *seconds == 0 && runs >= *seeds {
			break
		}
		plan := Generate(seed)
		rec := plan.Run(t)
		runs++
		all += len(plan.Cases)
		for _, e := range rec.Entries {
			if cs, ok := e.Data.(Commits); ok {
				for _, c := range cs {
					if c.Case.State.Ended() && c.Case.EndVersion == c.Case.Version {
						ends[string(c.Case.State)+" "+string(c.Case.End.Reason)+" "+string(c.Case.End.Source)]++
					}
				}
			}
		}
		if *story {
			t.Log(rec.Story(""))
		}
		if v := Check(rec); len(v) > 0 {
			for _, one := range v[:min(len(v), 3)] {
				t.Errorf("seed %d: %v", seed, one)
			}
		}
	}
	took := time.Since(began)
	t.Logf("%d runs, %d cases in %v: %.0f runs/min, %.0f cases/min; %v", runs, all, took.Round(time.Millisecond), float64(runs)/took.Minutes(), float64(all)/took.Minutes(), ends)
}

// TestOneSeedIsOneRun: everything that is seen repeats exactly.
func TestOneSeedIsOneRun(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		plan := Generate(seed)
		first := plan.Run(t)
		if again := plan.Run(t); first.Hash() != again.Hash() {
			t.Errorf("seed %d: a second run was another", seed)
		}
	}
}
