package contract

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// parseYAML reads the little of YAML that deploy/gcp/monitoring uses: maps, lists of maps and of
// numbers, texts of one line and literal blocks. Anything else is an error.
func parseYAML(text string) (any, error) {
	p := yamlParser{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	v, err := p.block(0)
	if err == nil && len(p.lines) > 0 {
		err = fmt.Errorf("a line that stands nowhere: %q", p.lines[0])
	}
	return v, err
}

type yamlParser struct{ lines []string }

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// block reads what is indented by exactly so many spaces.
func (p *yamlParser) block(indent int) (any, error) {
	if len(p.lines) > 0 && strings.HasPrefix(strings.TrimLeft(p.lines[0], " "), "- ") {
		return p.list(indent)
	}
	found := map[string]any{}
	for len(p.lines) > 0 && indentOf(p.lines[0]) == indent && !strings.HasPrefix(p.lines[0][indent:], "- ") {
		key, rest, ok := strings.Cut(p.lines[0][indent:], ":")
		if _, twice := found[key]; !ok || twice || key == "" || strings.ContainsAny(key, " \"'#") {
			return nil, fmt.Errorf("not a key, or one twice: %q", p.lines[0])
		}
		p.lines = p.lines[1:]
		v, err := p.value(strings.TrimPrefix(rest, " "), indent)
		if err != nil {
			return nil, err
		}
		found[key] = v
	}
	return found, nil
}

func (p *yamlParser) list(indent int) (any, error) {
	var found []any
	for len(p.lines) > 0 && indentOf(p.lines[0]) == indent && strings.HasPrefix(p.lines[0][indent:], "- ") {
		p.lines[0] = strings.Repeat(" ", indent+2) + p.lines[0][indent+2:]
		v, err := p.block(indent + 2)
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return found, nil
}

func (p *yamlParser) value(text string, indent int) (any, error) {
	switch {
	case text == "|":
		var b strings.Builder
		for len(p.lines) > 0 && indentOf(p.lines[0]) == indent+2 {
			b.WriteString(p.lines[0][indent+2:] + "\n")
			p.lines = p.lines[1:]
		}
		return b.String(), nil
	case text == "" && len(p.lines) > 0:
		return p.block(indentOf(p.lines[0]))
	case strings.HasPrefix(text, `"`):
		return strconv.Unquote(text)
	case strings.HasPrefix(text, "["):
		var numbers []float64
		err := json.Unmarshal([]byte(text), &numbers)
		return numbers, err
	case strings.Contains(text, ": ") || strings.Contains(text, " #") ||
		strings.ContainsAny(text[:min(1, len(text))], `'&*!|>%@{}-?,`+"`"):
		return nil, fmt.Errorf("quote this: %q", text)
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n, nil
	}
	return text, nil
}

func TestParseYAML(t *testing.T) {
	v, err := parseYAML("a: b c\nd: |\n  x=\"1\"\n  y\ne:\n  f: \"1\"\n" +
		"  g:\n  - h: 2\n    i: j\n  - h: 3\nk: [1, 2.5]\n")
	got, _ := json.Marshal(v)
	want := `{"a":"b c","d":"x=\"1\"\ny\n","e":{"f":"1","g":[{"h":2,"i":"j"},{"h":3}]},"k":[1,2.5]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{
		"a: b: c", "a: 'b'", "a b", "a: 1\na: 2", "a: b\n   c: d", "a: b # c", "a: &x y", "- a: 1\nb: 2",
	} {
		if v, err := parseYAML(bad); err == nil {
			t.Errorf("%q was read as %v", bad, v)
		}
	}
}
