package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// held is a store whose file another connection holds until release.
type held struct {
	*Store
	path    string
	release func()
}

func hold(t *testing.T) *held {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openStore(t, path)
	t.Cleanup(func() { closeStore(t, s) })
	h := &held{Store: s, path: path}
	h.again(t)
	return h
}

// again holds the file again.
func (h *held) again(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", h.path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	h.release = sync.OnceFunc(func() { db.Close() })
	t.Cleanup(h.release)
}

// start starts a change in the background and returns when it is queued.
func (h *held) start(t *testing.T, ctx context.Context, c *change) <-chan error {
	t.Helper()
	n := h.queued()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- h.commits.do(ctx, c)
	}()
	for deadline := time.Now().Add(5 * time.Second); h.queued() == n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the write was not queued within 5 s")
		}
	}
	return done
}

func (h *held) queued() int {
	h.commits.mu.Lock()
	defer h.commits.mu.Unlock()
	return len(h.commits.queue)
}

// adds returns a change that adds a head with that id and then runs the queries.
func adds(id string, also ...string) *change {
	return &change{caseID: id, apply: func(w *writer) error {
		err := must(affected(context.Background(), w.addHead, id, 1, 1, []byte("{}"), ""))
		for _, query := range also {
			if err == nil {
				_, err = w.conn.ExecContext(context.Background(), query)
			}
		}
		return err
	}}
}

func (h *held) wantHeads(t *testing.T, want ...string) {
	t.Helper()
	rows, err := h.readers.Query("SELECT case_id FROM heads ORDER BY case_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("saved: %q, want %q", got, want)
	}
}

// TestSharedCommit checks that writes that queue up while the file is held share one transaction,
// in the order of their arrival.
func TestSharedCommit(t *testing.T) {
	h := hold(t)
	var log []string // written by the leader alone
	h.commits.saved = func(id string) { log = append(log, "saved "+id) }
	var all []<-chan error
	for _, id := range []string{"a", "b", "c"} {
		c := adds(id)
		apply := c.apply
		c.apply = func(w *writer) error {
			log = append(log, "applied "+id)
			return apply(w)
		}
		all = append(all, h.start(t, t.Context(), c))
	}
	h.release()
	for _, done := range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	want := []string{"applied a", "applied b", "applied c", "saved a", "saved b", "saved c"}
	if !slices.Equal(log, want) {
		t.Errorf("%q, want %q", log, want)
	}
	h.wantHeads(t, "a", "b", "c")
}

// TestEndsAreWrittenFirst checks that queued writes with an end are written first, after the
// leader's, in the order of their arrival.
func TestEndsAreWrittenFirst(t *testing.T) {
	h := hold(t)
	h.commits.maxBatch = 3
	var log []string // written by the leader alone
	h.commits.saved = func(id string) { log = append(log, id) }
	var all []<-chan error
	for _, id := range []string{"a", "b", "c", "end1", "d", "end2"} {
		c := adds(id)
		c.urgent = strings.HasPrefix(id, "end")
		all = append(all, h.start(t, t.Context(), c))
	}
	h.release()
	for _, done := range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if want := []string{"a", "end1", "end2", "b", "c", "d"}; !slices.Equal(log, want) {
		t.Errorf("%q, want %q", log, want)
	}
}

// TestWritesOfEndsAreUrgent checks which writes are urgent: those of an ended run, and beginnings
// that end the previous run.
func TestWritesOfEndsAreUrgent(t *testing.T) {
	h := hold(t)
	h.release()
	c := save(t, h.Store, "a")
	h.again(t)
	queued := make(chan error, 3)
	ended := after(c)
	ended.Case.State = cases.Failed
	next := beginning("a")
	next.Head.Run, next.Head.Version, next.Case.Run = 2, 2, 2
	next.End = &ended
	for i, do := range []func() error{
		func() error { return h.Update(t.Context(), after(c)) },
		func() error { return h.Update(t.Context(), ended) },
		func() error { return h.Begin(t.Context(), next) },
	} {
		go func() { queued <- do() }()
		for end := time.Now().Add(5 * time.Second); h.queued() != i+1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the write was not queued within 5 s")
			}
		}
	}
	h.commits.mu.Lock()
	for i, c := range h.commits.queue {
		if c.urgent != (i > 0) {
			t.Errorf("write %d: urgent %t", i, c.urgent)
		}
	}
	h.commits.mu.Unlock()
	h.release()
	for range 3 {
		<-queued // one of the three succeeds
	}
}

// TestErrorsInABatch checks that a failing write gets its error. Its effect on the other writes
// depends on the failure, but each gets its true result, and the next write succeeds.
func TestErrorsInABatch(t *testing.T) {
	for _, test := range []struct {
		name    string
		failing *change
		want    string   // error of the failing write
		saved   []string // which of the other writes, a and c, are saved
	}{
		{"conflict", &change{apply: func(*writer) error { return store.ErrConflict }}, "store: conflict",
			[]string{"a", "c"}},
		{"half done",
			adds("b", "INSERT INTO runs (case_id, run, version, wake_at, open, record) VALUES ('b', 1, 1, 1, 2, x'')"),
			"constraint", []string{"a", "c"}},
		{"the transaction was rolled back", adds("b", "ROLLBACK", "nonsense"), "nonsense", nil},
		{"the commit fails",
			adds("b", "PRAGMA defer_foreign_keys = 1", "INSERT INTO run_values VALUES ('b', 1, 'form', x'')"),
			"FOREIGN KEY", nil},
		{"panic", &change{apply: func(*writer) error { panic("injected") }}, "did not finish", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hold(t)
			a := h.start(t, t.Context(), adds("a"))
			b := h.start(t, t.Context(), test.failing)
			c := h.start(t, t.Context(), adds("c"))
			h.release()
			if err := <-b; err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the failing write: got %v, want %q", err, test.want)
			}
			for name, done := range map[string]<-chan error{"a": a, "c": c} {
				if err := <-done; (err == nil) != slices.Contains(test.saved, name) {
					t.Errorf("write %s: got %v, want only %q saved", name, err, test.saved)
				}
			}
			h.wantHeads(t, test.saved...)
			if err := h.commits.do(t.Context(), adds("d")); err != nil {
				t.Errorf("the next write: %v", err)
			}
			h.wantHeads(t, append(test.saved, "d")...)
		})
	}
}

// TestLeaderGivesUp checks that a leader and a queued writer that give up do not affect the writes
// of others.
func TestLeaderGivesUp(t *testing.T) {
	h := hold(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leader := h.start(t, ctx, adds("leader"))
	a := h.start(t, t.Context(), adds("a"))
	second := h.start(t, ctx, adds("second"))
	b := h.start(t, t.Context(), adds("b"))
	cancel()
	for _, done := range []<-chan error{leader, second} { // while the file is still held
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a writer that gave up got %v, want context.Canceled", err)
		}
	}
	h.release()
	for _, done := range []<-chan error{a, b} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	h.wantHeads(t, "a", "b")
}

// TestBatchIsBounded checks the limits by number and by bytes. The first change is always taken.
func TestBatchIsBounded(t *testing.T) {
	for _, test := range []struct {
		sizes        []int
		limit, bytes int
		want         int
	}{
		{[]int{1, 1, 1}, 10, 100, 3},
		{[]int{1, 1, 1}, 2, 100, 2},
		{[]int{40, 40, 40}, 10, 100, 2},
		{[]int{50, 50, 1}, 10, 100, 2},
		{[]int{500, 1}, 10, 100, 1},
		{[]int{1, 500}, 10, 100, 1},
		{nil, 10, 100, 0},
	} {
		var q commits
		for _, size := range test.sizes {
			q.queue = append(q.queue, &change{size: size})
		}
		if got := len(q.take(test.limit, test.bytes)); got != test.want || len(q.queue) != len(test.sizes)-got {
			t.Errorf("took %d of %v, left %d; want %d", got, test.sizes, len(q.queue), test.want)
		}
	}
}

// TestFileHeldTooLong checks that all waiting writers get the error together, and not one after the
// other.
func TestFileHeldTooLong(t *testing.T) {
	h := hold(t)
	w, err := newWriter(t.Context(), h.writers)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 300"); err != nil {
		t.Fatal(err)
	}
	h.commits.w = w
	a := h.start(t, t.Context(), adds("a"))
	b := h.start(t, t.Context(), adds("b"))
	for _, done := range []<-chan error{a, b} {
		if err := <-done; !busy(err) {
			t.Errorf("got %v, want that the file is busy", err)
		}
	}
	h.release()
	if err := h.commits.do(t.Context(), adds("c")); err != nil {
		t.Error(err)
	}
	h.wantHeads(t, "c")
}

// TestMisuse checks that invalid calls are rejected and nothing is written.
func TestMisuse(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "store.db"))
	defer closeStore(t, s)
	c := save(t, s, "a")
	w := after(c)
	w.Put, w.Drop = map[store.Value][]byte{store.Result: nil}, []store.Value{store.Result}
	if err := s.Update(t.Context(), w); err == nil || !strings.Contains(err.Error(), "result") {
		t.Errorf("a value both put and dropped: %v", err)
	}
	b := beginning("b")
	b.Case.Run = 2
	if err := s.Begin(t.Context(), b); err == nil {
		t.Error("a head that names another run was accepted")
	}
	if page, err := s.Overdue(t.Context(), time.Now().AddDate(100, 0, 0), store.Cursor{}, -1); err != nil ||
		len(page) != 0 {
		t.Errorf("Overdue with a negative limit: %d records, error %v", len(page), err)
	}
}
