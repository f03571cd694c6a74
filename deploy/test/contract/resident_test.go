package contract

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What outlives a request has no place in what is deployed: an instance gets no CPU between two
// requests. And settings are read in one place. A reference counts, not only a call.
var (
	resident = map[string][]string{
		"time":    {"NewTicker", "Tick", "AfterFunc", "Ticker"},
		"context": {"AfterFunc"},
	}
	starters = []string{"golang.org/x/sync/errgroup"} // packages that begin goroutines
	readEnv  = map[string][]string{
		"os": {"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, "syscall": {"Getenv", "Environ"},
	}
)

// exempt names what is allowed all the same: "file: what" and why. An exemption that nothing needs
// any more is a fault too.
var exempt = map[string]string{}

// envReaders may read the environment: config takes the lookup that app gives it.
var envReaders = []string{"shared/app", "shared/config"}

// residents returns what of a file would outlive a request, or reads a setting past shared/config,
// each as "file:line: what". Name is the file's path below the root.
func residents(name string, file *ast.File, fset *token.FileSet) []string {
	var found []string
	say := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s:%d: %s", name, fset.Position(n.Pos()).Line, what))
	}
	imports := map[string]string{} // name in this file -> path
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		imports[local] = p
		if slices.Contains(starters, p) {
			say(spec, p)
		}
		if local == "." && (resident[p] != nil || readEnv[p] != nil) {
			say(spec, "import . "+p)
		}
	}
	awaited := awaitedGroups(file)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			say(n, "go statement")
		case *ast.CallExpr: // sync.WaitGroup's, or that of anything like it
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Go" && len(n.Args) == 1 && !awaited[n] {
				say(n, "Go method")
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			p := imports[x.Name]
			if slices.Contains(resident[p], n.Sel.Name) {
				say(n, p+"."+n.Sel.Name)
			}
			if slices.Contains(readEnv[p], n.Sel.Name) && !slices.Contains(envReaders, path.Dir(name)) {
				say(n, p+"."+n.Sel.Name)
			}
		}
		return true
	})
	return found
}

// awaitedGroups returns the calls of Go that end with their request: of a sync.WaitGroup that the
// same function declares and waits for, each in a statement of its own body, with no return before
// the wait. Anything less direct counts as something that may be left behind.
func awaitedGroups(file *ast.File) map[*ast.CallExpr]bool {
	awaited := map[*ast.CallExpr]bool{}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		group, calls, returns := "", []*ast.CallExpr(nil), false
		for _, statement := range fn.Body.List {
			if name := declaredGroup(statement); name != "" && group == "" {
				group = name
				continue
			}
			if group == "" {
				continue
			}
			if e, ok := statement.(*ast.ExprStmt); ok && isCallOf(e.X, group, "Wait") {
				for _, call := range calls {
					awaited[call] = !returns
				}
				break
			}
			inBody(statement, func(n ast.Node) {
				switch n := n.(type) {
				case *ast.ReturnStmt, *ast.BranchStmt:
					b, ok := n.(*ast.BranchStmt)
					returns = returns || !ok || b.Tok == token.GOTO
				case *ast.CallExpr:
					if isCallOf(n, group, "Go") {
						calls = append(calls, n)
					}
				}
			})
		}
	}
	return awaited
}

// declaredGroup returns the name of what `var name sync.WaitGroup` declares, or "".
func declaredGroup(statement ast.Stmt) string {
	d, ok := statement.(*ast.DeclStmt)
	if !ok {
		return ""
	}
	spec, ok := d.Decl.(*ast.GenDecl).Specs[0].(*ast.ValueSpec)
	if !ok || len(spec.Names) != 1 {
		return ""
	}
	if s, ok := spec.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "WaitGroup" {
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "sync" {
			return spec.Names[0].Name
		}
	}
	return ""
}

func isCallOf(e ast.Expr, name, method string) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != method {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == name
}

// inBody visits what the function itself runs, not what a function literal in it may run later.
func inBody(statement ast.Stmt, visit func(ast.Node)) {
	ast.Inspect(statement, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if n != nil {
			visit(n)
		}
		return true
	})
}

// deployed calls visit with each file that is deployed: of functions/ and shared/ and at the root,
// but for tests and their helpers.
func deployed(t *testing.T, visit func(name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(top, p)
		name = filepath.ToSlash(name)
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || strings.HasSuffix(base, "test") ||
				slices.Contains([]string{"deploy", "bin"}, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		visit(name, file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingResidentIsDeployed(t *testing.T) {
	files, used := 0, map[string]bool{}
	deployed(t, func(name string, file *ast.File, fset *token.FileSet) {
		files++
		for _, found := range residents(name, file, fset) {
			_, what, _ := strings.Cut(found, ": ")
			if key := name + ": " + what; exempt[key] != "" {
				used[key] = true
				continue
			}
			t.Errorf("%s, which outlives a request or reads a setting of its own", found)
		}
	})
	if files < 10 {
		t.Fatalf("only %d files were read: the test has lost its object", files)
	}
	for key := range exempt {
		if !used[key] {
			t.Errorf("the exemption %q is not needed any more", key)
		}
	}
}

func TestPlantedResidentsAreFound(t *testing.T) {
	const planted = `package planted

import (
	"context"
	"os"
	"sync"
	stdtime "time"
	. "time"

	"golang.org/x/sync/errgroup"
)

func f(ctx context.Context) {
	go f(ctx)
	go func() {}()
	stdtime.NewTicker(1)
	after := stdtime.AfterFunc
	_ = after
	<-stdtime.Tick(1)
	var held *stdtime.Ticker
	_ = held
	context.AfterFunc(ctx, func() {})
	var wg sync.WaitGroup
	wg.Go(func() {})
	var g errgroup.Group
	g.Go(func() error { return nil })
	_ = os.Getenv("X")
	_, _ = os.LookupEnv("X")
}

// What a request may do.
func allowed(ctx context.Context) {
	timer := stdtime.NewTimer(1)
	defer timer.Stop()
	ctx, cancel := context.WithTimeout(ctx, 1)
	defer cancel()
	func() {}()
	<-stdtime.After(1)
	_ = os.Stderr
	var time struct{ Tick, NewTicker func() }
	time.Tick()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { return })
	}
	all.Wait()
}

func leftBehind(early bool) {
	var all sync.WaitGroup
	all.Go(func() {})
	if early {
		return
	}
	all.Wait()
}

func another(theirs *sync.WaitGroup) {
	var all sync.WaitGroup
	theirs.Go(func() {})
	func() { all.Go(func() {}) }()
	all.Wait()
	all.Go(func() {})
}
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "planted.go", planted, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"8: import . time", "10: golang.org/x/sync/errgroup", "14: go statement", "15: go statement",
		"16: time.NewTicker", "17: time.AfterFunc", "19: time.Tick", "20: time.Ticker", "22: context.AfterFunc",
		"24: Go method", "26: Go method", "27: os.Getenv", "28: os.LookupEnv",
		"51: Go method", "60: Go method", "61: Go method", "63: Go method",
	}
	got := residents("functions/x/planted.go", file, fset)
	for i, w := range want {
		want[i] = "functions/x/planted.go:" + w
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, found := range residents("shared/app/planted.go", file, fset) {
		if strings.Contains(found, "os.") {
			t.Errorf("shared/app may read the environment, and yet: %s", found)
		}
	}
}
