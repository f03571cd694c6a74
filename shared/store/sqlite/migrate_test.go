package sqlite

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// versionOne makes a file of schema version 1 with n runs, every third of which failed.
func versionOne(t *testing.T, path string, n int) (newestFirst []string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := tx.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(migrations[0].columns)
	exec(migrations[0].indexes)
	at := time.Date(2026, 3, 1, 9, 30, 59, 999_999_999, time.UTC)
	for i := range n {
		c := beginning(fmt.Sprintf("%05d", i)).Case
		c.CreatedAt = at.Add(time.Duration(i) * time.Microsecond)
		c.Outcome.OutputURL = "a\x00b\\u0000"
		if i%3 == 0 {
			c.State = cases.Failed
		}
		if i%2 == 0 {
			c.CreatedAt = c.CreatedAt.In(time.FixedZone("", -5*3600))
		}
		record, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		record = append([]byte(`{"x_object":{"state":"running","a":"\u0000\ud800"},`), record[1:]...)
		exec(`INSERT INTO heads VALUES (?, 1, 1, ?)`, c.CaseID, []byte("{}"))
		exec(`INSERT INTO runs VALUES (?, 1, 1, ?, ?, ?)`, c.CaseID, c.Bookkeeping.OverdueAt.UnixMicro(), !c.State.Ended(), record)
		newestFirst = append([]string{c.CaseID}, newestFirst...)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1", applicationID)); err != nil {
		t.Fatal(err)
	}
	return newestFirst
}

// TestMigrateFromVersionOne: many processes open a file of the revision before at once; its records are as they were, and listed.
func TestMigrateFromVersionOne(t *testing.T) {
	const n = 2500
	path := filepath.Join(t.TempDir(), "store.db")
	want := versionOne(t, path, n)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s, err := Open(t.Context(), store.Options{Location: path})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := openStore(t, path)
	defer closeStore(t, s)
	counts, err := s.CountByState(t.Context())
	if err != nil || counts[cases.Failed] != (n+2)/3 || counts[cases.Pending] != n-(n+2)/3 || len(counts) != 2 {
		t.Errorf("counts %v, error %v", counts, err)
	}
	var got []string
	for after := (store.Place{}); ; {
		page, err := s.List(t.Context(), store.Filter{}, after, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			got = append(got, c.CaseID)
			after = store.PlaceOf(c)
		}
		if len(page) < 100 {
			break
		}
	}
	if !cmp.Equal(got, want) {
		t.Errorf("%d listed of %d, or in another order", len(got), len(want))
	}

	c, err := s.Get(t.Context(), "00003", 1)
	if err != nil || c.Outcome.OutputURL != "a\x00b\\u0000" {
		t.Fatalf("record %+v, error %v", c, err)
	}
	if err := s.Update(t.Context(), after(c)); err != nil {
		t.Fatal(err)
	}
	page, err := s.List(t.Context(), store.Filter{State: cases.Failed, Since: c.CreatedAt, Before: c.CreatedAt.Add(time.Microsecond)}, store.Place{}, 10)
	if err != nil || len(page) != 1 || page[0].Version != 2 {
		t.Fatalf("%d records, error %v", len(page), err)
	}
	var kept struct {
		X map[string]string `json:"x_object"`
	}
	data, err := json.Marshal(page[0])
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil || kept.X["state"] != "running" {
		t.Errorf("unknown fields %v, error %v", kept.X, err)
	}
}

// TestMigrateAllOrNothing: a record that cannot be read is named, and the file stays as it was.
func TestMigrateAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	versionOne(t, path, 3)
	exec := func(query string) (version int) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
			t.Fatal(err)
		}
		return version
	}
	exec(`UPDATE runs SET record = x'7b' WHERE case_id = '00001'`)
	s, err := Open(t.Context(), store.Options{Location: path})
	if err == nil {
		closeStore(t, s)
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), "from version 1: record 2") {
		t.Errorf("error %q does not name the record", err)
	}
	if version := exec(`UPDATE runs SET record = (SELECT record FROM runs WHERE case_id = '00002') WHERE case_id = '00001'`); version != 1 {
		t.Errorf("the file is at version %d", version)
	}
	closeStore(t, openStore(t, path))
}
