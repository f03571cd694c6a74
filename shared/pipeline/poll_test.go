package pipeline

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"

	"github.com/casewatch/casewatch/shared/secret"
)

func TestPollOutcomes(t *testing.T) {
	const half = `{"completed":1,"total":2,"progress_percent":50}`
	for name, tc := range map[string]struct {
		react   pipelinetest.Reaction
		kind    cases.CheckKind
		message string
	}{
		"reading":  {pipelinetest.Truth(), cases.CheckReading, ""},
		"slow":     {pipelinetest.Slow(10*time.Millisecond, pipelinetest.Truth()), cases.CheckReading, ""},
		"failed":   {pipelinetest.Answer(200, `{"status":"failed","error":"no ink"}`), cases.CheckReading, "no ink"},
		"unknown":  {pipelinetest.Answer(404, `{"detail":"Case not found"}`), cases.CheckUnknown, ""},
		"404 page": {pipelinetest.Answer(404, `<html>`), cases.CheckUnknown, ""},
		"total 0":  {pipelinetest.Answer(200, `{"completed":0,"total":0}`), cases.CheckUnknown, ""},
		"not JSON": {pipelinetest.NotJSON(), cases.CheckFailed, "not a JSON object"},
		"500": {
			pipelinetest.Answer(500, half), cases.CheckFailed,
			"the pipeline answered 500 Internal Server Error",
		},
		"401": {
			pipelinetest.RefuseDetail(401, "bad key hush-key"), cases.CheckFailed,
			"the pipeline answered 401 Unauthorized: bad key [redacted]",
		},
		"429":      {pipelinetest.Busy(429, "1"), cases.CheckBusy, "busy"},
		"204":      {pipelinetest.Answer(204, ""), cases.CheckFailed, "204"},
		"redirect": {pipelinetest.Redirect(302, "/api/progress/c-1?again"), cases.CheckFailed, "302 Found"},
		"too large": {
			pipelinetest.Answer(200, half+strings.Repeat(" ", 1<<20)), cases.CheckFailed,
			"more than 1048576 bytes",
		},
		"reset": {pipelinetest.Reset(false, 0), cases.CheckFailed, "no answer: "},
		"cut":   {pipelinetest.ResetDuring(pipelinetest.Answer(200, half)), cases.CheckFailed, "200 OK, but"},
		"hangs": {pipelinetest.Hang(false, 0), cases.CheckFailed, "it took longer than 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pipelinetest.New(t)
			p.SetProgress("c-1", 1, 2, "a.docx")
			p.ScriptPolls("c-1", tc.react)
			got := open(t, p.URL, func(c *Config) {
				c.MaxAnswer, c.Pipeline.Auth.Value = 1<<20, secret.New("hush-key")
				if name == "hangs" {
					c.CheckTimeout = 100 * time.Millisecond
				}
			}).Poll(t.Context(), Job{CaseID: "c-1", Run: 2})
			if got.Kind != tc.kind || (got.Message == "") != (tc.message == "") ||
				!strings.Contains(got.Message, tc.message) {
				t.Fatalf("got %s, %q", got.Kind, got.Message)
			}
			if n := len(p.Polls("c-1")); n != 1 {
				t.Fatalf("%d polls", n)
			}
		})
	}
}

func TestPollAsksForTheCase(t *testing.T) {
	p := pipelinetest.New(t)
	c := open(t, p.URL+"/v1/", func(c *Config) {
		c.Pipeline.Auth.Value, c.Pipeline.Auth.GoogleIDToken = secret.New("key-1"), true
		c.TokenSource = func(context.Context) (string, error) { return "token-1", nil }
	})
	for _, id := range []string{"c-1", "a:b.c_d", "a/b?c#d %"} {
		p.SetProgress(id, 3, 4, "x")
		got := c.Poll(t.Context(), Job{CaseID: id, Run: 2, TraceParent: request.TraceParent})
		want := cases.CheckOutcome{
			Kind:    cases.CheckReading,
			Reading: cases.Reading{Completed: 3, Total: 4, Percent: 75, Current: "x"},
		}
		if got != want {
			t.Errorf("%s: %+v", id, got)
		}
		polls := p.Polls(id)
		if len(polls) != 1 {
			t.Fatalf("%s: %d polls", id, len(polls))
		}
		for name, want := range map[string]string{
			"X-Api-Key": "key-1", "Authorization": "Bearer token-1", "Traceparent": request.TraceParent,
			"Idempotency-Key": "",
		} {
			if got := polls[0].Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

func TestPollsShareAConnection(t *testing.T) {
	p := pipelinetest.New(t)
	var dials atomic.Int64
	c := open(t, p.URL, func(c *Config) {
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	for range 5 {
		if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckUnknown {
			t.Fatalf("got %+v", got)
		}
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections for five polls", dials.Load())
	}
	c.Close()
	if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckUnknown || dials.Load() != 2 {
		t.Errorf("after Close: %+v on %d connections", got, dials.Load())
	}
}

// A pipeline that breaks every connection would be asked once per idle one: Go's transport takes
// the next, and the next.
func TestPollAsksAtMostTwice(t *testing.T) {
	const idle = 8
	for name, tc := range map[string]struct {
		breaks int64 // how many requests are broken off
		want   cases.CheckKind
		asked  int64
	}{
		"a dead connection": {1, cases.CheckUnknown, 2},
		"a dead pipeline":   {1 << 30, cases.CheckFailed, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var asked, broken atomic.Int64
			together := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength != 0 || r.TransferEncoding != nil {
					t.Errorf("a poll with a body: %d, %s", r.ContentLength, r.TransferEncoding)
				}
				switch n := asked.Add(1); {
				case n <= idle: // each gets a connection of its own
					if n == idle {
						close(together)
					}
					<-together
				case broken.Add(1) <= tc.breaks:
					panic(http.ErrAbortHandler)
				}
				http.NotFound(w, r)
			}))
			t.Cleanup(s.Close)
			c := open(t, s.URL)
			var all sync.WaitGroup
			for range idle {
				all.Go(func() {
					if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckUnknown {
						t.Errorf("got %+v", got)
					}
				})
			}
			all.Wait()
			if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != tc.want {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
			if n := asked.Load() - idle; n != tc.asked {
				t.Errorf("the pipeline was asked %d times for one poll, want %d", n, tc.asked)
			}
		})
	}
}

// A server closes connections that idle: no poll fails for it.
func TestPollAfterIdleConnectionsWereClosed(t *testing.T) {
	s := listen(t, func(conn net.Conn) {
		readRequest(conn)
		_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	})
	c := open(t, "http://"+s.addr)
	for range 20 {
		if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckUnknown {
			t.Fatalf("got %+v", got)
		}
	}
}

// The transport lets a dial go on after its request. Ours ends with the poll.
func TestPollEndsItsDial(t *testing.T) {
	ended := make(chan struct{})
	c := open(t, "http://pipeline.invalid", func(c *Config) {
		c.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got := c.Poll(ctx, Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckFailed {
		t.Fatalf("got %+v", got)
	}
	select {
	case <-ended:
	case <-bounded(t).Done():
		t.Fatal("the dial goes on")
	}
}

func TestPollOfBadServers(t *testing.T) {
	s := listen(t, func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 OK 200\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	endless := listen(t, func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n{\"total\":1")
		for {
			if _, err := conn.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
				return
			}
		}
	})
	limited := func(c *Config) { c.MaxAnswer = 1 << 20 }
	if got := open(t, "http://"+s.addr).Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckFailed ||
		!strings.Contains(got.Message, "not HTTP") {
		t.Errorf("bad head: %+v", got)
	}
	if got := open(
		t,
		"http://"+endless.addr,
		limited,
	).Poll(
		t.Context(),
		Job{CaseID: "c-1", Run: 2},
	); got.Kind != cases.CheckFailed ||
		!strings.Contains(got.Message, "more than") {
		t.Errorf("endless: %+v", got)
	}
}
