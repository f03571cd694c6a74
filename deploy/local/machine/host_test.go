package machine_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A web page can have its own DNS name resolved to 127.0.0.1 and then reach this machine as its own origin. Its
// requests still carry that name as Host. Every path must refuse them.
func TestReboundNameGetsNothing(t *testing.T) {
	s := newSystem(t, nil)
	port := s.base[strings.LastIndexByte(s.base, ':'):]
	paths := []string{"/status/-/casewatch.js", "/status/none", "/console/-/health", "/pipeline/api/progress/none", "/no/such/path"}
	for path := range s.m.Handlers {
		paths = append(paths, path)
	}
	const refused = http.StatusMisdirectedRequest
	for _, test := range []struct {
		host string
		want bool
	}{
		{"localhost" + port, true},
		{"localhost", true},
		{"LOCALHOST" + port, true},
		{"127.0.0.1" + port, true},
		{"127.0.0.1", true},
		{"127.255.1.2:1", true},
		{"[::1]" + port, true},
		{"[::1]", true},
		{"[::ffff:127.0.0.1]:5173", true},
		{"rebound.example" + port, false},
		{"rebound.example", false},
		{"localhost.rebound.example" + port, false},
		{"127.0.0.1.rebound.example" + port, false},
		{"x.localhost" + port, false}, // some resolvers ask DNS for it; the console refuses it too
		{"localhost." + port, false},
		{"notlocalhost", false},
		{"0.0.0.0" + port, false}, // reaches this machine from a browser on Linux
		{"[::]" + port, false},
		{"192.168.1.7" + port, false},
		{"169.254.169.254", false},
		{"127.1", false},
		{"2130706433", false},
		{"localhost:x", false},
		{"localhost@rebound.example", false},
	} {
		for _, path := range paths {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				req, err := http.NewRequestWithContext(t.Context(), method, s.base+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = test.host
				// As a page of that name sends it: for the browser it is the same origin.
				req.Header.Set("Origin", "http://"+test.host)
				res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				if got := res.StatusCode != refused; got != test.want {
					t.Errorf("%s %s with Host %s: %s, want it to be let in: %v", method, path, test.host, res.Status, test.want)
				}
				if test.want {
					continue
				}
				var problem struct {
					Status        int
					Title, Detail string
				}
				err = json.Unmarshal(body, &problem)
				if err != nil || problem.Status != refused || problem.Title == "" || !strings.Contains(problem.Detail, s.base) ||
					res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s %s with Host %s: %v %s", method, path, test.host, res.Header, body)
				}
				if strings.Contains(string(body), "rebound") {
					t.Errorf("it repeats what it was sent: %s", body)
				}
			}
		}
	}
}

// The Cloud Tasks and Pub/Sub servers speak gRPC in plain text. A browser speaks HTTP/1.1 there, and gets no answer.
func TestBrowserCannotSpeakToTheServers(t *testing.T) {
	s := newSystem(t, nil)
	for name, addr := range map[string]string{"Cloud Tasks": s.m.Tasks.Addr(), "Pub/Sub": s.m.PubSub.Addr()} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, "POST /google.pubsub.v1.Publisher/Publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		_ = conn.Close()
		if strings.HasPrefix(string(answer), "HTTP/1.") {
			t.Errorf("%s answers a browser: %q %v", name, answer, err)
		}
	}
}
