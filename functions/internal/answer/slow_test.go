package answer_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/fault"
)

// pipes is a network of its own, on which nothing is buffered and whose deadlines follow the clock of a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// slow serves fn by a server without limits of time, as the functions framework does, to one caller.
func slow(t *testing.T, fn answer.Func, caller func(t *testing.T, conn net.Conn, answers *bufio.Reader)) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{
			Handler:  answer.Handler(slog.New(slog.DiscardHandler), fn, "GET", "POST"),
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(network) })
		ours, theirs := net.Pipe()
		network.conns <- theirs
		caller(t, ours, bufio.NewReader(ours))
		_ = ours.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// heard is an answer whose body was read.
type heard struct {
	StatusCode int
	Close      bool
}

// hear reads one answer, and returns when it came.
func hear(t *testing.T, answers *bufio.Reader) (heard, string, time.Time) {
	t.Helper()
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return heard{res.StatusCode, res.Close}, string(data), at
}

func readIt(w http.ResponseWriter, r *http.Request) error {
	data, err := answer.Body(w, r, 1<<20)
	if err != nil {
		return err
	}
	answer.JSON(w, 200, string(data))
	return nil
}

// A caller who announces a body and does not send it does not keep its handler for long, whether it sends nothing or a byte now and then.
func TestSlowBody(t *testing.T) {
	for name, head := range map[string]string{
		"with a length": "Content-Length: 1000\r\n\r\n{",
		"in chunks":     "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		for _, drip := range []time.Duration{0, 7 * time.Second} {
			t.Run(name, func(t *testing.T) {
				slow(t, readIt, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
					begin := time.Now()
					say(t, conn, "POST / HTTP/1.1\r\nHost: x\r\n"+head)
					var dripping sync.WaitGroup
					if drip > 0 {
						dripping.Go(func() {
							for {
								time.Sleep(drip)
								piece := " "
								if strings.HasPrefix(head, "Transfer") {
									piece = "1\r\n \r\n"
								}
								if _, err := io.WriteString(conn, piece); err != nil {
									return
								}
							}
						})
					}
					res, body, at := hear(t, answers)
					if took := at.Sub(begin); took != 30*time.Second || res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "within 30s") || !res.Close {
						t.Errorf("%d %s after %v, closes %v", res.StatusCode, body, took, res.Close)
					}
					_ = conn.Close()
					dripping.Wait()
				})
			})
		}
	}
}

// Who is refused is told at once, not when the body has come that nobody reads; and its connection is not kept for longer than a body may take.
func TestRefusedBeforeTheBody(t *testing.T) {
	refuse := func(http.ResponseWriter, *http.Request) error { return fault.New(fault.Unauthorized, "who?") }
	for _, request := range []string{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"} {
		slow(t, refuse, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
			begin := time.Now()
			say(t, conn, request)
			res, body, at := hear(t, answers)
			if took := at.Sub(begin); took != 0 || res.StatusCode/100 != 4 || !res.Close {
				t.Errorf("%d %s after %v, closes %v", res.StatusCode, body, took, res.Close)
			}
			if _, err := answers.ReadByte(); err == nil {
				t.Error("more was answered")
			}
			if took := time.Since(begin); took > 31*time.Second {
				t.Errorf("the connection was kept for %v", took)
			}
		})
	}
}

// A handler may take its time once the body is there, and so may the next request on the connection; without a body there is no limit at all.
func TestLimitEndsWithTheBody(t *testing.T) {
	work := func(w http.ResponseWriter, r *http.Request) error {
		if _, err := answer.Body(w, r, 1<<20); err != nil {
			return err
		}
		select {
		case <-time.After(29 * time.Minute):
			answer.JSON(w, 200, "done")
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	slow(t, work, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
		for _, request := range []string{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"} {
			say(t, conn, request)
			if res, body, _ := hear(t, answers); res.StatusCode != http.StatusOK || res.Close {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			time.Sleep(time.Hour)
		}
	})
}

// A caller who does not read its answer is cut off; one who reads slowly gets all of it. So it is for JSON, pages and files.
func TestSlowReader(t *testing.T) {
	text := strings.Repeat("x", 512<<10)
	file := answer.NewFile("text/plain", []byte(text))
	for name, big := range map[string]answer.Func{
		"JSON": func(w http.ResponseWriter, _ *http.Request) error { answer.JSON(w, 200, text); return nil },
		"page": func(w http.ResponseWriter, _ *http.Request) error { answer.Page(w, 200, []byte(text)); return nil },
		"file": func(w http.ResponseWriter, r *http.Request) error { file.ServeHTTP(w, r); return nil },
	} {
		t.Run(name, func(t *testing.T) { slowReader(t, big) })
	}
}

func slowReader(t *testing.T, big answer.Func) {
	slow(t, big, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
		say(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := answers.Peek(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if rest, err := io.ReadAll(answers); err != nil || len(rest) > 256<<10 {
			t.Errorf("%d bytes, %v: it was not cut off", len(rest), err)
		}
	})
	slow(t, big, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
		say(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, piece := 0, make([]byte, 64<<10)
		for {
			n, err := io.ReadFull(res.Body, piece)
			got += n
			if err != nil {
				break
			}
			time.Sleep(20 * time.Second)
		}
		if got < 512<<10 {
			t.Errorf("%d bytes", got)
		}
	})
}
