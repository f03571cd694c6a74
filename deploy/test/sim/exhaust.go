package sim

import (
	"slices"
	"testing"
	"time"
)

// exhaustKinds are the faults that are tried at each call.
var exhaustKinds = []FaultKind{
	FailBefore,
	FailAfter,
	ConflictBefore,
	CrashBefore,
	CrashAfter,
	SlowBefore,
	RepeatHere,
	CancelHere,
	SupersedeHere,
	PurgeHere,
}

// exhaustFor is the delay of a slow call. It is longer than the sweep waits for a task, and than
// the client of a queue waits.
const exhaustFor = 40 * time.Second

// Exhausted is the result of an exhaustive search.
type Exhausted struct {
	Runs     []int  // with so many faults: none, one, two, …
	Complete []bool // it was not cut short
	Broken   []Plan
	Found    []Violation // the first of each
}

// Exhaust plays a plan, which has no faults of its own, with every fault at every call, then with
// every two, and so on up to most, until the time is over, or enough of them are found that break a
// promise. Each further fault is at a call after the one before, as the run with that one shows it,
// so that each choice of faults is one run.
//
// Of the faults that may come next one in sparse is played; 1: all.
func Exhaust(t *testing.T, base Plan, most, enough, sparse int, until time.Time) Exhausted {
	x := Exhausted{Runs: make([]int, most+1), Complete: make([]bool, most+1)}
	for depth := range most + 1 {
		s := search{t: t, until: until, depth: depth, enough: enough, sparse: sparse, found: &x}
		s.extend(base, 0)
		x.Complete[depth] = !s.cut
		if s.cut {
			break
		}
	}
	return x
}

type search struct {
	t      *testing.T
	until  time.Time
	depth  int
	enough int
	sparse int
	found  *Exhausted
	cut    bool
}

func (s *search) extend(p Plan, faults int) {
	if s.cut = s.cut || len(s.found.Broken) >= s.enough || time.Now().After(s.until); s.cut {
		return
	}
	rec := p.Run(s.t)
	if faults == s.depth {
		s.found.Runs[faults]++
		if v := Check(rec); len(v) > 0 {
			s.found.Broken = append(s.found.Broken, p)
			s.found.Found = append(s.found.Found, v[0])
		}
		return
	}
	for i, f := range rec.next(p.Faults) {
		if i%s.sparse != 0 {
			continue
		}
		trial := p
		trial.Faults = append(slices.Clone(p.Faults), f)
		s.extend(trial, faults+1)
	}
}

// next returns the faults that may follow the last one in the plan.
func (r *Record) next(faults []Fault) []Fault {
	from := 0
	if n := len(faults); n > 0 {
		last := faults[n-1]
		from = 1 + slices.IndexFunc(
			r.Entries,
			func(e Entry) bool { return e.Invocation == last.Invocation && e.Call == last.Call },
		)
		if from == 0 {
			return nil // it had no effect
		}
	}
	seen := map[faultKey]bool{}
	var all []Fault
	for i := from; i < len(r.Entries); i++ {
		e := &r.Entries[i]
		key := faultKey{e.Invocation, e.Call}
		if e.Call == 0 || e.Case == "" || seen[key] {
			continue
		}
		seen[key] = true
		for _, k := range exhaustKinds {
			c := call{what: e.What}
			if !c.may(k) || k == CancelHere && e.Case == "" {
				continue
			}
			f := Fault{Invocation: e.Invocation, Call: e.Call, Kind: k}
			if k == SlowBefore {
				f.For = exhaustFor
			}
			all = append(all, f)
		}
	}
	return all
}
