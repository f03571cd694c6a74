package reconcile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// A case belongs to the caller of its first kept run. Nobody else joins, supersedes or runs it
// again but who may reach all cases, and whatever they do it stays the owner's.
func TestOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func(owner string, anyCase bool, change ...func(*reconcile.StartRequest)) (reconcile.StartAnswer, error) {
		req := reconcile.StartRequest{CaseID: "c", Form: []byte(`{"a":1}`), Owner: owner, AnyCase: anyCase}
		for _, f := range change {
			f(&req)
		}
		return w.Start(t.Context(), req)
	}
	supersede := func(r *reconcile.StartRequest) { r.Supersede = true }
	key := func(r *reconcile.StartRequest) { r.Key = "k" }
	owned := func(when, want string) {
		t.Helper()
		if got, err := w.Owner(t.Context(), "c"); err != nil || got != want {
			t.Errorf("%s it belongs to %q, %v; want %q", when, got, err, want)
		}
	}
	if _, err := w.Owner(t.Context(), "c"); kindOf(err) != fault.NotFound {
		t.Errorf("the owner of no case: %v", err)
	}
	if a, err := start("ann", false, key); err != nil || !a.Begun {
		t.Fatalf("run %d, %v", a.Case.Run, err)
	}
	owned("begun,", "ann")
	for name, refused := range map[string]func() (reconcile.StartAnswer, error){
		"joined":               func() (reconcile.StartAnswer, error) { return start("bob", false) },
		"joined by its key":    func() (reconcile.StartAnswer, error) { return start("bob", false, key) },
		"superseded":           func() (reconcile.StartAnswer, error) { return start("bob", false, supersede) },
		"joined by nobody":     func() (reconcile.StartAnswer, error) { return start("", false) },
		"superseded by nobody": func() (reconcile.StartAnswer, error) { return start("", false, supersede) },
	} {
		if a, err := refused(); kindOf(err) != fault.Forbidden || a.Case.CaseID != "" {
			t.Errorf("%s: run %d, %v", name, a.Case.Run, err)
		}
	}
	if a, err := start("ann", false); err != nil || a.Begun || a.Case.Run != 1 {
		t.Errorf("joined by its owner: run %d, %v", a.Case.Run, err)
	}
	if a, err := start("", true, supersede); err != nil || a.Case.Run != 2 {
		t.Errorf("superseded by who reaches all: run %d, %v", a.Case.Run, err)
	}
	owned("superseded,", "ann")
	if a, err := start("ann", false, supersede); err != nil || a.Case.Run != 3 {
		t.Errorf("superseded by its owner: run %d, %v", a.Case.Run, err)
	}
	if _, err := w.Cancel(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := start("bob", false); kindOf(err) != fault.Forbidden {
		t.Errorf("run again by another: %v", err)
	}
	if a, err := w.Rerun(t.Context(), "c", 3, ""); err != nil || !a.Begun {
		t.Fatalf("run %d, %v", a.Case.Run, err)
	}
	owned("run again by an operator,", "ann")
	// With its last run the case goes, and so does whose it was.
	if _, err := w.Cancel(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	w.pass(1000 * time.Hour)
	for range 5 {
		w.sweep()
	}
	if a, err := start("bob", false); err != nil || !a.Begun || a.Case.Run != 1 {
		t.Fatalf("begun anew: run %d, %v", a.Case.Run, err)
	}
	owned("begun anew,", "bob")
	// What nobody with an account began is not for those who have one.
	w.begin(func(r *reconcile.StartRequest) { r.CaseID = "nobody's" })
	if _, err := w.Start(t.Context(), reconcile.StartRequest{
		CaseID: "nobody's", Owner: "ann",
	}); kindOf(err) != fault.Forbidden {
		t.Errorf("joined by an account: %v", err)
	}
}

// A case keeps at most 1,000 idempotency keys. The next one has to wait until the oldest leaves with its run.
func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := map[string]int{}
	for i := range 999 {
		keys[fmt.Sprintf("key%d", i)] = 1
	}
	c := w.begin(func(r *reconcile.StartRequest) { r.CaseID = "of which it is a copy" })
	c.CaseID = "c"
	if err := w.store.Begin(t.Context(), store.Begin{
		Head: store.Head{CaseID: "c", Run: 1, Version: 1, Keys: keys}, Case: c,
	}); err != nil {
		t.Fatal(err)
	}
	w.begin() // queues it
	start := func(key string) (reconcile.StartAnswer, error) {
		return w.Start(t.Context(),
			reconcile.StartRequest{CaseID: "c", Form: []byte(`{"a":1}`), Supersede: true, Key: key})
	}
	if a, err := start("the thousandth"); err != nil || a.Case.Run != 2 {
		t.Fatalf("run %d, %v", a.Case.Run, err)
	}
	w.pass(time.Hour)
	_, err := start("one more")
	if kindOf(err) != fault.TooMany {
		t.Fatal(err)
	}
	want := int((w.rules.Retention - time.Hour).Seconds()) // run 1 ended an hour ago
	if got := fault.From(err).RetryAfterSeconds(); got != want {
		t.Errorf("to come again in %d s, want %d", got, want)
	}
	if _, err := w.Cancel(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Rerun(t.Context(), "c", 2, ""); kindOf(err) != fault.TooMany {
		t.Errorf("a rerun, which has a key too: %v", err)
	}
	// What is known is answered, and what has no key is begun.
	if a, err := start("the thousandth"); err != nil || a.Begun || a.Case.Run != 2 {
		t.Errorf("a known key: run %d, %v", a.Case.Run, err)
	}
	if a, err := start(""); err != nil || a.Case.Run != 3 {
		t.Errorf("no key: run %d, %v", a.Case.Run, err)
	}
	w.pass(w.rules.Retention) // and an hour more, for the sweep leaves what is overdue for only a while
	for range 3 {             // one drops the form
		w.sweep()
	}
	if a, err := start("one more"); err != nil || a.Case.Run != 4 {
		t.Errorf("once run 1 is purged: run %d, %v", a.Case.Run, err)
	}
}
