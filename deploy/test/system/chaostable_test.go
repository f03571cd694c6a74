package system_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// table returns the results in Markdown, with one column a store. deploy/docs/tested.md sums them up.
func table(hurt []*chaos) string {
	columns := make([]map[string]string, len(hurt))
	var rows []string
	row := func(column int, name string, value any) {
		if columns[column] == nil {
			columns[column] = map[string]string{}
		}
		columns[column][name] = fmt.Sprint(value)
		if !slices.Contains(rows, name) {
			rows = append(rows, name)
		}
	}
	reasons := map[string]bool{}
	for _, c := range hurt {
		for end := range c.verdict.ends {
			reasons[end] = true
		}
	}
	for i, c := range hurt {
		v := &c.verdict
		row(i, "instances killed", c.kills())
		row(i, "of these, by function", counts(c.killsByFunction()))
		row(i, "servers and networks out or slow", len(c.outages))
		row(i, "of these, by kind", counts(c.outageKinds()))
		row(i, "cases", len(c.trials))
		row(i, "runs", v.runs)
		for _, end := range slices.Sorted(maps.Keys(reasons)) {
			row(i, end, v.ends[end])
		}
		row(i, "of these, never sent to the pipeline", v.unsent)
		row(i, "started twice", v.doubled)
		row(i, "polled after the end", v.polled)
		row(i, "lost", v.lost)
		row(i, "leaked: at the end / the most that a sweep found", fmt.Sprintf("%d / %d", v.leaked, v.leakedMost))
		row(i, "viewers who saw the right end, and stopped / others", fmt.Sprintf("%d / %d", v.right, v.wrong))
		row(i, "every run seen to have ended, after the last fault", c.quiet.Round(100*time.Millisecond))
		row(i, "the end seen, after it was due: p50 / p99",
			fmt.Sprintf("%v / %v", share(v.took, 50), share(v.took, 99)))
		row(i, "the same, once no server was out: p50 / p99",
			fmt.Sprintf("%v / %v", share(v.healed, 50), share(v.healed, 99)))
	}
	var text strings.Builder
	text.WriteString("| |")
	for _, c := range hurt {
		fmt.Fprintf(&text, " %s |", map[string]string{
			"sqlite": "SQLite", "postgres": "PostgreSQL", "firestore": "Firestore (the emulator)"}[c.store])
	}
	text.WriteString("\n|" + strings.Repeat(" --- |", len(hurt)+1))
	for _, name := range rows {
		fmt.Fprintf(&text, "\n| %s |", name)
		for _, column := range columns {
			fmt.Fprintf(&text, " %s |", column[name])
		}
	}
	return text.String()
}

// outageKinds is how often each outage came.
func (c *chaos) outageKinds() map[string]int {
	of := map[string]int{}
	for _, o := range c.outages {
		of[o.name]++
	}
	return of
}

func (c *chaos) killsByFunction() map[string]int {
	of := map[string]int{}
	for function, at := range c.killed {
		of[function] = len(at)
	}
	return of
}

func (c *chaos) kills() (sum int) {
	for _, at := range c.killed {
		sum += len(at)
	}
	return sum
}

// counts lists them, by name.
func counts(of map[string]int) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(all, ", ")
}

// share is the time that so many percent of them do not exceed.
func share(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, len(all)*percent/100)].Round(10 * time.Millisecond)
}
