package cases_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	. "github.com/casewatch/casewatch/shared/cases"
)

// A state that is declared and not listed would be counted and filtered by nobody.
func TestStatesAreAll(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "case.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []State
	for n := range ast.Preorder(file) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "State" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, State(text))
		}
	}
	if len(declared) == 0 || !slices.Equal(States(), declared) {
		t.Errorf("States is %v, declared are %v", States(), declared)
	}
}
