package status_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// still is an in-memory store of one case that changes only when the test changes it. In a synctest
// bubble its waits let the clock advance.
type still struct {
	store.Store
	mu      sync.Mutex
	c       cases.Case
	result  []byte
	changed chan struct{}
	waiting int
	hangs   bool // Current blocks
}

func (s *still) Current(ctx context.Context, _ string) (store.Head, cases.Case, error) {
	if s.hangs {
		<-ctx.Done()
		return store.Head{}, cases.Case{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Head{CaseID: "c", Run: 1}, s.c, nil
}

func (s *still) Value(context.Context, string, int, store.Value) ([]byte, error) {
	return s.result, nil
}

func (s *still) Wait(ctx context.Context, _ string, _ int, version int64) error {
	s.mu.Lock()
	if s.c.Version > version {
		s.mu.Unlock()
		return nil
	}
	changed := s.changed
	s.waiting++
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.waiting--; s.mu.Unlock() }()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *still) change(f func(c *cases.Case)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.Version++
	s.c.Viewers.Shown.Version = s.c.Version
	f(&s.c)
	close(s.changed)
	s.changed = make(chan struct{})
}

type pipes = functiontest.Pipes

// bubble serves status with net/http in a synctest bubble.
func bubble(t *testing.T, cfg config.Config, jitter float64, f func(t *testing.T, s *still, net *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		s := &still{
			c: cases.Case{
				Origin:  cases.Origin{CaseID: "c", Run: 1, CreatedAt: time.Now()},
				Version: 1,
				State:   cases.Pending,
				Viewers: cases.Viewers{Shown: cases.Shown{Version: 1}},
			},
			changed: make(chan struct{}),
		}
		w, err := reconcile.New(reconcile.Config{}, reconcile.Deps{
			Store:  s,
			Now:    time.Now,
			Jitter: func() float64 { return jitter },
			Nonce:  func() string { return "" },
			Log:    slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Access.APIKeys = config.NewAPIKeys(sha256.Sum256([]byte(functiontest.Key)))
		network := functiontest.NewPipes()
		server := &http.Server{Handler: status.New(&cfg, w), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(network) })
		f(t, s, network)
		synctest.Wait()
		if s.mu.Lock(); s.waiting != 0 {
			t.Errorf("%d calls of Wait have not returned", s.waiting)
		}
		s.mu.Unlock()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

// request sends the request of a stream and returns the body of the response.
func request(t *testing.T, conn net.Conn) io.Reader {
	t.Helper()
	head := "GET /c HTTP/1.1\r\nHost: status\r\n" + key + "\r\n" + asStream + "\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s", res.Status)
	}
	return res.Body
}

// succeed ends a run with a result.
func succeed(c *cases.Case) {
	c.State = cases.Succeeded
	c.Outcome.EndVersion = c.Version
	c.Outcome.HasResult = true
	c.Outcome.End = &cases.End{Reason: cases.ReasonCompleted}
}

// comments counts the lines that keep a stream alive.
func comments(body []byte) int { return strings.Count("\n"+string(body), "\n:") }

// A stream is kept alive while nothing changes. It ends by itself, and at slightly different times
// for different viewers. The connection can be reused.
func TestHold(t *testing.T) {
	for _, test := range []struct {
		name          string
		hold, request time.Duration
		jitter        float64
		want          time.Duration
		alive         int
	}{
		{"the configured time", 50 * time.Second, 0, 0, 50 * time.Second, 3},
		{"shortened at random", 50 * time.Second, 0, 0.99, 45*time.Second + 50*time.Millisecond, 3},
		{"limited by the request", 290 * time.Second, 60 * time.Second, 0, 55 * time.Second, 3},
		{"shorter than the first comment", 10 * time.Second, 0, 0, 10 * time.Second, 0},
		{"a request without time", 10 * time.Second, 5 * time.Second, 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(
				t,
				config.Config{Stream: config.Stream{Hold: test.hold}, RequestTimeout: test.request},
				test.jitter,
				func(t *testing.T, _ *still, network *pipes) {
					conn := network.Dial()
					for range 2 {
						begin := time.Now()
						body, err := io.ReadAll(request(t, conn))
						if err != nil {
							t.Fatal(err)
						}
						if took := time.Since(begin); took != test.want {
							t.Errorf("the stream was held for %v, want %v", took, test.want)
						}
						if got := comments(body); got != test.alive || strings.Count(string(body), "event: ") != 1 ||
							strings.Contains(string(body), "5000") {
							t.Errorf("got %q, want %d comments", body, test.alive)
						}
					}
					_ = conn.Close()
				},
			)
		})
	}
}

// A store that does not respond counts as down. The viewer is told to reconnect before its request
// ends.
func TestStoreHangs(t *testing.T) {
	bubble(
		t,
		config.Config{Stream: config.Stream{Hold: 290 * time.Second}},
		0,
		func(t *testing.T, s *still, network *pipes) {
			s.hangs = true
			conn := network.Dial()
			begin := time.Now()
			body, err := io.ReadAll(request(t, conn))
			took := time.Since(begin)
			if err != nil || took != reconcile.FollowTimeout || string(body) != "retry: 5000\n" {
				t.Errorf("%q, %v after %v", body, err, took)
			}
			_ = conn.Close()
		},
	)
}

// Versions without an event do not delay the comments that keep a stream alive.
func TestKeptAliveBetweenPolls(t *testing.T) {
	bubble(
		t,
		config.Config{Stream: config.Stream{Hold: 50 * time.Second}},
		0,
		func(t *testing.T, s *still, network *pipes) {
			conn := network.Dial()
			defer conn.Close()
			var body []byte
			var reading sync.WaitGroup
			reading.Go(func() { body, _ = io.ReadAll(request(t, conn)) })
			for range 24 {
				time.Sleep(2 * time.Second)
				s.change(func(c *cases.Case) { c.Viewers.Shown.Version = 1 })
			}
			reading.Wait()
			if got := comments(body); got != 3 || strings.Count(string(body), "event: ") != 1 {
				t.Errorf("got %q, want one event and 3 comments", body)
			}
		},
	)
}

// One shared wait keeps all viewers of a case alive. They need no timers of their own.
func TestKeptAliveTogether(t *testing.T) {
	bubble(t, config.Config{Stream: config.Stream{Hold: time.Minute}}, 0, func(t *testing.T, s *still, network *pipes) {
		const viewers = 10
		var reading sync.WaitGroup
		for range viewers {
			conn := network.Dial()
			reading.Go(func() {
				defer conn.Close()
				body, err := io.ReadAll(request(t, conn))
				// A comment arrives every 15 s, and one whenever the leader of the shared wait
				// leaves. At the end the viewers leave one after the other at the same moment.
				if got := comments(body); err != nil || got < 3 || got > 4+viewers-1 {
					t.Errorf("%v %q", err, body)
				}
			})
			synctest.Wait()
			if s.mu.Lock(); s.waiting != 1 {
				t.Errorf("%d calls of Wait, want 1", s.waiting)
			}
			s.mu.Unlock()
		}
		reading.Wait()
	})
}

// A viewer that does not read is cut off. It delays no other viewer.
func TestSlowViewer(t *testing.T) {
	bubble(t, config.Config{Stream: config.Stream{Hold: time.Hour}}, 0, func(t *testing.T, s *still, network *pipes) {
		slow, quick := network.Dial(), network.Dial()
		request(t, slow)
		reads := request(t, quick)
		s.result = []byte(`{"big":"` + strings.Repeat("x", 300<<10) + `"}`)
		var whole []byte
		var reading sync.WaitGroup
		reading.Go(func() { whole, _ = io.ReadAll(reads) })
		synctest.Wait()
		begin := time.Now()
		s.change(succeed)
		reading.Wait()
		if took := time.Since(begin); took != 0 || !strings.HasSuffix(string(whole), "x\"}}\n\n") {
			t.Errorf("the viewer that reads waited %v for all of the result", took)
		}
		time.Sleep(21 * time.Second) // the slow viewer reads nothing meanwhile
		_ = slow.SetReadDeadline(time.Now())
		rest, err := io.ReadAll(slow)
		if errors.Is(err, os.ErrDeadlineExceeded) || len(rest) > 300<<10 {
			t.Errorf("got %d bytes, %v: the slow viewer was not cut off", len(rest), err)
		}
		_ = slow.Close()
		_ = quick.Close()
	})
}

// A viewer that reads slowly gets the complete result.
func TestSlowReader(t *testing.T) {
	bubble(t, config.Config{Stream: config.Stream{Hold: time.Hour}}, 0, func(t *testing.T, s *still, network *pipes) {
		s.result = []byte(`{"big":"` + strings.Repeat("x", 500<<10) + `"}`)
		s.change(succeed)
		conn := network.Dial()
		body := request(t, conn)
		begin, got, piece := time.Now(), 0, make([]byte, 64<<10)
		for {
			n, err := io.ReadFull(body, piece)
			got += n
			if err != nil {
				break
			}
			time.Sleep(15 * time.Second)
		}
		if took := time.Since(begin); got < 500<<10 || took < 100*time.Second {
			t.Errorf("%d bytes in %v", got, took)
		}
		_ = conn.Close()
	})
}
