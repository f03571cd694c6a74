package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/store/drivers"
)

// program is what is built and weighed: a package of the module in a folder.
type program struct{ name, folder, pkg, tags string }

// programs are a hello-world and the deployed program for each store, with the tags that deploy.sh
// hands to the buildpack.
var programs = func() []program {
	all := []program{{"hello", ".", "./coldstart/hello", ""}}
	for _, d := range drivers.All() {
		if d.Without != "" {
			all = append(all, program{d.Name, "../..", "./deploy/test/system/program", drivers.Tags(d.Name)})
		}
	}
	return all
}()

// build builds the programs into dir, as the buildpack does but for its own folder, and prints what
// they weigh.
func build(ctx context.Context, dir string) error {
	fmt.Println("| program | stripped | packages |\n| --- | --- | --- |")
	for _, p := range programs {
		out := filepath.Join(dir, p.name)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags="+p.tags, "-ldflags=-s -w", "-o", out, p.pkg)
		cmd.Dir = p.folder
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", p.name, err, said)
		}
		info, err := os.Stat(out)
		if err != nil {
			return err
		}
		cmd = exec.CommandContext(ctx, "go", "list", "-deps", "-tags="+p.tags, p.pkg)
		cmd.Dir = p.folder
		list, err := cmd.Output()
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f MB | %d |\n", p.name, float64(info.Size())/1e6, bytes.Count(list, []byte("\n")))
	}
	return nil
}

const (
	traces = 9 // how often each program is traced; the medians are taken
	shown  = 8 // how many packages are named
)

// profile prints how long the packages of each program take to start, and which of them longest.
func profile(ctx context.Context, dir string) error {
	fmt.Printf("\n| program | package inits, ms, median of %d | of these |\n| --- | --- | --- |\n", traces)
	for _, p := range programs {
		took := map[string][]time.Duration{}
		var all []time.Duration
		for range traces {
			inits, err := trace(ctx, filepath.Join(dir, p.name))
			if err != nil {
				return err
			}
			var sum time.Duration
			for name, d := range inits {
				sum += d
				took[name] = append(took[name], d)
			}
			all = append(all, sum)
		}
		names := make([]string, 0, len(took))
		for name := range took {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(cmp.Compare(median(took[b]), median(took[a])), cmp.Compare(a, b))
		})
		var longest []string
		for _, name := range names[:min(shown, len(names))] {
			longest = append(longest, fmt.Sprintf("%s %.2f", name, median(took[name]).Seconds()*1e3))
		}
		fmt.Printf("| %s | %.1f | %s |\n", p.name, median(all).Seconds()*1e3, strings.Join(longest, ", "))
	}
	return nil
}

// trace starts a program on a port that it cannot have, so that it ends by itself once its packages
// have started, and returns what each took.
func trace(ctx context.Context, binary string) (map[string]time.Duration, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env, cmd.Stderr = []string{"GODEBUG=inittrace=1", "PORT=none"}, &out
	_ = cmd.Run() // it fails on its port
	inits := map[string]time.Duration{}
	for line := range strings.Lines(out.String()) {
		// init internal/bytealg @0.008 ms, 0 ms clock, 0 bytes, 0 allocs
		// (https://pkg.go.dev/runtime#hdr-Environment_Variables)
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "init" || f[5] != "ms" {
			continue
		}
		ms, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return nil, fmt.Errorf("an init trace that is not understood: %s", line)
		}
		inits[f[1]] = time.Duration(ms * float64(time.Millisecond))
	}
	if len(inits) == 0 {
		return nil, fmt.Errorf("%s traces no init:\n%s", binary, &out)
	}
	return inits, nil
}
