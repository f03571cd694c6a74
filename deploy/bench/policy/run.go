package main

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	learned  = 300 // runs that each policy follows before it is measured
	measured = 400
	fewer    = 8 // so much of both for runs of the better part of an hour
)

// point is what a policy did with a kind of runs.
type point struct {
	Policy            string
	Checks            float64 // per case
	Lag, LagP99       float64 // seconds from an end to the look that found it
	Shortest, Longest float64 // seconds between two looks
}

// result is what all policies did with a kind of runs.
type result struct {
	Group, Workload string
	Points          []point
}

// The names of the policies that others are measured by.
const (
	fixed2   = "fixed 2 s"
	before   = "before"
	nowCold  = "now, nothing learned"
	nowKnows = "now"
	nowClose = "now, from 1 s" // CHECK_MIN_INTERVAL=1s
)

type policy struct {
	name string
	make func() follower // anew for each kind of runs
}

func policies() []policy {
	of := func(r rule) func() follower { return func() follower { return r } }
	return []policy{
		{fixed2, of(fixed(2 * time.Second))},
		{"fixed 5 s", of(fixed(5 * time.Second))},
		{"×1.5 to 30 s", of(exponential)},
		{"half of the rest", of(halfOfRest)},
		{before, of(previous)},
		{nowCold, func() follower { return &production{least: least} }},
		{nowKnows, func() follower { return &production{least: least, learns: true} }},
		{nowClose, func() follower { return &production{least: least / 2, learns: true} }},
	}
}

func compareAll(of map[string][]workload) []result {
	var all []result
	for _, group := range groups {
		for _, w := range of[group] {
			all = append(all, compare(group, w))
		}
	}
	return all
}

// compare follows the same runs by each policy.
func compare(group string, w workload) result {
	r := result{Group: group, Workload: w.name}
	first, then := learned, measured
	if group == hour {
		first, then = first/fewer, then/fewer
	}
	for _, p := range policies() {
		r.Points = append(r.Points, measure(p, group+w.name, w, first, then))
	}
	return r
}

func measure(by policy, seed string, w workload, first, then int) point {
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	runs := rand.New(rand.NewPCG(h.Sum64(), 1)) // the same for each policy
	own := rand.New(rand.NewPCG(h.Sum64(), 2))
	f, p := by.make(), point{Policy: by.name, Shortest: most.Seconds()}
	var lags []float64
	for i := range first + then {
		t := w.run(runs)
		looks := f.follow(t, own)
		if i < first {
			continue
		}
		p.Checks += float64(len(looks)) / float64(then)
		lags = append(lags, (looks[len(looks)-1] - t.end()).Seconds())
		last := time.Duration(0)
		for _, at := range looks {
			p.Longest, p.Shortest = max(p.Longest, (at-last).Seconds()), min(p.Shortest, (at-last).Seconds())
			last = at
		}
	}
	slices.Sort(lags)
	for _, lag := range lags {
		p.Lag += lag / float64(then)
	}
	p.LagP99 = lags[then*99/100]
	return p
}

func (r result) of(policy string) point {
	i := slices.IndexFunc(r.Points, func(p point) bool { return p.Policy == policy })
	return r.Points[i]
}
