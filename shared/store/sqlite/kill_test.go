package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/casewatch/casewatch/shared/store"
)

const killEnv = "SQLITE_TEST_WRITE_UNTIL_KILLED"

// TestKilled checks that confirmed writes survive the kill of their process completely.
func TestKilled(t *testing.T) {
	if path := os.Getenv(killEnv); path != "" {
		writeUntilKilled(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "store.db")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), killEnv+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var confirmed []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if confirmed = append(confirmed, lines.Text()); len(confirmed) == 200 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	if len(confirmed) < 200 {
		t.Fatalf("the writer ended after %d writes: %q", len(confirmed), confirmed)
	}
	if last := confirmed[len(confirmed)-1]; len(last) != len("w0-000000") {
		confirmed = confirmed[:len(confirmed)-1] // the last line is incomplete
	}
	s := openStore(t, path)
	defer closeStore(t, s)
	for _, id := range confirmed {
		if c, err := s.Get(t.Context(), id, 1); err != nil || c.Version != 2 {
			t.Fatalf("%s was confirmed; version %d, error %v", id, c.Version, err)
		}
		if v, err := s.Value(t.Context(), id, 1, store.Result); err != nil || !bytes.Equal(v, []byte(id)) {
			t.Fatalf("the result of %s was confirmed; it is %q, error %v", id, v, err)
		}
	}
	var verdict string
	if err := s.readers.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity: %s, error %v", verdict, err)
	}
}

func writeUntilKilled(t *testing.T, path string) {
	s := openStore(t, path)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 100_000 {
				b := beginning(fmt.Sprintf("w%d-%06d", i, n))
				w := after(b.Case)
				w.Put = map[store.Value][]byte{store.Result: []byte(w.Case.CaseID)}
				if err := s.Begin(context.Background(), b); err != nil {
					t.Error(err)
					return
				}
				if err := s.Update(context.Background(), w); err != nil {
					t.Error(err)
					return
				}
				fmt.Println(w.Case.CaseID)
			}
		})
	}
	all.Wait()
}
