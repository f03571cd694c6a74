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

// A web page can have its own DNS name resolved to 127.0.0.1, and then reach this machine as its
// own origin. Its requests still have that name as their Host. Every path must reject them.
func TestOnlyLoopbackHostsAreServed(t *testing.T) {
	s := newSystem(t, nil)
	port := s.base[strings.LastIndexByte(s.base, ':'):]
	paths := []string{
		"/status/-/casewatch.js", "/status/none", "/console/-/health", "/pipeline/api/progress/none", "/no/such/path",
	}
	for path := range s.m.Handlers {
		paths = append(paths, path)
	}
	for _, test := range []struct {
		host   string
		served bool
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
		{"x.localhost" + port, false}, // some resolvers look it up in DNS
		{"localhost." + port, false},
		{"notlocalhost", false},
		{"0.0.0.0" + port, false}, // a browser on Linux reaches this machine by it
		{"[::]" + port, false},
		{"192.168.1.7" + port, false},
		{"169.254.169.254", false},
		{"127.1", false},
		{"2130706433", false},
		{"localhost:x", false},
		{"localhost@rebound.example", false},
	} {
		t.Run(test.host, func(t *testing.T) {
			for _, path := range paths {
				for _, method := range []string{"GET", "POST", "OPTIONS"} {
					code, header, body := s.requestWithHost(t, method, path, test.host)
					if served := code != http.StatusMisdirectedRequest; served != test.served {
						t.Errorf("%s %s is answered %d, want it served: %t", method, path, code, test.served)
					}
					if !test.served {
						s.wantMisdirected(t, header, body)
					}
				}
			}
		})
	}
}

// requestWithHost sends a request as a page of that host does: for the browser it is a request to
// the same origin.
func (s *system) requestWithHost(
	t *testing.T, method, path, host string,
) (code int, header http.Header, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Origin", "http://"+host)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, body
}

// wantMisdirected expects a problem that names this machine, and does not contain the rejected
// host.
func (s *system) wantMisdirected(t *testing.T, header http.Header, body []byte) {
	t.Helper()
	var problem struct {
		Status        int
		Title, Detail string
	}
	err := json.Unmarshal(body, &problem)
	if err != nil || problem.Status != http.StatusMisdirectedRequest || problem.Title == "" ||
		!strings.Contains(problem.Detail, s.base) ||
		header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the answer is %v %s, want a problem that names %s", header, body, s.base)
	}
	if origin := header.Get("Access-Control-Allow-Origin"); origin != "" {
		t.Errorf("Access-Control-Allow-Origin is %q, want none", origin)
	}
	if strings.Contains(string(body), "rebound") {
		t.Errorf("the answer repeats the host: %s", body)
	}
}

// The Cloud Tasks and Pub/Sub servers speak only gRPC without TLS. They do not answer the HTTP/1.1
// request of a browser.
func TestBrowsersCannotCallTheGRPCServers(t *testing.T) {
	s := newSystem(t, nil)
	for name, addr := range map[string]string{"Cloud Tasks": s.m.Tasks.Addr(), "Pub/Sub": s.m.PubSub.Addr()} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(conn, "POST /google.pubsub.v1.Publisher/Publish HTTP/1.1\r\n"+
				"Host: localhost\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if strings.HasPrefix(string(answer), "HTTP/1.") {
				t.Errorf("the server answers %q (%v), want no HTTP/1 answer", answer, err)
			}
		})
	}
}
