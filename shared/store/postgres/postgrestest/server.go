package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startWithin bounds the start of a server, and each of its administrative commands.
const startWithin = time.Minute

// Server is a PostgreSQL server. Its methods are safe for concurrent use, but for Restart and Stop.
type Server struct {
	bin, dir string
	as       *syscall.Credential
	made     atomic.Int64 // databases

	shell *exec.Cmd
	hold  io.WriteCloser // the server runs until this is closed
}

var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Start returns the DSN of a fresh, empty database on the server of this test binary, which it
// starts if it does not run. The database goes with the test; its owner and superuser is postgres,
// without a password. It skips the test where PostgreSQL is missing.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	skipShort(t)
	shared.Lock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start()
	}
	s, err := shared.server, shared.err
	shared.Unlock()
	check(t, err)
	return s.Database(t)
}

// Stop ends the server that Start started, if any, and returns when it has ended. TestMain calls it after all tests.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		_ = shared.server.stop("remove") // its folder is a temporary one
	}
	shared.server, shared.err = nil, nil
}

// New starts a server that only this test uses, and that ends with it.
func New(t testing.TB) *Server {
	t.Helper()
	skipShort(t)
	s, err := start()
	check(t, err)
	t.Cleanup(func() {
		_ = s.stop("remove") // it fails if the test left it stopped
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("a server is started without -short only")
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
}

func start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := account()
	if err != nil {
		return nil, err
	}
	dir, err := folder(as)
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, as: as}
	initdb := exec.Command(
		filepath.Join(bin, "initdb"),
		"--pgdata",
		filepath.Join(dir, "data"),
		"--username=postgres",
		"--auth=trust",
		"--encoding=UTF8",
		"--locale=C",
		"--no-sync",
	)
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	if err := s.run(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// guard runs the server until its standard input says how to end, or ends, as it does with the
// process that holds the other end.
const guard = `"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= \
	-c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	-c max_connections=200 -c shared_buffers=32MB >>"$2/log" 2>&1 </dev/null &
server=$!
read -r word
kill -INT $server
wait $server
[ "$word" = keep ] || rm -rf "$2"
`

// run starts the server on its folder and waits until it answers.
func (s *Server) run() error {
	s.shell = exec.Command("/bin/sh", "-c", guard, "guard", s.bin, s.dir)
	s.shell.Dir = s.dir
	// A process group of its own: an interrupt from the keyboard must not end the guard before the server.
	s.shell.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	var err error
	if s.hold, err = s.shell.StdinPipe(); err != nil {
		return err
	}
	if err := s.shell.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(startWithin)
	for {
		if err = s.exec("SELECT 1"); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // best effort: the error says the rest
	return errors.Join(fmt.Errorf("it does not answer: %w: %s", err, log[max(0, len(log)-4000):]), s.stop("keep"))
}

// stop ends the server, and returns when it has ended.
func (s *Server) stop(how string) error {
	_, err := io.WriteString(s.hold, how+"\n")
	return errors.Join(err, s.hold.Close(), s.shell.Wait())
}

// Restart ends the server as its administrator would, with all its connections, and starts it again on the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.Continue(t)
}

// Stop ends the server, with all its connections. [Server.Continue] starts it again.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop("keep"); err != nil {
		t.Fatalf("stopping PostgreSQL: %v", err)
	}
}

// Continue starts a server that was stopped, on the same data.
func (s *Server) Continue(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatalf("starting PostgreSQL again: %v", err)
	}
}

// Database makes a fresh, empty database and returns its DSN. It goes with the test.
func (s *Server) Database(t testing.TB) (dsn string) {
	t.Helper()
	name := fmt.Sprint("test", s.made.Add(1))
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Logf("dropping a database: %v", err) // it goes with the server
		}
	})
	return s.dsn(name)
}

func (s *Server) dsn(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Path:     "/" + database,
		RawQuery: url.Values{"host": {s.dir}}.Encode(),
	}
	return u.String()
}

// exec runs an administrative command.
func (s *Server) exec(command string) error {
	return connected(s.dsn("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, command)
		return err
	})
}

// Exec runs statements over a connection of its own.
func Exec(t testing.TB, dsn, statements string) {
	t.Helper()
	err := connected(dsn, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statements)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// Query returns the one text that a query answers, asked over a connection of its own.
func Query(t testing.TB, dsn, query string) (answer string) {
	t.Helper()
	err := connected(dsn, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, query).Scan(&answer)
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func connected(dsn string, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, conn), conn.Close(ctx))
}
