package pipeline

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errSealed = errors.New("the request has ended")
	errSecond = errors.New("a dispatch has one connection")
)

// timeoutError is the cause of a context that one of the client's own timeouts ended.
type timeoutError time.Duration

func (e timeoutError) Error() string { return "it took longer than " + time.Duration(e).String() }

// wire is the one connection of a dispatch. It records whether a byte of the request was written to
// the network. Bytes of the TLS handshake do not count. After seal, it writes nothing.
type wire struct {
	sent atomic.Int64 // bytes written below TLS, including the handshake

	mu     sync.Mutex
	conn   net.Conn
	sealed bool
	inside int  // writes in progress
	wrote  bool // a write sent at least one byte
}

// carry makes conn the connection of the wire. It closes conn and returns an error if the wire has
// a connection already or is sealed.
func (w *wire) carry(conn net.Conn) (net.Conn, error) {
	w.mu.Lock()
	sealed, second := w.sealed, w.conn != nil
	if !sealed && !second {
		w.conn = conn
	}
	w.mu.Unlock()
	switch {
	case sealed:
		_ = conn.Close() // nothing was written to it
		return nil, errSealed
	case second:
		_ = conn.Close()
		return nil, errSecond
	}
	return wireConn{Conn: conn, wire: w}, nil
}

// seal reports whether a byte of the request may have been written, and prevents later writes. A
// write in progress counts as written.
func (w *wire) seal() (written bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
	return w.wrote || w.inside > 0
}

// readUntil sets the deadline for reads.
func (w *wire) readUntil(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		_ = w.conn.SetReadDeadline(t) // this fails only if the connection is closed, which ends reads too
	}
}

func (w *wire) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sealed {
		return false
	}
	w.inside++
	return true
}

func (w *wire) end(wrote bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside--
	w.wrote = w.wrote || wrote
}

// wireConn is the connection to which the transport writes the request.
type wireConn struct {
	net.Conn
	wire *wire
}

func (c wireConn) Write(p []byte) (int, error) {
	if !c.wire.begin() {
		return 0, errSealed
	}
	before := c.wire.sent.Load()
	n, err := c.Conn.Write(p)
	// If a TLS record fails, TLS reports 0 bytes, although a part of the record may have been sent.
	c.wire.end(n > 0 || c.wire.sent.Load() > before)
	return n, err
}

// countedConn counts the bytes that are written below TLS.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// connect opens a connection, with TLS if secure is set. A wire, if given, carries the connection.
func (c *Client) connect(ctx context.Context, network, addr string, secure bool, w *wire) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.config.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if w != nil {
		conn = countedConn{Conn: conn, sent: &w.sent}
	}
	if secure {
		t := tls.Client(conn, c.tlsFor(addr))
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the error of the handshake explains more
			return nil, err
		}
		conn = t
	}
	if w != nil {
		return w.carry(conn)
	}
	return conn, nil
}

// clientTLS returns the configuration of TLS connections, from the caller's if there is one.
func clientTLS(given *tls.Config) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if given != nil {
		t = given.Clone()
	}
	t.NextProtos = []string{"http/1.1"}
	return t
}

// tlsFor returns the configuration of a connection to addr, whose certificate must name its host.
func (c *Client) tlsFor(addr string) *tls.Config {
	if c.tlsConfig.ServerName != "" {
		return c.tlsConfig
	}
	t := c.tlsConfig.Clone()
	t.ServerName = addr
	if host, _, err := net.SplitHostPort(addr); err == nil {
		t.ServerName = host
	}
	return t
}

// dispatchTransport returns a transport that sends one request over w. Connecting ends with ctx.
func (c *Client) dispatchTransport(ctx context.Context, w *wire) *http.Transport {
	t := bareTransport()
	// If a kept-alive connection turns out to be dead, Go's transport repeats a POST that has an
	// Idempotency-Key (https://pkg.go.dev/net/http#Transport). Without keep-alives each connection
	// is new.
	t.DisableKeepAlives = true
	t.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		return c.connect(ctx, network, addr, false, w)
	}
	t.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		return c.connect(ctx, network, addr, true, w)
	}
	return t
}

// pollKey is the context key under which a dial finds the context of its poll. The transport lets a
// dial outlive the request that started it; the dial must end with the poll.
type pollKey struct{}

// maxAge bounds how long connections are reused, so that polls follow a change of the host's
// address.
const maxAge = time.Minute

// pool holds the connections of polls. The first poll after maxAge replaces the transport, so no
// timer is needed.
type pool struct {
	mu        sync.Mutex
	transport *http.Transport
	began     time.Time // when the transport was created
}

// polls returns the transport for the next poll.
func (c *Client) polls() *http.Transport {
	p := &c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := c.config.Now(); p.transport == nil || now.Sub(p.began).Abs() >= maxAge {
		if p.transport != nil {
			p.transport.CloseIdleConnections() // connections in use close when they become idle
		}
		p.transport, p.began = c.pollTransport(), now
	}
	return p.transport
}

func (c *Client) pollTransport() *http.Transport {
	dial := func(ctx context.Context, network, addr string, secure bool) (net.Conn, error) {
		if poll, ok := ctx.Value(pollKey{}).(context.Context); ok {
			ctx = poll
		}
		return c.connect(ctx, network, addr, secure, nil)
	}
	t := bareTransport()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 16, 16
	t.IdleConnTimeout = time.Minute
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(ctx, network, addr, false)
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(ctx, network, addr, true)
	}
	return t
}

func bareTransport() *http.Transport {
	t := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(true)
	return t
}
