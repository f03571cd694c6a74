package figures

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestPercentile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for _, test := range []struct{ p, want float64 }{{0, 1}, {20, 1}, {21, 2}, {50, 3}, {99, 5}, {100, 5}} {
		if got := Percentile(values, test.p); got != test.want {
			t.Errorf("p%v is %v, want %v", test.p, got, test.want)
		}
	}
	if values[0] != 5 {
		t.Error("Percentile sorted its argument")
	}
	if !math.IsNaN(Percentile(nil, 50)) || !math.IsNaN(Mean(nil)) {
		t.Error("the percentile or the mean of no values is not NaN")
	}
	if got := Mean(values); got != 3 {
		t.Errorf("the mean is %v, want 3", got)
	}
}

func TestSpread(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		values   []float64
		decimals int
		want     string
	}{
		{[]float64{3, 1, 2}, 0, "2 (1–3)"},
		{[]float64{1, 2}, 1, "1.5 (1.0–2.0)"},
		{[]float64{7}, 0, "7"},
		{[]float64{0.11, 0.12}, 1, "0.1"},
		{nil, 0, "–"},
		{[]float64{nan, 4}, 0, "4"},
		{[]float64{nan}, 0, "–"},
	} {
		if got := Over(test.values).Text(test.decimals); got != test.want {
			t.Errorf("%v: %q, want %q", test.values, got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	want := "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
	if got := Table([]string{"a", "b"}, [][]string{{"1", "2"}}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSVG shows that the drawing is valid XML with every name and a bar for each part, and that the
// longest bar has the full width.
func TestSVG(t *testing.T) {
	svg := SVG([]string{"one", "two"}, []Chart{
		{"a < b", []Bar{{"long & wide", []float64{3, 1}}, {"short", []float64{math.NaN(), 2}}}},
		{"empty", []Bar{{"none", []float64{0, math.NaN()}}}},
	})
	var texts []string
	rectangles := 0
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch e := token.(type) {
		case xml.CharData:
			if s := strings.TrimSpace(string(e)); s != "" {
				texts = append(texts, s)
			}
		case xml.StartElement:
			if e.Name.Local == "rect" {
				rectangles++
			}
		}
	}
	if got, want := strings.Join(texts, "|"), "a < b|long & wide|4|short|2|empty|none|0|one|two"; got != want {
		t.Errorf("the texts are %s, want %s", got, want)
	}
	if want := 1 + 3 + 2; rectangles != want { // the background, the parts, the legend
		t.Errorf("%d rectangles, want %d, in %s", rectangles, want, svg)
	}
	if want := `<rect x="190.0" y="38" width="345.0"`; !strings.Contains(svg, want) {
		t.Errorf("there is no %s in %s", want, svg)
	}
	if strings.Contains(svg, "NaN") {
		t.Errorf("there is a NaN in %s", svg)
	}
}
