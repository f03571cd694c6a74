package main

import (
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

func all(t *testing.T) map[string][]workload {
	t.Helper()
	all, err := workloads()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func find(t *testing.T, group, name string) workload {
	t.Helper()
	ws := all(t)[group]
	i := slices.IndexFunc(ws, func(w workload) bool { return w.name == name })
	if i < 0 {
		t.Fatalf("there are no runs %s, %s", group, name)
	}
	return ws[i]
}

// Every trace is one that can be: documents in order, none after the end.
func TestTraces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for group, ws := range all(t) {
		for _, w := range ws {
			for range 50 {
				tr := w.run(r)
				if len(tr.Documents) == 0 || !slices.IsSorted(tr.Documents) || tr.Documents[0] <= 0 ||
					tr.Documents[len(tr.Documents)-1] > tr.End*(1+1e-12) {
					t.Fatalf("%s, %s: %+v", group, w.name, tr)
				}
				if n := tr.done(tr.end() + time.Second); n != len(tr.Documents) || tr.done(0) != 0 {
					t.Fatalf("%s, %s: %d of %d done at its end", group, w.name, n, len(tr.Documents))
				}
			}
		}
	}
}

// The same runs give the same figures, whatever was compared before.
func TestRepeats(t *testing.T) {
	w := find(t, short, "bursty")
	if diff := gocmp.Diff(compare(short, w), compare(short, w)); diff != "" {
		t.Error(diff)
	}
}

// What is known beforehand: a poller of 2 s looks once for 2 s, and an end waits for half of that.
func TestBaselines(t *testing.T) {
	r := compare(short, find(t, short, "smooth"))
	p := r.of(fixed2)
	if p.Shortest != 2 || p.Longest != 2 || p.Lag < 0.9 || p.Lag > 1.1 || p.LagP99 > 2 ||
		p.Checks < 10 || p.Checks > 13 {
		t.Errorf("%+v", p)
	}
	var waits []float64
	last := time.Duration(0)
	for _, at := range rule(exponential).follow(trace{Documents: []float64{60}, End: 60}, rand.New(rand.NewPCG(1, 1))) {
		waits, last = append(waits, (at-last).Seconds()), at
	}
	if diff := gocmp.Diff([]float64{2, 3, 4.5, 6.75, 10.125, 15.1875, 22.78125}, waits); diff != "" {
		t.Error(diff)
	}
}

// compared are all figures, made once for all tests.
var compared = sync.OnceValues(func() ([]result, error) {
	all, err := workloads()
	return compareAll(all), err
})

func figures(t *testing.T, group, name string) result {
	t.Helper()
	results, err := compared()
	i := slices.IndexFunc(results, func(r result) bool { return r.Group == group && r.Workload == name })
	if err != nil || i < 0 {
		t.Fatalf("there are no figures of runs %s, %s (%v)", group, name, err)
	}
	return results[i]
}

// What the policy is for: at most half of the looks of a poller of 2 s for no more lag, and of runs
// of five minutes at most a tenth for 2.5 s. It holds where progress says when the end comes;
// results.md has the others too. Where documents take very different times, half of the looks have
// a few percent more lag, and for the pipeline that is modelled no more with 1 s between looks at
// least.
func TestGoals(t *testing.T) {
	for _, g := range []struct {
		group, name, policy string
		share               float64 // of the checks of a poller of 2 s
		lag                 float64 // seconds; 0: what the poller has
	}{
		{short, "smooth", nowKnows, 0.5, 0},
		{pipelines, "the sample pipeline, recorded", nowKnows, 0.5, 0},
		{short, "smooth", nowClose, 0.5, 0},
		{pipelines, "the sample pipeline, recorded", nowClose, 0.5, 0},
		{pipelines, "a document pipeline, modelled", nowClose, 0.5, 0},
		{minutes, "smooth", nowKnows, 0.1, 2.5},
		{minutes, "uneven", nowKnows, 0.1, 2.5},
	} {
		r := figures(t, g.group, g.name)
		poller, p := r.of(fixed2), r.of(g.policy)
		lag := cmp.Or(g.lag, poller.Lag)
		if p.Checks > g.share*poller.Checks || p.Lag > lag {
			t.Errorf("%s, %s, %s: %.2f checks at %.2f s, and a poller has %.2f at %.2f s",
				g.group, g.name, g.policy, p.Checks, p.Lag, poller.Checks, poller.Lag)
		}
	}
}

// Wherever progress says little, ends are found sooner by what was learned; and no wait breaks the settings.
func TestLearningPays(t *testing.T) {
	for _, group := range []string{short, minutes, bimodalRuns} {
		for _, name := range []string{"bursty", "stuck, then a jump", "silent"} {
			r := figures(t, group, name)
			knows, cold, old := r.of(nowKnows), r.of(nowCold), r.of(before)
			if knows.Lag >= 0.9*cold.Lag || knows.Lag > old.Lag {
				t.Errorf("%s, %s: lag %.2f s, %.2f s before it learned, and %.2f s by the policy before", group, name,
					knows.Lag, cold.Lag, old.Lag)
			}
		}
	}
	results, err := compared()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if p := r.of(nowKnows); p.Shortest < least.Seconds() || max(p.Longest, p.LagP99) > most.Seconds() {
			t.Errorf("%s, %s: waits %.3f to %.3f s", r.Group, r.Workload, p.Shortest, p.Longest)
		}
	}
}

// What is committed is what the code gives: figures in a decision rest on it.
func TestResultsAreCurrent(t *testing.T) {
	results, err := compared()
	if err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]string{"results.md": report(results), "frontier.svg": chart(results)} {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s is not what make policy writes (-kept +now):\n%s", file, diff)
		}
	}
	if text := table(results); strings.Count(text, nowCold) != len(results) {
		t.Error(text)
	}
	d := xml.NewDecoder(strings.NewReader(chart(results)))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The recorder reads what the sample pipeline shows.
func TestRecord(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the seconds that three documents take; without -short it runs")
	}
	recorded = recorded[:1]
	path := t.TempDir() + "/sample.json"
	if err := record(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), `"end":`) {
		t.Errorf("%s (%v)", data, err)
	}
}
