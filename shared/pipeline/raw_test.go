package pipeline

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"

	"github.com/casewatch/casewatch/shared/secret"
)

// rawServer is a TCP server that counts connections and what they brought.
type rawServer struct {
	addr  string
	conns atomic.Int64
	bytes atomic.Int64
}

// listen serves each connection with serve, and closes it after. The server ends with the test.
func listen(t *testing.T, serve func(net.Conn)) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{addr: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			running.Go(func() {
				defer conn.Close()
				serve(readCounter{conn, &s.bytes})
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return s
}

type readCounter struct {
	net.Conn
	n *atomic.Int64
}

func (c readCounter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// reset ends a connection with a RST.
func reset(conn net.Conn) {
	if c, ok := conn.(readCounter); ok {
		conn = c.Conn
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// readRequest reads a whole request and nothing more.
func readRequest(conn net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func TestOverTLS(t *testing.T) {
	var served atomic.Int64
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		if r.ProtoMajor != 1 {
			t.Errorf("%s", r.Proto)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Api-Key") == "break" {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `{"success":true,"total":1}`)
	}))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	trusted := func(c *Config) {
		c.TLS = secure.Client().Transport.(*http.Transport).TLSClientConfig
	}
	c := open(t, secure.URL, trusted)
	if got := c.Dispatch(t.Context(), request); got.Kind != cases.DispatchSucceeded {
		t.Fatalf("dispatch: %+v", got)
	}
	for range 3 {
		if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckReading {
			t.Fatalf("poll: %+v", got)
		}
	}
	broken := open(t, secure.URL, trusted, func(c *Config) { c.Pipeline.Auth.Value = secret.New("break") })
	if got := broken.Dispatch(t.Context(), request); got.Kind != cases.DispatchUncertain {
		t.Fatalf("broken: %+v", got)
	}
	if served.Load() != 5 {
		t.Fatalf("%d requests", served.Load())
	}
}

// recordConn fails in the middle of the first TLS record that carries data, after limit bytes of
// it.
type recordConn struct {
	net.Conn
	limit int
}

func (c recordConn) Write(p []byte) (int, error) {
	if p[0] != 23 { // application_data, which TLS 1.2 uses for nothing else
		return c.Conn.Write(p)
	}
	return failingConn(c).Write(p)
}

// A part of a TLS record that left counts, though TLS itself reports that no byte was written.
func TestBrokenRecord(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for limit, want := range map[int]cases.DispatchKind{
		0: cases.DispatchUnreachable, 1: cases.DispatchUncertain, 9: cases.DispatchUncertain,
	} {
		c := open(t, secure.URL, func(c *Config) {
			c.TLS = secure.Client().Transport.(*http.Transport).TLSClientConfig
			c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return recordConn{conn, limit}, err
			}
		})
		if got := c.Dispatch(t.Context(), request); got.Kind != want {
			t.Errorf("%d bytes: %+v, want %s", limit, got, want)
		}
	}
}

// signalConn tells when a write begins.
type signalConn struct {
	net.Conn
	entered chan<- struct{}
}

func (c signalConn) Write(p []byte) (int, error) {
	close(c.entered)
	return c.Conn.Write(p)
}

func TestWire(t *testing.T) {
	near, peer := net.Pipe()
	_, far := net.Pipe()
	w := new(wire)
	entered := make(chan struct{})
	conn, err := w.carry(signalConn{near, entered})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.carry(far); !errors.Is(err, errSecond) {
		t.Fatalf("a second connection: %v", err)
	}
	writing := make(chan error, 1)
	go func() { _, err := conn.Write([]byte("x")); writing <- err }()
	<-entered
	if !w.seal() {
		t.Fatal("a write under way is called nothing")
	}
	if _, err := conn.Write([]byte("y")); !errors.Is(err, errSealed) {
		t.Fatalf("a write after the verdict: %v", err)
	}
	peer.Close()
	if err := <-writing; err == nil {
		t.Fatal("the write had no reader")
	}

	late := new(wire)
	if late.seal() {
		t.Fatal("nothing was written")
	}
	third, fourth := net.Pipe()
	defer fourth.Close()
	if _, err := late.carry(third); !errors.Is(err, errSealed) {
		t.Fatalf("a connection after the verdict: %v", err)
	}
	if _, err := third.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("that connection is open: %v", err)
	}
}
