package description

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secrets are the secrets that are set.
func secrets(name string) (string, bool) {
	values := map[string]string{
		"PIPELINE_SECRET_RENDER": "hush-1",
		"PIPELINE_SECRET_BROKEN": "hush\n2",
		"PIPELINE_SECRET_EMPTY":  "",
	}
	value, ok := values[name]
	return value, ok
}

const example = `render:
  preset: job
  url: https://api.example.com/base/
  also: [https://files.example.com]
  auth: {header: Authorization, value: "Bearer {secret:PIPELINE_SECRET_RENDER}"}
  start:
    request: POST /v1/jobs?webhook={callback_url}
    body: {wrap: input, set: {/webhook: "{callback_url}", /options/n: 3, /tags: [a, "{case_id}", true]}}
    accepted: [200, 201]
    job: body:/id
  poll: {request: "GET /v1/jobs/{job}", unknown: [404, 410], min: 2s, max: 30s}
  status: {at: body:/status, running: [queued], succeeded: [done], failed: [error], cancelled: [aborted]}
  progress: {completed: body:/n, total: body:/of, percent: body:/percent, current: header:X-Step}
  result: {at: body:/output, url: body:/output/url}
  error: body:/error/a~1b~0c
  cancel: {request: "POST /v1/jobs/{job}/cancel"}
  callback: {verify: standard-webhooks, secret: "{secret:PIPELINE_SECRET_RENDER}"}
  dispatch: {rate: 10, concurrency: 20, idempotent: true, timeout: 30s}
  deadline: 30m
plain:
  preset: documents
  url: http://localhost:8000
`

func TestParse(t *testing.T) {
	set, err := Parse([]byte(example), Options{Secret: secrets})
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Names(); !slices.Equal(got, []string{"render", "plain"}) || set.Default().Name != "render" {
		t.Fatalf("names %v, default %s", got, set.Default().Name)
	}
	p, _ := set.Get("render")
	if p.URL != "https://api.example.com/base" || p.Auth.Value.Reveal() != "Bearer hush-1" ||
		p.Callback.Secret.Reveal() != "hush-1" || p.Deadline != 30*time.Minute || p.Dispatch.Rate != 10 ||
		!p.Dispatch.Idempotent || p.Poll.Max != 30*time.Second || p.Start.Body.Wrap != "input" {
		t.Errorf("got %+v", p)
	}
	if !p.UsesCallback() || !p.CanCancel() || !p.CancelNeedsJob() || p.NamedByCase() || p.FetchesResult() ||
		p.ReadsEvents() {
		t.Errorf("got %+v", p)
	}
	for got, want := range map[string]string{
		p.Start.Job.String():           "body:/id",
		p.Error.String():               "body:/error/a~1b~0c",
		p.Progress.Current.String():    "header:X-Step",
		p.Status.At.String():           "body:/status",
		p.Start.Request.Target[0].Text: "/v1/jobs?webhook=",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	// What the description lists is no more in the preset's other lists; the preset's running had queued too.
	if got := p.Status.Cancelled; !slices.Equal(got, []string{"aborted"}) {
		t.Errorf("cancelled: %v", got)
	}
	plain, _ := set.Get("plain")
	if !plain.ReadsEvents() || !plain.NamedByCase() || plain.CanCancel() ||
		plain.Poll.Request.Method != http.MethodGet {
		t.Errorf("got %+v", plain)
	}
	set.Fill(Defaults{
		Rate: 1, Concurrency: 2, Idempotent: false, Timeout: time.Hour, Deadline: time.Hour, PollMin: 1, PollMax: 2,
	})
	if p.Dispatch.Rate != 10 || !p.Dispatch.Idempotent || plain.Dispatch.Rate != 1 || plain.Deadline != time.Hour ||
		plain.Poll.Min != 1 {
		t.Errorf("filled: %+v, %+v", p, plain)
	}
	if _, ok := set.Get("other"); ok {
		t.Error("a pipeline that is not described")
	}
}

// A process that does not call the pipeline has no secrets, and a description is valid without them.
func TestParseWithoutSecrets(t *testing.T) {
	set, err := Parse([]byte(example), Options{})
	if err != nil || !set.Default().Auth.Value.IsZero() {
		t.Errorf("%+v, %v", set.Default(), err)
	}
}

func TestPresetIsChanged(t *testing.T) {
	set, err := Parse([]byte(`a:
  preset: job
  url: https://a.example
  status: {running: [done], succeeded: [ready]}
  progress: ~
  cancel: {request: "DELETE /jobs/{job}"}
b:
  preset: location
  url: https://b.example
  start: {request: POST /things}
  status: {at: code}
  result: {request: ~}
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := set[0], set[1]
	if !slices.Equal(a.Status.Running, []string{"done"}) || !slices.Equal(a.Status.Succeeded, []string{"ready"}) ||
		slices.Contains(a.Status.Failed, "done") || len(a.Progress.Total) > 0 || a.Cancel.Method != http.MethodDelete {
		t.Errorf("got %+v", a)
	}
	if b.Status.At.String() != "code" || b.FetchesResult() || !slices.Contains(b.Status.Succeeded, "303") {
		t.Errorf("got %+v", b)
	}
}

// described puts members below a pipeline that is right without them.
func described(members string) string {
	return "p:\n  url: https://p.example\n" + members
}

const right = `  start: {request: POST /jobs, job: body:/id}
  poll: {request: "GET /jobs/{job}"}
  status: {at: body:/status, running: [queued], succeeded: [done]}
`

func TestBadDescriptions(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want string // a problem begins with this
		says string // and has this: what to do
	}{
		"no YAML":       {"p: [1,\n", "line ", "not one YAML document"},
		"nothing":       {"# only a comment\n", "line 1: ", "expected the description of a pipeline below its name"},
		"a list":        {"- url: x\n", "line 1: ", "no pipeline is described"},
		"two documents": {"p: {}\n---\nq: {}\n", "line ", "not one YAML document"},
		"an alias":      {"p: &a {}\nq: *a\n", "line 1: ", "anchors and aliases"},
		"an unknown key": {
			described(right + "  statuz: {}\n"), "line 6: p.statuz is not known", "there are preset, url, also",
		},
		"an unknown key, deeper": {
			described(right + "  dispatch: {rates: 3}\n"), "line 6: p.dispatch.rates is not known", "rate, concurrency",
		},
		"a key twice":       {described(right + "  deadline: 1h\n  deadline: 2h\n"), "line ", "twice"},
		"a name of no kind": {"Big_One:\n  url: https://x.example\n", "line 1: Big_One is no name", "a small letter"},
		"an unknown preset": {
			"p:\n  preset: jobs\n  url: https://x.example\n", `line 2: p.preset is "jobs"`,
			"documents, operation, location, prediction, job",
		},
		"no url": {"p:\n  preset: job\n", "line 2: p.url is missing", "https://api.example.com"},
		"an url with a password": {
			"p:\n  preset: job\n  url: https://u:hush@x.example\n", "line 3: p.url holds a user or password",
			"expected an http or https URL",
		},
		"another origin with a path": {
			described(right + "  also: [https://f.example/x]\n"), "line 6: p.also has", "such as https://f.example",
		},
		"a wrong placeholder": {
			described(strings.Replace(right, "{job}", "{id}", 1)),
			"line 4: p.poll.request has the placeholder {id}", "{job}",
		},
		"{job} in the start": {
			described(strings.Replace(right, "POST /jobs", `"POST /jobs/{job}"`, 1)),
			"line 3: p.start.request has the placeholder {job}", "{case_id}",
		},
		"an open placeholder": {
			described(strings.Replace(right, "{job}", "{job", 1)), "line 4: p.poll.request has a {", "without its }",
		},
		"a request without a method": {
			described(strings.Replace(right, "GET /jobs", "/jobs", 1)), "line 4: p.poll.request is",
			"expected a method, a space, and a path",
		},
		"a request elsewhere": {
			described(strings.Replace(right, "POST /jobs", "POST https://evil.example/", 1)),
			"line 3: p.start.request is", "begins with /",
		},
		"a status in two lists": {
			described(strings.Replace(right, "[done]", "[done, queued]", 1)),
			`line 5: p.status.succeeded has "queued", which is in running too`, "in one list",
		},
		"no success": {
			described(strings.Replace(right, ", succeeded: [done]", "", 1)), "line 5: p.status says nothing of success",
			"expected succeeded",
		},
		"nothing says when it is done": {
			"p:\n  url: https://p.example\n  start: {request: POST /j, job: body:/id}\n" +
				"  poll: {request: \"GET /j/{job}\"}\n",
			"line 2: p.status is missing", "progress.completed and progress.total",
		},
		"a pointer that is none": {
			described(strings.Replace(right, "body:/status", "body:status", 1)), `line 5: p.status.at is "body:status"`,
			"does not begin with /",
		},
		"a pointer with a bare ~": {
			described(strings.Replace(right, "body:/status", "body:/a~2", 1)), "line 5: p.status.at is", "~0 or ~1",
		},
		"a place that is none": {
			described(strings.Replace(right, "body:/status", "$.status", 1)), `line 5: p.status.at is "$.status"`,
			"expected body:",
		},
		"a value that is no code": {
			described(strings.Replace(right, "body:/status", "code", 1)),
			`line 5: p.status.running has "queued", which is no status code`, "",
		},
		"a secret that is not set": {
			described(right + "  auth: {header: X-Key, value: \"{secret:PIPELINE_SECRET_OTHER}\"}\n"),
			"line 6: p.auth.value needs the secret PIPELINE_SECRET_OTHER, which is not set", "set that variable",
		},
		"a secret with a line end": {
			described(right + "  auth: {header: X-Key, value: \"{secret:PIPELINE_SECRET_BROKEN}\"}\n"),
			"line 6: p.auth.value has a secret with characters", "",
		},
		"another variable than a secret": {
			described(right + "  auth: {header: X-Key, value: \"{secret:HOME}\"}\n"),
			`line 6: p.auth.value names the secret "HOME"`, "PIPELINE_SECRET_",
		},
		"a key in the text": {
			described(right + "  auth: {header: X-Key, value: hush}\n"),
			"line 6: p.auth.value holds no {secret:", "variable",
		},
		"a secret elsewhere": {
			described(strings.Replace(right, "{job}", "{secret:PIPELINE_SECRET_RENDER}", 1)),
			"line 4: p.poll.request has {secret:", "only for auth.value",
		},
		"a header that is set already": {
			described(right + "  auth: {header: Host, value: \"{secret:PIPELINE_SECRET_RENDER}\"}\n"),
			"line 6: p.auth.header is", "Authorization",
		},
		"Authorization twice": {
			described(right + "  auth: {header: authorization, value: \"{secret:PIPELINE_SECRET_RENDER}\", " +
				"google_id_token: true}\n"),
			"line 6: p.auth sends Authorization twice", "keep one",
		},
		"a cancel that could stop another run": {
			described(right + "  cancel: {request: \"DELETE /jobs/{case_id}\"}\n"),
			"line 6: p.cancel.request could stop another run", "{job}",
		},
		"a job that the start does not name": {
			described(strings.Replace(right, ", job: body:/id", "", 1)),
			"line 4: p.poll.request uses {job}", "start.job",
		},
		"a poll that names no job": {
			described(strings.Replace(right, "/{job}", "", 1)), "line 4: p.poll.request names no job", "expected {job}",
		},
		"a job that is an address and a name": {
			described(right + "  cancel: {request: \"DELETE {job}\"}\n"), "line 4: p.poll.request uses {job} as a name",
			"one of the two",
		},
		"a job at code": {
			described(strings.Replace(right, "body:/id", "code", 1)), "line 3: p.start.job is code", "body: or header:",
		},
		"a result without its address": {
			described(right + "  result: {request: \"GET {result_url}\"}\n"),
			"line 6: p.result.request uses {result_url} without result.url", "",
		},
		"a body of no kind": {described(right[:0] + strings.Replace(right, "job: body:/id", "body: xml", 1)),
			`line 3: p.start.body is "xml"`, "expected form"},
		"a member that is none": {
			described(strings.Replace(right, "job: body:/id", "job: body:/id, body: {set: {x: 1}}", 1)),
			"line 3: p.start.body.set.x is no JSON Pointer", "/webhook"},
		"a duration": {described(right + "  deadline: 30\n"), `line 6: p.deadline is "30"`, "such as 90s"},
		"a rate of nothing": {described(right + "  dispatch: {rate: 0}\n"), `line 6: p.dispatch.rate is "0"`,
			"above 0"},
		"a status code of no kind": {described(strings.Replace(right, "job: body:/id", "job: body:/id, accepted: [404]",
			1)), `line 3: p.start.accepted[0] is "404"`, "from 200 to 399"},
		"busy as unknown": {described(strings.Replace(right, "poll: {", "poll: {unknown: 429, ", 1)),
			"line 4: p.poll.unknown is 429", "leave it out"},
		"intervals that cross": {described(strings.Replace(right, "poll: {", "poll: {min: 1m, max: 1s, ", 1)),
			"line 4: p.poll.min is 1m0s", "at most poll.max"},
		"signatures without secret": {described(right + "  callback: {verify: standard-webhooks}\n"),
			"line 6: p.callback verifies signatures without a secret", "{secret:"},
		"signatures of no kind": {described(right + "  callback: {verify: jwt}\n"),
			`line 6: p.callback.verify is "jwt"`, "standard-webhooks"},
		"what documents does not heed": {
			"p:\n  preset: documents\n  url: https://p.example\n  status: {at: body:/s}\n",
			"line 4: p.status has no effect", "leave it out",
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Parse([]byte(test.text), Options{Secret: secrets, RefuseLoopback: true})
			var problems Error
			if !errors.As(err, &problems) || set != nil {
				t.Fatalf("accepted as %v, or an error of another kind: %v", set, err)
			}
			if !slices.ContainsFunc(problems, func(p Problem) bool {
				return strings.HasPrefix(p.Error(), test.want) && strings.Contains(p.Error(), test.says)
			}) {
				t.Errorf("got\n%v\nwant a line with\n%s … %s", err, test.want, test.says)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("a secret is in: %v", err)
			}
		})
	}
}

// Every problem is named at once, in the order of the lines.
func TestEveryProblemAtOnce(t *testing.T) {
	_, err := Parse([]byte(`one:
  url: ftp://one.example
  start: {request: POST /a}
  poll: {request: "GET /a"}
  deadline: 1h
two:
  preset: job
  nonsense: 1
  deadline: forever
`), Options{})
	var problems Error
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if want := []int{2, 2, 4, 8, 9}; !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestLoopbackIsRefused(t *testing.T) {
	const text = "p: {preset: job, url: \"http://localhost:1\", also: [\"http://127.0.0.1:2\"]}"
	if _, err := Parse([]byte(text), Options{}); err != nil {
		t.Errorf("on this machine: %v", err)
	}
	_, err := Parse([]byte(text), Options{RefuseLoopback: true})
	if err == nil || strings.Count(err.Error(), "is this machine") != 2 {
		t.Errorf("on Google Cloud: %v", err)
	}
}

// Every preset is a description that lacks no more than an address and, where none is usual, the path of the start.
func TestPresetsAreRight(t *testing.T) {
	for _, preset := range Presets() {
		text := "p: {preset: " + preset + ", url: \"https://p.example\", start: {request: POST /v1/things}}"
		set, err := Parse([]byte(text), Options{})
		if err != nil {
			t.Errorf("%s: %v", preset, err)
			continue
		}
		if p := set[0]; p.Preset != preset || p.ReadsEvents() != (preset == Documents) {
			t.Errorf("%s: %+v", preset, p)
		}
	}
}

// FuzzParse: no text makes it panic, and what is accepted can be used.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add(described(right))
	f.Add("p: {preset: location, url: \"https://x\"}")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Parse([]byte(text), Options{Secret: secrets})
		if err == nil && len(set) == 0 {
			t.Error("nothing, without an error")
		}
		for _, p := range set {
			if p.URL == "" || !p.Start.Request.Given() || !p.Poll.Request.Given() {
				t.Errorf("accepted: %+v", p)
			}
		}
	})
}
