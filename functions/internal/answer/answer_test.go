package answer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// The worker is the one of a library that functiontest links.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// serve serves one request with fn. It returns the response and the log.
func serve(t *testing.T, r *http.Request, fn answer.Func) (*httptest.ResponseRecorder, string) {
	t.Helper()
	var log strings.Builder
	w := httptest.NewRecorder()
	answer.Handler(slog.New(gcplog.New(&log, gcplog.Options{Project: "p"})), fn, "POST", "PUT").ServeHTTP(w, r)
	return w, log.String()
}

func post(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), "POST", "/some/path?token=sesame", body)
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		fn     answer.Func
		status int
		detail string
		logs   bool
	}{
		{"classified",
			func(http.ResponseWriter, *http.Request) error { return fault.New(fault.Conflict, "it has ended") },
			409, "it has ended", false},
		{"wrapped", func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("inside: %w", fault.Wrap(fault.NotFound, errors.New("inside"), "no such case"))
		}, 404, "no such case", false},
		{"unavailable", func(http.ResponseWriter, *http.Request) error {
			return fault.Wrap(fault.Unavailable, errors.New("inside"), "try again")
		}, 503, "try again", true},
		{"not classified", func(http.ResponseWriter, *http.Request) error { return errors.New("inside") }, 500,
			"Something went wrong", true},
		{"a panic", func(http.ResponseWriter, *http.Request) error { panic("inside") }, 500,
			"Something went wrong", true},
		{"a panic with an error",
			func(http.ResponseWriter, *http.Request) error { panic(errors.New("inside")) }, 500,
			"Something went wrong", true},
		{"a panic of the Go runtime", func(_ http.ResponseWriter, r *http.Request) error {
			return errors.New(r.Header["Inside"][0])
		}, 500, "Something went wrong", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, log := serve(t, post(t, http.NoBody), test.fn)
			var p fault.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != test.status ||
				p.Status != test.status ||
				w.Header().Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if !strings.Contains(p.Detail, test.detail) || p.Instance != "/some/path" || p.Type != "about:blank" ||
				p.Title == "" {
				t.Errorf("%+v", p)
			}
			for _, inside := range []string{"inside", "goroutine", ".go:", "sesame"} {
				if strings.Contains(w.Body.String(), inside) {
					t.Errorf("the response shows an internal detail: %s", w.Body)
				}
			}
			if (log != "") != test.logs || strings.Contains(log, "sesame") {
				t.Errorf("log: %s", log)
			}
			if (w.Header().Get("Retry-After") != "") != (test.status == 503) {
				t.Errorf("Retry-After: %q", w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestPanicIsLoggedWithItsStack(t *testing.T) {
	_, log := serve(t, post(t, http.NoBody), func(http.ResponseWriter, *http.Request) error { panic("what happened") })
	if !strings.Contains(log, "what happened") || !strings.Contains(log, "answer_test.go") ||
		!strings.Contains(log, `"severity":"ERROR"`) {
		t.Errorf("%s", log)
	}
}

// A handler panics with http.ErrAbortHandler to close the connection on purpose.
func TestAbortIsNotRecovered(t *testing.T) {
	for _, abort := range []error{http.ErrAbortHandler, fmt.Errorf("wrapped: %w", http.ErrAbortHandler)} {
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.Is(err, abort) {
					t.Errorf("got %v, want %v", err, abort)
				}
			}()
			serve(t, post(t, http.NoBody), func(http.ResponseWriter, *http.Request) error { panic(abort) })
		}()
	}
}

// A request whose caller closed the connection is not logged, because it is no failure of the
// service.
func TestClosedConnectionIsNotLogged(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w, log := serve(
		t,
		post(t, http.NoBody).WithContext(ctx),
		func(_ http.ResponseWriter, r *http.Request) error { return r.Context().Err() },
	)
	if w.Code != 503 || log != "" {
		t.Errorf("%d, log %s", w.Code, log)
	}
}

func TestMethods(t *testing.T) {
	called := false
	for method, want := range map[string]int{
		"POST":    200,
		"PUT":     200,
		"GET":     405,
		"HEAD":    405,
		"OPTIONS": 405,
		"post":    405,
		"":        405,
	} {
		r := post(t, http.NoBody)
		r.Method = method
		called = false
		w, _ := serve(t, r, func(w http.ResponseWriter, _ *http.Request) error {
			called = true
			answer.JSON(w, 200, struct{}{})
			return nil
		})
		if w.Code != want || called != (want == 200) || want == 405 && w.Header().Get("Allow") != "POST, PUT" {
			t.Errorf("%q: %d %v", method, w.Code, w.Header())
		}
	}
}

func TestHeaders(t *testing.T) {
	w, _ := serve(t, post(t, http.NoBody), func(w http.ResponseWriter, _ *http.Request) error {
		answer.JSON(w, http.StatusAccepted, map[string]string{"url": "https://x.example/?a=1&b=<2>", "nul": "\x00"})
		return nil
	})
	if got := w.Body.String(); got != `{"nul":"\u0000","url":"https://x.example/?a=1&b=<2>"}`+"\n" || w.Code != 202 {
		t.Errorf("%d %s", w.Code, got)
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/json",
		"Content-Length":         fmt.Sprint(w.Body.Len()),
		"Cache-Control":          "private, no-cache",
		"Referrer-Policy":        "no-referrer",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// A result that is not JSON must not end the response in the middle.
	w, _ = serve(t, post(t, http.NoBody), func(w http.ResponseWriter, _ *http.Request) error {
		answer.JSON(w, 200, map[string]any{"result": json.RawMessage(`{"a":`)})
		return nil
	})
	if w.Code != 500 || !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != fault.ContentType {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w, _ = serve(t, post(t, http.NoBody), func(http.ResponseWriter, *http.Request) error {
		return fault.New(fault.Unauthorized, "no credentials")
	})
	if w.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("401 without WWW-Authenticate: %v", w.Header())
	}
}

func TestTrace(t *testing.T) {
	const w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, test := range []struct{ name, traceparent, cloud, want string }{
		{"traceparent", w3c, "", w3c},
		{"both", w3c, "105445aa7843bc8bf206b12000100000/1;o=1", w3c},
		{"X-Cloud-Trace-Context", "", "105445aa7843bc8bf206b12000100000/1;o=1",
			"00-105445aa7843bc8bf206b12000100000-0000000000000001-01"},
		{"a broken traceparent", "00-xyz", "105445aa7843bc8bf206b12000100000/1;o=1",
			"00-105445aa7843bc8bf206b12000100000-0000000000000001-01"},
		{"none", "", "", ""},
		{"broken", "x", "y", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			traces := map[string]bool{}
			for range 2 {
				r := post(t, http.NoBody)
				r.Header.Set("Traceparent", test.traceparent)
				r.Header.Set("X-Cloud-Trace-Context", test.cloud)
				serve(t, r, func(_ http.ResponseWriter, r *http.Request) error {
					trace := gcplog.TraceParent(r.Context())
					traces[trace] = true
					if test.want != "" && trace != test.want || !gcplog.ValidTraceParent(trace) {
						t.Errorf("%q, want %q", trace, test.want)
					}
					return nil
				})
			}
			if want := map[bool]int{true: 2, false: 1}[test.want == ""]; len(traces) != want {
				t.Errorf("two requests have the traces %v", traces)
			}
		})
	}
}

func TestBody(t *testing.T) {
	cut := errors.New("cut")
	for _, test := range []struct {
		name string
		body io.Reader
		want string
		kind fault.Kind
	}{
		{"empty", http.NoBody, "", 0},
		{"below the limit", strings.NewReader("1234567"), "1234567", 0},
		{"at the limit", strings.NewReader("12345678"), "12345678", 0},
		{"above", strings.NewReader("123456789"), "", fault.TooLarge},
		{"far above", io.LimitReader(zeros{}, 1<<30), "", fault.TooLarge},
		{"cut", io.MultiReader(strings.NewReader("123"), iotest.ErrReader(cut)), "", fault.Invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			serve(t, post(t, test.body), func(w http.ResponseWriter, r *http.Request) error {
				got, err := answer.Body(w, r, 8)
				if string(got) != test.want || (err == nil) != (test.kind == 0) ||
					err != nil && fault.KindOf(err) != test.kind {
					t.Errorf("%q, %v", got, err)
				}
				if test.kind == fault.Invalid && !errors.Is(err, cut) {
					t.Errorf("the error does not contain its cause: %v", err)
				}
				return nil
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestRequireJSON(t *testing.T) {
	for _, test := range []struct {
		contentType, encoding string
		want                  bool
	}{
		{"application/json", "", true},
		{"Application/JSON; charset=utf-8", "identity", true},
		{"", "", false},
		{"text/json", "", false},
		{"application/json; charset", "", false},
		{"application/x-www-form-urlencoded", "", false},
		{"application/json", "gzip", false},
	} {
		r := post(t, http.NoBody)
		r.Header.Set("Content-Type", test.contentType)
		r.Header.Set("Content-Encoding", test.encoding)
		if err := answer.RequireJSON(r); (err == nil) != test.want ||
			err != nil && fault.KindOf(err) != fault.MediaType {
			t.Errorf("%q %q: %v", test.contentType, test.encoding, err)
		}
	}
}

// An optional body must be JSON if it is there. A chunked body may turn out to be empty.
func TestRequireJSONIfAny(t *testing.T) {
	for _, test := range []struct {
		name, contentType, body string
		length                  int64
		want                    bool
	}{
		{"no body", "", "", 0, true},
		{"no body, from Cloud Scheduler", "application/octet-stream", "", 0, true},
		{"chunked, empty", "application/octet-stream", "", -1, true},
		{"chunked", "application/octet-stream", "{}", -1, false},
		{"chunked JSON", "application/json", "{}", -1, true},
		{"a form", "application/x-www-form-urlencoded", "{}", 2, false},
		{"no content type", "", "{}", 2, false},
		{"JSON", "application/json; charset=utf-8", "{}", 2, true},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(test.body))
		r.ContentLength = test.length
		r.Header.Set("Content-Type", test.contentType)
		err := answer.RequireJSONIfAny(r)
		if (err == nil) != test.want || err != nil && fault.KindOf(err) != fault.MediaType {
			t.Errorf("%s: %v", test.name, err)
		}
		if rest, _ := io.ReadAll(r.Body); err == nil && string(rest) != test.body {
			t.Errorf("%s: %q is left of the body", test.name, rest)
		}
	}
}

func TestAccepted(t *testing.T) {
	type accepted struct {
		mediaRange string
		weight     float64
	}
	for _, test := range []struct {
		lines []string
		want  []accepted
	}{
		{nil, nil},
		{[]string{"text/html"}, []accepted{{"text/html", 1}}},
		{[]string{" Text/HTML ; level=1; Q=0.5 ,*/*;q=0"}, []accepted{{"text/html", 0.5}, {"*/*", 0}}},
		{[]string{"a/b;q=1, c/d", "e/f;q=.25"}, []accepted{{"a/b", 1}, {"c/d", 1}, {"e/f", 0.25}}},
		{[]string{"a/b;q=2, c/d;q=-1, e/f;q=NaN, g/h;q=high, i/j;q"},
			[]accepted{{"a/b", 0}, {"c/d", 0}, {"e/f", 0}, {"g/h", 0}, {"i/j", 0}}},
	} {
		var got []accepted
		for mediaRange, weight := range answer.Accepted(&http.Request{Header: http.Header{"Accept": test.lines}}) {
			got = append(got, accepted{mediaRange, weight})
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.lines, got, test.want)
		}
	}
}
