// Package figures makes numbers readable: percentiles, medians with their ranges, tables in Markdown and charts in SVG.
package figures

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Percentile is the smallest of the values that at least p percent of them do not exceed (the nearest rank); NaN of none.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Mean is the mean of the values; NaN of none.
func Mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Spread is what a figure was in several runs.
type Spread struct{ Median, Least, Most float64 }

// Over is the spread of a figure over runs. Those in which there was none (NaN) do not count.
func Over(values []float64) Spread {
	sorted := slices.DeleteFunc(slices.Sorted(slices.Values(values)), math.IsNaN)
	if len(sorted) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return Spread{Median: (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2, Least: sorted[0], Most: sorted[len(sorted)-1]}
}

// Text is the median with so many decimals, and the range where it shows; "–" where there is no figure.
func (s Spread) Text(decimals int) string {
	if math.IsNaN(s.Median) {
		return "–"
	}
	text := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	if text(s.Least) == text(s.Most) {
		return text(s.Median)
	}
	return text(s.Median) + " (" + text(s.Least) + "–" + text(s.Most) + ")"
}

// Table is a table in Markdown.
func Table(header []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(header)
	line(slices.Repeat([]string{"---"}, len(header)))
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
