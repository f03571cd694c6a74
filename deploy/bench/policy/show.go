package main

import (
	"fmt"
	"math"
	"strings"
)

// table is for a terminal.
func table(all []result) string {
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%s, %s\n", r.Group, r.Workload)
		for _, p := range r.Points {
			fmt.Fprintf(&b, "  %-22s %8.2f checks   lag %6.2f   p99 %6.2f   waits %.1f to %.1f s\n",
				p.Policy, p.Checks, p.Lag, p.LagP99, p.Shortest, p.Longest)
		}
	}
	return b.String()
}

// report is the same in Markdown: checks per case, then mean and 99th percentile of the lag in seconds.
func report(all []result) string {
	var b strings.Builder
	b.WriteString("# Checks per case, and how long an end waits for one\n\n" +
		"Written by `make policy`. Checks per case · mean lag / p99 lag, in seconds; " +
		"polling alone, the same runs for each policy.\n")
	group := ""
	for _, r := range all {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(&b, "\n## %s\n\n|", group)
			for _, p := range r.Points {
				fmt.Fprintf(&b, " | %s", p.Policy)
			}
			fmt.Fprintf(&b, " |\n|%s\n", strings.Repeat(" --- |", len(r.Points)+1))
		}
		fmt.Fprintf(&b, "| %s |", r.Workload)
		for _, p := range r.Points {
			fmt.Fprintf(&b, " %.1f · %.1f / %.1f |", p.Checks, p.Lag, p.LagP99)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// The chart has a panel for each kind of runs that it shows: checks per case to the right, mean lag
// upwards, both by their logarithm.
const (
	panelWide, panelHigh = 300, 250
	margin               = 46
	columns              = 4
)

var colours = []string{"#888888", "#bbbbbb", "#b8860b", "#4477aa", "#66aadd", "#cc6677", "#aa1133", "#228833"}

var charted = map[string]bool{
	short + "smooth": true, short + "uneven": true, short + "stuck, then a jump": true, short + "silent": true,
	minutes + "smooth": true, minutes + "uneven": true, minutes + "silent": true,
	pipelines + "a document pipeline, modelled": true,
}

func chart(all []result) string {
	var b strings.Builder
	n := 0
	for _, r := range all {
		if charted[r.Group+r.Workload] {
			panel(&b, r, n%columns*panelWide, n/columns*panelHigh)
			n++
		}
	}
	wide, high := columns*panelWide, (n+columns-1)/columns*panelHigh
	for i, p := range all[0].Points {
		x, y := 20+i*(wide-40)/len(all[0].Points), high+14
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, y,
			colours[i], x+10, y+4, p.Policy)
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" `+
		`font-size="11">`+"\n"+
		`<title>Checks per case and mean lag of each policy</title>`+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n",
		wide, high+30) + b.String() + "</svg>\n"
}

func panel(b *strings.Builder, r result, x, y int) {
	low, high := axis(r, func(p point) float64 { return p.Checks })
	early, late := axis(r, func(p point) float64 { return p.Lag })
	place := func(v, from, to float64, size int) float64 {
		return math.Log(v/from) / math.Log(to/from) * float64(size)
	}
	w, h := panelWide-margin-14, panelHigh-margin-34
	fmt.Fprintf(b, `<g transform="translate(%d,%d)"><text x="0" y="-8" font-weight="bold">%s, %s</text>`+
		`<rect width="%d" height="%d" fill="none" stroke="#cccccc"/>`+"\n",
		x+margin, y+28, r.Group, r.Workload, w, h)
	fmt.Fprintf(b, `<text x="0" y="%d">%.0f</text><text x="%d" y="%d" text-anchor="end">%.0f checks per case</text>`,
		h+14, low, w, h+14, high)
	fmt.Fprintf(b,
		`<text x="-4" y="%d" text-anchor="end">%.1f s</text><text x="-4" y="10" text-anchor="end">%.0f s</text>`+"\n",
		h, early, late)
	for i, p := range r.Points {
		fmt.Fprintf(b,
			`<circle cx="%.1f" cy="%.1f" r="5" fill="%s">`+
				`<title>%s: %.1f checks, lag %.2f s, p99 %.1f s</title></circle>`+"\n",
			place(p.Checks, low, high, w), float64(h)-place(p.Lag, early, late, h), colours[i], p.Policy,
			p.Checks, p.Lag, p.LagP99)
	}
	b.WriteString("</g>\n")
}

// axis says from where to where an axis goes, with room at both ends.
func axis(r result, of func(point) float64) (from, to float64) {
	from, to = math.Inf(1), 0
	for _, p := range r.Points {
		from, to = min(from, of(p)), max(to, of(p))
	}
	return from / 1.3, to * 1.3
}
