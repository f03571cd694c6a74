package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"golang.org/x/sys/unix"

	"github.com/casewatch/casewatch/shared/cases"
)

// openTerminal returns the two ends of a pseudo-terminal: what a person reads, and what a program writes to.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: mount devpts at /dev/pts:", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// On a terminal the log is for people: one short line an event, without traces, in colours unless NO_COLOR is set.
func TestLogOnATerminal(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"NO_COLOR=", "NO_COLOR=1", "TERM=dumb"} {
		t.Run(env, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, "TERM=xterm", env)
			person, program := openTerminal(t)
			cmd := exec.CommandContext(context.Background(), binary)
			cmd.Env, cmd.Stdout, cmd.Stderr = p.env, program, os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = program.Close()
			stop := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
			defer stop.Stop()
			var log []string
			lines := bufio.NewScanner(person) // it ends with an error: the other end is closed
			for lines.Scan() {
				line := lines.Text()
				if strings.HasPrefix(line, "ready ") {
					p.start(`{"case_id":"shown","document_types":["srogs"]}`)
				}
				if log = append(log, line); strings.Contains(line, "progress checks ended") {
					_ = cmd.Process.Signal(syscall.SIGTERM)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, strings.Join(log, "\n"))
			}
			text := strings.Join(log, "\n")
			events := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d (INF|WRN|ERR) .* case=shown run=1`).FindAllString(
				escape.ReplaceAllString(text, ""), -1)
			if len(events) < 4 || strings.Contains(text, "trace") || strings.Contains(text, "{\"") ||
				strings.Contains(text, "Serving function") {
				t.Errorf("%d lines of the case in:\n%s", len(events), text)
			}
			if got, want := escape.MatchString(text), env == "NO_COLOR="; got != want {
				t.Errorf("colours: %v, want %v, in:\n%s", got, want, text)
			}
		})
	}
}

// Elsewhere the log is JSON, an object a line. The other lines are those that say where everything is, and who gets in.
func TestLogThatIsPiped(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "ALLOWED_ORIGINS=http://localhost:5173")
	p.run()
	_, _ = p.do("POST", p.base+"/publish", `{"case_id":"nobody","status":"failed"}`) // one line at least
	for _, origin := range []string{"http://localhost:5173", "http://localhost:5174"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, p.base+"/start", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		res, err := p.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		got, want := res.Header.Get("Access-Control-Allow-Origin") == origin, origin == "http://localhost:5173"
		if got != want {
			t.Errorf("a page on %s gets in: %v, want %v", origin, got, want)
		}
	}
	p.stop(syscall.SIGTERM)
	log := p.log.String()
	if lines := strings.Count(p.greeting, "\n"); lines != 7 {
		t.Errorf("%d lines:\n%s", lines, p.greeting)
	}
	for line := range strings.Lines(strings.Replace(log, p.greeting, "", 1)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("neither JSON nor where things are: %q", line)
		}
	}
	for _, want := range []string{
		"  pipeline  the sample one, " + p.base +
			"/pipeline. Yours instead: PIPELINE_API_URL=http://localhost:8000 make run\n",
		"  pages     on these origins may call the functions: http://localhost:5173 (ALLOWED_ORIGINS)\n",
		"topic casewatch-pipeline-events", "CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("it does not say %q:\n%s", want, log)
		}
	}
}

func TestGreetingOfAnotherPipeline(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "PIPELINE_API_URL=http://localhost:8000")
	p.run()
	p.stop(syscall.SIGTERM)
	for _, want := range []string{
		"  pipeline  your own, http://localhost:8000 (PIPELINE_API_URL)\n",
		"  pages     on other origins are refused. Your dev server's get in by ALLOWED_ORIGINS=http://localhost:5173 " +
			"make run\n",
	} {
		if log := p.log.String(); !strings.Contains(log, want) {
			t.Errorf("it does not say %q:\n%s", want, log)
		}
	}
}

// What the greeting prints is all that Google's own client needs.
func TestGooglesClientGetsIn(t *testing.T) {
	p := newProgram(t)
	p.run()
	statusURL := p.start(`{"case_id":"official","sample":{"mode":"async","fault":"hang"}}`)
	found := regexp.MustCompile(
		`GOOGLE_CLOUD_PROJECT=(\S+) PUBSUB_EMULATOR_HOST=(\S+), topic (\S+)\n`).FindStringSubmatch(p.greeting)
	if found == nil {
		t.Fatalf("not in the greeting:\n%s", p.greeting)
	}
	t.Setenv("GOOGLE_CLOUD_PROJECT", found[1])
	t.Setenv("PUBSUB_EMULATOR_HOST", found[2])
	client, err := pubsub.NewClient(t.Context(), pubsub.DetectProjectID)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	event := &pubsub.Message{
		Data: []byte(`{"case_id":"official","run":1,"status":"failed",` +
			`"error":{"code":"x","message":"told by Google's client"}}`),
	}
	topic := client.Publisher(found[3])
	defer topic.Stop()
	if _, err := topic.Publish(t.Context(), event).Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := p.end(statusURL); v.State != cases.Failed || v.End.Source != cases.SourceEvent {
		t.Errorf("%+v", v.End)
	}
}
