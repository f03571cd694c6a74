package task_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/task"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `{"case_id":"c","run":1,"seq":2}`

func allowAll(*http.Request) error { return nil }

// deliver sends one delivery to a handler that returns err. It returns the response, the arguments
// of the handler and the log.
func deliver(
	t *testing.T,
	method, body, retryCount string,
	err error,
) (answer *httptest.ResponseRecorder, got, log string) {
	t.Helper()
	var lines strings.Builder
	h := task.Handler(
		slog.New(slog.NewTextHandler(&lines, nil)),
		allowAll,
		func(_ *http.Request, body queue.Body, retries int) error {
			got += fmt.Sprintf("{%s %d %d} %d", body.CaseID, body.Run, body.Seq, retries)
			return err
		},
	)
	r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if retryCount != "-" {
		r.Header.Set("X-CloudTasks-TaskRetryCount", retryCount)
	}
	answer = httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer, got, lines.String()
}

func TestBodies(t *testing.T) {
	for _, test := range []struct {
		name, method, body string
		want               int
		delivered          string
	}{
		{"good", "POST", good, 200, "{c 1 2} 0"},
		{"more fields", "POST", `{"case_id":"c","run":1,"seq":2,"new":true}`, 200, "{c 1 2} 0"},
		{"empty", "POST", "", 400, ""},
		{"not JSON", "POST", "{", 400, ""},
		{"a list", "POST", "[]", 400, ""},
		{"null", "POST", "null", 400, ""},
		{"no case", "POST", `{"run":1,"seq":2}`, 400, ""},
		{"no run", "POST", `{"case_id":"c","seq":2}`, 400, ""},
		{"run 0", "POST", `{"case_id":"c","run":0,"seq":2}`, 400, ""},
		{"seq 0", "POST", `{"case_id":"c","run":1,"seq":0}`, 400, ""},
		{"seq as text", "POST", `{"case_id":"c","run":1,"seq":"2"}`, 400, ""},
		{"too large", "POST", good + strings.Repeat(" ", 4<<10), 413, ""},
		{"GET", "GET", "", 405, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, got, _ := deliver(t, test.method, test.body, "-", nil)
			if a.Code != test.want || got != test.delivered {
				t.Errorf("%d %s, delivered %q; want %d, %q", a.Code, a.Body, got, test.want, test.delivered)
			}
			if test.want >= 400 && a.Header().Get("Content-Type") != fault.ContentType {
				t.Errorf("%v", a.Header())
			}
		})
	}
}

func TestRetryCount(t *testing.T) {
	for header, want := range map[string]string{
		"-":                    "0",
		"":                     "0",
		"0":                    "0",
		"7":                    "7",
		"-1":                   "0",
		"x":                    "0",
		"1.5":                  "0",
		"99999999999999999999": "0",
	} {
		if _, got, _ := deliver(t, "POST", good, header, nil); got != "{c 1 2} "+want {
			t.Errorf("%q: %q, want %s", header, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int
		logs string
	}{
		{"unknown run", fault.New(fault.NotFound, "no such run"), 200, "task names an unknown run"},
		{"unknown run, wrapped", fmt.Errorf("x: %w", fault.New(fault.NotFound, "no such run")), 200,
			"task names an unknown run"},
		{"store down", fault.Wrap(fault.Unavailable, errors.New("secret"), "try again"), 503, "secret"},
		{"any other error", errors.New("secret"), 500, "secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, _, log := deliver(t, "POST", good, "0", test.err)
			if a.Code != test.want || strings.Contains(a.Body.String(), "secret") || !strings.Contains(log, test.logs) {
				t.Errorf("%d %s\n%s", a.Code, a.Body, log)
			}
		})
	}
}

// A rejected caller gets its response before any part of the body is read.
func TestRejectionLeavesTheBodyUnread(t *testing.T) {
	h := task.Handler(
		slog.New(slog.DiscardHandler),
		func(*http.Request) error { return fault.New(fault.Forbidden, "not allowed") },
		func(*http.Request, queue.Body, int) error { t.Error("the task was delivered"); return nil },
	)
	r := httptest.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		"/",
		iotest.ErrReader(errors.New("the body was read")),
	)
	a := httptest.NewRecorder()
	h.ServeHTTP(a, r)
	if a.Code != http.StatusForbidden || a.Header().Get("Content-Type") != fault.ContentType ||
		!strings.Contains(a.Body.String(), "not allowed") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
