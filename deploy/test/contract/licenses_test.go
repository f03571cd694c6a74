package contract

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// permissive are the licences that ask for no more than that their text is kept
// (https://spdx.org/licenses/). What is linked has no other, deployed or not.
var permissive = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

// TestLicenses: deploy/tools/licenses.csv lists each module that is linked, in its version and
// whether it is deployed, and none has a licence that reaches into the programs that it is linked
// into.
func TestLicenses(t *testing.T) {
	file, err := os.Open(filepath.Join(root(t), "deploy", "tools", "licenses.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil || len(rows) < 2 || !slices.Equal(rows[0], []string{"module", "version", "license", "deployed"}) {
		t.Fatalf("%v %v", rows, err)
	}
	deployed, all := linked(t, "./deploy/test/system/program"), linked(t, "-test", "./...")
	listed := map[string]bool{}
	for _, row := range rows[1:] {
		path, version, license, is := row[0], row[1], row[2], row[3]
		listed[path] = true
		if all[path] != version || (deployed[path] != "") != (is == "yes") {
			t.Errorf("%s %s, deployed %s: go list says %q, deployed %q (make licenses)", path, version, is,
				all[path], deployed[path])
		}
		for id := range strings.SplitSeq(license, " AND ") {
			if !slices.Contains(permissive, id) {
				t.Errorf("%s has the licence %q", path, id)
			}
		}
	}
	for path := range all {
		if !listed[path] {
			t.Errorf("%s is not listed (make licenses)", path)
		}
	}
}

// linked returns the versions of the modules whose packages are linked into the given ones, by their paths.
func linked(t *testing.T, packages ...string) map[string]string {
	t.Helper()
	cmd := append([]string{"list", "-deps", "-json=Module"}, packages...)
	found := map[string]string{}
	listed := run(t, root(t), "env", append([]string{"GOOS=linux", "GOARCH=amd64", "go"}, cmd...)...)
	for decoder := json.NewDecoder(strings.NewReader(listed)); ; {
		var p struct {
			Module *struct {
				Path, Version string
				Main          bool
			}
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Module.Main {
			found[p.Module.Path] = p.Module.Version
		}
	}
}
