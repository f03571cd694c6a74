package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/casewatch/casewatch/deploy/bench/peers/figures"
	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
)

// column is a column of a table.
type column struct {
	title    string
	figure   func(result) float64
	decimals int
}

// of returns a function that returns the figure of a name, or NaN if there is none.
func of(name string) func(result) float64 {
	return func(r result) float64 {
		if v, ok := r[name]; ok {
			return v
		}
		return math.NaN()
	}
}

// table returns a table with a row for each system.
func (b *bench) table(results map[string][]result, columns []column) string {
	header := []string{""}
	for _, c := range columns {
		header = append(header, c.title)
	}
	var rows [][]string
	for _, system := range b.systems {
		row := []string{system.name}
		for _, c := range columns {
			row = append(row, spread(results[system.key], c.figure).Text(c.decimals))
		}
		rows = append(rows, row)
	}
	return figures.Table(header, rows)
}

// spread returns the spread of a figure over the runs of a system.
func spread(results []result, figure func(result) float64) figures.Spread {
	var values []float64
	for _, r := range results {
		values = append(values, figure(r))
	}
	return figures.Over(values)
}

// outcome returns the table of how the cases ended.
func (b *bench) outcome(results map[string][]result) string {
	return b.table(results, []column{
		{"lost ends", of(lost), 0},
		{"doubled starts", of(doubled), 0},
		{"zombie polls", of(zombies), 0},
		{"polls in flight at the end", of(crossed), 0},
		{"last poll after the end, s", of(latest), 2},
		{"polls per case", of(polls), 1},
		{"interval, s", of(interval), 2},
		{"lag mean, s", of(lagMean), 2},
		{"p50", of(lagMedian), 2},
		{"p99", of(lag99), 2},
		{"accepted/s", of(accepted), 0},
		{"accepted after p50, s", of(accept50), 2},
		{"p99", of(accept99), 2},
		{"repeated starts", of(repeated), 0},
	})
}

// costs returns the table of CPU, memory, commits and bytes.
func (b *bench) costs(results map[string][]result) string {
	columns := []column{{"CPU-s per 1,000 cases", func(r result) float64 { return r.all(cpuOf) }, 1}}
	for _, part := range allParts {
		columns = append(columns, column{part, of(cpuOf + part), 1})
	}
	columns = append(columns, column{"peak memory, MB", func(r result) float64 { return r.all(peakOf) }, 0})
	for _, part := range allParts {
		columns = append(columns, column{part, of(peakOf + part), 0})
	}
	return b.table(results, append(columns,
		column{"program at the end, MB", of(programEnd), 0},
		column{"store commits per case", of(commits), 1},
		column{"KB written per case", func(r result) float64 { return r[bytesOut] / 1000 }, 1},
	))
}

// charts returns, for each mode, a chart of the CPU time and one of the peak memory, by parts.
func (b *bench) charts(results map[stub.Mode]map[string][]result) []figures.Chart {
	var charts []figures.Chart
	kinds := []struct{ of, title string }{{cpuOf, "CPU-seconds per 1,000 cases"}, {peakOf, "peak memory, MB"}}
	for _, mode := range b.modes {
		for _, kind := range kinds {
			chart := figures.Chart{Title: fmt.Sprintf("%s: %s, %d cases at once", kind.title, mode, b.n)}
			for _, system := range b.systems {
				bar := figures.Bar{Name: strings.ReplaceAll(system.name, ",", "")}
				for _, part := range allParts {
					bar.Parts = append(bar.Parts, spread(results[mode][system.key], of(kind.of+part)).Median)
				}
				chart.Bars = append(chart.Bars, bar)
			}
			charts = append(charts, chart)
		}
	}
	return charts
}
