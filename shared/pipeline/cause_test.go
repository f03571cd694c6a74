package pipeline

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"

	"github.com/casewatch/casewatch/shared/secret"
)

// The cause says what went wrong with which host; the message says it without addresses. Neither
// says a secret, and the cause nothing that the pipeline said.
func TestCauses(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	resets := listen(t, func(conn net.Conn) { readRequest(conn); reset(conn) })
	garbage := listen(t, func(conn net.Conn) { readRequest(conn); _, _ = io.WriteString(conn, "form-content\r\n\r\n") })
	p := pipelinetest.New(t)
	for name, tc := range map[string]struct {
		url    string
		react  pipelinetest.Reaction
		config func(*Config)
		want   string // of both causes, before the host; "-": none
	}{
		"refused": {
			url:  "http://" + gone.Addr().String(),
			want: "dial tcp " + gone.Addr().String() + ": connect: connection refused",
		},
		"no such name": {url: "http://pipeline.invalid", want: "dial tcp: lookup pipeline.invalid: no such host",
			config: func(c *Config) {
				c.DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{
						Op: "dial", Net: "tcp",
						Err: &net.DNSError{Err: "no such host", Name: "pipeline.invalid", IsNotFound: true},
					}
				}
			}},
		"reset":    {url: "http://" + resets.addr, want: "read: connection reset by peer"},
		"not HTTP": {url: "http://" + garbage.addr, want: "the connection broke, or the answer is not HTTP"},
		"in no time": {
			react: pipelinetest.Hang(false, 0), want: "it took longer than 50ms",
			config: func(c *Config) {
				c.Pipeline.Dispatch.Timeout, c.CheckTimeout = 50*time.Millisecond, 50*time.Millisecond
			},
		},
		"500": {react: pipelinetest.Answer(500, `{"error":"form-content"}`), want: "500 Internal Server Error"},
		"401": {
			react: pipelinetest.Answer(401, `{"detail":"s3cr3t-key form-content"}`), want: "401 Unauthorized",
		},
		"429":      {react: pipelinetest.Busy(429, "7"), want: "429 Too Many Requests"},
		"redirect": {react: pipelinetest.Redirect(302, "http://elsewhere.example/form-content"), want: "302 Found"},
		"a page":   {react: pipelinetest.Answer(200, "<html>form-content"), want: "200 OK"},
		"broken off": {
			react: pipelinetest.ResetDuring(pipelinetest.Answer(200, `{"success":true,"total":1}`)),
			want:  "200 OK, but ",
		},
		"nothing": {react: pipelinetest.Answer(200, `{"success":true,"total":1}`), want: "-"},
		"its failure": {
			react: pipelinetest.Answer(200, `{"success":false,"total":1,"status":"failed","error":"no ink"}`),
			want:  "-",
		},
		"no token": {url: "http://pipeline.invalid", want: "no ID token for the pipeline: no metadata for [redacted]",
			config: func(c *Config) {
				c.Pipeline.Auth.GoogleIDToken, c.TokenSource = true, func(context.Context) (string, error) {
					return "", fmt.Errorf("no metadata for s3cr3t-key")
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.url == "" {
				tc.url = p.URL
				p.Script("c-1", tc.react)
				p.ScriptPolls("c-1", tc.react)
			}
			c := open(t, tc.url+"/base-path", func(c *Config) {
				c.Pipeline.Auth.Value = secret.New("s3cr3t-key")
				if tc.config != nil {
					tc.config(c)
				}
			})
			u, err := url.Parse(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			got, poll := c.Dispatch(t.Context(), request), c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2})
			for what, said := range map[string][2]string{
				"dispatch": {got.Cause, got.Message}, "poll": {poll.Cause, poll.Message},
			} {
				cause, message := said[0], said[1]
				if tc.want == "-" {
					if cause != "" {
						t.Errorf("%s: cause %q of nothing", what, cause)
					}
					continue
				}
				before, _, _ := strings.Cut(cause, " (host ")
				if !strings.Contains(before, tc.want) || !strings.HasSuffix(cause, " (host "+u.Host+")") {
					t.Errorf("%s: cause %q, want %q of %s", what, cause, tc.want, u.Host)
				}
				if strings.Contains(message, u.Host) {
					t.Errorf("%s: message %q tells where it is", what, message)
				}
				for _, hidden := range []string{"s3cr3t-key", "form-content", "base-path", "c-1"} {
					if strings.Contains(cause, hidden) {
						t.Errorf("%s: cause %q has %q", what, cause, hidden)
					}
				}
			}
		})
	}
}
