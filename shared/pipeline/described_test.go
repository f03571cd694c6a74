package pipeline

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/description"
)

// reply is an answer of a scripted server. In its header and body, URL is the address of the server.
type reply struct {
	code   int
	header map[string]string
	body   string
}

// scripted starts a server that answers "METHOD /path?query" as the script says, and 418 otherwise. It returns what
// was asked, with the values of Authorization.
func scripted(t *testing.T, script map[string]reply) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(
			*asked,
			strings.TrimSpace(r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization")+" "+string(body)),
		)
		answer, ok := script[r.Method+" "+r.RequestURI]
		if !ok {
			answer = reply{code: http.StatusTeapot}
		}
		for name, value := range answer.header {
			w.Header().Set(name, strings.ReplaceAll(value, "URL", s.URL))
		}
		w.WriteHeader(answer.code)
		_, _ = io.WriteString(w, strings.ReplaceAll(answer.body, "URL", s.URL))
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

const plain = `p:
  url: URL
  start: {request: POST /jobs, job: body:/id}
  poll: {request: "GET /jobs/{job}"}
  status: {at: body:/status, running: [queued, 1], succeeded: [done], failed: [broken], cancelled: [gone]}
  progress: {completed: body:/n, total: body:/of, percent: body:/percent, current: body:/step}
  result: {at: body:/out, url: body:/link}
  error: body:/why
  cancel: {request: "POST /jobs/{job}/cancel"}
`

func TestStartOfDescribed(t *testing.T) {
	for name, test := range map[string]struct {
		text  string // "" for plain
		reply reply
		kind  cases.DispatchKind
		job   string
		says  string // is in the message
		read  cases.Reading
		raw   string
	}{
		"accepted": {reply: reply{202, nil, `{"id":"a b/c","status":"queued"}`}, kind: cases.DispatchAccepted,
			job: "a b/c", read: cases.Reading{Status: cases.StatusRunning, Percent: -1}},
		"a large number": {reply: reply{200, nil, `{"id":12345678901234567890,"n":1,"of":2}`},
			kind: cases.DispatchAccepted, job: "12345678901234567890",
			read: cases.Reading{Status: cases.StatusRunning, Completed: 1, Total: 2, Percent: -1}},
		"a status that no list has": {reply: reply{201, nil, `{"id":"j","status":"warming\u0007 up"}`},
			kind: cases.DispatchAccepted,
			job:  "j", read: cases.Reading{Status: cases.StatusRunning, Percent: -1, Unmapped: "warming up"}},
		"no job": {reply: reply{202, nil, `{"status":"queued"}`}, kind: cases.DispatchUncertain,
			says: "it names no job at body:/id"},
		"a job of null": {reply: reply{202, nil, `{"id":null}`}, kind: cases.DispatchUncertain,
			says: "it names no job"},
		"a job of many bytes": {reply: reply{202, nil, `{"id":"` + strings.Repeat("x", 2049) + `"}`},
			kind: cases.DispatchUncertain,
			says: "longer than 2048 bytes"},
		"a job with a line end": {reply: reply{202, nil, `{"id":"a\nb"}`}, kind: cases.DispatchUncertain,
			says: "control characters"},
		"no JSON": {reply: reply{202, nil, `accepted`}, kind: cases.DispatchUncertain, says: "it names no job"},
		"done already": {reply: reply{200, nil, `{"id":"j","status":"done","out":[1,2],"link":"/f.pdf"}`},
			kind: cases.DispatchSucceeded,
			job:  "j", raw: "[1,2]"},
		"failed already": {reply: reply{200, nil, `{"id":"j","status":"broken","why":"no paper"}`},
			kind: cases.DispatchFailed,
			job:  "j", says: "no paper"},
		"cancelled already": {reply: reply{200, nil, `{"id":"j","status":"gone"}`}, kind: cases.DispatchCancelled,
			job: "j"},
		"refused":   {reply: reply{422, nil, `{"detail":"bad form"}`}, kind: cases.DispatchRefused, says: "bad form"},
		"no rights": {reply: reply{401, nil, ``}, kind: cases.DispatchRefused, says: "401 Unauthorized"},
		"a redirect": {reply: reply{302, map[string]string{"Location": "URL/x"}, ``}, kind: cases.DispatchRefused,
			says: "not followed"},
		"busy":   {reply: reply{429, nil, `{"error":"later"}`}, kind: cases.DispatchBusy, says: "later"},
		"broken": {reply: reply{500, nil, `{"error":"oops"}`}, kind: cases.DispatchUncertain, says: "oops"},
		"an answer of success that is not accepted": {text: strings.Replace(plain, "POST /jobs, ",
			"POST /jobs, accepted: 202, ", 1),
			reply: reply{200, nil, `{"id":"j"}`}, kind: cases.DispatchUncertain, says: "200 OK"},
		"a relative Location": {text: "p: {preset: location, url: URL, start: {request: POST /jobs}}",
			reply: reply{202, map[string]string{"Location": "../ops/7?v=1#top"}, ``}, kind: cases.DispatchAccepted,
			job:  "URL/ops/7?v=1",
			read: cases.Reading{Status: cases.StatusRunning, Percent: -1}},
		"201 with a Location is no end": {text: "p: {preset: location, url: URL, start: {request: POST /jobs}}",
			reply: reply{201, map[string]string{"Location": "/ops/7"}, `{}`}, kind: cases.DispatchAccepted,
			job: "URL/ops/7", read: cases.Reading{Status: cases.StatusRunning, Percent: -1}},
		"200 without a Location is the result": {text: "p: {preset: location, url: URL, start: {request: POST /jobs}}",
			reply: reply{200, nil, `{"a":1}`}, kind: cases.DispatchSucceeded, raw: `{"a":1}`},
		"202 without a Location": {text: "p: {preset: location, url: URL, start: {request: POST /jobs}}",
			reply: reply{202, nil, ``}, kind: cases.DispatchUncertain,
			says: "it names no job at header:Operation-Location or"},
		"an operation that fails at once": {text: "p: {preset: operation, url: URL, start: {request: POST /jobs}}",
			reply: reply{200, nil, `{"name":"operations/1","done":true,"error":{"code":3,"message":"bad page"}}`},
			kind:  cases.DispatchFailed, job: "operations/1", says: "bad page"},
		"an operation that was cancelled": {text: "p: {preset: operation, url: URL, start: {request: POST /jobs}}",
			reply: reply{200, nil, `{"name":"operations/1","done":true,"error":{"code":1,"message":"x"}}`},
			kind:  cases.DispatchCancelled, job: "operations/1"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.text == "" {
				test.text = plain
			}
			url, asked := scripted(t, map[string]reply{"POST /jobs": test.reply})
			got := opened(t, strings.ReplaceAll(test.text, "URL", url)).Dispatch(t.Context(), job(""))
			if got.Kind != test.kind || got.JobID != strings.ReplaceAll(test.job, "URL", url) ||
				!strings.Contains(got.Message, test.says) {
				t.Fatalf("got %+v", got)
			}
			if test.says == "" && got.Message != "" {
				t.Errorf("message %q", got.Message)
			}
			if test.read != (cases.Reading{}) && (got.Reading == nil || *got.Reading != test.read) {
				t.Errorf("reading %+v, want %+v", got.Reading, test.read)
			}
			if (got.Result == nil) != (test.raw == "") || got.Result != nil && string(got.Result.Raw) != test.raw {
				t.Errorf("result %+v, want %s", got.Result, test.raw)
			}
			if len(*asked) != 1 {
				t.Errorf("asked %q", *asked)
			}
		})
	}
}

func TestPollOfDescribed(t *testing.T) {
	running := func(r cases.Reading) cases.Reading { r.Status = cases.StatusRunning; return r }
	for name, test := range map[string]struct {
		text  string
		reply reply
		kind  cases.CheckKind
		says  string
		read  cases.Reading
		after time.Duration
	}{
		"runs": {reply: reply{200, nil, `{"id":"j","status":"queued","n":"3","of":4.0,"percent":"50%","step":7}`},
			kind: cases.CheckReading,
			read: running(cases.Reading{Completed: 3, Total: 4, Percent: 50, Current: "7"})},
		"a number in a list": {reply: reply{200, nil, `{"status":1.0}`}, kind: cases.CheckReading,
			read: running(cases.Reading{Percent: -1})},
		"no status yet": {reply: reply{200, nil, `{"n":0,"of":0}`}, kind: cases.CheckReading,
			read: running(cases.Reading{Percent: -1})},
		"another status": {reply: reply{200, nil, `{"status":"` + strings.Repeat("é", 200) + `"}`},
			kind: cases.CheckReading,
			read: running(cases.Reading{Percent: -1, Unmapped: strings.Repeat("é", 99) + "…"})},
		"a status that is an object": {reply: reply{200, nil, `{"status":{}}`}, kind: cases.CheckReading,
			read: running(cases.Reading{Percent: -1, Unmapped: "(no text, number or boolean)"})},
		"as it asks": {reply: reply{200, map[string]string{"Retry-After": "7"}, `{"status":"queued"}`},
			kind: cases.CheckReading,
			read: running(cases.Reading{Percent: -1}), after: 7 * time.Second},
		"as it asks, by a date": {reply: reply{200, map[string]string{"Retry-After": "Tue, 15 Nov 1994 08:12:41 GMT"},
			`{"status":"queued"}`},
			kind: cases.CheckReading, read: running(cases.Reading{Percent: -1}), after: 10 * time.Second},
		"fails": {reply: reply{200, nil, `{"status":"broken","why":{"message":"no paper"}}`}, kind: cases.CheckReading,
			says: "no paper",
			read: cases.Reading{Status: cases.StatusFailed, Percent: -1}},
		"fails, and says it elsewhere": {reply: reply{200, nil, `{"status":"broken","detail":"no ink"}`},
			kind: cases.CheckReading,
			says: "no ink", read: cases.Reading{Status: cases.StatusFailed, Percent: -1}},
		"cancelled": {reply: reply{200, nil, `{"status":"gone"}`}, kind: cases.CheckReading,
			read: cases.Reading{Status: cases.StatusCancelled, Percent: -1}},
		"unknown": {reply: reply{404, nil, ``}, kind: cases.CheckUnknown},
		"gone":    {reply: reply{410, nil, ``}, kind: cases.CheckFailed, says: "410 Gone"},
		"busy": {reply: reply{503, map[string]string{"Retry-After": "3"}, ``}, kind: cases.CheckBusy,
			says: "503", after: 3 * time.Second},
		"broken": {reply: reply{500, nil, `{"error":"oops"}`}, kind: cases.CheckFailed, says: "oops"},
		"a redirect": {reply: reply{302, map[string]string{"Location": "/x"}, ``}, kind: cases.CheckFailed,
			says: "302"},
		"about another job": {reply: reply{200, nil, `{"id":"k","status":"done"}`}, kind: cases.CheckFailed,
			says: "about another job"},
		"a page": {reply: reply{200, nil, `<html>`}, kind: cases.CheckFailed, says: "it is no JSON"},
		"counts, no status": {text: counted, reply: reply{200, nil, `{"n":3,"of":4}`}, kind: cases.CheckReading,
			read: cases.Reading{Completed: 3, Total: 4, Percent: -1}},
		"counts of nothing": {text: counted, reply: reply{200, nil, `{"n":0,"of":0}`}, kind: cases.CheckUnknown},
		"no counts": {text: counted, reply: reply{200, nil, `{}`}, kind: cases.CheckFailed,
			says: "it has no total at body:/of"},
		"no counts that are": {text: counted, reply: reply{200, nil, `{"of":"many"}`}, kind: cases.CheckFailed,
			says: "it has no total"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.text == "" {
				test.text = plain
			}
			url, _ := scripted(t, map[string]reply{"GET /jobs/j": test.reply})
			now := time.Date(1994, 11, 15, 8, 12, 31, 0, time.UTC)
			c := opened(
				t,
				strings.ReplaceAll(test.text, "URL", url),
				func(c *Config) { c.Now = func() time.Time { return now } },
			)
			got := c.Poll(t.Context(), job("j"))
			if got.Kind != test.kind || !strings.Contains(got.Message, test.says) || got.RetryAfter != test.after {
				t.Fatalf("got %+v", got)
			}
			if got.Reading != test.read {
				t.Errorf("reading %+v, want %+v", got.Reading, test.read)
			}
		})
	}
}

const counted = `p:
  url: URL
  start: {request: POST /jobs, job: body:/id}
  poll: {request: "GET /jobs/{job}"}
  progress: {completed: body:/n, total: body:/of}
`

// A job's name is escaped for its place, and cannot lead elsewhere.
func TestWhereJobsAreAsked(t *testing.T) {
	const keep = "p: {preset: operation, url: URL/base, start: {request: POST /jobs}}"
	const address = "p: {preset: location, url: URL, also: [\"http://also.example:81\"], " +
		"start: {request: POST /jobs}, auth: {header: Authorization, value: \"Bearer {secret:PIPELINE_SECRET_KEY}\"}}"
	for name, test := range map[string]struct{ text, id, asked, says string }{
		"a slash":                  {plain, "a/b c?d#e", "GET /jobs/a%2Fb%20c%3Fd%23e", ""},
		"dots":                     {plain, "..", "", "cannot be put into a path"},
		"no job":                   {plain, "", "", "the job has no known name"},
		"a name with slashes":      {keep, "operations/a b", "GET /base/v1/operations/a%20b", ""},
		"a name that goes up":      {keep, "operations/../secrets", "", "cannot be put into a path"},
		"a name with a query":      {keep, "operations/a?b", "", "cannot be put into a path"},
		"a name with a fragment":   {keep, "operations/a#b", "", "cannot be put into a path"},
		"a name with empty parts":  {keep, "//evil.example", "", "cannot be put into a path"},
		"an address":               {address, "URL/ops/1?v=2", "GET /ops/1?v=2 Bearer hush-key", ""},
		"an address elsewhere":     {address, "http://evil.example/ops/1", "", "add that to `also`"},
		"an address, another port": {address, "http://127.0.0.1:1/ops/1", "", "add that to `also`"},
		"an address of a file":     {address, "file:///etc/passwd", "", "no http or https URL"},
		"an address with a user":   {address, "http://u:p@127.0.0.1/ops", "", "no http or https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			url, asked := scripted(t, nil)
			got := opened(
				t,
				strings.ReplaceAll(test.text, "URL", url),
			).Poll(
				t.Context(),
				job(strings.ReplaceAll(test.id, "URL", url)),
			)
			if test.asked == "" {
				if len(*asked) > 0 || got.Kind != cases.CheckFailed || !strings.Contains(got.Message, test.says) {
					t.Errorf("asked %q, got %+v", *asked, got)
				}
				return
			}
			if len(*asked) != 1 || (*asked)[0] != test.asked {
				t.Errorf("asked %q, want %q", *asked, test.asked)
			}
		})
	}
}

// Credentials go to the pipeline's own origin, and to no other that it may be asked at.
func TestCredentialsStayAtHome(t *testing.T) {
	other, askedThere := scripted(t, map[string]reply{"GET /ops/1": {200, nil, `{"status":"Running"}`}})
	url, _ := scripted(t, nil)
	c := opened(t, "p: {preset: location, url: \""+url+"\", also: [\""+other+"\"], start: {request: POST /jobs}, "+
		"auth: {header: Authorization, value: \"Bearer {secret:PIPELINE_SECRET_KEY}\"}}")
	if got := c.Poll(
		t.Context(),
		job(other+"/ops/1"),
	); got.Kind != cases.CheckReading ||
		got.Reading.Status != cases.StatusRunning {
		t.Fatalf("got %+v", got)
	}
	if len(*askedThere) != 1 || (*askedThere)[0] != "GET /ops/1" {
		t.Errorf("asked %q", *askedThere)
	}
}

func TestResultElsewhere(t *testing.T) {
	const fal = `p:
  url: URL
  start: {request: POST /jobs, job: body:/id}
  poll: {request: "GET /jobs/{job}/status"}
  status: {at: body:/status, running: [IN_PROGRESS], succeeded: [COMPLETED]}
  result: {request: "GET /jobs/{job}", at: "body:", url: body:/file}
`
	const location = "p: {preset: location, url: URL, start: {request: POST /jobs}}"
	for name, test := range map[string]struct {
		text, id string
		script   map[string]reply
		raw, url string
		missing  string // in the message
		dropped  bool
	}{
		"by its own path": {
			text: fal, id: "j",
			script: map[string]reply{"GET /jobs/j/status": {200, nil, `{"status":"COMPLETED"}`},
				"GET /jobs/j": {200, nil, `{"file":"https://f.example/1"}`}},
			raw: `{"file":"https://f.example/1"}`, url: "https://f.example/1",
		},
		"not there yet": {
			text: fal, id: "j",
			script: map[string]reply{
				"GET /jobs/j/status": {200, nil, `{"status":"COMPLETED"}`}, "GET /jobs/j": {404, nil, ``},
			},
			missing: "the result cannot be fetched: the pipeline answered 404 Not Found",
		},
		"busy": {
			text: fal, id: "j",
			script: map[string]reply{
				"GET /jobs/j/status": {200, nil, `{"status":"COMPLETED"}`}, "GET /jobs/j": {429, nil, ``},
			},
			missing: "429",
		},
		"no JSON": {
			text: fal, id: "j",
			script: map[string]reply{"GET /jobs/j/status": {200, nil, `{"status":"COMPLETED"}`},
				"GET /jobs/j": {200, nil, `%PDF-1.7`}},
			dropped: true,
		},
		"by 303, relative": {
			text: location, id: "URL/ops/1",
			script: map[string]reply{"GET /ops/1": {303, map[string]string{"Location": "../results/1"}, ``},
				"GET /results/1": {200, nil, `{"a":1}`}},
			raw: `{"a":1}`, url: "URL/results/1",
		},
		"by 303, elsewhere": {
			text: location, id: "URL/ops/1",
			script: map[string]reply{
				"GET /ops/1": {303, map[string]string{"Location": "https://elsewhere.example/1"}, ``},
			},
			missing: "add that to `also`",
		},
		"200 with the result": {
			text: location, id: "URL/ops/1", script: map[string]reply{"GET /ops/1": {200, nil, `{"entry":[]}`}},
			raw: `{"entry":[]}`,
		},
		"204 without one": {text: location, id: "URL/ops/1", script: map[string]reply{"GET /ops/1": {204, nil, ``}}},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := scripted(t, test.script)
			in := func(s string) string { return strings.ReplaceAll(s, "URL", url) }
			got := opened(t, in(test.text)).Poll(t.Context(), job(in(test.id)))
			if got.Kind != cases.CheckReading || got.Reading.Status != cases.StatusSucceeded ||
				got.ResultMissing != (test.missing != "") ||
				!strings.Contains(got.Message, test.missing) ||
				got.Dropped.Result != test.dropped {
				t.Fatalf("got %+v", got)
			}
			raw, address := "", ""
			if got.Result != nil {
				raw, address = string(got.Result.Raw), got.Result.OutputURL
			}
			if raw != test.raw || address != in(test.url) {
				t.Errorf("result %s at %s, want %s at %s", raw, address, test.raw, in(test.url))
			}
		})
	}
	// A start that is done already, whose result is elsewhere, leaves it to the poll.
	url, asked := scripted(t, map[string]reply{"POST /jobs": {200, nil, `{"id":"j","status":"COMPLETED"}`}})
	got := opened(t, strings.ReplaceAll(fal, "URL", url)).Dispatch(t.Context(), job(""))
	if got.Kind != cases.DispatchAccepted || got.JobID != "j" || got.Reading.Status != cases.StatusRunning ||
		len(*asked) != 1 {
		t.Errorf("got %+v, asked %q", got, *asked)
	}
	callback, err := opened(
		t,
		strings.ReplaceAll(fal, "URL", url),
	).ReadCallback(
		nil,
		[]byte(`{"id":"j","status":"COMPLETED"}`),
	)
	if err != nil || !callback.Fetch || callback.JobID != "j" {
		t.Errorf("got %+v, %v", callback, err)
	}
}

func TestCancelOutcomes(t *testing.T) {
	for code, want := range map[int]cases.CancelKind{
		200: cases.CancelConfirmed, 202: cases.CancelConfirmed, 204: cases.CancelConfirmed,
		404: cases.CancelConfirmed, 409: cases.CancelConfirmed, 410: cases.CancelConfirmed,
		429: cases.CancelAgain, 500: cases.CancelAgain, 502: cases.CancelAgain, 503: cases.CancelAgain,
		501: cases.CancelFailed, 400: cases.CancelFailed, 403: cases.CancelFailed, 405: cases.CancelFailed,
		303: cases.CancelFailed,
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			url, asked := scripted(t, map[string]reply{"POST /jobs/j/cancel": {
				code, map[string]string{"Retry-After": "4"}, `{"error":"no can do"}`,
			}})
			got := opened(t, strings.ReplaceAll(plain, "URL", url)).Cancel(t.Context(), job("j"))
			if got.Kind != want || (got.Message == "") != (want == cases.CancelConfirmed) ||
				(got.RetryAfter > 0) != (want == cases.CancelAgain) {
				t.Errorf("got %+v", got)
			}
			if len(*asked) != 1 {
				t.Errorf("asked %q", *asked)
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		got := opened(t, strings.ReplaceAll(plain, "URL", "http://127.0.0.1:1")).Cancel(t.Context(), job("j"))
		if got.Kind != cases.CancelAgain || !strings.HasPrefix(got.Message, "no answer: ") ||
			strings.Contains(got.Message, "127.0.0.1") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("no job", func(t *testing.T) {
		got := opened(t, strings.ReplaceAll(plain, "URL", "http://127.0.0.1:1")).Cancel(t.Context(), job(""))
		if got.Kind != cases.CancelFailed || !strings.Contains(got.Message, "no known name") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("no request", func(t *testing.T) {
		if got := open(t, "http://127.0.0.1:1").Cancel(t.Context(), job("j")); got.Kind != cases.CancelFailed {
			t.Errorf("got %+v", got)
		}
	})
}

func TestCallbacks(t *testing.T) {
	c := opened(t, strings.ReplaceAll(plain, "URL", "https://p.example")+
		"  callback: {verify: standard-webhooks, secret: \"{secret:PIPELINE_SECRET_WEBHOOK}\"}\n")
	body := []byte(`{"id":"j","status":"done","out":{"a":1}}`)
	signer, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	signed := func(at time.Time, body []byte) http.Header {
		signature, err := signer.Sign("msg_1", at, body)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		h.Set("Webhook-Id", "msg_1")
		h.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
		h.Set("Webhook-Signature", signature)
		return h
	}
	got, err := c.ReadCallback(signed(time.Now(), body), body)
	if err != nil || got.JobID != "j" || got.Reading.Status != cases.StatusSucceeded ||
		string(got.Result.Raw) != `{"a":1}` {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, test := range map[string]struct {
		header http.Header
		body   string
		want   string
	}{
		"no signature": {http.Header{}, string(body), ErrSignature.Error()},
		"another body": {signed(time.Now(), body), `{"id":"j","status":"broken"}`, ErrSignature.Error()},
		"an old one":   {signed(time.Now().Add(-time.Hour), body), string(body), ErrSignature.Error()},
		"no JSON":      {signed(time.Now(), []byte("hush")), "hush", "the body is no JSON"},
		"a job too long": {signed(time.Now(), []byte(`{"id":"`+strings.Repeat("x", 3000)+`"}`)),
			`{"id":"` + strings.Repeat("x", 3000) + `"}`, "longer than"},
	} {
		if got, err := c.ReadCallback(
			test.header,
			[]byte(test.body),
		); err == nil ||
			!strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if got, err := open(t, "https://p.example").ReadCallback(nil, []byte(`{}`)); err != nil || !got.Event {
		t.Errorf("an event of the document pipeline: %+v, %v", got, err)
	}
	if _, err := opened(
		t,
		strings.ReplaceAll(counted, "URL", "https://p.example"),
	).ReadCallback(
		nil,
		[]byte(`{}`),
	); err == nil {
		t.Error("a body that says nothing is accepted")
	}
}

// Whoever tries a description sees each request and answer, what was found where, and no secret.
func TestObserve(t *testing.T) {
	url, _ := scripted(
		t,
		map[string]reply{
			"POST /jobs?hook=" + "https%3A%2F%2Fcasewatch.example%2Fcallback%2Fc-1%3Frun%3D2%26token%3Dhush-token": {
				202, map[string]string{"X-Echo": "hush-key"}, `{"id":"j","echo":"` + callbackURL + `"}`},
		},
	)
	var seen []Exchange
	c := opened(
		t,
		strings.ReplaceAll(strings.Replace(plain, "POST /jobs,", "\"POST /jobs?hook={callback_url}\",", 1), "URL", url)+
			"  auth: {header: Authorization, value: \"Bearer {secret:PIPELINE_SECRET_KEY}\"}\n",
		func(c *Config) { c.Observe = func(e Exchange) { seen = append(seen, e) } },
	)
	if got := c.Dispatch(t.Context(), job("")); got.Kind != cases.DispatchAccepted {
		t.Fatalf("got %+v", got)
	}
	if len(seen) != 1 {
		t.Fatalf("%d exchanges", len(seen))
	}
	e := seen[0]
	all := e.URL + e.Body + e.AnswerBody + e.Header.Get("Authorization") + e.Answer.Get("X-Echo")
	if strings.Contains(all, "hush") || e.Status != 202 || e.Method != http.MethodPost {
		t.Errorf("got %+v", e)
	}
	found := map[string]description.Values{}
	for _, f := range e.Found {
		if f.At != "" {
			found[f.Name] = nil
		}
	}
	if _, ok := found["start.job"]; !ok || len(found) != 1 || len(e.Found) != 9 {
		t.Errorf("found %+v", e.Found)
	}
}

// FuzzDescribed: whatever a pipeline answers, the outcome is one of the kinds, and no panic.
func FuzzDescribed(f *testing.F) {
	f.Add(200, `{"id":"j","status":"done","out":{"a":[1,2,{"b":null}]},"n":1,"of":"2","percent":0.5}`)
	f.Add(202, `[]`)
	f.Add(404, `{"error":{"message":1e999}}`)
	f.Fuzz(func(t *testing.T, code int, body string) {
		c, err := New(func() Config {
			text := strings.ReplaceAll(plain, "URL", "https://p.example")
			set, err := description.Parse([]byte(text), description.Options{})
			if err != nil {
				t.Fatal(err)
			}
			set.Fill(description.Defaults{Timeout: time.Second})
			return Config{Pipeline: set.Default(), CheckTimeout: time.Second}
		}())
		if err != nil {
			t.Fatal(err)
		}
		request, _ := http.NewRequest(http.MethodGet, "https://p.example/jobs/j", nil)
		a := answer{status: code, header: http.Header{}, body: []byte(body), request: request.URL, now: time.Unix(0, 0)}
		if got := c.started(a); got.Kind == "" {
			t.Errorf("%d %q: %+v", code, body, got)
		}
		if got := c.polled(a, job("j")); got.Kind == "" || got.Reading.Completed < 0 || got.Reading.Total < 0 {
			t.Errorf("%d %q: %+v", code, body, got)
		}
	})
}
