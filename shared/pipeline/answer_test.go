package pipeline

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
	"github.com/casewatch/casewatch/shared/pipeline/report"

	"github.com/casewatch/casewatch/shared/secret"
)

func TestAnswer(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const whole = `{"success":true,"case_id":"c-1","webhook_summary":{"total_sets":52,"succeeded":20,"failed":32,` +
		`"output_url":"u"}}`
	for name, tc := range map[string]struct {
		status     int
		retryAfter string
		body       string
		cut        bool // in the middle of the body
		kind       cases.DispatchKind
		message    string // exact; "*": any but ""
		wait       time.Duration
		result     bool
	}{
		"accepted":               {status: 202, body: `{"status":"accepted"}`, kind: cases.DispatchAccepted},
		"accepted, no body":      {status: 202, kind: cases.DispatchAccepted},
		"accepted, success true": {status: 202, body: `{"success":true}`, kind: cases.DispatchAccepted},
		"accepted, but failed": {
			status: 202, body: `{"success":false,"error":"x"}`, kind: cases.DispatchFailed, message: "x",
			result: true,
		},
		"accepted, body cut": {status: 202, body: `{"succ`, cut: true, kind: cases.DispatchAccepted},
		"succeeded":          {status: 200, body: whole, kind: cases.DispatchSucceeded, result: true},
		"succeeded in part":  {status: 200, body: whole, cut: true, kind: cases.DispatchUncertain, message: "*"},
		"200 empty":          {status: 200, kind: cases.DispatchUncertain, message: "*"},
		"200 page":           {status: 200, body: "<html>", kind: cases.DispatchUncertain, message: "*"},
		"200 list": {
			status: 200, body: `[{"success":true}]`, kind: cases.DispatchUncertain, message: "*",
		},
		"200 null": {status: 200, body: `null`, kind: cases.DispatchUncertain, message: "*"},
		"200 without success": {
			status: 200, body: `{"case_id":"c-1"}`, kind: cases.DispatchUncertain, message: "*",
		},
		"200 success is text": {
			status: 200, body: `{"success":"true"}`, kind: cases.DispatchUncertain, message: "*",
		},
		"200 two values": {
			status: 200, body: `{"success":true}{}`, kind: cases.DispatchUncertain, message: "*",
		},
		"201": {status: 201, body: whole, kind: cases.DispatchSucceeded, result: true},
		"204": {
			status: 204, kind: cases.DispatchUncertain, message: "the pipeline answered 204 No Content",
		},
		"200 failed": {
			status: 200, body: `{"success":false,"error":"no paper"}`, kind: cases.DispatchFailed,
			message: "no paper", result: true,
		},
		"500 failed": {
			status: 500, body: `{"success":false,"error":{"code":"E","message":"no ink"}}`,
			kind: cases.DispatchFailed, message: "no ink", result: true,
		},
		"500 failed below detail": {
			status: 500, body: `{"detail":{"success":false,"error":"no ink"}}`, kind: cases.DispatchFailed,
			message: "no ink", result: true,
		},
		"failed, no reason": {
			status: 500, body: `{"success":false}`, kind: cases.DispatchFailed, message: "*", result: true,
		},
		"failed, with list": {
			status: 422,
			body:   `{"success":false,"detail":[{"loc":["body","a",0],"msg":"bad","input":"SECRET"}]}`,
			kind:   cases.DispatchFailed, message: "body.a.0: bad", result: true,
		},
		"400 failed": {
			status: 400, body: `{"success":false,"error":"x"}`, kind: cases.DispatchFailed, message: "x",
			result: true,
		},
		"429 failed": {
			status: 429, body: `{"success":false,"error":"x"}`, kind: cases.DispatchBusy, message: "x",
			result: true,
		},
		"503 failed": {
			status: 503, retryAfter: "3", body: `{"success":false,"error":"x"}`, kind: cases.DispatchBusy,
			message: "x", result: true, wait: 3 * time.Second,
		},
		"302 failed": {
			status: 302, body: `{"success":false,"error":"x"}`, kind: cases.DispatchFailed, message: "x",
			result: true,
		},

		"400 error": {
			status: 400, body: `{"error":"no form"}`, kind: cases.DispatchRefused, message: "no form",
		},
		"401 detail": {
			status: 401, body: `{"detail":"Not authenticated"}`, kind: cases.DispatchRefused,
			message: "Not authenticated",
		},
		"403 key repeated": {
			status: 403, body: `{"error":"bad key s3cr3t-key"}`, kind: cases.DispatchRefused,
			message: "bad key [redacted]",
		},
		"404 text": {
			status: 404, body: "no such\npath\x00", kind: cases.DispatchRefused, message: "no such path",
		},
		"404 page": {
			status: 404, body: "<!doctype html><p>x", kind: cases.DispatchRefused,
			message: "the pipeline answered 404 Not Found",
		},
		"405 empty": {
			status: 405, kind: cases.DispatchRefused, message: "the pipeline answered 405 Method Not Allowed",
		},
		"409 object": {
			status: 409, body: `{"detail":{"code":"E1","input":"SECRET","n":2,"deep":{"form":"SECRET"}}}`,
			kind: cases.DispatchRefused, message: "code: E1, n: 2",
		},
		"410 success true": {status: 410, body: `{"success":true}`, kind: cases.DispatchRefused, message: "*"},
		"422 list": {
			status: 422,
			body: `{"detail":[{"type":"missing","loc":["body","Form","Id"],"msg":"Field required",` +
				`"input":{"n":"SECRET"},"ctx":{"v":"SECRET"},"url":"https://x"},{"loc":["body",3],"msg":"bad"}]}`,
			kind: cases.DispatchRefused, message: "body.Form.Id: Field required; body.3: bad",
		},
		"422 long list": {
			status: 422, body: `{"detail":["a","b","c","d","e","f","g"]}`, kind: cases.DispatchRefused,
			message: "a; b; c; d; e; and 2 more",
		},
		"422 no messages": {
			status: 422, body: `{"detail":[{"input":"SECRET"}],"body":"SECRET"}`, kind: cases.DispatchRefused,
			message: "the pipeline answered 422 Unprocessable Entity",
		},
		"400 body cut": {
			status: 400, body: `{"err`, cut: true, kind: cases.DispatchRefused,
			message: "the pipeline answered 400 Bad Request",
		},
		"499 unknown": {status: 499, kind: cases.DispatchRefused, message: "the pipeline answered 499"},
		"302": {
			status: 302, kind: cases.DispatchRefused,
			message: "the pipeline answered 302 Found, a redirect, which is not followed",
		},
		"304": {status: 304, kind: cases.DispatchRefused, message: "*"},
		"429": {status: 429, body: `{"error":"full"}`, kind: cases.DispatchBusy, message: "full"},
		"429 seconds": {
			status: 429, retryAfter: " 30 ", kind: cases.DispatchBusy,
			message: "the pipeline answered 429 Too Many Requests", wait: 30 * time.Second,
		},
		"429 senseless": {status: 429, retryAfter: "soon", kind: cases.DispatchBusy, message: "*"},
		"429 body cut":  {status: 429, cut: true, kind: cases.DispatchBusy, message: "*"},
		"503": {
			status: 503, body: "down", kind: cases.DispatchUncertain,
			message: "the pipeline answered 503 Service Unavailable: down",
		},
		"503 seconds": {status: 503, retryAfter: "0", kind: cases.DispatchBusy, message: "*"},
		"503 fraction": {
			status: 503, retryAfter: "1.5", kind: cases.DispatchBusy, message: "*",
			wait: 1500 * time.Millisecond,
		},
		"503 date": {
			status: 503, retryAfter: "Mon, 23 Nov 2026 12:01:30 GMT", kind: cases.DispatchBusy, message: "*",
			wait: 90 * time.Second,
		},
		"503 past date": {
			status: 503, retryAfter: "Mon, 23 Nov 2020 12:01:30 GMT", kind: cases.DispatchBusy, message: "*",
		},
		"503 far": {
			status: 503, retryAfter: "1e300", kind: cases.DispatchBusy, message: "*", wait: maxRetryAfter,
		},
		"503 negative":     {status: 503, retryAfter: "-1", kind: cases.DispatchBusy, message: "*"},
		"503 not a number": {status: 503, retryAfter: "NaN", kind: cases.DispatchBusy, message: "*"},
		"503 soon":         {status: 503, retryAfter: "soon", kind: cases.DispatchBusy, message: "*"},
		"503 body cut": {
			status: 503, retryAfter: "1", cut: true, kind: cases.DispatchBusy, message: "*", wait: time.Second,
		},
		"500":              {status: 500, body: "Internal Server Error", kind: cases.DispatchUncertain, message: "*"},
		"500 success true": {status: 500, body: `{"success":true}`, kind: cases.DispatchUncertain, message: "*"},
		"502 page": {
			status: 502, body: "<html>", kind: cases.DispatchUncertain,
			message: "the pipeline answered 502 Bad Gateway",
		},
		"500 failed, a cut": {
			status: 500, body: `{"success":false}`, cut: true, kind: cases.DispatchUncertain, message: "*",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if tc.retryAfter != "" {
				headers = []string{"Retry-After", tc.retryAfter}
			}
			react := pipelinetest.Answer(tc.status, tc.body, headers...)
			if tc.cut {
				react = pipelinetest.ResetDuring(react)
			}
			got := dispatched(t, react, func(c *Config) {
				c.Pipeline.Auth.Value, c.Now = secret.New("s3cr3t-key"), func() time.Time { return now }
			})
			if got.Kind != tc.kind || got.RetryAfter != tc.wait || (got.Result != nil) != tc.result {
				t.Fatalf("got %+v", got)
			}
			if got.Message != tc.message && (tc.message != "*" || got.Message == "") ||
				strings.Contains(got.Message, "SECRET") {
				t.Fatalf("message %q, want %q", got.Message, tc.message)
			}
			if got.Result != nil && string(got.Result.Raw) != tc.body {
				t.Fatalf("result %s", got.Result.Raw)
			}
		})
	}
}

func TestAnswerReadsALargeResult(t *testing.T) {
	body := `{"success":true,"filler":"` + strings.Repeat(
		"x",
		cases.MaxResult,
	) + `","webhook_summary":{"total_sets":3,"succeeded":1,"failed":2},"output_url":"u"}`
	got := dispatched(t, pipelinetest.Answer(200, body))
	if got.Kind != cases.DispatchSucceeded || got.Result.Raw != nil || got.Result.Size != len(body) ||
		got.Result.OutputURL != "u" ||
		!reflect.DeepEqual(got.Result.Documents, &cases.Documents{Total: new(3), Succeeded: new(1), Failed: new(2)}) {
		t.Fatalf("got %+v", got.Result)
	}
}

func TestClean(t *testing.T) {
	for s, want := range map[string]string{
		" a\t\n b\x00c\x7f ":                 "a b c",
		"\u202egnp.exe\u2028x":               "gnp.exe x",
		"bad \xff\xfe utf":                   "bad utf",
		"key abcd":                           "key [redacted]",
		strings.Repeat("é", 11):              strings.Repeat("é", 9) + "…",
		strings.Repeat("é", 10):              strings.Repeat("é", 10),
		strings.Repeat("x", 1000) + "abcd..": strings.Repeat("x", 9) + "…",
	} {
		limit := 10
		if strings.HasPrefix(want, "key") {
			limit = 100
		}
		if got := clean(s, limit, []string{"abcd", ""}); got != want {
			t.Errorf("clean(%q) = %q, want %q", s, got, want)
		}
	}
}

// checkText fails unless s is fit to be shown.
func checkText(t *testing.T, s string, limit int) {
	t.Helper()
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit || strings.ContainsAny(s, "\x00\r\n") ||
		strings.Contains(s, "s3cr3t") {
		t.Fatalf("text %q", s)
	}
}

// checkResult fails unless r keeps the promises of a result.
func checkResult(t *testing.T, r *cases.Result) {
	t.Helper()
	if r == nil {
		return
	}
	if !utf8.Valid(r.Raw) || len(r.Raw) > cases.MaxResult || len(r.Raw) != r.Size && r.Raw != nil {
		t.Fatalf("result of %d bytes, size %d", len(r.Raw), r.Size)
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(200, "", []byte(`{"success":true,"webhook_summary":{"total_sets":1}}`), "")
	f.Add(500, "1", []byte(`{"detail":{"success":false,"error":["a",{"msg":"s3cr3t","loc":[1,null]}]}}`), "")
	f.Add(503, "Mon, 23 Nov 2026 12:01:30 GMT", []byte("\xff\x00"), "cut")
	f.Add(201, "", []byte(`{"success":true}`), "")
	f.Add(422, "-1", []byte(`{"detail":[{"loc":["a"],"msg":"b","input":{}}]}`), "")
	for _, body := range odd {
		for _, status := range []int{200, 202, 400, 429, 503} {
			f.Add(status, "7", []byte(body), "")
		}
	}
	f.Fuzz(func(t *testing.T, status int, retry string, body []byte, fault string) {
		fault = clean(fault, 100, []string{"s3cr3t"})
		a := answer{
			status:     status,
			retryAfter: retry,
			body:       report.Text(body),
			unreadable: fault,
			now:        time.Unix(1e9, 0),
			secrets:    []string{"s3cr3t"},
			host:       "p",
		}
		got := a.outcome("c-1", 2)
		checkText(t, got.Cause, maxMessage)
		checkText(t, got.Message, maxMessage+200)
		checkResult(t, got.Result)
		kinds := []cases.DispatchKind{
			cases.DispatchBusy,
			cases.DispatchRefused,
			cases.DispatchAccepted,
			cases.DispatchSucceeded,
			cases.DispatchFailed,
			cases.DispatchUncertain,
		}
		if !slices.Contains(kinds, got.Kind) {
			t.Fatalf("kind %q", got.Kind) // unreachable, with an answer?
		}
		if got.RetryAfter < 0 || got.RetryAfter > maxRetryAfter ||
			got.RetryAfter > 0 && got.Kind != cases.DispatchBusy {
			t.Fatalf("%s after %s", got.Kind, got.RetryAfter)
		}
		if got.Kind == cases.DispatchSucceeded &&
			(status/100 != 2 || status == 202 || fault != "" || got.Result == nil) {
			t.Fatalf("succeeded with %d %q", status, body)
		}
	})
}
