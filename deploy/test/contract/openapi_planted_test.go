package contract

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3filter"
)

// TestPlantedAnswersAreFound: an answer that is not as described is refused.
func TestPlantedAnswersAreFound(t *testing.T) {
	c := newChecked(t)
	const started = `{"case_id":"c","run":1,"state":"pending","status_url":"http://x/c","cancel_url":"http://x/c",` +
		`"created_at":"2026-11-23T16:57:07Z","deadline_at":"2026-11-23T17:57:07Z"}`
	const problem = `{"type":"about:blank","title":"Conflict","status":409,"detail":"x"}`
	asJSON := []string{"Content-Type", "application/json"}
	asProblem := []string{"Content-Type", "application/problem+json"}
	begun := append(slices.Clone(asJSON), "Location", "http://x/c", "Retry-After", "2")
	for name, test := range map[string]struct {
		method, path string
		status       int
		header       []string
		body         string
		good         bool
	}{
		"a start": {"POST", "/start", 202, begun, started, true},
		"an unknown field": {"POST", "/start", 202, begun,
			strings.Replace(started, `"run"`, `"x":1,"run"`, 1), false},
		"a missing field":        {"POST", "/start", 202, begun, strings.Replace(started, `"run":1,`, "", 1), false},
		"an unknown state":       {"POST", "/start", 202, begun, strings.Replace(started, "pending", "lost", 1), false},
		"a time of another zone": {"POST", "/start", 202, begun, strings.Replace(started, "07Z", "07+01:00", 1), false},
		"a header is missing":    {"POST", "/start", 202, asJSON, started, false},
		"a header is unknown":    {"POST", "/start", 202, append(slices.Clone(begun), "X-New", "1"), started, false},
		"a header is no number": {"POST", "/start", 202, append(slices.Clone(begun), "Retry-After", "soon"), started,
			false},
		"another type": {"POST", "/start", 202,
			append(slices.Clone(begun), "Content-Type", "text/html"), started, false},
		"another status": {"POST", "/start", 201, begun, started, false},
		"a problem":      {"POST", "/cancel/c", 409, asProblem, problem, true},
		"a problem's field": {"POST", "/cancel/c", 409, asProblem,
			strings.Replace(problem, `"detail"`, `"stack"`, 1), false},
		"a problem of another": {"POST", "/cancel/c", 409, asProblem, strings.Replace(problem, "409", "404", 1), false},
		"a problem, no challenge": {"POST", "/cancel/c", 401, asProblem,
			`{"type":"about:blank","title":"Unauthorized","status":401}`, false},
		"not changed":                {"GET", "/status/c", 304, []string{"ETag", `W/"1.2"`}, "", true},
		"not changed, no tag":        {"GET", "/status/c", 304, nil, "", false},
		"not changed, a strong tag":  {"GET", "/status/c", 304, []string{"ETag", `"1.2"`}, "", false},
		"a body where there is none": {"GET", "/status/c", 204, nil, "x", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res := &http.Response{StatusCode: test.status, Header: http.Header{}}
		for _, header := range always[:3] {
			res.Header.Set(header, "x")
		}
		for i := 0; i < len(test.header); i += 2 {
			res.Header.Set(test.header[i], test.header[i+1])
		}
		route, params, _ := c.route(r)
		in := &openapi3filter.RequestValidationInput{
			Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := c.check(in, res, []byte(test.body)); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPlantedEventsAreFound: a stream that is not as described is refused.
func TestPlantedEventsAreFound(t *testing.T) {
	schema := document(t).Components.Schemas["EventStream"]
	const whole = `event: error` + "\n" + `id: 1.2` + "\n" +
		`data: {"jobId":"c","case_id":"c","run":1,"code":"deadline","message":"late","state":"timed_out"}` + "\n\n"
	for name, test := range map[string]struct {
		stream string
		good   bool
	}{
		"nothing":               {"", true},
		"nothing yet":           {":\n:\n", true},
		"later":                 {"retry: 5000\n", true},
		"an error":              {"retry: 2000\n" + whole, true},
		"after a comment":       {":\nretry: 2000\n" + whole + ":\n", true},
		"one of too many":       {"retry: 5000\n" + whole, true},
		"then something broke":  {"retry: 2000\n" + whole + "retry: 5000\n", true},
		"no retry":              {whole, false},
		"retry again":           {"retry: 2000\n" + whole + "retry: 2000\n" + whole, false},
		"retry without an end":  {"retry: 2000\n", false},
		"retry as a block":      {"retry: 2000\n\n" + whole, false},
		"a comment as a block":  {"retry: 2000\n" + whole + ":\n\n", false},
		"an event without data": {"retry: 2000\nevent: error\nid: 1.2\n\n", false},
		"cut":                   {"retry: 2000\n" + whole[:40], false},
		"no id":                 {"retry: 2000\n" + strings.Replace(whole, "id: 1.2\n", "", 1), false},
		"another id":            {"retry: 2000\n" + strings.Replace(whole, "1.2", "12", 1), false},
		"an unknown code":       {"retry: 2000\n" + strings.Replace(whole, "deadline", "x", 1), false},
		"data of another": {"retry: 2000\n" +
			strings.Replace(whole, "event: error", "event: progress", 1), false},
		"an unknown field": {"retry: 2000\n" + strings.Replace(whole, `{"jobId"`, `{"x":1,"jobId"`, 1), false},
	} {
		events, err := decodeEvents(strings.NewReader(test.stream), nil, nil, nil)
		if err == nil {
			err = schema.Value.VisitJSON(events)
		}
		if (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
