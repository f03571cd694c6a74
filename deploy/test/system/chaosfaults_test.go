package system_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver of openFile

	"github.com/casewatch/casewatch/shared/store/firestore/firestoretest"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// chaosStore is a store, and what can happen to it.
type chaosStore struct {
	binary  string
	env     map[string]string
	link    *link // nil if there is no network in between
	outages []outage
}

// frozen stops a process and lets it go on: it keeps what it knows and answers nothing meanwhile.
func frozen(name, of string, pid int) outage {
	return outage{name: name + " is frozen", of: of, begin: func() func() {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // if it is gone, the test fails for that
		return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	}}
}

// unreachable breaks a link, and turns away who comes.
func unreachable(name, of string, l *link) outage {
	return outage{name: name + " cannot be reached", of: of, begin: func() func() {
		l.down.Store(true)
		l.cut()
		return func() { l.down.Store(false) }
	}}
}

func slow(name string, l *link) outage {
	return outage{name: "the network to the " + name + " is slow", of: name, begin: func() func() {
		l.delay.Store(int64(250 * time.Millisecond))
		return func() { l.delay.Store(0) }
	}}
}

// broken breaks a link again and again.
func broken(name string, l *link) outage {
	return outage{name: "the connections to the " + name + " break", of: name, tears: name, begin: func() func() {
		stop := make(chan struct{})
		var cutting sync.WaitGroup
		cutting.Go(func() {
			for {
				l.cut()
				select {
				case <-stop:
					return
				case <-time.After(300 * time.Millisecond):
				}
			}
		})
		return func() { close(stop); cutting.Wait() }
	}}
}

// chaosOnFirestore is the emulator, which is never killed: it keeps everything in memory, unlike Firestore.
func chaosOnFirestore(t *testing.T) *chaosStore {
	t.Helper()
	addr := firestoretest.Start(t)
	l := newLink(t, "tcp", addr)
	pid := listener(t, addr)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // others use it after this test
	return &chaosStore{
		binary: "program", env: map[string]string{"STORE": "firestore:", "FIRESTORE_EMULATOR_HOST": l.addr}, link: l,
		outages: []outage{frozen("the Firestore emulator", "store", pid), unreachable("Firestore", "store", l)},
	}
}

// listener finds the emulator of this test among the processes, by the port that it was told.
func listener(t *testing.T, addr string) int {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range found {
		data, _ := os.ReadFile(file) // it may have ended
		args := strings.Split(string(data), "\x00")
		if strings.HasSuffix(args[0], "java") && strings.Contains(string(data), "\x00--port="+port+"\x00") {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				return pid
			}
		}
	}
	t.Fatalf("no process has the port %s", port)
	return 0
}

// chaosOnPostgres is a server of its own, which loses nothing that it said is committed: it can be crashed.
func chaosOnPostgres(t *testing.T) *chaosStore {
	t.Helper()
	server := postgrestest.New(t)
	dsn := server.Database(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	postgrestest.Exec(t, dsn, "ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" SET synchronous_commit = on")
	dir := u.Query().Get("host")
	l := newLink(t, "unix", filepath.Join(dir, ".s.PGSQL.5432"))
	u.Host, u.RawQuery = l.addr, url.Values{"sslmode": {"disable"}}.Encode()
	return &chaosStore{
		binary: "program", env: map[string]string{"STORE": u.String()}, link: l,
		outages: []outage{
			{name: "PostgreSQL is stopped", of: "store", begin: func() func() {
				server.Stop(t)
				return func() { server.Continue(t) }
			}},
			{name: "PostgreSQL crashes", of: "store", begin: func() func() {
				data, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
				first, _, _ := strings.Cut(string(data), "\n")
				pid, err2 := strconv.Atoi(first)
				if err := errors.Join(err, err2); err != nil {
					t.Errorf("PostgreSQL's process: %v", err)
				} else {
					// it throws everything away at once, and recovers when it is started again
					_ = syscall.Kill(pid, syscall.SIGQUIT)
				}
				server.Stop(t)
				return func() { server.Continue(t) }
			}},
			unreachable("PostgreSQL", "store", l),
		},
	}
}

// chaosOnSQLite is a file on a disk so small that it can be filled.
func chaosOnSQLite(t *testing.T) *chaosStore {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "cases.db")
	s := &chaosStore{binary: "embedded", env: map[string]string{"STORE": "sqlite:" + file}, outages: []outage{
		{name: "the file is locked by another process", of: "store", begin: func() func() {
			db := openFile(t, file)
			_, err := db.ExecContext(context.Background(), "BEGIN IMMEDIATE")
			if err != nil {
				t.Logf("it could not be locked: %v", err)
			}
			return func() { _ = db.Close() }
		}},
	}}
	if err := syscall.Mount("casewatch", dir, "tmpfs", 0, "size=64m,mode=0700"); err != nil {
		t.Logf("the disk is never full: a small one takes root to mount (%v)", err)
		return s
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	s.outages = append(s.outages,
		outage{name: "the disk is full", of: "store", says: "disk is full", begin: func() func() {
			db := openFile(t, file)
			// without it the log has room for a while
			_, _ = db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
			_ = db.Close()
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("the disk was to be filled: %v", err)
			}
			return func() {
				if err := os.Remove(ballast); err != nil {
					t.Error(err)
				}
			}
		}})
	return s
}

// openFile opens the store's file past the store, over one connection.
func openFile(t *testing.T, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(3000)")
	if err != nil {
		t.Error(err)
		return nil
	}
	db.SetMaxOpenConns(1)
	return db
}
