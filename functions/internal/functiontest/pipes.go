package functiontest

import "net"

// Pipes is an in-memory network without buffers, as a [net.Listener]. Its deadlines follow the clock
// of the synctest bubble in which it was made.
type Pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// NewPipes returns a network. The server that accepts its connections closes it.
func NewPipes() *Pipes { return &Pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Dial returns the caller's end of a connection that was accepted.
func (p *Pipes) Dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Accept implements [net.Listener].
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *Pipes) Close() error { close(p.closed); return nil }

// Addr implements [net.Listener].
func (p *Pipes) Addr() net.Addr { return &net.UnixAddr{} }
