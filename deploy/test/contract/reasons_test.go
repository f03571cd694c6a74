package contract

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
)

// TestEveryReasonIsEverywhere: the reasons of an end are those of the table in shared/cases, in the rules and
// wherever people or programs read them. A failure names the place and what it lacks.
func TestEveryReasonIsEverywhere(t *testing.T) {
	var all, failures []string
	for _, e := range cases.Endings() {
		all = append(all, string(e.Reason))
		if e.State != cases.Succeeded {
			failures = append(failures, string(e.Reason))
		}
		if !e.State.Ended() || e.Message == "" || !strings.HasSuffix(e.Sentence, ".") {
			t.Errorf("the table of shared/cases has %+v, want an end, a sentence and a message", e)
		}
	}
	const openapi, module, page = "functions/openapi.yaml", "functions/status/files/casewatch.d.ts",
		"deploy/local/page/assets/words.js"
	schema := document(t).Components.Schemas["Reason"].Value
	for _, place := range []struct {
		where string
		want  []string
		has   []string
	}{
		{"the constants of shared/cases", all, constants(t, "Reason")},
		{openapi + ", the values of Reason", all, words(schema.Enum)},
		{openapi + ", the description of Reason", all, listed(t, schema.Description, "- `([a-z_]+)`:")},
		{module + ", the type Reason", all, listed(t, section(t, module, "export type Reason =", ";"), `"([a-z_]+)"`)},
		{page + ", REASONS", failures, listed(t, section(t, page, "const REASONS = {", "}"), `(?m)^  ([a-z_]+):`)},
	} {
		for _, reason := range place.want {
			if !slices.Contains(place.has, reason) {
				t.Errorf("%s has no %s", place.where, reason)
			}
		}
		for _, reason := range place.has {
			if !slices.Contains(place.want, reason) {
				t.Errorf("%s has %s, which the table of shared/cases does not have", place.where, reason)
			}
		}
	}
}

// section returns what is in a file of the tree between two texts.
func section(t *testing.T, file, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), from)
	inside, _, closed := strings.Cut(after, to)
	if !found || !closed {
		t.Fatalf("%s has no %q … %q: the test has lost its object", file, from, to)
	}
	return inside
}

// listed returns the first group of each match.
func listed(t *testing.T, text, pattern string) (all []string) {
	t.Helper()
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	if len(all) == 0 {
		t.Fatalf("%q has no %s: the test has lost its object", text, pattern)
	}
	return all
}
