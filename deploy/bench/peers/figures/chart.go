package figures

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Chart is a group of stacked bars with the same parts.
type Chart struct {
	Title string // with its unit
	Bars  []Bar
}

// Bar is one bar. A part that is NaN is not drawn.
type Bar struct {
	Name  string
	Parts []float64
}

func (b Bar) sum() float64 {
	sum := 0.0
	for _, p := range b.Parts {
		if !math.IsNaN(p) {
			sum += p
		}
	}
	return sum
}

// The measures of a chart, in pixels.
const (
	chartWidth = 720
	nameWidth  = 190
	sumWidth   = 70
	barHeight  = 18
	lineHeight = 26
)

// colours distinguish the parts, also for colour-blind readers (https://jfly.uni-koeln.de/color/).
var colours = []string{"#0072b2", "#e69f00", "#56b4e9", "#009e73", "#cc79a7"}

// SVG draws charts, one below the other, with one legend of their parts. The background is white,
// so that the charts can be read on any page.
func SVG(parts []string, charts []Chart) string {
	var b strings.Builder
	y := 10
	text := func(x int, size int, anchor, weight, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="%d" text-anchor="%s" font-weight="%s">%s</text>`+"\n",
			x, y, size, anchor, weight, html.EscapeString(s))
	}
	for _, chart := range charts {
		y += 20
		text(12, 15, "start", "bold", chart.Title)
		y += 8
		longest := 0.0
		for _, bar := range chart.Bars {
			longest = max(longest, bar.sum())
		}
		for _, bar := range chart.Bars {
			x := float64(nameWidth)
			for i, part := range bar.Parts {
				if math.IsNaN(part) || part <= 0 {
					continue
				}
				width := part / longest * (chartWidth - nameWidth - sumWidth)
				fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
					x, y, width, barHeight, colours[i%len(colours)])
				x += width
			}
			y += 14
			text(nameWidth-8, 13, "end", "normal", bar.Name)
			text(int(x)+6, 13, "start", "normal", fmt.Sprintf("%.3g", bar.sum()))
			y += lineHeight - 14
		}
	}
	y += 14
	x := nameWidth
	for i, part := range parts {
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`+"\n", x, y-11, colours[i%len(colours)])
		text(x+17, 13, "start", "normal", part)
		x += 34 + 8*len(part)
	}
	y += 14
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
		`font-family="sans-serif">`+"\n"+`<rect width="100%%" height="100%%" fill="#fff"/>`+"\n",
		chartWidth, y, chartWidth, y)
	return head + b.String() + "</svg>\n"
}
