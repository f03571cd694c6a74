package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/pipeline/description"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// documents returns the configuration of a client of the document pipeline at url, with generous limits.
func documents(url string) Config {
	p := description.ForDocuments(url, "", false)
	p.Dispatch.Timeout = 20 * time.Second
	return Config{Pipeline: p, CheckTimeout: 10 * time.Second}
}

// open returns a client of the pipeline at url with generous limits, changed by the options.
func open(t *testing.T, url string, options ...func(*Config)) *Client {
	t.Helper()
	config := documents(url)

	for _, option := range options {
		option(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var request = Job{
	CaseID:      "c-1",
	Run:         2,
	Form:        []byte(`{"n":1.50,"Form":{"Id":"form-content"}}`),
	TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Config{Pipeline: description.ForDocuments("ftp://x", "hush\n", true), MaxAnswer: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{
		"the URL has another scheme", "API key", "needs a token source", "the timeout 0s", "check timeout 0s",
		"largest answer",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("the error has the key: %v", err)
	}
	for _, url := range []string{
		"", "x", "http://", "http://:80", "http://u:hush@x", "http://x?a=hush", "http://x?", "http://x#hush",
		"http://[", "http://x\n",
	} {
		_, err := New(documents(url))
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no description is accepted")
	}
}

func TestAudience(t *testing.T) {
	for url, want := range map[string]string{
		"https://p-abc.a.run.app/v1/": "https://p-abc.a.run.app",
		"http://127.0.0.1:8000":       "http://127.0.0.1:8000", "x": "",
	} {
		if got, err := Audience(url); got != want || (err == nil) != (want != "") {
			t.Errorf("Audience(%q) = %q, %v", url, got, err)
		}
	}
}

func TestTokenSourceFails(t *testing.T) {
	for name, source := range map[string]func(context.Context) (string, error){
		"error":   func(context.Context) (string, error) { return "", errors.New("no metadata\nfor hush-key") },
		"empty":   func(context.Context) (string, error) { return "", nil },
		"newline": func(context.Context) (string, error) { return "a\nb", nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := open(
				t,
				"http://127.0.0.1:1",
				func(c *Config) {
					c.Pipeline = description.ForDocuments(c.Pipeline.URL, "hush-key", true)
					c.TokenSource, c.Pipeline.Dispatch.Timeout = source, time.Second
				},
			)
			got, look := c.Dispatch(t.Context(), request), c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2})
			if got.Kind != "unreachable" || look.Kind != "unable" {
				t.Fatalf("got %+v, %+v", got, look)
			}
			for _, message := range []string{got.Message, look.Message} {
				if !strings.HasPrefix(message, "no ID token for the pipeline: ") || strings.Contains(message, "hush") ||
					strings.Contains(message, "\n") {
					t.Errorf("message %q", message)
				}
			}
		})
	}
}
