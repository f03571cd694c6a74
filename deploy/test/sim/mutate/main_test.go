package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuardsAreThere: each guard is found, once, so that the list follows the code; and so is the test that one is judged by.
func TestGuardsAreThere(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, g := range guards() {
		if _, _, err := g.without(root); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if names[g.name] {
			t.Errorf("%s is named twice", g.name)
		}
		names[g.name] = true
		if g.test == "" {
			continue
		}
		if _, _, err := g.testOf(root); err != nil || g.why == "" {
			t.Errorf("%s: %v, because %q", g.name, err, g.why)
		}
	}
}

func TestWithout(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "p", "a.go")
	code := "package p\n\nfunc (t *T) f() {\n\tif a &&\n\t\tb {\n\t}\n}\n\nfunc g() {\n\tif a && b {\n\t}\n\tif a && b {\n\t}\n}\n"
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(code), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ in, is, want, fails string }{
		{in: "T.f", is: "if a && b {", want: "if false {"},
		{in: "T.f", is: "if c {", fails: "0 times"},
		{in: "g", is: "if a && b {", fails: "2 times"},
		{in: "f", is: "if a && b {", fails: "no function f"},
	} {
		name, source, err := guard{pkg: "p", in: test.in, is: test.is, not: "if false {"}.without(root)
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s %q: %v, want %s", test.in, test.is, err, test.fails)
			}
			continue
		}
		if err != nil || name != filepath.Join("p", "a.go") || bytes.Count(source, []byte(test.want)) != 1 || bytes.Count(source, []byte("a && b")) != 2 {
			t.Errorf("%s %q: %s %v\n%s", test.in, test.is, name, err, source)
		}
	}
}

func TestPromise(t *testing.T) {
	for out, want := range map[string]string{
		"--- FAIL: TestSimulation (0.1s)\n    sim_test.go:61: seed 7: 0:03:04.005 c1/2: BROKEN: an end is final: it was failed\n": "an end is final (seed 7)",
		"--- FAIL\n    sim_test.go:61: seed 7: 0:03:04.005 /0: BROKEN: the sweep counts: {Open:1}\nand more":                      "the sweep counts (seed 7)",
	} {
		if got, err := promise(out); err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	if got, err := promise("panic: nil"); err == nil {
		t.Errorf("%q of a panic", got)
	}
}
