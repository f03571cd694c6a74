package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

// postgres is a PostgreSQL server with its default settings: every commit waits for the disk.
type postgres struct {
	dir    string
	shell  *exec.Cmd
	hold   io.WriteCloser // the server runs until this is closed
	conn   *pgx.Conn      // to another database than the measured one
	leader int            // the parent of the server's processes

	sampling sync.WaitGroup
	stop     context.CancelFunc
	mu       sync.Mutex
	peak     float64
}

// guard runs the server until its standard input ends, and removes its folder. The input also ends
// if the benchmark dies.
const guard = `"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= >"$2/log" 2>&1 </dev/null &
server=$!
read -r word
kill -INT $server
wait $server
rm -rf "$2"
`

// account returns the user postgres if the benchmark runs as root, because the server does not run
// as root. Otherwise it returns nil, for the current user.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, errors.Join(err1, err2)
}

// binaries returns the folder of initdb and postgres: the one on the PATH, or the newest one of
// Debian.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: apt-get install postgresql")
	}
	return slices.Max(found), nil
}

// startPostgres starts a server in a new folder, with one database, bench.
func startPostgres(ctx context.Context) (_ *postgres, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := account()
	if err != nil {
		return nil, err
	}
	p := &postgres{}
	if p.dir, err = os.MkdirTemp("/tmp", "pg"); err != nil { // the path of a socket must be short
		return nil, err
	}
	if as != nil {
		err = os.Chown(p.dir, int(as.Uid), int(as.Gid))
	}
	if err == nil {
		initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", filepath.Join(p.dir, "data"),
			"--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
		initdb.Dir, initdb.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: as}
		var out []byte
		if out, err = initdb.CombinedOutput(); err != nil {
			err = fmt.Errorf("initdb: %w: %s", err, out)
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	p.shell = exec.Command("/bin/sh", "-c", guard, "guard", bin, p.dir)
	p.shell.Dir, p.shell.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if p.hold, err = p.shell.StdinPipe(); err == nil {
		err = p.shell.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	if err := p.open(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "log")) // best effort
		return nil, errors.Join(err, errors.New(string(log)), p.close())
	}
	return p, nil
}

// open waits until the server answers, creates the database and begins to sample the memory of the
// server.
func (p *postgres) open(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, bootWithin)
	defer cancel()
	var err error
	for p.conn == nil {
		if p.conn, err = pgx.Connect(bounded, p.dsn("postgres")); err == nil {
			break
		}
		if ctxtime.Sleep(bounded, 50*time.Millisecond) != nil {
			return err
		}
	}
	if _, err := p.conn.Exec(bounded, "CREATE DATABASE bench"); err != nil {
		return err
	}
	file, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(file), "\n")
	if p.leader, err = strconv.Atoi(first); err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	p.stop = stop
	p.sampling.Go(func() { p.sample(sampling) })
	return nil
}

// sample reads once a second how much memory all processes of the server use. It stores the peak.
func (p *postgres) sample(ctx context.Context) {
	for ctxtime.Sleep(ctx, time.Second) == nil {
		pids, _, err := family(p.leader)
		sum := 0.0
		for _, pid := range pids {
			sum += shareMB(pid)
		}
		if err == nil {
			p.mu.Lock()
			p.peak = max(p.peak, sum)
			p.mu.Unlock()
		}
	}
}

func (p *postgres) dsn(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/" + database,
		RawQuery: url.Values{"host": {p.dir}}.Encode(),
	}
	return u.String()
}

// usage returns the CPU time and the peak memory of the server.
func (p *postgres) usage() (usage, error) {
	_, seconds, err := family(p.leader)
	p.mu.Lock()
	defer p.mu.Unlock()
	return usage{cpu: seconds, peak: p.peak}, err
}

// counters returns the transactions of the measured database, including those that only read, and
// the bytes of its write-ahead log.
func (p *postgres) counters(ctx context.Context) (commits, bytes float64, err error) {
	const query = `SELECT (SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = 'bench'),
		pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8`
	err = p.conn.QueryRow(ctx, query).Scan(&commits, &bytes)
	if err != nil {
		return math.NaN(), math.NaN(), err
	}
	return commits, bytes, nil
}

// close ends the server and removes its folder. Its clients must have ended.
func (p *postgres) close() error {
	if p.stop != nil {
		p.stop()
		p.sampling.Wait()
	}
	var errs []error
	if p.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, p.conn.Close(ctx))
	}
	return errors.Join(append(errs, p.hold.Close(), p.shell.Wait())...)
}
