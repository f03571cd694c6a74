package sqlite

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

// TestDeletedFormsAreErased checks that no file contains the bytes of a dropped, replaced or purged
// form after a checkpoint, whatever its length.
func TestDeletedFormsAreErased(t *testing.T) {
	for _, size := range []int{60, 3000, 200 << 10} {
		for name, remove := range map[string]func(s *Store, b store.Begin) error{
			"dropped": func(s *Store, b store.Begin) error {
				w := after(b.Case)
				w.Drop = []store.Value{store.Form}
				return s.Update(t.Context(), w)
			},
			"replaced": func(s *Store, b store.Begin) error {
				w := after(b.Case)
				w.Put = map[store.Value][]byte{store.Form: []byte("{}")}
				return s.Update(t.Context(), w)
			},
			"purged": func(s *Store, b store.Begin) error {
				return s.Purge(t.Context(), b.Case.CaseID, b.Case.Run, b.Case.Version)
			},
		} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store.db")
				s := openStore(t, path)
				defer closeStore(t, s)
				mark := rand.Text()
				var begun store.Begin
				for i := range 5 { // with other forms around it
					b := beginning(fmt.Sprint("case", i))
					b.Form = []byte(strings.Repeat("other ", size/6))
					if i == 2 {
						b.Form = []byte(strings.Repeat(mark+" ", size/len(mark+" ")))
						begun = b
					}
					if err := s.Begin(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				if !inFiles(t, path, mark) {
					t.Fatal("the files do not contain a stored form")
				}
				if err := remove(s, begun); err != nil {
					t.Fatal(err)
				}
				if inFiles(t, path, mark) {
					t.Error("the files still contain the form")
				}
			})
		}
	}
}

// inFiles runs a checkpoint and reports whether the database or a file beside it contains the text.
func inFiles(t *testing.T, path, text string) bool {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			return true
		}
	}
	return false
}

// BenchmarkSecureDelete compares a store with one that does not overwrite deleted data, in the same
// run. An iteration is a case that begins, has its form dropped and is purged, in each of the two.
// Both wait for the disk.
func BenchmarkSecureDelete(b *testing.B) {
	for _, size := range []int{16 << 10, 900 << 10} {
		b.Run(fmt.Sprint("form=", size>>10, "KiB"), func(b *testing.B) {
			stores := map[string]*Store{}
			took := map[string]time.Duration{}
			for _, mode := range []string{"ON", "OFF"} {
				s := openStore(b, filepath.Join(b.TempDir(), "store.db"))
				b.Cleanup(func() { closeStore(b, s) })
				// The store has only one writing connection.
				if _, err := s.writers.Exec("PRAGMA secure_delete = " + mode); err != nil {
					b.Fatal(err)
				}
				stores[mode] = s
			}
			form := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			n := 0
			for b.Loop() {
				n++
				for mode, s := range stores {
					begun := beginning(fmt.Sprint("case", n))
					begun.Form = form
					w := after(begun.Case)
					w.Drop = []store.Value{store.Form}
					ctx, at := context.Background(), time.Now()
					for _, do := range []func() error{
						func() error { return s.Begin(ctx, begun) },
						func() error { return s.Update(ctx, w) },
						func() error { return s.Purge(ctx, w.Case.CaseID, w.Case.Run, w.Case.Version) },
					} {
						if err := do(); err != nil {
							b.Fatal(err)
						}
					}
					took[mode] += time.Since(at)
				}
			}
			b.ReportMetric(float64(took["ON"].Milliseconds())/float64(n), "ms/case")
			b.ReportMetric(float64(took["OFF"].Milliseconds())/float64(n), "ms/case-without")
			b.ReportMetric(took["ON"].Seconds()/took["OFF"].Seconds(), "ratio")
		})
	}
}
