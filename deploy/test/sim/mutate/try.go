package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// playTimeout bounds one play of a mutant. A mutant may try for ever.
const playTimeout = 10 * time.Minute

// caught is what caught a mutant; what is "" if nothing did.
type caught struct {
	what string
	test bool // a test of its own
}

// try builds the simulation without the guard, and lets it look for a broken promise. A guard with a test of its own is judged by that.
func (g guard) try(ctx context.Context, root, dir string, seeds int) (file string, by caught, err error) {
	file, source, err := g.without(root)
	if err != nil {
		return g.pkg, caught{}, err
	}
	mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, file): mutant}})
	if err != nil {
		return file, caught{}, err
	}
	if err := errors.Join(os.WriteFile(mutant, source, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return file, caught{}, err
	}
	if g.test == "" {
		by.what, err = simulate(ctx, root, dir, seeds, "-overlay", overlay)
		return file, by, err
	}
	pkg, test, err := g.testOf(root)
	if err != nil {
		return file, caught{}, err
	}
	p, err := build(ctx, root, dir, pkg, "-overlay", overlay)
	if err != nil {
		return file, caught{}, err
	}
	out, err := p.play(ctx, "-test.run", "^"+test+"$")
	switch {
	case err != nil || out == "":
		return file, caught{}, err
	case !strings.Contains(out, "--- FAIL: "+test):
		return file, caught{}, fmt.Errorf("%s failed otherwise: %s", test, out)
	}
	return file, caught{fmt.Sprintf("its own test, %s: %s", test, g.why), true}, nil
}

// unchanged makes sure that the simulation finds nothing where nothing is switched off: else it would catch every mutant.
func unchanged(ctx context.Context, root, dir string, seeds int) error {
	by, err := simulate(ctx, root, dir, seeds)
	if err == nil && by != "" {
		err = fmt.Errorf("with every guard in its place: %s", by)
	}
	return err
}

// simulate looks for a broken promise: in the kept and the small plans, then in the seeds. It returns the first, "" if there is none.
func simulate(ctx context.Context, root, dir string, seeds int, flags ...string) (string, error) {
	p, err := build(ctx, root, dir, "deploy/test/sim", flags...)
	if err != nil {
		return "", err
	}
	out, err := p.play(ctx, "-test.run", "^(TestKeptPlans|TestExhaustive)$", "-stop", "-sparse=1", "-shrink=0")
	if out == "" && err == nil {
		out, err = p.play(ctx, "-test.run", "^TestSimulation$", "-stop", "-shrink=0", "-seeds", fmt.Sprint(seeds))
	}
	if err != nil || out == "" {
		return "", err
	}
	return promise(out)
}

// program is the tests of a package.
type program struct{ path, dir string }

func build(ctx context.Context, root, dir, pkg string, flags ...string) (program, error) {
	p := program{filepath.Join(dir, "program.test"), filepath.Join(root, pkg)}
	args := append([]string{"test", "-c", "-o", p.path}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("it does not compile: %s", out)
	}
	return p, nil
}

// play runs tests, up to the first that fails, and returns what they said if one did.
func (p program) play(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, playTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, append(args, "-test.failfast")...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=800", "GODEBUG=asyncpreemptoff=1") // one goroutine runs at a time
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("it was played for %v: %w", playTimeout, ctx.Err())
	case !errors.As(err, &failed):
		return "", err
	}
	return string(out), nil
}

// broken is how the simulation tells of a broken promise: where, at which time, of which run, which promise, and why.
var broken = regexp.MustCompile(`(?m)^\s+\w+\.go:\d+: (.+?): \d+:\d\d:[\d.]+ \S*/\d+: BROKEN: (.+?): `)

// promise returns the first promise in the output of the simulation that it found broken, and where. A simulation that fails otherwise judges nothing.
func promise(out string) (string, error) {
	if m := broken.FindStringSubmatch(out); m != nil {
		return m[2] + " (" + m[1] + ")", nil
	}
	return "", fmt.Errorf("the simulation failed, and not by a broken promise: %s", strings.TrimSpace(out[:min(len(out), 2000)]))
}
