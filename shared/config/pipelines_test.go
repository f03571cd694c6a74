package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/config"
)

const described = `render:
  preset: job
  url: https://api.example.com
  auth: {header: Authorization, value: "Bearer {secret:PIPELINE_SECRET_RENDER}"}
  poll: {max: 20s}
  deadline: 30m
forms: {preset: documents, url: "https://forms.example.com", dispatch: {timeout: 5m, idempotent: true}}
`

// several describes its pipelines by PIPELINES.
func several() environment {
	return onePlace().without("PIPELINE_API_URL").with("PIPELINES", described, "PIPELINE_SECRET_RENDER", "hush-7735")
}

func TestPipelines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pipelines.yaml")
	if err := os.WriteFile(file, []byte(described), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]environment{
		"by text": several(), "by file": several().without("PIPELINES").with("PIPELINES_FILE", file),
	} {
		c, err := config.Load(config.Local, env.lookup)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := c.Pipelines.Names(); !slices.Equal(got, []string{"render", "forms"}) {
			t.Fatalf("%s: %v", name, got)
		}
		render, forms := c.Pipelines[0], c.Pipelines[1]
		if render.Auth.Value.Reveal() != "Bearer hush-7735" || render.Deadline != 30*time.Minute ||
			render.Dispatch.Timeout != c.Pipeline.Timeout || render.Poll.Max != 20*time.Second ||
			render.Poll.Min != c.Rules.CheckMinInterval || render.Dispatch.Rate != c.Queue.Rate {
			t.Errorf("%s: %+v", name, render)
		}
		if forms.Deadline != c.Rules.CaseDeadline || forms.Dispatch.Timeout != 5*time.Minute ||
			!forms.Dispatch.Idempotent {
			t.Errorf("%s: %+v", name, forms)
		}
		if text := fmt.Sprintf("%+v %#v %v", c, *c, *render); strings.Contains(text, "hush-7735") {
			t.Errorf("%s: a secret was printed", name)
		}
	}
}

// An address alone is one pipeline, with the settings that go with it.
func TestPipelineOfAnAddress(t *testing.T) {
	c, err := config.Load("dispatch", elsewhere().lookup)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pipelines.Default()
	if len(c.Pipelines) != 1 || p.Name != "default" || !p.ReadsEvents() || p.URL != "https://pipeline.example.com" ||
		p.Auth.Header != "X-API-Key" || p.Auth.Value.Reveal() != "example-pipeline-key" || !p.Auth.GoogleIDToken ||
		!p.Dispatch.Idempotent || p.Dispatch.Timeout != 20*time.Minute {
		t.Errorf("got %+v", p)
	}
}

// Only who calls the pipelines, or checks what they report, gets their secrets.
func TestWhoGetsPipelineSecrets(t *testing.T) {
	for _, function := range config.Functions() {
		asked := false
		env := onCloud().without("PIPELINE_API_URL", "PIPELINE_API_KEY", "PIPELINE_AUTH").with("PIPELINES", described)
		c, err := config.Load(function, func(name string) (string, bool) {
			if name == "PIPELINE_SECRET_RENDER" {
				asked = true
				return "hush-7735", true
			}
			return env.lookup(name)
		})
		if err != nil {
			t.Errorf("%s: %v", function, err)
			continue
		}
		want := slices.Contains([]string{"dispatch", "check", "callback"}, function)
		if got := !c.Pipelines[0].Auth.Value.IsZero(); got != want || asked != want {
			t.Errorf("%s has the secret: %v, asked for it: %v; want %v", function, got, asked, want)
		}
	}
}

func TestFaultyPipelines(t *testing.T) {
	for name, test := range map[string]struct {
		env  environment
		want []string // faults, from their beginning
	}{
		"none": {
			onePlace().without("PIPELINE_API_URL"),
			[]string{"PIPELINE_API_URL is missing, so there is no pipeline"},
		},
		"two": {
			several().with("PIPELINE_API_URL", "https://x.example"),
			[]string{"PIPELINES is set, and PIPELINE_API_URL too; expected one"},
		},
		"three": {
			several().with("PIPELINE_API_URL", "https://x.example", "PIPELINES_FILE", "/dev/null"),
			[]string{"PIPELINES is set, and PIPELINE_API_URL too", "PIPELINES_FILE is set, and PIPELINE_API_URL too"},
		},
		"empty":   {several().with("PIPELINES", ""), []string{"PIPELINES is set but empty"}},
		"no YAML": {several().with("PIPELINES", "a: ["), []string{"PIPELINES line "}},
		"no text": {
			several().with("PIPELINES", "a: \xff"),
			[]string{"PIPELINES holds control characters or is not UTF-8"},
		},
		"no file": {
			several().without("PIPELINES").with("PIPELINES_FILE", "/no/such/file"),
			[]string{"PIPELINES_FILE cannot be read: open /no/such/file"},
		},
		"two problems, by their lines": {
			several().with("PIPELINES", "a:\n  preset: job\nb:\n  preset: job\n"),
			[]string{"PIPELINES line 2: a.url is missing", "PIPELINES line 4: b.url is missing"},
		},
		"a secret that is not set": {
			several().without("PIPELINE_SECRET_RENDER"),
			[]string{"PIPELINES line 4: render.auth.value needs the secret PIPELINE_SECRET_RENDER, which is not set"},
		},
		"what goes with an address": {
			several().with("PIPELINE_API_KEY", "k", "PIPELINE_AUTH", "oidc"),
			[]string{"PIPELINE_API_KEY is set, and only PIPELINE_API_URL goes with it", "PIPELINE_AUTH is set"},
		},
		"a deadline above the longest": {
			several().with("MAX_DEADLINE", "20m", "CASE_DEADLINE", "10m"),
			[]string{"PIPELINES render.deadline is 30m0s; expected at most MAX_DEADLINE, which is 20m0s"},
		},
		"a least interval above the longest": {
			several().with("PIPELINES", "a: {preset: job, url: \"https://x.example\", poll: {min: 1m}}"),
			[]string{"PIPELINES a.poll.min is 1m0s; expected at most poll.max, which is 30s"},
		},
		"this machine, on Google Cloud": {
			several().with("K_SERVICE", "x", "STORE", "firestore:", "CONSOLE_USERS", "a@example.com",
				"CONSOLE_AUDIENCES", "a", "TASKS_SERVICE_ACCOUNT", "a@example.com",
				"PIPELINES", "a: {preset: job, url: \"http://localhost:1\"}"),
			[]string{"PIPELINES line 1: a.url is this machine"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(config.Local, test.env.lookup)
			faultNames(t, err)
			lines := strings.Split(err.Error(), "\n")[1:]
			if len(lines) != len(test.want) {
				t.Fatalf("got %d faults, want %d: %v", len(lines), len(test.want), err)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(lines[i], "  "+want) {
					t.Errorf("got %q, want %q", lines[i], want)
				}
			}
		})
	}
	_, err := config.Load("dispatch", onCloud().without("PIPELINE_API_URL", "PIPELINE_API_KEY", "PIPELINE_AUTH").
		with(
			"PIPELINES",
			"a: {preset: job, url: \"https://x.example\"}",
			"CLOUD_RUN_TIMEOUT_SECONDS",
			"60",
			"PIPELINE_TIMEOUT",
			"2m",
		).lookup)
	if err == nil || !strings.Contains(err.Error(), "PIPELINE_TIMEOUT is 2m0s; expected less than") {
		t.Errorf("a timeout above the request's: %v", err)
	}
}

func TestPipelineSecretNames(t *testing.T) {
	got := config.PipelineSecrets(
		"a {secret:PIPELINE_SECRET_B} {secret:PIPELINE_SECRET_A} {secret:PIPELINE_SECRET_B} {secret:",
	)
	if diff := cmp.Diff([]string{"PIPELINE_SECRET_A", "PIPELINE_SECRET_B"}, got); diff != "" {
		t.Error(diff)
	}
}

// An address of callback is needed where a pipeline is told one, and nowhere else.
func TestCallbackAddress(t *testing.T) {
	told := several().with("PIPELINES", described+`
hooks: {preset: prediction, url: "https://hooks.example.com", start: {body: {set: {/webhook: "{callback_url}"}}}}
`)
	for name, test := range map[string]struct {
		env      environment
		function string
		want     bool // a fault
	}{
		"told, none":                 {told.without("CALLBACK_URL"), "dispatch", true},
		"told, given":                {told.with("CALLBACK_URL", "https://callback.example"), "dispatch", false},
		"told, of another function":  {told.without("CALLBACK_URL"), "check", false},
		"nobody is told, none given": {several().without("CALLBACK_URL"), "dispatch", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(test.function, test.env.lookup)
			if got := err != nil && strings.Contains(err.Error(), "CALLBACK_URL is missing"); got != test.want {
				t.Errorf("got %v, want a fault: %v", err, test.want)
			}
		})
	}
}
