package pipeline

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// A poll reaches the host that the name means today: at the latest a minute after it means another.
func TestPollsFollowTheName(t *testing.T) {
	var asked [2]atomic.Int64
	left := make(chan struct{}, 1)
	host := func(i int) string {
		return listen(t, func(conn net.Conn) {
			for {
				if _, err := conn.Read(make([]byte, 4096)); err != nil {
					if i == 0 {
						left <- struct{}{}
					}
					return
				}
				asked[i].Add(1)
				_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			}
		}).addr
	}
	addrs := [2]string{host(0), host(1)}
	var now, means, dials atomic.Int64 // the time in ns, the host that the name means, connections
	c := open(t, "http://pipeline.invalid", func(c *Config) {
		c.Now = func() time.Time { return time.Unix(1e9, now.Load()) }
		c.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addrs[means.Load()])
		}
	})
	poll := func(after time.Duration, host int, connections int64) {
		t.Helper()
		now.Add(int64(after))
		before := asked[host].Load()
		if got := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); got.Kind != cases.CheckUnknown {
			t.Fatalf("got %+v", got)
		}
		if asked[host].Load() != before+1 || dials.Load() != connections {
			t.Fatalf(
				"host %d was asked %d times on %d connections, want %d on %d",
				host,
				asked[host].Load(),
				dials.Load(),
				before+1,
				connections,
			)
		}
	}
	poll(0, 0, 1)
	poll(30*time.Second, 0, 1)
	means.Store(1)
	poll(29*time.Second, 0, 1) // the connection is kept
	poll(time.Second, 1, 2)
	select {
	case <-left:
	case <-bounded(t).Done():
		t.Fatal("the connection to the host before is open")
	}
	for range 59 { // polls do not make it younger
		poll(time.Second, 1, 2)
	}
	poll(time.Second, 1, 3)
	poll(-time.Hour, 1, 4) // a clock that was set back
}

// A poll that is under way when its connection gets too old is answered, and leaves none behind.
func TestPollOutlivesItsConnection(t *testing.T) {
	var now, served atomic.Int64
	begun, answer, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := listen(t, func(conn net.Conn) {
		first := served.Add(1) == 1
		readRequest(conn)
		if first {
			close(begun)
			<-answer
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		if first {
			_, _ = io.Copy(io.Discard, conn)
			close(closed)
		}
	})
	c := open(t, "http://"+s.addr, func(c *Config) { c.Now = func() time.Time { return time.Unix(1e9, now.Load()) } })
	got := make(chan cases.CheckOutcome, 1)
	go func() { got <- c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}) }()
	<-begun
	now.Add(int64(time.Minute))
	if second := c.Poll(t.Context(), Job{CaseID: "c-2", Run: 2}); second.Kind != cases.CheckUnknown {
		t.Errorf("%+v", second)
	}
	close(answer)
	if first := <-got; first.Kind != cases.CheckUnknown {
		t.Errorf("%+v", first)
	}
	select {
	case <-closed:
	case <-bounded(t).Done():
		t.Error("its connection is kept")
	}
}

// A cache between is told not to answer.
func TestPollsAreNotCached(t *testing.T) {
	p := pipelinetest.New(t)
	open(t, p.URL).Poll(t.Context(), Job{CaseID: "c-1", Run: 2})
	if got := p.Polls("c-1")[0].Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-cache" {
		t.Errorf("Cache-Control: %q", got)
	}
}
