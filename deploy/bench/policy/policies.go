package main

import (
	"math/rand/v2"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
)

// The settings that all policies keep, but the fixed ones: the defaults.
const (
	least    = 2 * time.Second
	most     = 30 * time.Second
	deadline = 2 * time.Hour
)

// follower follows runs, one after the other, and may learn from them.
type follower interface {
	// follow looks at a run until a look finds it ended, and returns when it looked.
	follow(t trace, r *rand.Rand) []time.Duration
}

// seen is what a policy of old goes by.
type seen struct {
	now         time.Duration // since the beginning
	moved       time.Duration // when progress last moved
	done, total int
	looks       int // so far
}

// rule is a policy that only knows the run: it says how long to wait with the next look.
type rule func(s seen, jitter float64) time.Duration

func (wait rule) follow(t trace, r *rand.Rand) []time.Duration {
	s := seen{total: len(t.Documents)}
	var looks []time.Duration
	for {
		s.now += wait(s, r.Float64())
		looks = append(looks, s.now)
		if s.now >= t.end() {
			return looks
		}
		s.looks++
		if done := t.done(s.now); done > s.done {
			s.done, s.moved = done, s.now
		}
	}
}

func fixed(every time.Duration) rule {
	return func(seen, float64) time.Duration { return every }
}

// exponential is what the cloud's own clients do while they wait for an operation.
func exponential(s seen, _ float64) time.Duration {
	wait := float64(least)
	for range s.looks {
		wait = min(wait*1.5, float64(most))
	}
	return time.Duration(wait)
}

// halfOfRest waits for half of what seems to remain; without progress, for half of the time so far.
func halfOfRest(s seen, _ float64) time.Duration {
	if s.done == 0 {
		return within(s.now / 2)
	}
	return within(s.now * time.Duration(s.total-s.done) / time.Duration(2*s.done))
}

// previous is what Casewatch did before it learned: half of the rest, give or take a tenth; without
// progress, of the time since it moved.
func previous(s seen, jitter float64) time.Duration {
	wait := (s.now - s.moved) / 2
	if s.done > 0 && s.done < s.total {
		wait = s.now * time.Duration(s.total-s.done) / time.Duration(2*s.done)
	}
	return within(time.Duration(float64(wait) * (0.9 + 0.2*jitter)))
}

func within(wait time.Duration) time.Duration { return min(max(wait, least), most) }

// rules are those that decide in production.
var rules = cases.Rules{
	PipelineTimeout: 29*time.Minute + 30*time.Second, CheckMinInterval: least, CheckMaxInterval: most,
	StartGrace: 2 * time.Minute, CompletionGrace: 30 * time.Second, StallAfter: 5 * time.Minute,
	UnreachableAfter: 10 * time.Minute,
	Retention:        720 * time.Hour, FormRetention: 24 * time.Hour,
}

// production is the code that decides in production: runs are records to which the rules apply what
// the looks find. With learns, a run knows of those before it.
type production struct {
	least  time.Duration
	learns bool
	stats  schedule.DurationStats
	began  time.Time
	runs   int
}

func (p *production) follow(t trace, r *rand.Rand) []time.Duration {
	if p.began.IsZero() {
		p.began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	p.began, p.runs = p.began.Add(deadline), p.runs+1
	now, rules := p.began, rules
	rules.CheckMinInterval = p.least
	var c cases.Case
	do := func(in cases.Input) { c, _ = rules.Apply(c, in, now, r.Float64()) }
	start := cases.Started{CaseID: "c", Run: 1, Deadline: deadline}
	if p.learns {
		past := p.stats
		start.Earlier = &past
	}
	do(start)
	do(cases.DispatchBegun{Seq: 1, Nonce: "n"})
	do(cases.DispatchOutcome{Nonce: "n", Kind: cases.DispatchAccepted})
	var looks []time.Duration
	for !c.State.Ended() {
		now = c.Checks.NextAt
		after := now.Sub(p.began)
		looks = append(looks, after)
		reading := cases.Reading{Completed: t.done(after), Total: len(t.Documents), Percent: -1, Status: "running"}
		if after >= t.end() {
			reading.Status = "succeeded"
		}
		do(cases.CheckOutcome{Seq: c.Checks.Seq, BeganAt: now, Kind: cases.CheckReading, Reading: reading})
	}
	if !p.learns {
		return looks
	}
	if sample, ok := c.DurationSample(r.Float64()); ok {
		p.stats, _ = p.stats.With(sample, now, r.Float64())
	}
	return looks
}
