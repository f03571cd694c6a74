package sim

import (
	"slices"
	"testing"
	"time"
)

// exhaustKinds are the faults that are tried at each call.
var exhaustKinds = []FaultKind{FailBefore, FailAfter, ConflictBefore, CrashBefore, CrashAfter, SlowBefore, RepeatHere, CancelHere, SupersedeHere, PurgeHere}

// exhaustFor is how slow a slow call is: slower than the sweep waits for a task, and than the client of a queue waits.
const exhaustFor = 40 * time.Second

// Exhausted is how far an exhaustive search came.
type Exhausted struct {
	Runs     []int  // with so many faults: none, one, two, …
	Complete []bool // all of them
	Broken   []Plan
	Found    []Violation // the first of each
}

// Exhaust plays a plan, which has no faults of its own, with every fault at every call, then with every two, and so on up to most, until the time
// is over. Each further fault is at a call after the one before, as the run with that one shows it, so that each choice of faults is one run.
func Exhaust(t *testing.T, base Plan, most int, until time.Time) Exhausted {
	x := Exhausted{Runs: make([]int, most+1), Complete: make([]bool, most+1)}
	for depth := range most + 1 {
		s := search{t: t, until: until, depth: depth, found: &x}
		s.extend(base, 0)
		x.Complete[depth] = !s.cut
		if s.cut {
			break
		}
	}
	return x
}

type search struct {
	t     *testing.T
	until time.Time
	depth int
	found *Exhausted
	cut   bool
}

func (s *search) extend(p Plan, faults int) {
	if s.cut = s.cut || time.Now().After(s.until); s.cut {
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
	for _, f := range rec.next(p.Faults) {
		trial := p
		trial.Faults = append(slices.Clone(p.Faults), f)
		s.extend(trial, faults+1)
	}
}

// next are the faults that may follow the last of those there are.
func (r *Record) next(faults []Fault) []Fault {
	from := 0
	if n := len(faults); n > 0 {
		last := faults[n-1]
		from = 1 + slices.IndexFunc(r.Entries, func(e Entry) bool { return e.Invocation == last.Invocation && e.Call == last.Call })
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

// Small are the plans that an exhaustive search begins with, by what the pipeline does: one case, one start, everything over in a minute or two.
func Small() map[string]Plan {
	rules := defaultRules
	rules.PipelineTimeout, rules.CheckMinInterval, rules.CheckMaxInterval = 50*time.Second, 5*time.Second, 15*time.Second
	rules.StartGrace, rules.CompletionGrace, rules.UnreachableAfter, rules.StallAfter = 12*time.Second, 8*time.Second, 25*time.Second, 20*time.Second
	base := Plan{Seed: 1, Rules: rules, Deadline: 75 * time.Second, CheckTimeout: 3 * time.Second, Skews: []time.Duration{0}, SweepEvery: 30 * time.Second,
		Tombstone: 24 * time.Hour, Flat: true, Until: time.Second}
	with := func(w Work) Plan {
		p := base
		p.Cases = []CasePlan{{ID: "c", Actions: []Action{{At: 100 * time.Millisecond, Do: "start", Key: "k", Tries: 5}}, Work: []Work{w}}}
		return p
	}
	ends := Word{Status: "succeeded", After: 500 * time.Millisecond, Result: true, Delay: 100 * time.Millisecond}
	idempotent := with(Work{Answer: AnswerCut, Cut: time.Second, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess})
	idempotent.Rules.Idempotent = true
	return map[string]Plan{
		"it says 202, then an event":      with(Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess, Events: []Word{ends}}),
		"it says 202, and nothing more":   with(Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess}),
		"it answers when it is done":      with(Work{Answer: AnswerResult, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess}),
		"it answers, and an event":        with(Work{Answer: AnswerResult, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess, Events: []Word{ends}}),
		"it cuts the connection, and not": with(Work{Answer: AnswerCut, Cut: time.Second, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess}),
		"it cuts, and may be asked again": idempotent,
		"it is busy, then refuses":        with(Work{Before: []string{NotStartedBusy}, Answer: AnswerRefused, Total: 1, Each: time.Second, Outcome: OutcomeSuccess}),
		"it never ends":                   with(Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeNowhere}),
	}
}
