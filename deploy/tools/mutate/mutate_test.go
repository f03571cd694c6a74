package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMutants finds the mutants of a small module, and lets its tests judge them.
func TestMutants(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/m\n\ngo 1.26.0\n")
	write("rules/rules.go", `package rules

// Store keeps a number.
type Store interface{ Put(n int) error }

// Rules count.
type Rules struct{ Count, Unused int }

// Add adds n if it is small and positive.
func (r *Rules) Add(s Store, n int) error {
	if n > 0 && !(n >= 10) {
		r.Count += n
	} else if n > 100 {
		panic("too large")
	}
	r.Unused = n
	return s.Put(r.Count)
}

func never(b bool) bool { return !b }
`)
	write("rules/rules_test.go", `package rules

import "testing"

type store struct{ n int }

func (s *store) Put(n int) error { s.n = n; return nil }

func TestAdd(t *testing.T) {
	r, s := &Rules{}, &store{}
	for _, n := range []int{3, 20, -1, 4} {
		if err := r.Add(s, n); err != nil {
			t.Fatal(err)
		}
	}
	if s.n != 7 {
		t.Errorf("got %d, want 7", s.n)
	}
}
`)
	b, err := rewrite(context.Background(), root, t.TempDir(), []string{"rules"})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range b.mutants {
		all = append(all, m.name())
	}
	want := []string{
		"Rules.Add: drop r.Unused = n",
		"Rules.Add: negate n > 0",
		"Rules.Add: negate !(n >= 10)",
		"Rules.Add: drop r.Count += n",
		"Rules.Add: negate n > 100",
		"Rules.Add: drop s.Put(r.Count)",
		"never: negate !b",
	}
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Fatalf("the mutants are\n%s\nwant\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
	survivors, err := b.judge(context.Background(), "rules", b.mutants)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, m := range survivors {
		left = append(left, m.key())
	}
	wantLeft := []string{"rules Rules.Add: drop r.Unused = n", "rules never: negate !b"}
	slices.Sort(left)
	if !slices.Equal(left, wantLeft) {
		t.Errorf("these survive: %q, want %q", left, wantLeft)
	}
	if report(survivors, map[string]string{wantLeft[0]: "nothing reads it"}, true) {
		t.Error("a survivor without a reason is accepted")
	}
	if !report(survivors, map[string]string{wantLeft[0]: "nothing reads it", wantLeft[1]: "nothing calls it"}, true) {
		t.Error("survivors that all have a reason are not accepted")
	}
	if report(survivors[:1],
		map[string]string{wantLeft[0]: "nothing reads it", wantLeft[1]: "nothing calls it"}, true) {
		t.Error("a reason without a survivor is accepted")
	}
}

func TestReadReasons(t *testing.T) {
	for _, test := range []struct {
		name, text, wrong string
		want              map[string]string
	}{
		{"none", "# a comment\n\n", "", map[string]string{}},
		{"two", "a f: drop x\n  why,\n  at length\nb g: negate y\n  because\n", "",
			map[string]string{"a f: drop x": "why, at length", "b g: negate y": "because"}},
		{"a mutant without a reason", "a f: drop x\nb g: negate y\n  because\n", "no reason", nil},
		{"the last without a reason", "a f: drop x\n", "no reason", nil},
		{"a mutant twice", "a f: drop x\n  why\na f: drop x\n  why\n", "twice", nil},
		{"a reason first", "  why\n", "without a mutant", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "survivors.txt")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readReasons(file)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Errorf("got %v, want an error with %q", err, test.wrong)
				}
				return
			}
			if err != nil || len(got) != len(test.want) {
				t.Fatalf("got %q, %v, want %q", got, err, test.want)
			}
			for key, reason := range test.want {
				if got[key] != reason {
					t.Errorf("the reason of %q is %q, want %q", key, got[key], reason)
				}
			}
		})
	}
}
