package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// mutant is one change of the source.
type mutant struct {
	id       int
	pkg      string // below the module's root
	file     string
	line     int
	function string // "Rules.Apply"
	kind     string // "negate" or "drop"
	text     string // of the condition or the effect, on one line
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s/%s:%d: %s", m.pkg, m.file, m.line, m.name())
}

func (m *mutant) name() string { return fmt.Sprintf("%s: %s %s", m.function, m.kind, m.text) }

// key names the mutant in survivors.txt. It has no line number, so that it survives an edit elsewhere in the file.
func (m *mutant) key() string { return m.pkg + " " + m.name() }

// build is a copy of the packages with all mutants in it, as an overlay of the real tree.
type build struct {
	root, dir string
	overlay   string // the file for go test -overlay
	mutants   []*mutant
}

// choose returns the mutants by package, those with the text in their key.
func (b *build) choose(only string) map[string][]*mutant {
	chosen := map[string][]*mutant{}
	for _, m := range b.mutants {
		if strings.Contains(m.key(), only) {
			chosen[m.pkg] = append(chosen[m.pkg], m)
		}
	}
	return chosen
}

func (b *build) count(chosen map[string][]*mutant) (n int) {
	for _, mutants := range chosen {
		n += len(mutants)
	}
	return n
}

// switches is the package that turns one mutant on, for a number of mutants. It is compiled with the overlay only.
const switches = `package mutant

import (
	"os"
	"strconv"
	"sync/atomic"
)

var (
	on      = number(os.Getenv("MUTANT"))
	trace   = os.Getenv("MUTANT_TRACE")
	reached [%d]atomic.Bool // an array, since some tests count allocations
)

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

func is(id int) bool {
	if trace != "" {
		if !reached[id].Swap(true) {
			f, err := os.OpenFile(trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				panic(err)
			}
			if _, err := f.WriteString(strconv.Itoa(id) + "\n"); err != nil {
				panic(err)
			}
			_ = f.Close()
		}
	}
	return id == on
}

// Negate returns a condition, or its contrary if the mutant is on.
func Negate[B ~bool](id int, condition B) B { return condition != B(is(id)) }

// Keep reports whether an effect is to happen.
func Keep(id int) bool { return !is(id) }

// Call makes a call, or returns nil without it if the mutant is on.
func Call(id int, call func() error) error {
	if is(id) {
		return nil
	}
	return call()
}
`

// rewrite finds the mutants of the packages below root, and writes the overlay to dir.
func rewrite(ctx context.Context, root, dir string, paths []string) (*build, error) {
	b := &build{root: root, dir: dir, overlay: filepath.Join(dir, "overlay.json")}
	patterns := make([]string, len(paths))
	for i, path := range paths {
		patterns[i] = "./" + path
	}
	loaded, err := packages.Load(&packages.Config{Context: ctx, Dir: root,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes |
			packages.NeedTypesInfo | packages.NeedModule | packages.NeedImports | packages.NeedDeps}, patterns...)
	if err != nil {
		return nil, err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("%s: %v", p.PkgPath, p.Errors[0])
		}
		if p.Module == nil {
			return nil, fmt.Errorf("%s is not of a module", p.PkgPath)
		}
		where := strings.TrimPrefix(p.PkgPath, p.Module.Path+"/")
		for _, file := range p.Syntax {
			name := p.Fset.Position(file.Pos()).Filename
			source, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			f := &finder{build: b, pkg: where, name: filepath.Base(name), source: source,
				fset: p.Fset, info: p.TypesInfo}
			text := f.rewrite(file, p.Module.Path+"/shared/mutant")
			if text == nil {
				continue
			}
			to := filepath.Join(dir, strings.ReplaceAll(where, "/", "-")+"-"+filepath.Base(name))
			if err := os.WriteFile(to, text, 0o600); err != nil {
				return nil, err
			}
			overlay.Replace[name] = to
		}
	}
	if len(b.mutants) == 0 {
		return nil, errors.New("no mutants were found")
	}
	file := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(file, fmt.Appendf(nil, switches, len(b.mutants)), 0o600); err != nil {
		return nil, err
	}
	overlay.Replace[filepath.Join(root, "shared/mutant/mutant.go")] = file
	data, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	return b, os.WriteFile(b.overlay, data, 0o600)
}

// finder finds the mutants of one file, and the edits that put their switches in.
type finder struct {
	build     *build
	pkg, name string
	source    []byte
	fset      *token.FileSet
	info      *types.Info
	function  string
	edits     []edit
}

// edit is text to insert before the byte at an offset. Of edits at one offset, those that close come first, the inner
// before the outer; those that open come last, the outer before the inner.
type edit struct {
	at     int
	text   string
	closes bool
	width  int // of what the edit surrounds
}

// rewrite returns the file with the switches of all its mutants; nil if it has none.
func (f *finder) rewrite(file *ast.File, importPath string) []byte {
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			f.function = functionName(fn)
			ast.Inspect(fn.Body, f.visit)
		}
	}
	if len(f.edits) == 0 {
		return nil
	}
	f.edits = append(f.edits, edit{
		at: f.offset(file.Name.End()), text: fmt.Sprintf("; import mutant %q", importPath), closes: true,
	})
	slices.SortStableFunc(f.edits, func(a, b edit) int {
		if a.at != b.at || a.closes != b.closes {
			return cmp.Or(cmp.Compare(a.at, b.at), -compareBool(a.closes, b.closes))
		}
		if a.closes {
			return cmp.Compare(a.width, b.width)
		}
		return cmp.Compare(b.width, a.width)
	})
	var out []byte
	done := 0
	for _, e := range f.edits {
		out = append(append(out, f.source[done:e.at]...), e.text...)
		done = e.at
	}
	return append(out, f.source[done:]...)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	switch t := fn.Recv.List[0].Type.(type) {
	case *ast.Ident:
		return t.Name + "." + fn.Name.Name
	case *ast.StarExpr:
		if id, ok := t.X.(*ast.Ident); ok {
			return id.Name + "." + fn.Name.Name
		}
	}
	return fn.Name.Name
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

// visit adds the mutants of a node. Those of the nodes in it follow.
func (f *finder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.condition(n.Cond)
		}
	case *ast.SwitchStmt:
		if n.Tag == nil {
			for _, c := range n.Body.List {
				for _, e := range c.(*ast.CaseClause).List {
					f.condition(e)
				}
			}
		}
	case *ast.ReturnStmt:
		for _, e := range n.Results {
			if _, plain := e.(*ast.Ident); !plain {
				f.condition(e)
			}
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			f.condition(n.X)
			f.condition(n.Y)
		}
	case *ast.BlockStmt:
		f.effects(n.List)
	case *ast.CaseClause:
		f.effects(n.Body)
	case *ast.CommClause:
		f.effects(n.Body)
	case *ast.CallExpr:
		f.call(n)
	case *ast.DeferStmt, *ast.GoStmt:
		return false
	}
	return true
}

// condition adds the mutant that negates e, if it is of type bool. The operands of && and || have mutants of their own.
func (f *finder) condition(e ast.Expr) {
	inner := ast.Unparen(e)
	if b, ok := inner.(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
		return
	}
	t := f.info.TypeOf(e)
	if t == nil || f.info.Types[e].Value != nil {
		return
	}
	if basic, ok := t.Underlying().(*types.Basic); !ok || basic.Info()&types.IsBoolean == 0 {
		return
	}
	m := f.add("negate", e)
	f.surround(e, fmt.Sprintf("mutant.Negate(%d, ", m.id), ")")
}

// effects adds the mutants that drop statements of a list.
func (f *finder) effects(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if call, ok := s.X.(*ast.CallExpr); !ok || isPanic(call) {
				continue
			}
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE || isBlank(s.Lhs) {
				continue
			}
		case *ast.IncDecStmt:
		default:
			continue
		}
		m := f.add("drop", s)
		f.surround(s, fmt.Sprintf("if mutant.Keep(%d) { ", m.id), " }")
	}
}

// call adds the mutant that does not make a call of a method that returns only an error. One whose
// result nobody uses is an effect already.
func (f *finder) call(call *ast.CallExpr) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.info.Selections[selector] == nil ||
		f.info.TypeOf(call) == nil || f.info.TypeOf(call).String() != "error" {
		return
	}
	if f.info.Selections[selector].Kind() != types.MethodVal || selector.Sel.Name == "Err" ||
		selector.Sel.Name == "Unwrap" {
		return
	}
	m := f.add("drop", call)
	f.surround(call, fmt.Sprintf("mutant.Call(%d, func() error { return ", m.id), " })")
}

func isPanic(call *ast.CallExpr) bool {
	id, ok := call.Fun.(*ast.Ident)
	return ok && id.Name == "panic"
}

func isBlank(list []ast.Expr) bool {
	return !slices.ContainsFunc(list, func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return !ok || id.Name != "_"
	})
}

func (f *finder) add(kind string, n ast.Node) *mutant {
	text := strings.Join(strings.Fields(string(f.source[f.offset(n.Pos()):f.offset(n.End())])), " ")
	m := &mutant{len(f.build.mutants), f.pkg, f.name, f.fset.Position(n.Pos()).Line, f.function, kind, text}
	f.build.mutants = append(f.build.mutants, m)
	return m
}

func (f *finder) surround(n ast.Node, before, after string) {
	from, to := f.offset(n.Pos()), f.offset(n.End())
	f.edits = append(f.edits, edit{from, before, false, to - from}, edit{to, after, true, to - from})
}
