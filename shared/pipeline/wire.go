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

// timeoutError is the cause of a context that ended by our own limit.
type timeoutError time.Duration

func (e timeoutError) Error() string { return "it took longer than " + time.Duration(e).String() }

// wire is the one connection of a dispatch. It knows whether a byte of the request was handed to the network: what
// is written above TLS, not the handshake, and no longer once the verdict was given.
type wire struct {
	sent atomic.Int64 // bytes below TLS, the handshake's included

	mu     sync.Mutex
	conn   net.Conn
	sealed bool
	inside int  // writes under way
	wrote  bool // some write handed over at least a byte
}

// carry makes conn the wire's connection. It closes conn if there was one before, or if the verdict was given.
func (w *wire) carry(conn net.Conn) (net.Conn, error) {
	w.mu.Lock()
	sealed, second := w.sealed, w.conn != nil
	if !sealed && !second {
		w.conn = conn
	}
	w.mu.Unlock()
	switch {
	case sealed:
		_ = conn.Close() // it carried nothing
		return nil, errSealed
	case second:
		_ = conn.Close()
		return nil, errSecond
	}
	return wireConn{Conn: conn, wire: w}, nil
}

// seal gives the verdict: whether a byte of the request may have left. After it none does. A write still under way counts as
// one that wrote.
func (w *wire) seal() (written bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
	return w.wrote || w.inside > 0
}

// readUntil sets the end of all reading.
func (w *wire) readUntil(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		_ = w.conn.SetReadDeadline(t) // it fails only if the connection is closed, which ends reading too
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

// wireConn is what the transport writes the request to.
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
	// TLS reports no byte when a record failed, part of which may have left.
	c.wire.end(n > 0 || c.wire.sent.Load() > before)
	return n, err
}

// countedConn counts what is written below TLS.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// connect opens a connection, through TLS if secure. With a wire it becomes that wire's.
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
		t := tls.Client(conn, c.tlsConfig)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's error is the one that matters
			return nil, err
		}
		conn = t
	}
	if w != nil {
		return w.carry(conn)
	}
	return conn, nil
}

func (c *Client) clientTLS(serverName string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.config.TLS != nil {
		t = c.config.TLS.Clone()
	}
	t.NextProtos = []string{"http/1.1"}
	if t.ServerName == "" {
		t.ServerName = serverName
	}
	return t
}

// dispatchTransport sends one request over w and nothing else. Connecting ends with ctx.
func (c *Client) dispatchTransport(ctx context.Context, w *wire) *http.Transport {
	t := bareTransport()
	// Go's transport sends a POST with an Idempotency-Key again when a kept-alive connection turns out dead
	// (https://pkg.go.dev/net/http#Transport). On a fresh connection there is nothing to turn out.
	t.DisableKeepAlives = true
	t.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		return c.connect(ctx, network, addr, false, w)
	}
	t.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		return c.connect(ctx, network, addr, true, w)
	}
	return t
}

// lookKey finds the context of a look in that of its dial: the transport lets a dial outlive the request that began it, and
// nothing of ours may.
type pollKey struct{}

// maxAge bounds how long connections are used again: an address that a name no longer means is left behind by then.
const maxAge = time.Minute

// pool keeps the connections of polls. They are used again until the pool is maxAge old; the next poll begins a new one, so that
// no timer is needed.
type pool struct {
	mu        sync.Mutex
	transport *http.Transport
	began     time.Time
}

// polls returns the transport that a poll is to use.
func (c *Client) polls() *http.Transport {
	p := &c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := c.config.Now(); p.transport == nil || now.Sub(p.began).Abs() >= maxAge {
		if p.transport != nil {
			p.transport.CloseIdleConnections() // those in use are closed when they become idle
		}
		p.transport, p.began = c.pollTransport(), now
	}
	return p.transport
}

func (c *Client) pollTransport() *http.Transport {
	dial := func(ctx context.Context, network, addr string, secure bool) (net.Conn, error) {
		if look, ok := ctx.Value(pollKey{}).(context.Context); ok {
			ctx = look
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
