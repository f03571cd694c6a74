package sim

import (
	"slices"
	"testing"
	"time"
)

// Shrink reduces a plan while its record still breaks the promise: fewer cases, actions, faults and
// windows, and smaller values. It plays the plan at most the given number of times. The result is
// plain data; with the same code it breaks the promise again.
func Shrink(t *testing.T, p Plan, broken Promise, plays int) Plan {
	s := shrinker{t: t, promise: broken, left: plays}
	if exact := s.exact(p); s.breaks(exact) {
		p = exact
	}
	for changed := true; changed && s.left > 0; {
		changed = false
		passes := []func(*Plan) bool{s.cases, s.windows, s.faults, s.actions, s.readers, s.work, s.settings}
		for _, pass := range passes {
			if pass(&p) {
				changed = true
			}
		}
	}
	return p
}

type shrinker struct {
	t       *testing.T
	promise Promise
	left    int
}

// exact returns the plan with the random faults listed explicitly.
func (s *shrinker) exact(p Plan) Plan {
	s.left--
	rec := p.Run(s.t)
	p.Faults = slices.Concat(p.Faults, rec.Faults)
	p.Rate = 0
	return p
}

func (s *shrinker) breaks(p Plan) bool {
	if s.left <= 0 || len(p.Cases) == 0 || len(p.Skews) == 0 {
		return false
	}
	s.left--
	return slices.ContainsFunc(Check(p.Run(s.t)), func(v Violation) bool { return v.Promise == s.promise })
}

// without removes as many elements of a list as it can: first halves, then quarters, and at last
// single elements.
func without[T any](s *shrinker, p *Plan, list []T, put func(*Plan, []T)) bool {
	changed := false
	for size := max(1, len(list)/2); ; size /= 2 {
		for from := 0; from < len(list); {
			fewer := slices.Delete(slices.Clone(list), from, min(from+size, len(list)))
			trial := clonePlan(*p)
			put(&trial, fewer)
			if s.breaks(trial) {
				*p, list, changed = trial, fewer, true
			} else {
				from += size
			}
		}
		if size <= 1 {
			return changed
		}
	}
}

func clonePlan(p Plan) Plan {
	p.Faults, p.Windows, p.Cases, p.Skews = slices.Clone(
		p.Faults,
	), slices.Clone(
		p.Windows,
	), slices.Clone(
		p.Cases,
	), slices.Clone(
		p.Skews,
	)
	for i := range p.Cases {
		c := &p.Cases[i]
		c.Actions, c.Work, c.Readers = slices.Clone(c.Actions), slices.Clone(c.Work), slices.Clone(c.Readers)
	}
	return p
}

func (s *shrinker) cases(p *Plan) bool {
	return without(s, p, p.Cases, func(p *Plan, l []CasePlan) { p.Cases = l })
}

func (s *shrinker) windows(p *Plan) bool {
	return without(s, p, p.Windows, func(p *Plan, l []Window) { p.Windows = l })
}

func (s *shrinker) faults(p *Plan) bool {
	return without(s, p, p.Faults, func(p *Plan, l []Fault) { p.Faults = l })
}

func (s *shrinker) readers(p *Plan) (changed bool) {
	for i := range p.Cases {
		changed = without(s, p, p.Cases[i].Readers, func(p *Plan, l []Reader) { p.Cases[i].Readers = l }) || changed
	}
	return changed
}

func (s *shrinker) actions(p *Plan) (changed bool) {
	for i := range p.Cases {
		changed = without(s, p, p.Cases[i].Actions, func(p *Plan, l []Action) { p.Cases[i].Actions = l }) || changed
	}
	return changed
}

func (s *shrinker) work(p *Plan) (changed bool) {
	for i := range p.Cases {
		if len(p.Cases[i].Work) > 1 {
			changed = without(
				s,
				p,
				p.Cases[i].Work[1:],
				func(p *Plan, l []Work) { p.Cases[i].Work = append(p.Cases[i].Work[:1:1], l...) },
			) ||
				changed
		}
		for j := range p.Cases[i].Work {
			changed = without(
				s,
				p,
				p.Cases[i].Work[j].Events,
				func(p *Plan, l []Word) { p.Cases[i].Work[j].Events = l },
			) ||
				changed
			changed = without(
				s,
				p,
				p.Cases[i].Work[j].Before,
				func(p *Plan, l []string) { p.Cases[i].Work[j].Before = l },
			) ||
				changed
		}
	}
	return changed
}

// settings resets each setting to zero where the promise is still broken.
func (s *shrinker) settings(p *Plan) (changed bool) {
	try := func(is bool, change func(*Plan)) {
		if !is {
			return
		}
		trial := clonePlan(*p)
		change(&trial)
		if s.breaks(trial) {
			*p, changed = trial, true
		}
	}
	try(p.Encoded, func(p *Plan) { p.Encoded = false })
	try(p.Slow > 0, func(p *Plan) { p.Slow = 0 })
	try(p.Again > 0, func(p *Plan) { p.Again = 0 })
	try(!p.Flat, func(p *Plan) { p.Flat = true })
	try(len(p.Skews) > 1, func(p *Plan) { p.Skews = p.Skews[:1] })
	try(
		slices.ContainsFunc(p.Skews, func(d time.Duration) bool { return d != 0 }),
		func(p *Plan) { p.Skews = make([]time.Duration, len(p.Skews)) },
	)
	try(p.Until > 20*time.Minute, func(p *Plan) { p.Until /= 2 })
	for i := range p.Cases {
		for j := range p.Cases[i].Work {
			w := p.Cases[i].Work[j]
			set := func(w Work) func(*Plan) { return func(p *Plan) { p.Cases[i].Work[j] = w } }
			changes := []func(*Work){
				func(w *Work) { w.Back = 0 },
				func(w *Work) { w.Forgets = 0 },
				func(w *Work) { w.Stop = 0 },
				func(w *Work) { w.Says = false },
				func(w *Work) { w.Total, w.Each = 1, w.Duration() },
			}
			for _, change := range changes {
				simpler := w
				change(&simpler)
				differs := simpler.Back != w.Back || simpler.Forgets != w.Forgets || simpler.Stop != w.Stop ||
					simpler.Says != w.Says || simpler.Total != w.Total
				try(differs, set(simpler))
			}
		}
	}
	return changed
}
