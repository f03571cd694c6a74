// Command sbom writes the list of licences of the modules that are linked, deployed or not:
// `make licenses`. It is run at the root of the module that it is about, with what is deployed as
// argument, and prints CSV.
package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// leastCovered is how much of a file has to be known words of licences, in percent, for it to be taken as one.
const leastCovered = 75

func main() {
	if err := write(context.Background(), os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// module is what the go command says of one.
type module struct {
	Path, Version, Dir string
	Main               bool
}

func write(ctx context.Context, to io.Writer, deployed []string) error {
	all, err := linked(ctx, "-test", "./...")
	if err != nil {
		return err
	}
	shipped, err := linked(ctx, deployed...)
	if err != nil {
		return err
	}
	rows := [][]string{{"module", "version", "license", "deployed"}}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		m := all[path]
		ids, err := licenses(m.Dir)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		is := "no"
		if _, ok := shipped[path]; ok {
			is = "yes"
		}
		rows = append(rows, []string{path, m.Version, strings.Join(ids, " AND "), is})
	}
	w := csv.NewWriter(to)
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return w.Error()
}

// linked returns the modules of all packages that the given ones import, themselves aside.
func linked(ctx context.Context, packages ...string) (map[string]module, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-json=Module"}, packages...)...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	found := map[string]module{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ Module *module }
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, err
		case p.Module != nil && !p.Module.Main:
			found[p.Module.Path] = *p.Module
		}
	}
}

// licenses returns the SPDX ids of the licences at the top of a module.
func licenses(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		cover := licensecheck.Scan(text)
		if cover.Percent < leastCovered {
			continue
		}
		for _, m := range cover.Match {
			ids[m.ID] = true
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("no licence was found")
	}
	return slices.Sorted(maps.Keys(ids)), nil
}
