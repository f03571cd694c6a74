// Package figures computes percentiles and medians, and writes tables in Markdown and charts in
// SVG.
package figures

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Percentile returns the smallest of the values such that at least p percent of them are not larger
// (the nearest rank). It returns NaN if there are no values.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Mean returns the mean of the values, and NaN if there are none.
func Mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Spread is the median and the range of a figure over several runs.
type Spread struct{ Median, Min, Max float64 }

// Over returns the spread of the values. NaN values do not count; if there are no others, the
// spread is NaN.
func Over(values []float64) Spread {
	sorted := slices.DeleteFunc(slices.Sorted(slices.Values(values)), math.IsNaN)
	if len(sorted) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return Spread{
		Median: (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2,
		Min:    sorted[0],
		Max:    sorted[len(sorted)-1],
	}
}

// Text returns the median and the range, with this number of decimals. It leaves out a range whose
// ends are equal as text. For a spread without a figure it returns "–".
func (s Spread) Text(decimals int) string {
	if math.IsNaN(s.Median) {
		return "–"
	}
	text := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	if text(s.Min) == text(s.Max) {
		return text(s.Median)
	}
	return text(s.Median) + " (" + text(s.Min) + "–" + text(s.Max) + ")"
}

// Table returns a table in Markdown.
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
