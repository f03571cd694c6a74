package contract

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/config"
)

// A program is the functions of the module with what each refers to, from the source.
type program struct {
	files map[string][]*ast.File // by import path
	info  *types.Info
	// unfilled is a field that is taken for one that shared/app does not fill.
	unfilled string
	nodes    map[string]*node // by types.Func.FullName, or the path and name of a variable
}

// A node is one function. What a clause of a type switch over the inputs of the rules does counts
// only where an input of that type exists.
type node struct {
	pkg   string
	parts map[string]*part // by the type of the input; "" for what is done for each
}

// A part is what a piece of code refers to: fields ("cases.Rules.StallAfter"; those below
// config.Config as a path, "Rules.StallAfter"), functions, and types of which it has values.
type part struct{ fields, calls, values map[string]bool }

// load type-checks the packages and what of this module they import.
func load(t *testing.T, patterns ...string) *program {
	t.Helper()
	p := &program{
		files: map[string][]*ast.File{}, nodes: map[string]*node{},
		info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
			Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
		},
	}
	fset, exports, checked := token.NewFileSet(), map[string]string{}, map[string]*types.Package{}
	compiled := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	imports := importFunc(func(path string) (*types.Package, error) {
		if pkg := checked[path]; pkg != nil {
			return pkg, nil
		}
		return compiled.Import(path)
	})
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles"}, patterns...)
	for list := json.NewDecoder(strings.NewReader(run(t, root(t), "go", args...))); list.More(); {
		var pkg struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := list.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		exports[pkg.ImportPath] = pkg.Export
		if !strings.HasPrefix(pkg.ImportPath, module+"/") {
			continue
		}
		for _, name := range pkg.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			p.files[pkg.ImportPath] = append(p.files[pkg.ImportPath], file)
		}
		conf := types.Config{Importer: imports}
		var err error
		checked[pkg.ImportPath], err = conf.Check(pkg.ImportPath, fset, p.files[pkg.ImportPath], p.info)
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, files := range p.files {
		for _, file := range files {
			for _, decl := range file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					if decl.Body != nil {
						p.add(path, p.info.Defs[decl.Name].(*types.Func).FullName(), decl.Body)
					}
				case *ast.GenDecl:
					for _, spec := range decl.Specs {
						if v, ok := spec.(*ast.ValueSpec); ok && decl.Tok == token.VAR {
							for _, name := range v.Names {
								p.add(path, path+"."+name.Name, v)
							}
						}
					}
				}
			}
		}
	}
	return p
}

// add makes a node of a function, or of what a variable of a package begins with.
func (p *program) add(pkg, name string, code ast.Node) {
	n := &node{pkg: strings.TrimPrefix(pkg, module+"/"), parts: map[string]*part{}}
	p.collect(n, "", code)
	p.nodes[name] = n
}

type importFunc func(path string) (*types.Package, error)

func (f importFunc) Import(path string) (*types.Package, error) { return f(path) }

// short is the name of a type of this module ("cases.Rules"), without its pointers; "" for others.
func short(t types.Type) string {
	if pointer, ok := types.Unalias(t).(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || !strings.HasPrefix(named.Obj().Pkg().Path(), module+"/") {
		return ""
	}
	return named.Obj().Pkg().Name() + "." + named.Obj().Name()
}

// collect adds what a piece of code refers to.
func (p *program) collect(n *node, input string, code ast.Node) {
	at := n.parts[input]
	if at == nil {
		at = &part{fields: map[string]bool{}, calls: map[string]bool{}, values: map[string]bool{}}
		n.parts[input] = at
	}
	ast.Inspect(code, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.TypeSwitchStmt:
			if p.switchesInput(x) {
				for _, clause := range x.Body.List {
					clause := clause.(*ast.CaseClause)
					for _, of := range clause.List {
						for _, statement := range clause.Body {
							p.collect(n, short(p.info.TypeOf(of)), statement)
						}
					}
				}
				return false
			}
		case *ast.SelectorExpr:
			if path, ok := p.settingPath(x); ok {
				at.fields[path] = true
				return false
			}
			if s := p.info.Selections[x]; s != nil && s.Kind() == types.FieldVal && short(s.Recv()) != "" {
				at.fields[short(s.Recv())+"."+x.Sel.Name] = true
			}
		case *ast.Ident:
			switch of := p.info.Uses[x].(type) {
			case *types.Func:
				at.calls[of.Origin().FullName()] = true
			case *types.Var:
				if of.Pkg() != nil && of.Parent() == of.Pkg().Scope() {
					at.calls[of.Pkg().Path()+"."+of.Name()] = true
				}
			}
		case *ast.CompositeLit:
			at.values[short(p.info.TypeOf(x))] = true
		case *ast.CallExpr:
			at.values[short(p.info.TypeOf(x))] = true
		}
		return true
	})
}

func (p *program) switchesInput(s *ast.TypeSwitchStmt) bool {
	var of ast.Expr
	switch assign := s.Assign.(type) {
	case *ast.AssignStmt:
		of = assign.Rhs[0]
	case *ast.ExprStmt:
		of = assign.X
	}
	return short(p.info.TypeOf(of.(*ast.TypeAssertExpr).X)) == "cases.Input"
}

// settingPath is the path of a field below a config.Config: "Rules.StallAfter".
func (p *program) settingPath(x *ast.SelectorExpr) (string, bool) {
	s := p.info.Selections[x]
	if s == nil || s.Kind() != types.FieldVal {
		return "", false
	}
	if short(s.Recv()) == "config.Config" {
		return x.Sel.Name, true
	}
	if inner, ok := x.X.(*ast.SelectorExpr); ok {
		if path, ok := p.settingPath(inner); ok {
			return path + "." + x.Sel.Name, true
		}
	}
	return "", false
}

// reached is all that some functions refer to, directly or by what they call.
func (p *program) reached(roots ...string) part {
	all := part{fields: map[string]bool{}, calls: map[string]bool{}, values: map[string]bool{"": true}}
	for _, name := range roots {
		all.calls[name] = true
	}
	for grew := true; grew; {
		before := len(all.fields) + len(all.calls) + len(all.values)
		for name := range maps.Clone(all.calls) {
			if n := p.nodes[name]; n != nil {
				for input, at := range n.parts {
					if all.values[input] {
						maps.Copy(all.fields, at.fields)
						maps.Copy(all.calls, at.calls)
						maps.Copy(all.values, at.values)
					}
				}
			}
		}
		grew = len(all.fields)+len(all.calls)+len(all.values) > before
	}
	return all
}

// changesRuns reports whether there is an input of the rules but a view, which moves a check and
// nothing else.
func (p part) changesRuns() bool {
	for _, input := range []string{
		"Started", "DispatchBegun", "DispatchOutcome", "CheckOutcome", "Event", "Cancel", "Tick",
	} {
		if p.values["cases."+input] {
			return true
		}
	}
	return false
}

// wired says from which settings shared/app fills each field of a type ("cases.Rules.StallAfter").
func (p *program) wired(typeName string) map[string][]string {
	fills := map[string][]string{}
	for _, file := range p.files[module+"/shared/app"] {
		ast.Inspect(file, func(x ast.Node) bool {
			lit, ok := x.(*ast.CompositeLit)
			if !ok || short(p.info.TypeOf(lit)) != typeName {
				return true
			}
			for _, element := range lit.Elts {
				kv := element.(*ast.KeyValueExpr)
				if kv.Key.(*ast.Ident).Name == p.unfilled {
					continue
				}
				if inner, ok := kv.Value.(*ast.CompositeLit); ok && short(p.info.TypeOf(inner)) != "" {
					continue // its fields are filled one by one
				}
				n := &node{parts: map[string]*part{}}
				p.collect(n, "", kv.Value)
				fills[kv.Key.(*ast.Ident).Name] = slices.Collect(maps.Keys(n.parts[""].fields))
			}
			return true
		})
	}
	return fills
}

// describes reports whether a setting describes the pipelines in place of PIPELINE_API_URL.
func describes(name string) bool { return name == "PIPELINES" || name == "PIPELINES_FILE" }

// settingFields returns, by setting, the fields of a config.Config that its value changes.
func settingFields(t *testing.T) map[string][]string {
	t.Helper()
	base := map[string]string{}
	for _, s := range config.Settings() {
		if describes(s.Name) {
			continue
		}
		base[s.Name] = s.Example
		if s.Example == "" {
			base[s.Name] = "127.0.0.1:1" // an emulator
		}
	}
	read := func(name, value string) map[string]any {
		cfg, err := config.Load(config.Local, func(asked string) (string, bool) {
			if asked == name {
				return value, true
			}
			v, ok := base[asked]
			return v, ok
		})
		if err != nil {
			t.Fatalf("%s=%q: %v", name, value, err)
		}
		return fieldsOf("", reflect.ValueOf(cfg).Elem())
	}
	other := strings.NewReplacer("example", "sample", "127.0.0.1:1", "127.0.0.1:2", "west1", "west2", "1800", "1900",
		"https://accounts.google.com", "https://issuer.example.com", "firestore:", "firestore:other")
	found, before := map[string][]string{}, read("", "")
	for _, s := range config.Settings() {
		if describes(s.Name) {
			continue
		}
		value := s.Default
		if value == "" || value == s.Example {
			value = other.Replace(base[s.Name])
		}
		if value == base[s.Name] {
			value += "-other"
		}
		for path, is := range read(s.Name, value) {
			// A description takes the deployment's values for what it does not say. What is used is these.
			asDefault := path == "Pipelines" && !strings.HasPrefix(s.Name, "PIPELINE_A")
			if !asDefault && !reflect.DeepEqual(is, before[path]) {
				found[s.Name] = append(found[s.Name], path)
			}
		}
		if len(found[s.Name]) == 0 {
			t.Errorf("%s changes no field of config.Config", s.Name)
		}
	}
	return found
}

// fieldsOf returns the values of the fields below v by path: "Rules.StallAfter".
func fieldsOf(at string, v reflect.Value) map[string]any {
	if v.Kind() != reflect.Struct || v.NumField() == 0 || !v.Type().Field(0).IsExported() {
		return map[string]any{at: v.Interface()}
	}
	all := map[string]any{}
	for i := range v.NumField() {
		maps.Copy(all, fieldsOf(strings.TrimPrefix(at+"."+v.Type().Field(i).Name, "."), v.Field(i)))
	}
	return all
}

// opened names, by the field of a reconcile.Reconciler, the function of shared/app that configures
// the client in it.
var opened = map[string]string{
	"store": "storeOptions", "queue": "openQueue", "events": "openPublisher", "pipeline": "openPipelines",
	"callback": "callbackURL",
}

// usedBy returns the paths of the settings that a function uses: it reads them, or a field of the
// rules or of the reconciler that they fill, or has a client that they configure. A function that
// changes runs uses all rules: a run is judged by the same ones wherever it is changed.
func (p *program) usedBy(function string) map[string]bool {
	reached := p.reached(module + "/functions/" + function + ".New")
	used := maps.Clone(reached.fields)
	for _, filled := range []string{"reconcile.Config", "cases.Rules"} {
		for field, paths := range p.wired(filled) {
			if reached.fields[filled+"."+field] || reached.changesRuns() {
				for _, path := range paths {
					used[path] = true
				}
			}
		}
	}
	for field, configures := range opened {
		if reached.fields["reconcile.Reconciler."+field] {
			maps.Copy(used, p.reached(module+"/shared/app."+configures).fields)
		}
	}
	return used
}

// usedOtherwise are settings that functions use where the code of this module does not show it.
var usedOtherwise = map[string]string{
	"PIPELINE_API_URL":          "config.Load names the pipelines in every function, which have to agree on them",
	"PIPELINES":                 "likewise",
	"PIPELINES_FILE":            "likewise",
	"CLOUD_RUN_TIMEOUT_SECONDS": "the functions framework gives each request that deadline",
}

// notUsed are settings that the code reads for all functions, by "function setting", and why that
// function does not need them.
var notUsed = map[string]string{
	"start DEAD_LETTER_TOPIC":    "only complete reads events",
	"cancel DEAD_LETTER_TOPIC":   "only complete reads events",
	"dispatch DEAD_LETTER_TOPIC": "only complete reads events",
	"check DEAD_LETTER_TOPIC":    "only complete reads events",
	"sweep DEAD_LETTER_TOPIC":    "only complete reads events",
	"console DEAD_LETTER_TOPIC":  "only complete reads events",
	"status DISPATCH_QUEUE":      "it brings checks forward, and no dispatches",
	"status DISPATCH_URL":        "it brings checks forward, and no dispatches",
	"status FORM_RETENTION":      "it counts from an end, and a view changes no ended run",
}

func init() {
	for _, function := range config.Functions() {
		if function != "dispatch" && function != "check" {
			notUsed[function+" PIPELINE_API_KEY"] = "it makes no request to a pipeline"
			notUsed[function+" PIPELINE_AUTH"] = "it makes no request to a pipeline"
		}
	}
}

// wrongSettings says of each function which settings it uses and the table does not say so, or the
// other way round. fields are the fields of a config.Config by setting.
func wrongSettings(p *program, settings []config.Setting, fields map[string][]string) (wrong []string) {
	excused := map[string]bool{}
	for _, function := range config.Functions() {
		used := p.usedBy(function)
		for _, s := range settings {
			uses := usedOtherwise[s.Name] != "" || slices.ContainsFunc(fields[s.Name], func(path string) bool {
				for u := range used {
					if u == path || strings.HasPrefix(path, u+".") { // the field, or a struct that holds it
						return true
					}
				}
				return false
			})
			at := function + " " + s.Name
			if uses && !s.UsedBy(function) && notUsed[at] != "" {
				excused[at] = true
				continue
			}
			switch {
			case uses && !s.UsedBy(function):
				wrong = append(wrong, fmt.Sprintf("%s uses %s: add it to the Functions of its row in shared/config",
					function, s.Name))
			case !uses && s.UsedBy(function):
				wrong = append(wrong, fmt.Sprintf("%s does not use %s: its value reaches nothing there. Use it, "+
					"fill the field in shared/app, or take the function from its row in shared/config",
					function, s.Name))
			}
		}
	}
	for at := range notUsed {
		if !excused[at] {
			wrong = append(wrong, "notUsed excuses what needs no excuse: "+at)
		}
	}
	slices.Sort(wrong)
	return wrong
}

func TestSettingsReachTheFunctionsThatUseThem(t *testing.T) {
	p, fields := load(t, "./functions/...", "./shared/app"), settingFields(t)
	for _, wrong := range wrongSettings(p, config.Settings(), fields) {
		t.Error(wrong)
	}

	t.Run("planted faults are found", func(t *testing.T) {
		publisher := p.nodes[module+"/shared/app.openPublisher"].parts[""].fields
		for _, test := range []struct {
			name  string
			plant func([]config.Setting)
			want  []string
		}{
			{"a field of the rules that is not filled",
				func([]config.Setting) { p.unfilled = "StallAfter" },
				[]string{
					"callback does not use STALL_AFTER", "cancel does not use STALL_AFTER",
					"check does not use STALL_AFTER", "complete does not use STALL_AFTER",
					"console does not use STALL_AFTER", "dispatch does not use STALL_AFTER",
					"start does not use STALL_AFTER", "sweep does not use STALL_AFTER",
				}},
			{"a field of a client that is not filled",
				func([]config.Setting) { delete(publisher, "Emulators.PubSub") },
				[]string{
					"callback does not use PUBSUB_EMULATOR_HOST", "cancel does not use PUBSUB_EMULATOR_HOST",
					"check does not use PUBSUB_EMULATOR_HOST",
					"complete does not use PUBSUB_EMULATOR_HOST", "console does not use PUBSUB_EMULATOR_HOST",
					"dispatch does not use PUBSUB_EMULATOR_HOST", "start does not use PUBSUB_EMULATOR_HOST",
					"sweep does not use PUBSUB_EMULATOR_HOST",
				}},
			{"a function too many", func(settings []config.Setting) {
				s := setting(settings, "STREAM_HOLD")
				s.Functions = append(s.Functions, "sweep")
			}, []string{"sweep does not use STREAM_HOLD"}},
			{"a function too few", func(settings []config.Setting) {
				setting(settings, "STREAM_HOLD").Functions = nil
			}, []string{"status uses STREAM_HOLD"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				settings, as := config.Settings(), maps.Clone(publisher)
				test.plant(settings)
				var got []string
				for _, wrong := range wrongSettings(p, settings, fields) {
					got = append(got, wrong[:strings.Index(wrong, ":")])
				}
				p.unfilled = ""
				maps.Copy(publisher, as)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
			})
		}
	})
}

func setting(settings []config.Setting, name string) *config.Setting {
	return &settings[slices.IndexFunc(settings, func(s config.Setting) bool { return s.Name == name })]
}

// TestSettingsOfTheDeploymentAreUsed: the value of a setting that no function uses is read in
// deploy/local, or the programs of deploy/gcp name it.
func TestSettingsOfTheDeploymentAreUsed(t *testing.T) {
	p, fields := load(t, "./deploy/local/...", "./deploy/gcp/..."), settingFields(t)
	for _, s := range config.Settings() {
		used := len(s.Functions) > 0 || s.Name == "DISPATCH_RATE" // config.Load fills it into the descriptions
		for path := range p.files {
			if strings.HasPrefix(path, module+"/deploy/gcp") {
				used = used || p.names(path, s.Name)
			}
		}
		for _, n := range p.nodes {
			used = used || strings.HasPrefix(n.pkg, "deploy/local") &&
				slices.ContainsFunc(fields[s.Name], func(path string) bool { return n.parts[""].fields[path] })
		}
		if !used {
			t.Errorf("the value of %s reaches nothing: no function uses it, nor does anything in deploy", s.Name)
		}
	}
}

// names reports whether a package holds that text as a literal.
func (p *program) names(pkg, text string) (found bool) {
	for _, file := range p.files[pkg] {
		ast.Inspect(file, func(x ast.Node) bool {
			lit, ok := x.(*ast.BasicLit)
			found = found || ok && lit.Value == strconv.Quote(text)
			return !found
		})
	}
	return found
}
