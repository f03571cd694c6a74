package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/store/drivers"
)

// pkg is what go list says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	Deps                               []string
	Standard                           bool
}

// layer says what the packages of one place may import. Places are below the module; "x/..." is x and all below it.
type layer struct {
	in       string
	ours     []string // packages of this module
	others   []string // packages of other modules; "..." is any
	noStd    bool     // not even the standard library
	notBelow []string // that must not be reached through anything: import paths, or "x/..."
}

// cloud is what only adapters reach. https://pkg.go.dev/net/http is no cloud, and is named where it matters.
var cloud = []string{"cloud.google.com/...", "google.golang.org/...", "modernc.org/...", "github.com/jackc/..."}

var adapters = func() []string {
	all := []string{"shared/queue/cloudtasks", "shared/pipeline", "shared/events/pubsub"}
	for _, d := range drivers.All() {
		all = append(all, "shared/store/"+d.Name)
	}
	return all
}()

// layers are the rules; the first whose place fits counts. A package of functions/ or shared/ without one is refused.
var layers = []layer{
	{in: ".", ours: []string{"functions/...", "shared/app"}, noStd: true,
		others: []string{"github.com/GoogleCloudPlatform/functions-framework-go/functions"},
		notBelow: []string{
			"modernc.org/...", "cloud.google.com/go/pubsub/v2/pstest",
			module + "/deploy/...", module + "/shared/store/sqlite",
		}},
	// a helper of tests, never deployed
	{in: "functions/internal/functiontest", ours: []string{"shared/..."}, others: []string{"..."}},
	{in: "functions"}, // the OpenAPI description, embedded
	{in: "functions/registry", ours: []string{"functions/...", "shared/config", "shared/reconcile"}, notBelow: cloud},
	{in: "functions/...", ours: []string{"functions", "functions/internal/...", "shared/reconcile", "shared/cases",
		"shared/fault", "shared/gcplog", "shared/config", "shared/casetoken", "shared/queue", "shared/identity",
		"shared/jsonscan",
		"shared/printable", "shared/weburl"},
		others:   []string{"github.com/cloudevents/sdk-go/v2/...", "github.com/rs/cors", "github.com/google/uuid"},
		notBelow: cloud},
	{in: "shared/ctxtime"},
	{in: "shared/printable"},
	{in: "shared/singleflight"},
	{in: "shared/weburl"},
	{in: "shared/schedule"},
	{in: "shared/cases", ours: []string{"shared/schedule", "shared/printable"}},
	{in: "shared/fault", notBelow: []string{"net/http"}},
	{in: "shared/secret"},
	{in: "shared/config", ours: []string{"shared/pipeline/description", "shared/printable", "shared/secret",
		"shared/store/drivers", "shared/weburl"}},
	{in: "shared/casetoken", ours: []string{"shared/config"}},
	{in: "shared/gcplog"},
	{in: "shared/overload", notBelow: []string{"net/http"}},
	{in: "shared/jsonscan", notBelow: []string{"net/http"}},
	{in: "shared/identity", ours: []string{"shared/fault", "shared/singleflight", "shared/weburl"},
		others: []string{"github.com/coreos/go-oidc/v3/oidc", "github.com/go-jose/go-jose/v4"}, notBelow: cloud},
	{in: "shared/reconcile", ours: []string{"shared/cases", "shared/ctxtime", "shared/schedule", "shared/fault",
		"shared/gcplog", "shared/overload", "shared/store", "shared/queue", "shared/events"},
		notBelow: append([]string{"net/http", "net/http/..."}, cloud...)},
	// the interfaces, and what goes through them
	{in: "shared/store", ours: []string{"shared/cases", "shared/schedule"}},
	{in: "shared/queue"},
	{in: "shared/events", ours: []string{"shared/cases", "shared/jsonscan", "shared/pipeline/report",
		"shared/printable"}, notBelow: cloud},
	{in: "shared/pipeline/report", ours: []string{"shared/cases", "shared/jsonscan"},
		notBelow: append([]string{"net/http"}, cloud...)},
	{in: "shared/pipeline/description", ours: []string{"shared/printable", "shared/secret", "shared/weburl"},
		others: []string{"go.yaml.in/yaml/v4"}, notBelow: cloud},
	// helpers of tests, never deployed
	{in: "shared/reconcile/reconciletest", ours: []string{"shared/..."}, others: []string{"..."}},
	{in: "shared/store/storetest", ours: []string{"shared/store", "shared/cases", "shared/schedule"},
		others: []string{"..."}},
	{in: "shared/queue/queuetest", ours: []string{"shared/queue"}, others: []string{"..."}},
	{in: "shared/pipeline/pipelinetest/...", others: []string{"..."}},
	{in: "shared/identity/identitytest", others: []string{"..."}},
	// adapters: their interface and their SDK, never each other
	{in: "shared/store/drivers", ours: []string{"shared/weburl"}},
	{in: "shared/store/internal/...", ours: []string{"shared/store", "shared/cases"}},
	{in: "shared/store/...", ours: []string{"shared/store", "shared/store/drivers", "shared/store/internal/...",
		"shared/cases", "shared/ctxtime", "shared/schedule", "shared/fault", "shared/overload"},
		others: []string{"..."}},
	{in: "shared/queue/...", ours: []string{"shared/queue", "shared/cases", "shared/ctxtime", "shared/fault",
		"shared/weburl"}, others: []string{"..."}},
	{in: "shared/events/...", ours: []string{"shared/events", "shared/cases", "shared/fault", "shared/printable"},
		others: []string{"..."}},
	{in: "shared/pipeline", ours: []string{
		"shared/cases",
		"shared/fault",
		"shared/jsonscan",
		"shared/pipeline/description",
		"shared/pipeline/report",
		"shared/printable",
		"shared/weburl",
	}, others: []string{"..."}},
	// the composition root
	{in: "shared/app", ours: []string{"shared/reconcile", "shared/cases", "shared/casetoken", "shared/fault",
		"shared/config", "shared/gcplog",
		"shared/singleflight", "shared/store", "shared/queue", "shared/events",
		"shared/store/drivers", "shared/store/firestore", "shared/store/postgres", "shared/queue/cloudtasks",
		"shared/pipeline", "shared/pipeline/description", "shared/events/pubsub"}, others: []string{"..."}},
}

// fits reports whether path is the pattern's, or below it for "x/...".
func fits(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	below, deep := strings.CutSuffix(pattern, "/...")
	return path == below || deep && strings.HasPrefix(path, below+"/")
}

func anyFits(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, path) })
}

// place returns where in the module an import path is; "." for its root.
func place(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// violations returns what breaks the layers.
func violations(pkgs []pkg) []string {
	var found []string
	for _, p := range pkgs {
		at, ours := place(p.ImportPath)
		if !ours || fits("deploy/...", at) {
			continue
		}
		i := slices.IndexFunc(layers, func(l layer) bool { return fits(l.in, at) })
		if i < 0 {
			found = append(found, at+" has no rule of its own: say what it may import")
			continue
		}
		for _, imported := range p.Imports {
			if !layers[i].allows(imported) {
				found = append(found, fmt.Sprintf("%s imports %s", at, imported))
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if to, ok := place(imported); ok && fits("deploy/...", to) {
				found = append(found, fmt.Sprintf("a test of %s imports %s", at, imported))
			}
		}
		for _, dep := range p.Deps {
			if anyFits(layers[i].notBelow, dep) {
				found = append(found, fmt.Sprintf("%s reaches %s", at, dep))
			}
		}
	}
	return found
}

func (l layer) allows(imported string) bool {
	to, ours := place(imported)
	switch {
	case ours:
		return anyFits(l.ours, to) || fits("functions/...", l.in) && fits("functions/internal/...", to)
	case isStandard(imported):
		return !l.noStd
	}
	return anyFits(l.others, imported)
}

func listPackages(t *testing.T, dir string, patterns ...string) []pkg {
	t.Helper()
	args := append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps,Standard"}, patterns...)
	d := json.NewDecoder(strings.NewReader(run(t, dir, "go", args...)))
	var pkgs []pkg
	for {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImportsGoDownwardsOnly(t *testing.T) {
	pkgs := listPackages(t, root(t), "./...")
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages are listed: the test has lost its object", len(pkgs))
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
	for _, a := range adapters {
		for _, p := range pkgs {
			at, _ := place(p.ImportPath)
			if slices.Contains(p.Imports, module+"/"+a) && at != "shared/app" &&
				at != "shared/reconcile/reconciletest" && !fits("deploy/...", at) {
				t.Errorf("%s imports the adapter %s: only shared/app does", at, a)
			}
		}
	}
}

// TestPlantedImportsAreFound: the rules refuse what they are there to refuse, and nothing else.
func TestPlantedImportsAreFound(t *testing.T) {
	in := func(path string) string { return module + "/" + path }
	for _, test := range []struct {
		p    pkg
		want string // "": allowed
	}{
		{pkg{ImportPath: module, Imports: []string{in("functions/start"), in("shared/app"),
			"github.com/GoogleCloudPlatform/functions-framework-go/functions"}}, ""},
		{pkg{ImportPath: module, Imports: []string{"os"}}, ". imports os"},
		{pkg{ImportPath: module, Imports: []string{in("shared/reconcile")}}, ". imports " + in("shared/reconcile")},
		{pkg{ImportPath: module, Deps: []string{"modernc.org/sqlite"}}, ". reaches modernc.org/sqlite"},
		{pkg{ImportPath: in("functions/start"), Imports: []string{
			"net/http", in("shared/reconcile"), in("functions/internal/web"), "github.com/rs/cors"}}, ""},
		{pkg{ImportPath: in("functions/start"), Imports: []string{in("functions/status")}},
			"functions/start imports " + in("functions/status")},
		{pkg{ImportPath: in("functions/start"), Imports: []string{in("shared/store/sqlite")}},
			"functions/start imports " + in("shared/store/sqlite")},
		{pkg{ImportPath: in("functions/start"), Imports: []string{"cloud.google.com/go/firestore"}},
			"functions/start imports cloud.google.com/go/firestore"},
		{pkg{ImportPath: in("functions/start"), Deps: []string{"google.golang.org/grpc"}},
			"functions/start reaches google.golang.org/grpc"},
		{pkg{ImportPath: in("functions/console"), Imports: []string{
			"html/template", in("functions"), in("functions/internal/access"), in("shared/reconcile")}}, ""},
		{pkg{ImportPath: in("functions/console"), Imports: []string{in("shared/store")}},
			"functions/console imports " + in("shared/store")},
		{pkg{ImportPath: in("functions"), Imports: []string{"embed"}}, ""},
		{pkg{ImportPath: in("functions"), Imports: []string{in("functions/status")}},
			"functions imports " + in("functions/status")},
		{pkg{ImportPath: in("shared/reconcile"), Imports: []string{in("shared/cases"), "context"}}, ""},
		{pkg{ImportPath: in("shared/reconcile"), Imports: []string{in("shared/config")}},
			"shared/reconcile imports " + in("shared/config")},
		{pkg{ImportPath: in("shared/reconcile"), Deps: []string{"net/http"}}, "shared/reconcile reaches net/http"},
		{pkg{ImportPath: in("shared/cases"), Imports: []string{in("shared/schedule"), "time"}}, ""},
		{pkg{ImportPath: in("shared/cases"), Imports: []string{"github.com/google/uuid"}},
			"shared/cases imports github.com/google/uuid"},
		{pkg{ImportPath: in("shared/schedule"), Imports: []string{in("shared/cases")}},
			"shared/schedule imports " + in("shared/cases")},
		{pkg{ImportPath: in("shared/fault"), Imports: []string{in("shared/cases")}},
			"shared/fault imports " + in("shared/cases")},
		{pkg{ImportPath: in("shared/store/sqlite"), Imports: []string{in("shared/queue")}},
			"shared/store/sqlite imports " + in("shared/queue")},
		{pkg{ImportPath: in("shared/store/postgres"), Imports: []string{in("shared/store/sqlite")}},
			"shared/store/postgres imports " + in("shared/store/sqlite")},
		{pkg{ImportPath: in("shared/pipeline"), Imports: []string{in("shared/store")}},
			"shared/pipeline imports " + in("shared/store")},
		{pkg{ImportPath: in("shared/app"), Imports: []string{in("shared/store/sqlite")}},
			"shared/app imports " + in("shared/store/sqlite")},
		{pkg{ImportPath: in("shared/app"), Imports: []string{in("deploy/local")}},
			"shared/app imports " + in("deploy/local")},
		{pkg{ImportPath: in("shared/queue/cloudtasks"), XTestImports: []string{in("deploy/local/taskserver")}},
			"a test of shared/queue/cloudtasks imports " + in("deploy/local/taskserver")},
		{pkg{ImportPath: in("shared/util")}, "shared/util has no rule of its own: say what it may import"},
		{pkg{ImportPath: in("deploy/local"), Imports: []string{in("shared/store/sqlite"), in("shared/app")}}, ""},
	} {
		got := strings.Join(violations([]pkg{test.p}), "; ")
		if got != test.want {
			t.Errorf("%+v: %q, want %q", test.p, got, test.want)
		}
	}
}
