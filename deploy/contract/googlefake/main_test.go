package googlefake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask sends one call to an API of the fake as gcloud would, and returns the status and the body of the answer.
func ask(t *testing.T, f *Fake, method, api, path string, body obj) (int, obj) {
	t.Helper()
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		payload = bytes.NewReader(data)
	}
	target := f.URL() + "/" + api + "/" + path
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if api == "run" { // by way of the proxy, with the region before the host
		proxy, err := url.Parse(f.URL())
		if err != nil {
			t.Fatal(err)
		}
		client.Transport = &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(proxy)}
		target = "http://us-central1-" + runHost + ":80/run/" + path
	}
	request, err := http.NewRequestWithContext(t.Context(), method, target, payload)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer obj
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%s %s %s is answered %d %s", method, api, path, response.StatusCode, data)
	}
	return response.StatusCode, answer
}

// must is ask for calls that are to succeed.
func must(t *testing.T, f *Fake, method, api, path string, body obj) obj {
	t.Helper()
	status, answer := ask(t, f, method, api, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s %s: %d %v", method, api, path, status, answer)
	}
	return answer
}

// refused asks for what is to be refused, and checks how.
func refused(t *testing.T, f *Fake, method, api, path string, body obj, status int, reason string) {
	t.Helper()
	got, answer := ask(t, f, method, api, path, body)
	if got != status || text(answer, "error", "status") != reason {
		t.Errorf("%s %s %s: %d %v, want %d %s", method, api, path, got, answer, status, reason)
	}
}

// running bounds how many gclouds run at once: each takes most of a processor for a second.
var running = make(chan struct{}, 2)

// cli runs gclouds of one fake.
type cli struct {
	*testing.T
	fake *Fake
	dir  string
}

func newCLI(t *testing.T, fake *Fake) *cli {
	t.Helper()
	fake.Warm(t)
	return &cli{T: t, fake: fake, dir: t.TempDir()}
}

// try runs gcloud and returns what it wrote and how it ended.
func (c *cli) try(args ...string) (stdout, stderr string, err error) {
	c.Helper()
	running <- struct{}{}
	defer func() { <-running }()
	cmd := c.fake.Command(c.T, args...)
	cmd.Dir = c.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// run runs gcloud, which must succeed, and returns what it wrote without the last newline.
func (c *cli) run(line string) string {
	c.Helper()
	out, errs, err := c.try(words(line)...)
	if err != nil {
		c.Fatalf("gcloud %s: %v\n%s", line, err, errs)
	}
	return strings.TrimSuffix(out, "\n")
}

// fails runs gcloud, which must fail with a message that says so.
func (c *cli) fails(want, line string) {
	c.Helper()
	_, errs, err := c.try(words(line)...)
	if err == nil || !strings.Contains(errs, want) {
		c.Errorf("gcloud %s: %v, want a failure that says %q\n%s", line, err, want, errs)
	}
}

// prints checks what gcloud writes.
func (c *cli) prints(want, line string) {
	c.Helper()
	if got := c.run(line); got != want {
		c.Errorf("gcloud %s prints\n%s\nwant\n%s", line, got, want)
	}
}

// file writes a file into gcloud's folder.
func (c *cli) file(name, content string) {
	c.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.Fatal(err)
	}
}

// sent checks what gcloud asked to be changed since the last time, in order.
func (c *cli) sent(want ...string) {
	c.Helper()
	var got []string
	for _, call := range c.fake.Mutations() {
		got = append(got, call.String())
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		c.Errorf("sent\n%s\nwant\n%s", g, w)
	}
	if unknown := c.fake.Unknown(); len(unknown) > 0 {
		c.Errorf("the fake has no answer for %v", unknown)
	}
	c.fake.ResetCalls()
}

// words splits a line at its spaces, but for those between single quotes.
func words(line string) []string {
	quoted := false
	return strings.FieldsFunc(strings.Map(func(r rune) rune {
		switch {
		case r == '\'':
			quoted = !quoted
			return -1
		case r == ' ' && !quoted:
			return '\n'
		}
		return r
	}, line), func(r rune) bool { return r == '\n' })
}

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"a b":             {"a", "b"},
		"a 'b c' d":       {"a", "b c", "d"},
		"--x='b c' d":     {"--x=b c", "d"},
		"a --x='*/5 *'":   {"a", "--x=*/5 *"},
		"'a b'":           {"a b"},
		"a --y=1,'q r'=2": {"a", "--y=1,q r=2"},
	} {
		if got := words(line); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
