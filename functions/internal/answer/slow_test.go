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
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/fault"
)

// slow serves fn to one caller. Like the one of the functions framework, the server has no time
// limits.
func slow(t *testing.T, fn answer.Func, caller func(t *testing.T, conn net.Conn, answers *bufio.Reader)) {
	synctest.Test(t, func(t *testing.T) {
		network := functiontest.NewPipes()
		server := &http.Server{
			Handler:  answer.Handler(slog.New(slog.DiscardHandler), fn, "GET", "POST"),
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(network) })
		ours := network.Dial()
		caller(t, ours, bufio.NewReader(ours))
		_ = ours.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// response is a response whose body was read.
type response struct {
	StatusCode int
	Close      bool
}

// receive reads one response. It also returns the body and the time of arrival.
func receive(t *testing.T, answers *bufio.Reader) (response, string, time.Time) {
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
	return response{res.StatusCode, res.Close}, string(data), at
}

func echo(w http.ResponseWriter, r *http.Request) error {
	data, err := answer.Body(w, r, 1<<20)
	if err != nil {
		return err
	}
	answer.JSON(w, 200, string(data))
	return nil
}

// A caller that announces a body and does not send it is rejected after 30 s. Sending single bytes
// does not extend the limit.
func TestSlowBody(t *testing.T) {
	for name, head := range map[string]string{
		"with a length": "Content-Length: 1000\r\n\r\n{",
		"in chunks":     "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		for _, drip := range []time.Duration{0, 7 * time.Second} {
			t.Run(name, func(t *testing.T) {
				slow(t, echo, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
					begin := time.Now()
					send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\n"+head)
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
					res, body, at := receive(t, answers)
					if took := at.Sub(begin); took != 30*time.Second || res.StatusCode != http.StatusBadRequest ||
						!strings.Contains(body, "within 30s") ||
						!res.Close {
						t.Errorf("got %d %s after %v, connection closed: %v", res.StatusCode, body, took, res.Close)
					}
					_ = conn.Close()
					dripping.Wait()
				})
			})
		}
	}
}

// A rejection is sent immediately, not after the body. Its connection is kept for at most as long
// as a body may take.
func TestRejectionIsSentBeforeTheBody(t *testing.T) {
	reject := func(http.ResponseWriter, *http.Request) error { return fault.New(fault.Unauthorized, "who?") }
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		slow(t, reject, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
			begin := time.Now()
			send(t, conn, request)
			res, body, at := receive(t, answers)
			if took := at.Sub(begin); took != 0 || res.StatusCode/100 != 4 || !res.Close {
				t.Errorf("got %d %s after %v, connection closed: %v", res.StatusCode, body, took, res.Close)
			}
			if _, err := answers.ReadByte(); err == nil {
				t.Error("the server sent more than one response")
			}
			if took := time.Since(begin); took > 31*time.Second {
				t.Errorf("the connection was kept for %v", took)
			}
		})
	}
}

// After the body has arrived, a handler may take any time, and so may the next request of the
// connection. Without a body there is no limit.
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
		for _, request := range []string{
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		} {
			send(t, conn, request)
			if res, body, _ := receive(t, answers); res.StatusCode != http.StatusOK || res.Close {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			time.Sleep(time.Hour)
		}
	})
}

// A response that the caller does not read is cut off. One that is read slowly is complete. This
// holds for JSON, pages and files.
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
		send(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := answers.Peek(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if rest, err := io.ReadAll(answers); err != nil || len(rest) > 256<<10 {
			t.Errorf("%d bytes, %v: it was not cut off", len(rest), err)
		}
	})
	slow(t, big, func(t *testing.T, conn net.Conn, answers *bufio.Reader) {
		send(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
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
