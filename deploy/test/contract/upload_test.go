package contract

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"go/version"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/functions/registry"
)

// runtimeVersion is the Go of the runtime that the functions are deployed with (go126).
const runtimeVersion = "go1.26"

// upload copies to dir what gcloud would upload of the tree at top: what .gcloudignore does not
// name. Git reads the patterns, since their language is its own
// (https://cloud.google.com/sdk/gcloud/reference/topic/gcloudignore).
func upload(t *testing.T, top, dir string) []string {
	t.Helper()
	// An empty repository beside the tree: everything in the tree is new to it, and only the given
	// patterns leave anything out.
	gitDir := filepath.Join(t.TempDir(), "git")
	run(t, top, "git", "init", "--quiet", "--bare", gitDir)
	list := run(t, top, "git", "-c", "core.bare=false", "--git-dir="+gitDir, "--work-tree="+top,
		"ls-files", "-z", "--others", "--exclude-from="+filepath.Join(top, ".gcloudignore"))
	files := strings.Split(strings.TrimSuffix(list, "\x00"), "\x00")
	for _, name := range files {
		info, err := os.Lstat(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		if !info.Mode().IsRegular() {
			t.Fatalf("%s is uploaded and is no regular file", name)
		}
		data, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestUploadLeavesOutWhatIsNotRun(t *testing.T) {
	files := upload(t, root(t), t.TempDir())
	for _, name := range files {
		for _, part := range strings.Split(name, "/") {
			if strings.HasPrefix(part, ".") || part == "deploy" || part == "testdata" || part == "bin" {
				t.Errorf("%s is uploaded", name)
			}
		}
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "test/") || localStore(name) {
			t.Errorf("%s is uploaded", name)
		}
		if name == "go.work" || strings.HasPrefix(name, "vendor/") {
			t.Errorf("%s is uploaded: the build takes modules, without a workspace and without vendoring", name)
		}
	}
	for _, needed := range []string{"go.mod", "go.sum", "shared/cases/case.go", "shared/queue/cloudtasks"} {
		if !slices.ContainsFunc(files, func(name string) bool {
			return name == needed || strings.HasPrefix(name, needed+"/")
		}) {
			t.Errorf("%s is not uploaded", needed)
		}
	}
}

// TestEveryEmbeddedFileIsUploaded: a build without one file of an embedded folder would not fail.
func TestEveryEmbeddedFileIsUploaded(t *testing.T) {
	top := root(t)
	files := upload(t, top, t.TempDir())
	embedded := 0
	for line := range strings.Lines(run(t, top, "go", "list", "-f",
		"{{$dir := .Dir}}{{range .EmbedFiles}}{{$dir}}/{{.}}\n{{end}}", "./functions/...", "./shared/...")) {
		path := strings.TrimSpace(line)
		if path == "" {
			continue
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			t.Fatal(err)
		}
		if at := filepath.ToSlash(name); !localStore(at) {
			embedded++
			if !slices.Contains(files, at) {
				t.Errorf("%s is embedded and not uploaded", at)
			}
		}
	}
	if embedded < 5 {
		t.Errorf("only %d embedded files are looked at: the test has lost its object", embedded)
	}
}

// rootPackage reads the Go files of a folder as the buildpack does: all of them, whatever their
// build tags, as one package that is not main. The package's imports decide which main the
// buildpack writes (GoogleCloudPlatform/buildpacks on GitHub,
// cmd/go/functions_framework/converter/get_package/main.go).
func rootPackage(dir string) (files, packages, imports []string, err error) {
	files, err = filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return nil, nil, nil, err
		}
		if !slices.Contains(packages, file.Name.Name) {
			packages = append(packages, file.Name.Name)
		}
		for _, spec := range file.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			imports = append(imports, p)
		}
	}
	return files, packages, imports, nil
}

func TestRootIsWhatTheBuildpackNeeds(t *testing.T) {
	files, packages, imports, err := rootPackage(root(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || len(packages) != 1 {
		t.Fatalf("the root has the Go files %v of the packages %v: the buildpack takes all of them as one package, so "+
			"there is one file", files, packages)
	}
	if name := packages[0]; slices.Contains([]string{"main", "functions", "shared", "deploy"}, name) {
		t.Errorf("the root package is called %s: not main, and no folder of the root, "+
			"or the buildpack imports that instead", name)
	}
	if !slices.Contains(imports, "github.com/GoogleCloudPlatform/functions-framework-go/functions") {
		t.Errorf("the root imports %v: without the framework's functions package the buildpack writes a main for "+
			"undeclared functions", imports)
	}
}

// TestRootRegistersEveryFunction: function.go registers the functions of the registry, in its order, each
// under its name, and nothing else.
func TestRootRegistersEveryFunction(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), "function.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || types.ExprString(call.Fun) != "functions.HTTP" {
			return true
		}
		got = append(got, types.ExprString(call))
		return false
	})
	for _, f := range registry.All() {
		want = append(want, fmt.Sprintf("functions.HTTP(%q, app.Function(%q, %s.New))", f.Name, f.Name, f.Name))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("function.go (-want +got):\n%s", diff)
	}
}

func TestGoModIsWhatTheBuildpackNeeds(t *testing.T) {
	top := root(t)
	var mod struct {
		Module    struct{ Path string }
		Go        string
		Toolchain string
		Tool      []any
		Replace   []any
		Require   []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(run(t, top, "go", "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(mod.Module.Path, "/"); mod.Module.Path != module || !strings.Contains(first, ".") {
		t.Errorf("the module is %s: its first element needs a dot", mod.Module.Path)
	}
	// A patch of Go that the runtime does not have yet would have to be downloaded in the build.
	lang := version.Lang("go" + mod.Go)
	if version.Compare(lang, runtimeVersion) > 0 || lang == runtimeVersion && mod.Go != "1.26" && mod.Go != "1.26.0" {
		t.Errorf("the go line is %s, newer than the first %s", mod.Go, runtimeVersion)
	}
	if mod.Toolchain != "" || len(mod.Tool) > 0 || len(mod.Replace) > 0 {
		t.Errorf("go.mod has a toolchain %q, tools %v, replacements %v: tools belong in deploy/tools",
			mod.Toolchain, mod.Tool, mod.Replace)
	}
	if _, err := os.Stat(filepath.Join(top, "go.work")); err == nil {
		t.Error("there is a go.work: the build here and the build there would not be the same")
	}
	if !slices.ContainsFunc(mod.Require, func(r struct{ Path, Version string }) bool {
		return r.Path == "github.com/GoogleCloudPlatform/functions-framework-go"
	}) {
		t.Error("go.mod does not require the functions framework: the buildpack would take a version of its own")
	}
}
