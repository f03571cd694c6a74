package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/row"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// The statements of the revision that knew version 1 of the schema.
const (
	oldInsert = `INSERT INTO runs (case_id, run, version, wake_at, open, record) VALUES ($1, $2, $3, $4, $5, $6)`
	oldUpdate = `UPDATE runs SET version = $3, wake_at = $4, open = $5, record = $6 WHERE case_id = $1 AND run = $2`
)

// old writes as that revision did, with fields that none knows.
func old(ctx context.Context, conn *pgx.Conn, query string, c cases.Case) error {
	r, err := row.Encode(c)
	if err != nil {
		return err
	}
	record := append([]byte(`{"x_object":{"state":"running","created_at":null,"a":"\u0000"},`), r.Record[1:]...)
	_, err = conn.Exec(ctx, query, r.CaseID, r.Run, r.Version, r.OverdueAt, r.Open, record)
	return err
}

// versionOne returns the DSN of a database of version 1 of the schema, with n runs of which every third failed, their ids in the order of
// List, and a connection to it.
func versionOne(t *testing.T, n int) (dsn string, newestFirst []string, conn *pgx.Conn) {
	t.Helper()
	dsn = with(t, postgrestest.Start(t), url.Values{"default_transaction_isolation": {"serializable"}})
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	one, err := fs.ReadFile(migrations, "0001_store.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), pool, fstest.MapFS{"0001_store.sql": {Data: one}}); err != nil {
		t.Fatal(err)
	}
	if conn, err = pgx.Connect(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	// That revision asked for read committed with every transaction.
	if _, err := conn.Exec(t.Context(), "SET default_transaction_isolation = 'read committed'"); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 9, 30, 59, 999_999_000, time.UTC)
	for i := range n {
		c := beginning(fmt.Sprintf("%05d", i)).Case
		c.CreatedAt = at.Add(time.Duration(i) * time.Microsecond)
		c.Outcome.OutputURL = "a\x00b\\u0000\\\x00\""
		if i%3 == 0 {
			c.State = cases.Failed
		}
		if i%2 == 0 {
			c.CreatedAt = c.CreatedAt.In(time.FixedZone("", -5*3600))
		}
		if err := old(t.Context(), conn, oldInsert, c); err != nil {
			t.Fatal(err)
		}
		newestFirst = append(newestFirst, c.CaseID)
	}
	slices.Reverse(newestFirst)
	return dsn, newestFirst, conn
}

// listed are the ids of all that List finds.
func listed(t *testing.T, s *Store, f store.Filter) (ids []string) {
	t.Helper()
	const limit = 100
	for after := (store.Place{}); ; {
		page, err := s.List(t.Context(), f, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			ids = append(ids, c.CaseID)
			after = store.PlaceOf(c)
		}
		if len(page) < limit {
			return ids
		}
	}
}

// TestUpgrade: many open a database of the revision before at once, while that goes on writing. Its records are as they were, and listed.
func TestUpgrade(t *testing.T) {
	const n = 2500
	dsn, want, conn := versionOne(t, n)
	ctx, stop := context.WithCancel(t.Context())
	var writer, openers sync.WaitGroup
	writer.Go(func() { // as the revision before
		for i := 0; ctx.Err() == nil; i++ {
			c := beginning("new").Case
			query := oldUpdate
			if c.Version = int64(i + 1); i == 0 {
				query = oldInsert
			}
			if err := old(t.Context(), conn, query, c); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 4 {
		openers.Go(func() {
			s, err := Open(t.Context(), store.Options{Location: dsn})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	openers.Wait()
	stop()
	writer.Wait()
	if t.Failed() {
		t.FailNow()
	}
	postgrestest.Exec(t, dsn, `DELETE FROM runs WHERE case_id = 'new'`)
	s := openStore(t, dsn)
	defer closeStore(t, s)
	if got := listed(t, s, store.Filter{}); !cmp.Equal(got, want) {
		t.Errorf("%d listed of %d, or in another order", len(got), len(want))
	}
	counts, err := s.CountByState(t.Context())
	if err != nil || counts[cases.Failed] != (n+2)/3 || counts[cases.Pending] != n-(n+2)/3 || len(counts) != 2 {
		t.Errorf("counts %v, error %v", counts, err)
	}
	c, err := s.Get(t.Context(), "00003", 1)
	if err != nil || c.Outcome.OutputURL != "a\x00b\\u0000\\\x00\"" {
		t.Fatalf("record %+v, error %v", c, err)
	}
	mustDo(t, s.Update(t.Context(), after(c)))
	page, err := s.List(
		t.Context(),
		store.Filter{State: cases.Failed, Since: c.CreatedAt, Before: c.CreatedAt.Add(time.Microsecond)},
		store.Place{},
		10,
	)
	if err != nil || len(page) != 1 || page[0].Version != 2 {
		t.Fatalf("%d records, error %v", len(page), err)
	}
	var kept struct {
		X map[string]any `json:"x_object"`
	}
	data, err := json.Marshal(page[0])
	mustDo(t, err)
	mustDo(t, json.Unmarshal(data, &kept))
	if kept.X["a"] != "\x00" {
		t.Errorf("unknown fields %v", kept.X)
	}
}

// TestUpgradeBrokenOff: a migration that was broken off, with some rows filled in and an index that is of no use, is begun again.
func TestUpgradeBrokenOff(t *testing.T) {
	dsn, want, _ := versionOne(t, 10)
	postgrestest.Exec(t, dsn, `ALTER TABLE runs ADD COLUMN state text COLLATE "C", ADD COLUMN created_at timestamptz;
		UPDATE runs SET state = 'pending', created_at = '2026-03-01T09:31:00Z'::timestamptz WHERE case_id = '00001';
		CREATE INDEX runs_created ON runs (run)`)
	s := openStore(t, dsn)
	defer closeStore(t, s)
	if got := listed(t, s, store.Filter{}); !cmp.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	indexes := `SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid::regclass::text) FROM pg_index
		WHERE indrelid = 'runs'::regclass AND indisvalid AND indexrelid::regclass::text IN ('runs_created', 'runs_state')`
	got := postgrestest.Query(t, dsn, indexes)
	if want := `CREATE INDEX runs_created ON public.runs USING btree (created_at, case_id, run)
CREATE INDEX runs_state ON public.runs USING btree (state, created_at, case_id, run)`; got != want {
		t.Errorf("indexes:\n%s\nwant:\n%s", got, want)
	}
}

// TestOldRevisionWrites: what the revision before goes on writing on the new schema, and List after it.
func TestOldRevisionWrites(t *testing.T) {
	dsn, _, conn := versionOne(t, 0)
	s := openStore(t, dsn)
	defer closeStore(t, s)
	want := func(when string, state cases.State, want ...string) {
		t.Helper()
		if got := listed(t, s, store.Filter{State: state}); !cmp.Equal(got, want) {
			t.Errorf("%s: listed as %q: %v, want %v", when, state, got, want)
		}
		counts, err := s.CountByState(t.Context())
		if err != nil || state != "" && counts[state] != len(want) || counts[""] != 0 {
			t.Errorf("%s: counts %v, error %v", when, counts, err)
		}
	}
	ended := save(t, s, "ended")
	ended.State, ended.Version = cases.Failed, 2
	mustDo(t, old(t.Context(), conn, oldUpdate, ended))
	begun := beginning("begun").Case
	mustDo(t, old(t.Context(), conn, oldInsert, begun))
	want("by the revision before", "", "ended")
	want("by the revision before", cases.Pending, "ended")
	want("by the revision before", cases.Failed)
	for _, c := range []cases.Case{ended, begun} {
		mustDo(t, s.Update(t.Context(), after(c)))
	}
	want("written again", "", "ended", "begun")
	want("written again", cases.Pending, "begun")
	want("written again", cases.Failed, "ended")
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
