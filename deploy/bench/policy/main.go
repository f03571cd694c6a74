// Command policy compares when to look at a run: policies of old beside the one of shared/cases,
// over traces of how runs may go.
//
//	go run ./policy            prints the tables, and writes results.md and frontier.svg
//	go run ./policy -record    records the sample pipeline anew (about a minute)
//
// A trace says when each document of a run was done, and when the run. Every policy looks at the
// same runs, by polling alone: the end is known once a look comes after it. What is counted is the
// looks, the last one included, and how long the end had waited for it. The policy of shared/cases
// is not rebuilt here: records go through its rules, as in production. Everything is a function of
// the seed.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", "policy", "where the results are written")
	again := flag.Bool("record", false, "record the sample pipeline anew instead")
	flag.Parse()
	var err error
	if *again {
		err = record(filepath.Join(*dir, "testdata", "sample.json"))
	} else {
		err = run(*dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) error {
	groups, err := workloads()
	if err != nil {
		return err
	}
	results := compareAll(groups)
	fmt.Print(table(results))
	return cmp.Or(
		os.WriteFile(filepath.Join(dir, "results.md"), []byte(report(results)), 0o600),
		os.WriteFile(filepath.Join(dir, "frontier.svg"), []byte(chart(results)), 0o600),
	)
}

// workloads are the kinds of runs, in the groups in which they are shown.
func workloads() (map[string][]workload, error) {
	all := map[string][]workload{}
	shapes := []struct {
		name string
		shape
	}{{"smooth", smooth}, {"uneven", uneven}, {"bursty", bursty}, {"stuck, then a jump", stuck}, {"silent", silent}}
	for _, g := range []struct {
		name      string
		documents int
		lengths
	}{
		{short, 30, lognormal(20, 0.5, 5, 60)},
		{minutes, 100, lognormal(300, 0.25, 120, 900)},
		{hour, 400, lognormal(2700, 0.3, 900, 5400)},
		{bimodalRuns, 30, bimodal(10, 50, 0.3)},
		{heavyTail, 30, pareto(5, 1.3, 3600)},
	} {
		for _, s := range shapes {
			all[g.name] = append(all[g.name], synthetic(s.name, g.documents, g.lengths, s.shape))
		}
	}
	var rec recording
	if err := load("sample.json", &rec); err != nil {
		return nil, err
	}
	var d description
	if err := load("described.json", &d); err != nil {
		return nil, err
	}
	all[pipelines] = []workload{
		replayed("the sample pipeline, recorded", rec), described("a document pipeline, modelled", d),
	}
	return all, nil
}

// The groups, in the order in which they are shown.
const (
	short       = "5–60 s"
	minutes     = "5 minutes"
	hour        = "45 minutes"
	bimodalRuns = "10 or 50 s"
	heavyTail   = "heavy tail from 5 s"
	pipelines   = "pipelines"
)

var groups = []string{short, minutes, hour, bimodalRuns, heavyTail, pipelines}
