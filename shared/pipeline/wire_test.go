package pipeline

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

func TestNothingWasWritten(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plain := listen(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1)) // the TLS hello
		_, _ = io.WriteString(conn, "HTTP/1.0 400 Bad Request\r\n\r\n")
	})
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // the client's alert is what is wanted
	secure.StartTLS()
	t.Cleanup(secure.Close)

	for name, tc := range map[string]struct {
		url     string
		config  func(*Config)
		message string
	}{
		"refused port": {url: "http://" + closed.Addr().String(), message: "connection refused"},
		"no such name": {
			url: "http://pipeline.invalid", message: "its name cannot be resolved",
			config: func(c *Config) {
				c.DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{
						Op: "dial", Net: "tcp",
						Err: &net.DNSError{Err: "no such host", Name: "pipeline.invalid", IsNotFound: true},
					}
				}
			},
		},
		"dial hangs": {
			url: "http://" + closed.Addr().String(), message: "it took longer than 30ms",
			config: func(c *Config) {
				c.Pipeline.Dispatch.Timeout = 30 * time.Millisecond
				c.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			},
		},
		"TLS to plaintext": {url: "https://" + plain.addr, message: "it does not speak TLS"},
		"TLS not trusted":  {url: secure.URL, message: "certificate"},
		"TLS silent": {
			url: "https://" + silent.addr, message: "it took longer",
			config: func(c *Config) { c.Pipeline.Dispatch.Timeout = 30 * time.Millisecond },
		},
		"first write fails": {url: "http://" + silent.addr, message: "connection", config: func(c *Config) {
			c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return failingConn{Conn: conn}, err
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, tc.url, func(c *Config) {
				if tc.config != nil {
					tc.config(c)
				}
			})
			if got := c.Dispatch(t.Context(), request); got.Kind != cases.DispatchUnreachable ||
				!strings.Contains(got.Message, tc.message) ||
				strings.Contains(got.Message, "127.0.0.1") {
				t.Errorf("dispatch: %+v", got)
			}
			c = open(t, tc.url, func(c *Config) {
				if tc.config != nil {
					tc.config(c)
				}
				c.CheckTimeout = c.Pipeline.Dispatch.Timeout
			})
			if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckFailed ||
				!strings.Contains(got.Message, tc.message) {
				t.Errorf("poll: %+v", got)
			}
		})
	}
}

// failingConn fails its writes after the first limit bytes.
type failingConn struct {
	net.Conn
	limit int
}

func (c failingConn) Write(p []byte) (int, error) {
	n := min(len(p), c.limit)
	if n > 0 {
		if m, err := c.Conn.Write(p[:n]); err != nil {
			return m, err
		}
	}
	return n, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
}

// A peer that breaks the connection before the first byte was written, for sure: the RST has
// arrived.
func TestResetBeforeTheFirstByte(t *testing.T) {
	s := listen(t, reset)
	c := open(t, "http://"+s.addr, func(c *Config) {
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				_, _ = conn.Read(make([]byte, 1)) // returns with the RST
			}
			return conn, err
		}
	})
	if got := c.Dispatch(t.Context(), request); got.Kind != cases.DispatchUnreachable {
		t.Fatalf("got %+v", got)
	}
	if s.conns.Load() != 1 || s.bytes.Load() != 0 {
		t.Fatalf("%d connections, %d bytes", s.conns.Load(), s.bytes.Load())
	}
}

// Whatever the moment, unreachable is never said of a request of which the peer had a byte.
func TestCloseAfterAccept(t *testing.T) {
	for name, end := range map[string]func(net.Conn){"FIN": func(c net.Conn) { c.Close() }, "RST": reset} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				s := listen(t, end)
				got := open(t, "http://"+s.addr).Dispatch(t.Context(), request)
				if got.Kind != cases.DispatchUncertain && got.Kind != cases.DispatchUnreachable || s.conns.Load() > 1 {
					t.Fatalf("got %+v after %d connections", got, s.conns.Load())
				}
			}
		})
	}
}

func TestSomethingWasWritten(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"success\":true,"
	for name, tc := range map[string]struct {
		serve   func(net.Conn)
		message string
	}{
		"reset after a byte": {
			func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 1)); reset(c) }, "no answer to the request",
		},
		"reset after the request":  {func(c net.Conn) { readRequest(c); reset(c) }, "connection reset by peer"},
		"closed after the request": {readRequest, "closed in the middle"},
		"reset in the answer":      {func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, head); reset(c) }, ""},
		"closed in the answer": {
			func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, head) },
			"200 OK, but the connection was closed in the middle",
		},
		"closed in the head": {
			func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: y") },
			"closed in the middle",
		},
		"not HTTP": {
			func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "form-content\r\n\r\n") },
			"the answer is not HTTP",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, tc.serve)
			got := open(t, "http://"+s.addr).Dispatch(t.Context(), request)
			if got.Kind != cases.DispatchUncertain || !strings.Contains(got.Message, tc.message) ||
				strings.Contains(got.Message, "form-content") {
				t.Fatalf("got %+v", got)
			}
			if s.conns.Load() != 1 {
				t.Fatalf("%d connections", s.conns.Load())
			}
		})
	}
	t.Run("write breaks after some bytes", func(t *testing.T) {
		s := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		c := open(t, "http://"+s.addr, func(c *Config) {
			c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return failingConn{conn, 1}, err
			}
		})
		if got := c.Dispatch(t.Context(), request); got.Kind != cases.DispatchUncertain {
			t.Fatalf("got %+v", got)
		}
	})
}

// The server answers the first request on a connection and breaks it at the next: the transport of
// Go would then send the POST again.
func TestDispatchIsNeverSentTwice(t *testing.T) {
	var requests atomic.Int64
	s := listen(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for i := 0; ; i++ {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			requests.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			if i > 0 || requests.Load() > 2 {
				reset(conn)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	c := open(t, "http://"+s.addr)
	for _, want := range []cases.DispatchKind{
		cases.DispatchAccepted, cases.DispatchAccepted, cases.DispatchUncertain, cases.DispatchUncertain,
	} {
		if got := c.Dispatch(t.Context(), request); got.Kind != want {
			t.Fatalf("got %+v, want %s", got, want)
		}
	}
	if requests.Load() != 4 || s.conns.Load() != 4 {
		t.Fatalf("%d requests on %d connections", requests.Load(), s.conns.Load())
	}
}

// The 202 is known with its head: a body that never ends does not hold the dispatch open.
func TestAcceptedWithEndlessBody(t *testing.T) {
	s := listen(t, func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n{")
		_, _ = io.Copy(io.Discard, c)
	})
	c := open(
		t,
		"http://"+s.addr,
		func(c *Config) { c.Pipeline.Dispatch.Timeout, c.CheckTimeout = time.Hour, 30*time.Millisecond },
	)
	if got := c.Dispatch(t.Context(), request); got.Kind != cases.DispatchAccepted {
		t.Fatalf("got %+v", got)
	}
}
