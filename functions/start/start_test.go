package start_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/casetoken"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

func TestMain(m *testing.M) {
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	isJSON = "Content-Type: application/json"
	key    = "X-API-Key: " + functiontest.Key
)

func TestNewCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	form := `{ "z":1.50, "case_id":"a:b-1", "big":12345678901234567890, "n":"\u0000", "z":2 }`
	const traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	a := b.Do("POST", u+"/?deadline=30m", form, isJSON, key, "Traceparent: "+traceParent)
	body := a.JSON(t)
	if a.Status != http.StatusAccepted || a.Header.Get("Retry-After") != "2" ||
		a.Header.Get("Location") != body["status_url"] {
		t.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if body["case_id"] != "a:b-1" || body["run"] != 1.0 || body["state"] != "pending" || len(body) != 7 {
		t.Errorf("%s", a.Body)
	}
	created, _ := time.Parse(time.RFC3339, body["created_at"].(string))
	deadline, _ := time.Parse(time.RFC3339, body["deadline_at"].(string))
	if deadline.Sub(created) != 30*time.Minute {
		t.Errorf("%s", a.Body)
	}
	status, err := url.Parse(body["status_url"].(string))
	if err != nil || status.Host != "status.example" || status.Path != "/s/a:b-1" {
		t.Fatalf("%v %v", status, err)
	}
	tokens := casetoken.New(casetoken.ToRead, b.Config.Access.TokenSecrets)
	cancels := casetoken.New(casetoken.ToCancel, b.Config.Access.TokenSecrets)
	until := deadline.Add(b.Config.Rules.Retention)
	if token := status.Query().Get("token"); !tokens.Verify(token, "a:b-1", until.Add(-time.Second)) ||
		tokens.Verify(token, "a:b-1", until.Add(time.Second)) {
		t.Error("the token of status_url is not valid exactly until the deadline plus the retention")
	}
	cancelURL, err := url.Parse(body["cancel_url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if token := cancelURL.Query().Get("token"); !cancels.Verify(token, "a:b-1", until.Add(-time.Second)) ||
		tokens.Verify(token, "a:b-1", time.Now()) {
		t.Error("the token of cancel_url is not valid for cancelling, or is valid for reading")
	}
	stored, err := b.Store.Value(t.Context(), "a:b-1", 1, store.Form)
	if err != nil || string(stored) != form {
		t.Errorf("the form was not stored unchanged: %s %v", stored, err)
	}
	kinds := map[queue.Kind]int{}
	for _, task := range b.Queue.Created() {
		kinds[task.Kind]++
		if task.TraceParent != traceParent {
			t.Errorf("the task has the trace %q, want that of the request", task.TraceParent)
		}
	}
	if kinds[queue.Check] != 1 || kinds[queue.Dispatch] != 1 {
		t.Errorf("%v", kinds)
	}
}

func TestBadInput(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	big := `{"a":"` + strings.Repeat("x", 900<<10) + `"}`
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		contains                 string
	}{
		{"method", "GET", "/", "", []string{key}, 405, ""},
		{"path", "POST", "/x", "{}", []string{isJSON, key}, 404, ""},
		{"no key", "POST", "/", "{}", []string{isJSON}, 401, ""},
		{"wrong key", "POST", "/", "{}", []string{isJSON, "Authorization: Bearer nope"}, 401, ""},
		{"no type", "POST", "/", "{}", []string{key}, 415, ""},
		{"other type", "POST", "/", "{}", []string{"Content-Type: text/plain", key}, 415, ""},
		{"encoded", "POST", "/", "{}", []string{isJSON, "Content-Encoding: gzip", key}, 415, ""},
		{"too large", "POST", "/", big, []string{isJSON, key}, 413, "921600"},
		{"empty", "POST", "/", "", []string{isJSON, key}, 400, "JSON object"},
		{"not JSON", "POST", "/", "{", []string{isJSON, key}, 400, "JSON object"},
		{"two", "POST", "/", "{}{}", []string{isJSON, key}, 400, "JSON object"},
		{"list", "POST", "/", "[]", []string{isJSON, key}, 400, "JSON object"},
		{"null", "POST", "/", "null", []string{isJSON, key}, 400, "JSON object"},
		{"not UTF-8", "POST", "/", "{\"a\":\"\xff\"}", []string{isJSON, key}, 400, "UTF-8"},
		{"deep", "POST", "/", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000),
			[]string{isJSON, key}, 400, "JSON object"},
		{"id", "POST", "/", `{"case_id":"../x"}`, []string{isJSON, key}, 400, "/case_id"},
		{"id empty", "POST", "/", `{"case_id":""}`, []string{isJSON, key}, 400, "/case_id"},
		{"id number", "POST", "/", `{"case_id":7}`, []string{isJSON, key}, 400, "/case_id"},
		{"id long", "POST", "/", `{"case_id":"` + strings.Repeat("x", 129) + `"}`, []string{isJSON, key}, 400,
			"/case_id"},
		{"deadline", "POST", "/?deadline=25h", "{}", []string{isJSON, key}, 400, "24h0m0s"},
		{"deadline 0", "POST", "/?deadline=0s", "{}", []string{isJSON, key}, 400, "deadline"},
		{"deadline empty", "POST", "/?deadline=", "{}", []string{isJSON, key}, 400, "deadline"},
		{"supersede", "POST", "/?supersede=yes", "{}", []string{isJSON, key}, 400, "supersede"},
		{"query", "POST", "/?a=%zz", "{}", []string{isJSON, key}, 400, "query"},
		{"adopt without id", "POST", "/?adopt=true", "{}", []string{isJSON, key}, 400, "adopt=true"},
		{"supersede empty", "POST", "/?supersede=", "{}", []string{isJSON, key}, 400, `"supersede"`},
		{"supersede without a value", "POST", "/?supersede", "{}", []string{isJSON, key}, 400, `"supersede"`},
		{"supersede in upper case", "POST", "/?supersede=True", "{}", []string{isJSON, key}, 400, `"supersede"`},
		{"supersede twice", "POST", "/?supersede=true&supersede=true", "{}", []string{isJSON, key}, 400, `"supersede"`},
		{"adopt twice", "POST", "/?adopt=false&adopt=true", `{"case_id":"c"}`, []string{isJSON, key}, 400, `"adopt"`},
		{"deadline twice", "POST", "/?deadline=1m&deadline=2m", "{}", []string{isJSON, key}, 400, `"deadline"`},
		{"a parameter misspelt", "POST", "/?supercede=true", "{}", []string{isJSON, key}, 400, `"supercede"`},
		{"a parameter in title case", "POST", "/?Supersede=true", "{}", []string{isJSON, key}, 400, `"Supersede"`},
		{"a parameter of another function", "POST", "/?run=1", "{}", []string{isJSON, key}, 400, `"run"`},
		{"a parameter without a name", "POST", "/?=1", "{}", []string{isJSON, key}, 400, "not known"},
		{"a parameter of JavaScript", "POST", "/?%3Cscript%3E=1", "{}", []string{isJSON, key}, 400, "<script>"},
		{"two keys", "POST", "/", "{}", []string{isJSON, key, "Idempotency-Key: a", "Idempotency-Key: b"}, 400,
			"Idempotency-Key"},
		{"the same key twice", "POST", "/", "{}",
			[]string{isJSON, key, "Idempotency-Key: a", "Idempotency-Key: a"}, 400, "Idempotency-Key"},
		{"a key and an empty one", "POST", "/", "{}",
			[]string{isJSON, key, "Idempotency-Key: a", "Idempotency-Key: "}, 400, "Idempotency-Key"},
		{"key empty", "POST", "/", "{}", []string{isJSON, key, "Idempotency-Key: "}, 400, "Idempotency-Key"},
		{"key long", "POST", "/", "{}", []string{isJSON, key, "Idempotency-Key: " + strings.Repeat("x", 256)},
			400, "Idempotency-Key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := b.Do(test.method, u+test.path, test.body, test.header...)
			b.Problem(a, test.status)
			if !strings.Contains(a.Body, test.contains) {
				t.Errorf("got %s, want it to contain %q", a.Body, test.contains)
			}
			if test.status == 405 && a.Header.Get("Allow") != "POST" ||
				test.status == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%v", a.Header)
			}
		})
	}
	a := b.Do("POST", u+"/?deadline=x&adopt=maybe", `{"case_id":"/"}`, isJSON, key)
	if errs, ok := a.JSON(t)["errors"].([]any); !ok || len(errs) != 3 {
		t.Errorf("got %s, want 3 field errors", a.Body)
	}
	if len(b.Queue.Created()) != 0 {
		t.Error("bad input started a run")
	}
}

// The error lists all problems together, always in the same order.
func TestProblemsInOrder(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	want := []string{
		"/case_id", "deadline", "supersede", "adopt", "pipeline", "job", "a", "supercede", "z", "Idempotency-Key",
	}
	for range 20 {
		a := b.Do("POST", u+"/?z=1&supercede=true&adopt=maybe&a&deadline=x&supersede=yes&job=j&pipeline=none",
			`{"case_id":"/"}`, isJSON, key, "Idempotency-Key: ")
		b.Problem(a, 400)
		if got := pointers(t, a); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	// The error lists unknown parameters, but it bounds their number and their length.
	query := "?"
	for i := range 1000 {
		query += fmt.Sprintf("x%03d%s&", i, strings.Repeat("y", 100))
	}
	a := b.Do("POST", u+"/"+query, "{}", isJSON, key)
	b.Problem(a, 400)
	if len(a.Body) > 8<<10 || !strings.Contains(a.Body, "x000yy") || !strings.Contains(a.Body, "980 more") {
		t.Errorf("%d bytes: %.1000s", len(a.Body), a.Body)
	}
}

// pointers returns the pointers of the field errors of a problem.
func pointers(t *testing.T, a functiontest.Answer) (all []string) {
	t.Helper()
	var problem struct{ Errors []struct{ Pointer string } }
	if err := json.Unmarshal([]byte(a.Body), &problem); err != nil {
		t.Fatal(err)
	}
	for _, e := range problem.Errors {
		all = append(all, e.Pointer)
	}
	return all
}

func TestCallers(t *testing.T) {
	b := functiontest.New(t, map[string]string{"ALLOW_ANONYMOUS": "true"})
	u := b.Serve(start.New)
	if a := b.Do("POST", u, `{"case_id":"x"}`, isJSON); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("POST", u, `{}`, isJSON, "Authorization: bearer "+functiontest.Key); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	b.Problem(b.Do("POST", u, `{}`, isJSON, "X-API-Key: wrong"), 401)

	// Only in `make run`, where one process serves all functions, may anonymous callers name a
	// case, and may callers without a key adopt one.
	if a := b.Do("POST", u+"/?adopt=true", `{"case_id":"z"}`, isJSON); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	b.Config.OnGoogleCloud = true
	b.Problem(b.Do("POST", b.Serve(start.New), `{"case_id":"y"}`, isJSON), 403)
	b.Config.OnGoogleCloud, b.Config.Function = false, "start"
	u = b.Serve(start.New)
	b.Problem(b.Do("POST", u, `{"case_id":"y"}`, isJSON), 403)
	b.Problem(b.Do("POST", u+"/?adopt=true", `{"case_id":"y"}`, isJSON), 403)
	if a := b.Do("POST", u+"/?adopt=true", `{"case_id":"adopted"}`, isJSON, key); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("POST", u, `{"case_id":null}`, isJSON); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("POST", u, `{"case_id":"y"}`, isJSON, key); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestRepeats(t *testing.T) {
	b := functiontest.New(t, map[string]string{"ALLOW_ANONYMOUS": "true"})
	u := b.Serve(start.New)
	idempotent := "Idempotency-Key: k1"
	first := b.Do("POST", u, `{"a":1}`, isJSON, key, idempotent)
	second := b.Do("POST", u, `{"a":1}`, isJSON, key, idempotent)
	if first.Status != 202 || second.Status != 200 || first.JSON(t)["case_id"] != second.JSON(t)["case_id"] ||
		first.Body != second.Body {
		t.Errorf("%d %s\n%d %s", first.Status, first.Body, second.Status, second.Body)
	}
	b.Problem(b.Do("POST", u, `{"a":2}`, isJSON, key, idempotent), 422)
	if other := b.Do("POST", u, `{"a":1}`, isJSON, idempotent); other.Status != 202 ||
		other.JSON(t)["case_id"] == first.JSON(t)["case_id"] {
		t.Errorf("another caller's key: %d %s", other.Status, other.Body)
	}
	one, two := b.Do("POST", u, `{}`, isJSON, key), b.Do("POST", u, `{}`, isJSON, key)
	if one.JSON(t)["case_id"] == two.JSON(t)["case_id"] {
		t.Error("two cases without an id got the same id")
	}
	if id, err := uuid.Parse(one.JSON(t)["case_id"].(string)); err != nil || id.Version() != 7 {
		t.Errorf("the generated id is %s, %v; want a UUID of version 7", id, err)
	}
	for want, query := range map[int]string{200: "", 202: "?supersede=true"} {
		b.Do("POST", u, `{"case_id":"s"}`, isJSON, key)
		if a := b.Do("POST", u+"/"+query, `{"case_id":"s"}`, isJSON, key); a.Status != want {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
	a := b.Do("POST", u+"/?adopt=true", `{"case_id":"adopted"}`, isJSON, key)
	if a.Status != 202 {
		t.Fatal(a.Body)
	}
	for _, task := range b.Queue.Created() {
		if task.CaseID == "adopted" && task.Kind == queue.Dispatch {
			t.Error("an adopted case has a dispatch task")
		}
	}
}

// A repeated key of an earlier run gets the addresses of that run.
func TestKeyOfAnEarlierRun(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Idempotency-Key: k1")
	b.Do("POST", u+"/?supersede=true", `{"case_id":"c"}`, isJSON, key, "Idempotency-Key: k2")
	a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Idempotency-Key: k1")
	if body := a.JSON(t); a.Status != 200 || body["run"] != 1.0 || body["state"] != string(cases.Cancelled) ||
		!strings.Contains(body["status_url"].(string), "run=1") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestConcurrentStartsBeginOneRun(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	for range 50 {
		wg.Go(func() {
			a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, key)
			mu.Lock()
			defer mu.Unlock()
			counts[fmt.Sprint(a.Status, " run ", a.JSON(t)["run"])]++
		})
	}
	wg.Wait()
	if len(counts) != 2 || counts["202 run 1"] != 1 || counts["200 run 1"] != 49 || len(b.Queue.Created()) != 2 {
		t.Errorf("%v, %d tasks", counts, len(b.Queue.Created()))
	}
}

func TestQueueDown(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	b.Queue.SetDown(true)
	a := b.Do("POST", u, `{"case_id":"c","secret":"not for logs"}`, isJSON, key)
	b.Problem(a, 503)
	if !strings.Contains(a.Body, "recorded but not yet queued") || strings.Contains(a.Body, "detail of SQL") {
		t.Errorf("%s", a.Body)
	}
	if log := b.Log.String(); strings.Contains(log, "not for logs") || strings.Contains(log, functiontest.Key) ||
		!strings.Contains(log, "detail of SQL") {
		t.Errorf("the log contains a secret or lacks the cause: %s", log)
	}
	b.Queue.SetDown(false)
	if a := b.Do("POST", u, `{"case_id":"c","secret":"not for logs"}`, isJSON, key); a.Status != 200 ||
		len(b.Queue.Created()) != 2 {
		t.Errorf("a repeated start did not create the tasks: got %d %s", a.Status, a.Body)
	}
}

func TestCORS(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	preflight := func(origin string) http.Header {
		return b.Do("OPTIONS", u, "", "Origin: "+origin, "Access-Control-Request-Method: POST",
			"Access-Control-Request-Headers: content-type,idempotency-key").Header
	}
	if h := preflight("https://forms.example"); h.Get("Access-Control-Allow-Origin") != "https://forms.example" ||
		h.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("%v", h)
	}
	if h := preflight("https://evil.example"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", h)
	}
	a := b.Do("POST", u, `{}`, isJSON, key, "Origin: https://forms.example")
	if a.Status != 202 || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "Location") {
		t.Errorf("%v", a.Header)
	}
}

// A preflight has no body (https://fetch.spec.whatwg.org/#cors-preflight-fetch). One that announces
// a body and does not send it is rejected immediately.
func TestPreflightWithABody(t *testing.T) {
	b := functiontest.New(t, nil)
	host := strings.TrimPrefix(b.Serve(start.New), "http://")
	for _, body := range []string{"Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		head := "OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: https://forms.example\r\n" +
			"Access-Control-Request-Method: POST\r\n"
		if _, err := io.WriteString(conn, head+body); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.20q: %v", body, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusMethodNotAllowed || !res.Close {
			t.Errorf("%.20q: got %s, connection closed: %v", body, res.Status, res.Close)
		}
	}
}

func serve(t *testing.T, h http.Handler, body []byte, query, idempotencyKey string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	r.URL = &url.URL{Path: "/", RawQuery: query}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", functiontest.Key)
	if idempotencyKey != "" {
		r.Header.Set("Idempotency-Key", idempotencyKey)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// FuzzStart checks that the response is a case or a complete problem, and that an accepted form is
// stored unchanged.
func FuzzStart(f *testing.F) {
	b := functiontest.New(f, nil)
	h := start.New(b.Config, b.Reconciler)
	for _, seed := range []string{
		`{}`, `{"case_id":"a"}`, `[]`, "{\"a\":\"\xff\"}", `{"case_id":"a","case_id":"b"}`,
		`{"case\u005fid":"a"}`,
	} {
		f.Add([]byte(seed), "deadline=1m", "k")
	}
	f.Fuzz(func(t *testing.T, body []byte, query, idempotencyKey string) {
		a := serve(t, h, body, query, idempotencyKey)
		switch a.Code {
		case http.StatusAccepted, http.StatusOK:
			var got struct {
				CaseID string `json:"case_id"`
				Run    int    `json:"run"`
			}
			if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || !cases.ValidID(got.CaseID) {
				t.Fatalf("%v %s", err, a.Body)
			}
			form, err := b.Store.Value(t.Context(), got.CaseID, got.Run, store.Form)
			if a.Code == http.StatusAccepted && (err != nil || string(form) != string(body)) {
				t.Fatalf("the form %q was stored as %q, %v", body, form, err)
			}
		case http.StatusBadRequest, http.StatusUnprocessableEntity:
			if a.Header().Get("Content-Type") != "application/problem+json" || !json.Valid(a.Body.Bytes()) {
				t.Fatalf("%v %s", a.Header(), a.Body)
			}
		default:
			t.Fatalf("%d %s", a.Code, a.Body)
		}
	})
}
