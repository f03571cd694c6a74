package system_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link is the network between the functions and one server: it can be slow, and break.
type link struct {
	addr  string // where it is entered
	delay atomic.Int64
	down  atomic.Bool // who comes is turned away with a RST

	mu      sync.Mutex
	network string
	target  string
	open    map[net.Conn]bool
	closed  bool
}

// newLink makes a link to a TCP address or, by its path, to a Unix socket.
func newLink(t *testing.T, network, target string) *link {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: listener.Addr().String(), network: network, target: target, open: map[net.Conn]bool{}}
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				carrying.Go(func() { l.carry(conn) })
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.cut()
		carrying.Wait()
	})
	return l
}

// lead makes it lead elsewhere from now on.
func (l *link) lead(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// cut breaks every connection there is.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		reset(conn)
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// hold notes a connection so that cut finds it.
func (l *link) hold(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.open[conn] = true
	return true
}

func (l *link) drop(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, conn)
}

// carry carries one connection, until both sides have ended it or one broke it.
func (l *link) carry(in net.Conn) {
	l.mu.Lock()
	network, target := l.network, l.target
	l.mu.Unlock()
	if l.down.Load() || !l.hold(in) {
		reset(in)
		return
	}
	defer l.drop(in)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	out, err := (&net.Dialer{}).DialContext(ctx, network, target)
	cancel()
	if err != nil || !l.hold(out) {
		reset(in)
		return
	}
	defer l.drop(out)
	var ways sync.WaitGroup
	ways.Go(func() { l.pass(out, in) })
	ways.Go(func() { l.pass(in, out) })
	ways.Wait()
	_, _ = in.Close(), out.Close()
}

// piece is what came in at one time, and when it is to go out.
type piece struct {
	data []byte
	due  time.Time
}

// pass hands what comes from one side to the other, as late as the link is slow at the time.
func (l *link) pass(to, from net.Conn) {
	pieces := make(chan piece, 1024)
	broken := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for p := range pieces {
			if wait := time.Until(p.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := to.Write(p.data); err != nil {
				reset(from)
				close(broken)
				return
			}
		}
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // it may have been reset
		}
	})
	defer writing.Wait()
	defer close(pieces)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			select {
			case pieces <- piece{append([]byte(nil), buffer[:n]...), time.Now().Add(time.Duration(l.delay.Load()))}:
			case <-broken:
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				reset(to)
			}
			return
		}
	}
}

// TestLink holds the link itself to what the tests of faults rely on.
func TestLink(t *testing.T) {
	echo, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	l := newLink(t, "tcp", echo.Addr().String())
	t.Cleanup(func() { _ = echo.Close(); l.cut(); serving.Wait() })
	dial := func() net.Conn {
		t.Helper()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	say := func(conn net.Conn, word string) (string, error) {
		if _, err := io.WriteString(conn, word); err != nil {
			return "", err
		}
		heard := make([]byte, len(word))
		_, err := io.ReadFull(conn, heard)
		return string(heard), err
	}

	conn := dial()
	l.delay.Store(int64(50 * time.Millisecond))
	began := time.Now()
	if heard, err := say(conn, "slowly"); err != nil || heard != "slowly" || time.Since(began) < 100*time.Millisecond {
		t.Errorf("%q, %v after %v; want it back after 50 ms each way", heard, err, time.Since(began))
	}
	l.delay.Store(0)
	if heard, err := say(conn, "quickly"); err != nil || heard != "quickly" {
		t.Errorf("%q, %v", heard, err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("after its end: %q, %v", rest, err)
	}

	conn = dial()
	if _, err := say(conn, "here"); err != nil {
		t.Error(err)
	}
	l.cut()
	if heard, err := say(conn, "there"); err == nil {
		t.Errorf("a cut connection answers %q", heard)
	}
	l.down.Store(true)
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.addr); err == nil { // or it was faster
		if heard, err := say(conn, "anybody"); err == nil {
			t.Errorf("a link that is down answers %q", heard)
		}
		_ = conn.Close()
	}
	l.down.Store(false)
	if _, err := say(dial(), "again"); err != nil {
		t.Error(err)
	}
}
