package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
)

// The parts of a system whose CPU time and memory are measured separately.
const (
	programPart  = "program" // serves requests and follows cases
	queuePart    = "Cloud Tasks server"
	pubsubPart   = "Pub/Sub server"
	postgresPart = "PostgreSQL"
)

var allParts = []string{programPart, queuePart, pubsubPart, postgresPart}

// boot starts a system that polls the pipeline at an address. It stores its files in dir.
type boot func(ctx context.Context, b *bench, dir, pipeline string, mode stub.Mode) (*system, error)

// system is a running system.
type system struct {
	start string // the URL that starts a case
	// publish delivers the event of an end.
	publish func(ctx context.Context, caseID string) error
	// open returns the number of cases whose end the system has not recorded.
	open func(context.Context) (int, error)
	// ends returns the recorded end of each case.
	ends func(context.Context, []string) (map[string]time.Time, error)
	// counters returns the transactions of the store, and the bytes that store and queue wrote,
	// since they were created.
	counters func(context.Context) (commits, bytes float64, err error)
	parts    map[string]part
	queries  int // of the benchmark itself, which the counters include
	closers  []func() error
}

// part is a part of a system: a process, or a server of several processes.
type part struct {
	pid   int
	usage func() (usage, error)
}

// usage is the CPU time and the memory of a part.
type usage struct {
	cpu  float64 // seconds
	peak float64 // MB
	now  float64 // MB, resident
}

// onClose adds a function that close calls.
func (s *system) onClose(f func() error) { s.closers = append(s.closers, f) }

// close ends the parts of the system, in the reverse order of their start.
func (s *system) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// background runs a function until the system is closed.
func (s *system) background(ctx context.Context, run func(context.Context)) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	s.onClose(func() error { stop(); running.Wait(); return nil })
}

// launch starts a process as a part of the system, and waits until it listens at addr.
func (s *system) launch(ctx context.Context, name, dir, program, addr string, env []string, args ...string) error {
	p, err := launch(dir, strings.ReplaceAll(name, "/", "-"), program, env, args...)
	if err != nil {
		return err
	}
	s.onClose(func() error { p.kill(); return nil })
	s.parts[name] = part{pid: p.pid(), usage: func() (usage, error) {
		seconds, err := cpu(p.pid())
		if err != nil {
			err = fmt.Errorf("%s ended: %s", name, p.lastErrors())
		}
		return usage{cpu: seconds, peak: peakMB(p.pid()), now: residentMB(p.pid())}, err
	}}
	return p.listens(ctx, addr)
}

// withPostgres starts a PostgreSQL server as a part of the system, and returns the DSN of its
// database.
func (s *system) withPostgres(ctx context.Context) (dsn string, err error) {
	p, err := startPostgres(ctx)
	if err != nil {
		return "", err
	}
	s.onClose(p.close)
	s.parts[postgresPart] = part{pid: p.leader, usage: p.usage}
	s.counters = func(ctx context.Context) (commits, bytes float64, err error) {
		commits, bytes, err = p.counters(ctx)
		return commits - float64(s.queries), bytes, err
	}
	return p.dsn("bench"), nil
}

// server boots a server of one process on PostgreSQL, with a table cases. It accepts events at
// /events.
func server(program func(b *bench) (name string, args []string)) boot {
	return func(ctx context.Context, b *bench, dir, pipeline string, mode stub.Mode) (_ *system, err error) {
		s := &system{parts: map[string]part{}}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.close())
			}
		}()
		dsn, err := s.withPostgres(ctx)
		if err != nil {
			return nil, err
		}
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, port, _ := strings.Cut(addr, ":")
		host := strings.TrimPrefix(dsn[strings.Index(dsn, "host="):], "host=")
		host = strings.ReplaceAll(host, "%2F", "/")
		name, args := program(b)
		env := []string{
			"PORT=" + port, "PIPELINE_API_URL=" + pipeline, "MODE=" + string(mode),
			"DSN=" + dsn, "PGHOST=" + host, "PGUSER=postgres", "PGDATABASE=bench",
		}
		if err := s.launch(ctx, programPart, dir, name, addr, env, args...); err != nil {
			return nil, err
		}
		s.start = "http://" + addr + "/start"
		s.publish = func(ctx context.Context, caseID string) error {
			return post(ctx, plain, "http://"+addr+"/events", string(stub.Event(caseID)))
		}
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return nil, err
		}
		s.onClose(func() error { return conn.Close(context.Background()) })
		s.open = func(ctx context.Context) (n int, err error) {
			err = conn.QueryRow(ctx, `SELECT count(*) FROM cases WHERE status <> 'succeeded'`).Scan(&n)
			return n, err
		}
		s.ends = func(ctx context.Context, _ []string) (map[string]time.Time, error) {
			return recordedEnds(ctx, conn)
		}
		return s, nil
	}
}

// recordedEnds returns the ends in the table of a server.
func recordedEnds(ctx context.Context, conn *pgx.Conn) (map[string]time.Time, error) {
	rows, err := conn.Query(ctx, `SELECT id, ended_at FROM cases WHERE status = 'succeeded'`)
	if err != nil {
		return nil, err
	}
	ends := map[string]time.Time{}
	var id string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		ends[id] = at
		return nil
	})
	return ends, err
}

// post sends JSON. An answer other than 2xx is an error.
func post(ctx context.Context, client *http.Client, to, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", filepath.Base(to), res.Status)
	}
	return nil
}

// plain is the HTTP client for all requests except the starts of cases.
var plain = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// candidate is a system that can be compared.
type candidate struct {
	key  string // its name in SYSTEMS
	name string // its name in tables
	boot boot
}

var candidates = []candidate{
	{"sqlite", "Casewatch, SQLite", casewatch(false)},
	{"postgres", "Casewatch, PostgreSQL", casewatch(true)},
	{"river", "River, JobSnooze", server(func(b *bench) (string, []string) { return b.binary("river"), nil })},
	{"node", "Node, setInterval", server(func(*bench) (string, []string) {
		return "node", []string{filepath.Join("node", "server.mjs")}
	})},
}
