package description

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/casewatch/casewatch/shared/printable"
)

// Problem is one mistake in a text of descriptions.
type Problem struct {
	Line   int    // from 1
	Path   string // where it is, such as "render.start.job"; "" for the text as a whole
	Detail string // continues a sentence that begins with the path; holds no secret
}

func (p Problem) Error() string {
	if p.Path == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Detail)
	}
	return fmt.Sprintf("line %d: %s %s", p.Line, p.Path, p.Detail)
}

// Error holds every problem of a text, in the order of their lines.
type Error []Problem

// Error returns one line for each problem.
func (e Error) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// node is a part of a text: a scalar, a list or a mapping.
type node struct {
	line   int // 0 in a preset
	kind   yaml.Kind
	text   string  // of a scalar; "" of null
	tag    string  // of a scalar: !!str, !!int, !!float, !!bool, !!null
	keys   []*node // of a mapping, all different
	values []*node // of a mapping, beside its keys; of a list
}

func (n *node) isNull() bool { return n.kind == yaml.ScalarNode && n.tag == "!!null" }

// member returns a member of a mapping; nil if there is none, or if n is no mapping.
func (n *node) member(name string) *node {
	if n == nil || n.kind != yaml.MappingNode {
		return nil
	}
	for i, key := range n.keys {
		if key.text == name {
			return n.values[i]
		}
	}
	return nil
}

// at returns the node at a path such as "start.body.set", or the nearest one above it.
func (n *node) at(path string) *node {
	if path == "" {
		return n
	}
	for name := range strings.SplitSeq(path, ".") {
		next := n.member(name)
		if next == nil || next.line == 0 {
			return n
		}
		n = next
	}
	return n
}

// overlay merges a description into its preset. Mappings are merged member by member; of anything
// else the description's value replaces the preset's. A null stays: who reads a mapping treats it as
// a member that is not given.
func overlay(preset, over *node) *node {
	if preset == nil || preset.kind != yaml.MappingNode || over.kind != yaml.MappingNode {
		return over
	}
	merged := *over
	merged.keys, merged.values = nil, nil
	for i, key := range over.keys {
		merged.keys = append(merged.keys, key)
		merged.values = append(merged.values, overlay(preset.member(key.text), over.values[i]))
	}
	for i, key := range preset.keys {
		if over.member(key.text) == nil {
			merged.keys = append(merged.keys, key)
			merged.values = append(merged.values, preset.values[i])
		}
	}
	return &merged
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// parseTree reads the one YAML document of a text. Without lines, every line is 0.
func parseTree(text []byte, lines bool) (*node, error) {
	var document yaml.Node
	if err := yaml.Load(text, &document); err != nil {
		line := 1
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		return nil, Error{{Line: line, Detail: "the text is not one YAML document (" +
			printable.Line(err.Error(), 300) + "); expected the description of a pipeline below its name"}}
	}
	t := tree{lines: lines}
	top := t.convert(document.Content[0])
	if len(t.problems) > 0 {
		return nil, t.problems
	}
	return top, nil
}

type tree struct {
	lines    bool
	problems Error
}

func (t *tree) convert(y *yaml.Node) *node {
	n := &node{kind: y.Kind, text: y.Value, tag: y.ShortTag()}
	if t.lines {
		n.line = max(y.Line, 1)
	}
	problem := func(line int, format string, args ...any) {
		t.problems = append(t.problems, Problem{Line: line, Detail: fmt.Sprintf(format, args...)})
	}
	if y.Kind == yaml.AliasNode || y.Anchor != "" {
		problem(n.line, "anchors and aliases (& and *) are not read; write the value out, or put it into quotes")
		return n
	}
	switch y.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(y.Content); i += 2 {
			key := t.convert(y.Content[i])
			if key.kind != yaml.ScalarNode || key.isNull() {
				problem(key.line, "a name of a member is no text; put a text with { or [ into quotes")
				continue
			}
			if slices.ContainsFunc(n.keys, func(k *node) bool { return k.text == key.text }) {
				problem(key.line, "%s is given twice in one mapping; keep one", quote(key.text))
				continue
			}
			n.keys = append(n.keys, key)
			n.values = append(n.values, t.convert(y.Content[i+1]))
		}
	case yaml.SequenceNode:
		for _, element := range y.Content {
			n.values = append(n.values, t.convert(element))
		}
	case yaml.ScalarNode:
		if n.isNull() {
			n.text = ""
		}
	}
	return n
}

// maxQuoted is how much of a text a problem quotes, in runes.
const maxQuoted = 80

func quote(text string) string { return strconv.Quote(printable.Line(text, maxQuoted)) }

var errNull = errors.New("is empty; expected a value")
