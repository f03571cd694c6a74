package contract

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/store/drivers"
)

// storeTags are the build tags of a deployed program, by its store, as deploy.sh hands them to the
// buildpack.
var storeTags = func() map[string]string {
	tags := map[string]string{}
	for _, d := range drivers.All() {
		if d.Without != "" {
			tags[d.Name] = drivers.Tags(d.Name)
		}
	}
	return tags
}()

// localStore reports whether a path below the module is of a store driver that no deployed program
// links.
func localStore(path string) bool {
	return slices.ContainsFunc(drivers.All(), func(d drivers.Driver) bool {
		return d.Without == "" && fits("shared/store/"+d.Name+"/...", path)
	})
}

// TestLinked: testdata/linked.md lists each module of others of which packages are linked into what
// is deployed, and how many, for each store, so that whoever adds weight sees it in review. Neither
// versions nor the standard library are in it: deploy/tools/licenses.csv has the ones, and the
// other follows from Go's.
func TestLinked(t *testing.T) {
	counts := map[string]map[string]int{}
	modules := map[string]bool{}
	stores := slices.Sorted(maps.Keys(storeTags))
	for _, store := range stores {
		counts[store] = packagesLinked(t, storeTags[store])
		for module := range counts[store] {
			modules[module] = true
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "Packages linked into what is deployed, by module and store (`make linked` writes this).\n\n| "+
		"module | %s |\n| --- | --- | --- |\n", strings.Join(stores, " | "))
	total := map[string]int{}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		fmt.Fprintf(&table, "| %s |", module)
		for _, store := range stores {
			fmt.Fprintf(&table, " %s |", orDash(counts[store][module]))
			total[store] += counts[store][module]
		}
		table.WriteString("\n")
	}
	fmt.Fprintf(&table, "| **all of %d** | **%d** | **%d** |\n", len(modules), total[stores[0]], total[stores[1]])
	golden(t, "linked.md", table.String())
}

func orDash(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// packagesLinked counts the packages by module that a deployment with those build tags links, those
// of this module apart.
func packagesLinked(t *testing.T, tags string) map[string]int {
	t.Helper()
	list := run(t, root(t), "env", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0",
		"go", "list", "-deps", "-tags="+tags, "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}",
		"./deploy/test/system/program")
	found := map[string]int{}
	for lines := bufio.NewScanner(strings.NewReader(list)); lines.Scan(); {
		if module := lines.Text(); module != "" {
			found[module]++
		}
	}
	return found
}

// TestEachStoreIsABuild: the tags leave out the other stores and their clients, and keep the one.
func TestEachStoreIsABuild(t *testing.T) {
	own := map[string]string{
		drivers.Firestore: "cloud.google.com/go/firestore", drivers.Postgres: "github.com/jackc/pgx/v5",
	}
	for store, tags := range storeTags {
		if own[store] == "" {
			t.Errorf("name the module of the client of %s here", store)
		}
		linked := packagesLinked(t, tags)
		for of, client := range own {
			if (linked[client] > 0) != (of == store) {
				t.Errorf("%d packages of %s are linked for %s", linked[client], client, store)
			}
		}
		_, without, _ := strings.Cut(tags, ",")
		// gRPC as the other tests link it need not be compiled again
		run(t, root(t), "go", "build", "-tags="+without, "./shared/app")
	}
}

// TestEachStoreIsRegistered: each folder below shared/store that opens a store is a driver of the
// registry, and the other way round. shared/app has a file for each that a deployed program may
// link, which its tag leaves out.
func TestEachStoreIsRegistered(t *testing.T) {
	opens, err := filepath.Glob(filepath.Join(root(t), "shared/store/*/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, file := range opens {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "\nfunc Open(ctx context.Context, o store.Options)") {
			folders = append(folders, filepath.Base(filepath.Dir(file)))
		}
	}
	var registered []string
	for _, d := range drivers.All() {
		registered = append(registered, d.Name)
		file, err := os.ReadFile(filepath.Join(root(t), "shared/app", d.Name+".go"))
		switch begins := "//go:build !" + d.Without + "\n"; {
		case d.Without == "" && err == nil:
			t.Errorf("shared/app/%s.go: the registry has no build tag that leaves out %s", d.Name, d.Name)
		case d.Without != "" && !strings.HasPrefix(string(file), begins):
			t.Errorf("shared/app/%s.go begins with %.40q, %v; want %q", d.Name, file, err, begins)
		}
	}
	slices.Sort(registered)
	if diff := cmp.Diff(registered, folders); diff != "" {
		t.Errorf("drivers (-registered +folders that open a store):\n%s", diff)
	}
}
