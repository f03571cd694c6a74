package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	seeds   = flag.Int("seeds", 50, "how many seeds TestSimulation plays")
	first   = flag.Uint64("first", 1, "the first of them")
	seconds = flag.Int("seconds", 0, "play for so many seconds instead")
	stop    = flag.Bool("stop", false, "stop at the first promise that is broken")
	shrink  = flag.Int("shrink", 400, "how often a failing plan is played to cut it down")
	exhaust = flag.Duration("exhaust", 0, "how long TestExhaustive searches; 0: single faults")
	sparse  = flag.Int("sparse", 7, "of the single faults TestExhaustive plays every so many; with -exhaust, all")
	keep    = flag.String("keep", "", "a folder for the plans that it was cut down to")
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
					if c.Case.State.Ended() && c.Case.Outcome.EndVersion == c.Case.Version {
						end := c.Case.Outcome.End
						ends[string(c.Case.State)+" "+string(end.Reason)+" "+string(end.Source)]++
					}
				}
			}
		}
		if *story {
			t.Log(rec.Story(""))
		}
		if v := Check(rec); len(v) > 0 {
			report(t, seed, plan, v)
			if *stop {
				return
			}
		}
	}
	took := time.Since(began)
	t.Logf(
		"%d runs, %d cases in %v: %.0f runs/min, %.0f cases/min; %v",
		runs,
		all,
		took.Round(time.Millisecond),
		float64(runs)/took.Minutes(),
		float64(all)/took.Minutes(),
		ends,
	)
}

// TestOneSeedIsOneRun: everything that is seen repeats exactly.
func TestOneSeedIsOneRun(t *testing.T) {
	for seed := uint64(1); seed <= 15; seed++ {
		plan := Generate(seed)
		first := plan.Run(t)
		if again := plan.Run(t); first.Hash() != again.Hash() {
			t.Errorf("seed %d: a second run was another", seed)
		}
	}
}

// report tells of a plan that broke promises: which, and for the first, the story of the smallest
// plan that breaks it.
func report(t *testing.T, seed uint64, plan Plan, broken []Violation) {
	t.Helper()
	for _, one := range broken[:min(len(broken), 3)] {
		t.Errorf("seed %d: %v", seed, one)
	}
	if *shrink == 0 {
		return
	}
	small := Shrink(t, plan, broken[0].Promise, *shrink)
	rec := small.Run(t)
	data, err := json.MarshalIndent(small, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		err := os.WriteFile(filepath.Join(*keep, fmt.Sprintf("seed-%d.json", seed)), append(data, '\n'), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the smallest plan that does so:\n%s\n%s\n%v", data, rec.Story(""), Check(rec))
}

// TestExhaustive plays each small plan with single faults, with -sparse=1 with every one at every
// call, and with -exhaust=5m with every two, and more.
func TestExhaustive(t *testing.T) {
	plans := Small()
	for _, name := range slices.Sorted(maps.Keys(plans)) {
		most, enough, until := 1, 5, time.Now().Add(time.Minute)
		if *exhaust > 0 {
			most, *sparse, until = 9, 1, time.Now().Add(*exhaust/time.Duration(len(plans)))
		}
		if *stop {
			enough = 1
		}
		began := time.Now()
		x := Exhaust(t, plans[name], most, enough, *sparse, until)
		t.Logf(
			"%s: with none, one, two, … faults, one in %d: %d runs, to the end: %v; %v",
			name,
			*sparse,
			x.Runs,
			x.Complete,
			time.Since(began).Round(time.Millisecond),
		)
		for i, p := range x.Broken {
			t.Errorf("%s, %v: %v", name, p.Faults, x.Found[i])
			if i == 0 && *shrink > 0 {
				t.Log(p.Run(t).Story(""))
			}
		}
		if *stop && t.Failed() {
			return
		}
	}
}
