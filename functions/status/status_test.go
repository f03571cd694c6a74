package status_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/casetoken"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/cases"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(viewersEnv); addr != "" { // the process of the benchmark's viewers
		runViewers(addr)
		return
	}
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const key = "X-API-Key: " + functiontest.Key

func tag(c cases.Case) string { return fmt.Sprintf(`W/"%d.%d"`, c.Run, c.Version) }

var fields = []string{
	"case_id", "checks", "created_at", "deadline_at", "dispatch", "documents", "duration_seconds",
	"end", "ended_at", "eta_seconds", "late", "output_url", "pipeline", "progress", "result", "run", "stalled",
	"started_at", "state", "stop", "updated_at", "version",
}

func TestOpenCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("a:b")
	a := b.Do("GET", u+"/a:b", "", key)
	body := a.JSON(t)
	if a.Status != 200 || a.Header.Get("Content-Type") != "application/json" ||
		a.Header.Get("Cache-Control") != "private, no-cache" {
		t.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if got := slices.Sorted(maps.Keys(body)); !slices.Equal(got, fields) {
		t.Errorf("fields %v, want %v", got, fields)
	}
	for name, want := range map[string]any{
		"case_id": "a:b", "run": 1.0, "state": "pending", "stalled": false, "version": 1.0,
		"eta_seconds": nil, "started_at": nil, "ended_at": nil, "duration_seconds": nil, "end": nil,
		"documents": nil, "result": nil, "output_url": nil, "late": nil,
	} {
		if body[name] != want {
			t.Errorf("%s is %v, want %v", name, body[name], want)
		}
	}
	if got := fmt.Sprint(body["progress"]); got != "map[completed:0 current: percent:0 total:0]" {
		t.Errorf("progress %s", got)
	}
	checks := body["checks"].(map[string]any)
	if len(checks) != 3 || checks["count"] != 0.0 || checks["failures"] != 0.0 {
		t.Errorf("checks %v", checks)
	}
	for _, at := range []any{body["created_at"], body["updated_at"], body["deadline_at"], checks["next_at"]} {
		if parsed, err := time.Parse(time.RFC3339, fmt.Sprint(at)); err != nil ||
			!strings.HasSuffix(at.(string), "Z") ||
			parsed.Before(c.CreatedAt) {
			t.Errorf("%v is not a time in UTC: %v", at, err)
		}
	}
	if a.Header.Get("ETag") != tag(c) {
		t.Errorf("ETag %s, want %s", a.Header.Get("ETag"), tag(c))
	}
	// The first check is due in two seconds.
	if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1 || after > 2 {
		t.Errorf("Retry-After %q, %v", a.Header.Get("Retry-After"), err)
	}
	if len(b.Pipe.Jobs()) != 0 {
		t.Error("status sent a request to the pipeline")
	}
}

// Retry-After is the time until the next check, however long that is.
func TestRetryAfterIsTheNextCheck(t *testing.T) {
	b := functiontest.New(t, map[string]string{"CHECK_MIN_INTERVAL": "17s"})
	u := b.Serve(status.New)
	b.Begin("c")
	a := b.Do("GET", u+"/c", "", key)
	if after, _ := strconv.Atoi(a.Header.Get("Retry-After")); after < 10 || after > 17 {
		t.Errorf("Retry-After %q, want up to 17", a.Header.Get("Retry-After"))
	}
}

func TestEndedCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	result := `{"n":"\u0000","é":"😀 <>& \u2028","big":12345678901234567890,"f":1.50,` +
		`"webhook_summary":{"total_sets":3,"succeeded":2,"failed":1},"output_url":"https://docs.example/?a=1&b=2"}`
	b.Event("m1", `{"case_id":"c","run":1,"status":"succeeded","result":`+result+`}`)
	b.Event("m2", `{"case_id":"c","run":1,"status":"failed",`+
		`"error":{"code":"x","message":"too late"},"result":{"of":"late\u0000"}}`)
	a := b.Do("GET", u+"/c", "", key)
	if a.Status != 200 || !strings.Contains(a.Body, result) {
		t.Fatalf("got %d %s, want the result unchanged", a.Status, a.Body)
	}
	var v cases.View
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		t.Fatal(err)
	}
	if v.State != cases.Succeeded || v.End == nil ||
		*v.End != (cases.End{Reason: cases.ReasonCompleted, Source: cases.SourceEvent}) ||
		!reflect.DeepEqual(v.Documents, &cases.Documents{Total: new(3), Succeeded: new(2), Failed: new(1)}) {
		t.Errorf("%+v %+v", v.End, v.Documents)
	}
	if v.EndedAt == nil || v.DurationSeconds == nil || *v.DurationSeconds != v.EndedAt.Sub(c.CreatedAt).Seconds() ||
		v.OutputURL == nil ||
		*v.OutputURL != "https://docs.example/?a=1&b=2" {
		t.Errorf("%s", a.Body)
	}
	if l := v.Late; l == nil || l.State != cases.Failed || l.Message != "too late" || l.Source != cases.SourceEvent ||
		l.Count != 1 ||
		string(l.Result) != `{"of":"late\u0000"}` {
		t.Errorf("%+v", v.Late)
	}
	if a.Header.Get("Retry-After") != "" || v.Checks.NextAt != nil || v.ETASeconds != nil {
		t.Errorf("the response announces news of a run that has ended: %v %s", a.Header, a.Body)
	}
}

func TestIfNoneMatch(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	for _, test := range []struct {
		name   string
		header []string
		want   int
	}{
		{"same", []string{tag(c)}, 304},
		{"strong", []string{`"1.1"`}, 304},
		{"every tag", []string{"*"}, 304},
		{"in a list", []string{`"x", W/"9.9",` + tag(c) + ` , "y"`}, 304},
		{"in a second line", []string{`"x"`, tag(c)}, 304},
		{"every tag, in a list", []string{`"x", *`}, 304},
		{"compressed by Apache", []string{`W/"1.1-gzip"`}, 304},
		{"compressed, strong", []string{`"1.1-gzip"`}, 304},
		{"compressed by Apache 2.2", []string{`"1.1"-gzip`}, 304},
		{"compressed by Jetty", []string{`W/"1.1--gzip"`}, 304},
		{"compressed by Django", []string{`"1.1;gzip"`}, 304},
		{"by brotli", []string{`W/"1.1-br"`}, 304},
		{"by Zstandard", []string{`W/"1.1-zstd"`}, 304},
		{"by deflate", []string{`W/"1.1-deflate"`}, 304},
		{"compressed, in a list", []string{`"x-gzip", W/"1.1-gzip"`}, 304},
		{"compressed, older", []string{`W/"1.0-gzip"`}, 200},
		{"compressed, newer", []string{`W/"1.11-gzip"`}, 200},
		{"another suffix", []string{`W/"1.1-x"`}, 200},
		{"a suffix of a suffix", []string{`W/"1.1-gzip-gzip"`}, 200},
		{"a comma in a tag", []string{`"a,*,b"`, `"a, W/`}, 200},
		{"older", []string{`W/"1.0"`}, 200},
		{"other run", []string{`W/"2.1"`}, 200},
		{"a prefix", []string{`W/"1.1`}, 200},
		{"not quoted", []string{`1.1`}, 200},
		{"empty", []string{""}, 200},
		{"none", nil, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := []string{key}
			for _, line := range test.header {
				header = append(header, "If-None-Match: "+line)
			}
			a := b.Do("GET", u+"/c", "", header...)
			if a.Status != test.want || a.Header.Get("ETag") != tag(c) || a.Header.Get("Retry-After") == "" ||
				(a.Body == "") != (test.want == 304) {
				t.Errorf("%d %v %q, want %d", a.Status, a.Header, a.Body, test.want)
			}
		})
	}
}

func TestRuns(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	b.Begin("c")
	for query, want := range map[string]string{"": "2 pending", "?run=2": "2 pending", "?run=1": "1 cancelled"} {
		a := b.Do("GET", u+"/c"+query, "", key)
		if body := a.JSON(t); fmt.Sprint(body["run"], " ", body["state"]) != want {
			t.Errorf("%q: %d %s, want %s", query, a.Status, a.Body, want)
		}
	}
	b.Problem(b.Do("GET", u+"/c?run=3", "", key), 404)
}

func TestErrors(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	tokens := casetoken.New(casetoken.ToRead, b.Config.Access.TokenSecrets)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	for _, test := range []struct {
		name, method, path string
		header             []string
		want               int
		contains           string
	}{
		{"no case", "GET", "/", []string{key}, 404, "/{case_id}"},
		{"deeper", "GET", "/c/d", []string{key}, 404, ""},
		{"encoded slash", "GET", "/c%2Fd", []string{key}, 404, ""},
		{"bad id", "GET", "/-c", []string{key}, 400, "case_id"},
		{"bad run", "GET", "/c?run=0", []string{key}, 400, "run"},
		{"wait is not a duration", "GET", "/c?wait=soon", []string{key}, 400, "wait"},
		{"wait is empty", "GET", "/c?wait=", []string{key}, 400, "wait"},
		{"wait is negative", "GET", "/c?wait=-1s", []string{key}, 400, "wait"},
		{"wait is too long", "GET", "/c?wait=61s", []string{key}, 400, "1m0s"},
		{"unknown, with a key", "GET", "/other", []string{key}, 404, ""},
		{"no credentials", "GET", "/c", nil, 401, ""},
		{"no credentials, unknown", "GET", "/other", nil, 401, ""},
		{"wrong key", "GET", "/c", []string{"X-API-Key: wrong"}, 401, ""},
		{"other case's token", "GET", "/c?token=" + tokens.Sign("other", soon), nil, 403, ""},
		{"other case's token, unknown", "GET", "/other?token=" + tokens.Sign("c", soon), nil, 403, ""},
		{"a token to cancel", "GET",
			"/c?token=" + casetoken.New(casetoken.ToCancel, b.Config.Access.TokenSecrets).Sign("c", soon), nil,
			403, ""},
		{"expired", "GET", "/c?token=" + tokens.Sign("c", past), nil, 403, ""},
		{"not a token", "GET", "/c?token=x", nil, 403, ""},
		{"not a token, bad wait", "GET", "/c?token=x&wait=bad", nil, 403, ""},
		{"token of the case", "GET", "/c?token=" + tokens.Sign("c", soon), nil, 200, string(c.State)},
		{"bad token, good key", "GET", "/c?token=x", []string{key}, 200, ""},
		{"POST", "POST", "/c", []string{key}, 405, ""},
		{"DELETE", "DELETE", "/c", nil, 405, ""},
		{"OPTIONS", "OPTIONS", "/c", nil, 405, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := b.Do(test.method, u+test.path, "", test.header...)
			if test.want != 200 {
				b.Problem(a, test.want)
			}
			if a.Status != test.want || !strings.Contains(a.Body, test.contains) {
				t.Errorf("%d %s, want %d with %q", a.Status, a.Body, test.want, test.contains)
			}
			if test.want == 405 && a.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", a.Header.Get("Allow"))
			}
		})
	}
	// Only a caller that may read a case can find out whether it exists.
	known, unknown := b.Do("GET", u+"/c?token=x", ""), b.Do("GET", u+"/d?token=x", "")
	if strings.ReplaceAll(known.Body, "/c", "") != strings.ReplaceAll(unknown.Body, "/d", "") ||
		known.Status != unknown.Status {
		t.Errorf("the errors for a known and an unknown case differ: %s and %s", known.Body, unknown.Body)
	}
	if log := b.Log.String(); strings.Contains(log, functiontest.Key) || strings.Contains(log, "token=") {
		t.Errorf("the log contains a secret: %s", log)
	}
}

func TestHead(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	get, head := b.Do("GET", u+"/c", "", key), b.Do("HEAD", u+"/c", "", key)
	if head.Status != 200 || head.Body != "" || head.Header.Get("ETag") != tag(c) ||
		head.Header.Get("Content-Length") != strconv.Itoa(len(get.Body)) {
		t.Errorf("%d %v %q", head.Status, head.Header, head.Body)
	}
	if a := b.Do("HEAD", u+"/c", "", key, "If-None-Match: "+tag(c)); a.Status != http.StatusNotModified {
		t.Errorf("%d", a.Status)
	}
}

func TestCORS(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	a := b.Do("OPTIONS", u+"/c", "", "Origin: https://forms.example",
		"Access-Control-Request-Method: GET", "Access-Control-Request-Headers: if-none-match")
	if a.Status != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != "https://forms.example" ||
		a.Header.Get("Access-Control-Allow-Headers") != "if-none-match" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	a = b.Do("GET", u+"/c", "", key, "Origin: https://forms.example")
	for _, name := range []string{"Etag", "Retry-After"} {
		if !strings.Contains(strings.ToLower(a.Header.Get("Access-Control-Expose-Headers")), strings.ToLower(name)) {
			t.Errorf("%s is not exposed: %v", name, a.Header)
		}
	}
}
