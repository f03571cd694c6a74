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
)

// storeTags are the build tags of a deployment, by its store, as deploy/gcp/release.sh hands them to the buildpack.
var storeTags = map[string]string{"firestore": "grpcnotrace,nopostgres", "postgres": "grpcnotrace,nofirestore"}

// TestLinked: testdata/linked.md lists each module of others of which packages are linked into what is deployed, and how many, for each store, so
// that whoever adds weight sees it in review. Neither versions nor the standard library are in it: deploy/tools/licenses.csv has the ones, and the
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
	fmt.Fprintf(&table, "Packages linked into what is deployed, by module and store (`make linked` writes this).\n\n| module | %s |\n| --- | --- | --- |\n", strings.Join(stores, " | "))
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

// packagesLinked counts the packages by module that a deployment with those build tags links, those of this module apart.
func packagesLinked(t *testing.T, tags string) map[string]int {
	t.Helper()
	list := run(t, root(t), "env", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0",
		"go", "list", "-deps", "-tags="+tags, "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./deploy/test/system/program")
	found := map[string]int{}
	for lines := bufio.NewScanner(strings.NewReader(list)); lines.Scan(); {
		if module := lines.Text(); module != "" {
			found[module]++
		}
	}
	return found
}

// TestEachStoreIsABuild: the tags leave out the one store and its clients, and keep the other; deploy.sh and the measure of cold starts name the same tags.
func TestEachStoreIsABuild(t *testing.T) {
	own := map[string]string{"firestore": "cloud.google.com/go/firestore", "postgres": "github.com/jackc/pgx/v5"}
	for store, tags := range storeTags {
		linked := packagesLinked(t, tags)
		for of, client := range own {
			if (linked[client] > 0) != (of == store) {
				t.Errorf("%d packages of %s are linked for %s", linked[client], client, store)
			}
		}
		_, without, _ := strings.Cut(tags, ",")
		run(t, root(t), "go", "build", "-tags="+without, "./shared/app") // gRPC as the other tests link it need not be compiled again
	}
	for _, file := range []string{"deploy/gcp/release.sh", "deploy/bench/coldstart/build.go"} {
		text, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, tags := range storeTags {
			for tag := range strings.SplitSeq(tags, ",") {
				if !strings.Contains(string(text), tag) {
					t.Errorf("%s does not name the tag %s", file, tag)
				}
			}
		}
	}
}
