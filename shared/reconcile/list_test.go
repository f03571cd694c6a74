package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

func (s *faultyStore) List(ctx context.Context, f store.Filter, after store.Place, limit int) ([]cases.Case, error) {
	return call(s, "List", func() ([]cases.Case, error) { return s.Store.List(ctx, f, after, limit) })
}

func (s *faultyStore) CountByState(ctx context.Context) (map[cases.State]int, error) {
	return call(s, "CountByState", func() (map[cases.State]int, error) { return s.Store.CountByState(ctx) })
}

func TestListAndCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if counts, err := w.CountByState(t.Context()); err != nil || len(counts) != 6 {
		t.Errorf("%v %v", counts, err)
	}
	for i := range 5 {
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = fmt.Sprint("c", i) })
		w.pass(time.Minute)
	}
	if _, err := w.Cancel(t.Context(), "c3", 1); err != nil {
		t.Fatal(err)
	}
	ids := func(f reconcile.Filter, after reconcile.Place, limit int) (ids []string, last reconcile.Place) {
		page, err := w.List(t.Context(), f, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			ids, last = append(ids, c.CaseID), reconcile.PlaceOf(c)
		}
		return ids, last
	}
	first, last := ids(reconcile.Filter{}, reconcile.Place{}, 3)
	rest, _ := ids(reconcile.Filter{}, last, 3)
	if !slices.Equal(first, []string{"c4", "c3", "c2"}) || !slices.Equal(rest, []string{"c1", "c0"}) {
		t.Errorf("%v %v", first, rest)
	}
	got, _ := ids(reconcile.Filter{State: cases.Pending, Since: epoch.Add(time.Minute),
		Before: epoch.Add(4 * time.Minute)}, reconcile.Place{}, 9)
	if !slices.Equal(got, []string{"c2", "c1"}) {
		t.Errorf("%v", got)
	}
	counts, err := w.CountByState(t.Context())
	if err != nil || counts[cases.Pending] != 4 || counts[cases.Cancelled] != 1 || len(counts) != 6 {
		t.Errorf("%v %v", counts, err)
	}
	w.store.before = func(string) error { return errDown }
	if _, err := w.List(t.Context(), reconcile.Filter{}, reconcile.Place{}, 1); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if _, err := w.CountByState(t.Context()); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}

func TestDetail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.Detail(t.Context(), "c", 0); kindOf(err) != fault.NotFound {
		t.Error(err)
	}
	for run := 1; run <= 13; run++ {
		w.begin()
		w.pass(time.Second)
		if run < 13 {
			if _, err := w.Cancel(t.Context(), "c", run); err != nil {
				t.Fatal(err)
			}
		}
	}
	runs := func(d reconcile.RunDetail) (n []int) {
		for _, c := range d.Others {
			n = append(n, c.Run)
		}
		return n
	}
	for _, test := range []struct {
		run, want int
		others    []int
		more      bool
	}{
		{0, 13, []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3}, true},
		{13, 13, []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3}, true},
		{12, 12, []int{13, 11, 10, 9, 8, 7, 6, 5, 4, 3}, true},
		{1, 1, []int{13, 12, 11, 10, 9, 8, 7, 6, 5, 4}, true},
	} {
		d, err := w.Detail(t.Context(), "c", test.run)
		if err != nil || d.Case.Run != test.want || d.View.Run != test.want || d.Current != 13 ||
			!slices.Equal(runs(d), test.others) || d.More != test.more {
			t.Errorf("run %d: %d of %d, others %v, more %v, %v", test.run, d.Case.Run, d.Current, runs(d), d.More, err)
		}
	}
	if _, err := w.Detail(t.Context(), "c", 14); kindOf(err) != fault.NotFound {
		t.Error(err)
	}
	// The first runs are purged.
	for run := 1; run <= 11; run++ {
		if err := w.store.Purge(t.Context(), "c", run, w.get(run).Version); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := w.Detail(t.Context(), "c", 0); err != nil || !slices.Equal(runs(d), []int{12}) || d.More {
		t.Errorf("%v %v %v", runs(d), d.More, err)
	}
	for nth := 1; nth <= 2; nth++ {
		w.store.before = failing("Get", nth, nth)
		_, err := w.Detail(t.Context(), "c", 12)
		if kindOf(err) != fault.Unavailable {
			t.Errorf("%d: %v", nth, err)
		}
	}
	w.store.before = nil
	w.deliver(0)
	if err := w.publish("m", `{"case_id":"c","run":13,"status":"failed","result":{"a":1}}`); err != nil {
		t.Fatal(err)
	}
	if d, err := w.Detail(t.Context(), "c", 0); err != nil || string(d.View.Result) != `{"a":1}` {
		t.Errorf("%s %v", d.View.Result, err)
	}
	w.store.before = func(method string) error {
		if method == "Value" {
			return store.ErrNotFound
		}
		return nil
	}
	if _, err := w.Detail(t.Context(), "c", 0); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}
