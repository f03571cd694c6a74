package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Hundreds of clients that send or read as slowly as they can, against the functions framework's
// own server, which has no limits of time: whoever is honest is served meanwhile, and who announces
// a body and does not send it is cut off.
func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute: go test without -short")
	}
	t.Parallel()
	p := newProgram(t)
	p.run()
	watched := p.start(bigForm)
	u, err := url.Parse(watched)
	if err != nil {
		t.Fatal(err)
	}
	const each = 50
	type slow struct {
		name, request string
		cut           bool // it is told, and its connection ends, within the time of a body
		conns         []net.Conn
	}
	kinds := []*slow{
		{name: "headers that do not end", request: "POST /start HTTP/1.1\r\nHost: localhost\r\nX-A: "},
		{name: "a form that does not come", request: "POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
			"application/json\r\nContent-Length: 900000\r\n\r\n{", cut: true},
		{name: "chunks that do not come", request: "POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
			"application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", cut: true},
		{name: "a refused caller's body",
			request: "POST /check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", cut: true},
		{name: "a body where there is none",
			request: "GET /status/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", cut: true},
		{name: "a console's form", request: "POST /console/main?run=1 HTTP/1.1\r\nHost: " + u.Host +
			"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na", cut: true},
		{name: "viewers who do not read", request: "GET " + u.RequestURI() +
			" HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"},
	}
	for _, kind := range kinds {
		for range each {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, kind.request); err != nil {
				t.Fatal(err)
			}
			kind.conns = append(kind.conns, conn)
		}
	}
	begin := time.Now()
	for i := range 20 {
		asked := time.Now()
		p.start(fmt.Sprintf(`{"case_id":"honest-%d","document_types":["srogs"]}`, i))
		if code, body := p.do("GET", watched, ""); code != http.StatusOK {
			t.Errorf("%d %s", code, body)
		}
		if took := time.Since(asked); took > 10*time.Second {
			t.Errorf("an honest caller waited %v", took)
		}
	}
	var reading sync.WaitGroup
	for _, kind := range kinds {
		if !kind.cut {
			continue
		}
		for _, conn := range kind.conns {
			reading.Go(func() {
				_ = conn.SetReadDeadline(begin.Add(60 * time.Second))
				r := bufio.NewReader(conn)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Errorf("%s: %v", kind.name, err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				_, err = r.ReadByte()
				if res.StatusCode < 400 || res.StatusCode >= 500 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: %s, and then %v after %v", kind.name, res.Status, err, time.Since(begin))
				}
			})
		}
	}
	reading.Wait()
	if v := p.end(watched); v.End == nil {
		t.Errorf("%+v", v)
	}
}

// Headers beyond what the server takes, and those just below, are answered, and the process goes on.
func TestHugeHeaders(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.run()
	for name, test := range map[string]struct {
		size, want int
	}{"above a mebibyte": {2 << 20, http.StatusRequestHeaderFieldsTooLarge},
		"below it": {900 << 10, http.StatusUnauthorized}} {
		for _, path := range []string{"/check", "/complete", "/sweep", "/dispatch"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+strings.Repeat("a", test.size))
			res, err := p.http.Do(req)
			if err != nil {
				if test.size > 1<<20 {
					continue // it was cut off in the middle of them
				}
				t.Fatalf("%s: %v", name, err)
			}
			_ = res.Body.Close()
			if res.StatusCode != test.want {
				t.Errorf("%s: %s %s", name, path, res.Status)
			}
		}
	}
	if v := p.end(p.start(`{"document_types":["srogs"]}`)); v.End == nil {
		t.Errorf("%+v", v)
	}
}
