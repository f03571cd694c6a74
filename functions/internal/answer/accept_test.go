package answer_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/answer"
)

func TestAccepted(t *testing.T) {
	type accepted struct {
		mediaRange string
		weight     float64
	}
	for _, test := range []struct {
		lines []string
		want  []accepted
	}{
		{nil, nil},
		{[]string{"text/html"}, []accepted{{"text/html", 1}}},
		{[]string{" Text/HTML ; level=1; Q=0.5 ,*/*;q=0"}, []accepted{{"text/html", 0.5}, {"*/*", 0}}},
		{[]string{"a/b;q=1, c/d", "e/f;q=.25"}, []accepted{{"a/b", 1}, {"c/d", 1}, {"e/f", 0.25}}},
		{[]string{"a/b;q=2, c/d;q=-1, e/f;q=NaN, g/h;q=high, i/j;q"}, []accepted{{"a/b", 0}, {"c/d", 0}, {"e/f", 0}, {"g/h", 0}, {"i/j", 0}}},
	} {
		var got []accepted
		for mediaRange, weight := range answer.Accepted(&http.Request{Header: http.Header{"Accept": test.lines}}) {
			got = append(got, accepted{mediaRange, weight})
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.lines, got, test.want)
		}
	}
}
