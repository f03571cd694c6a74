package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// program is `make run` as a process of its own.
type program struct {
	t    *testing.T
	env  []string
	base string
	cmd  *exec.Cmd
	log  *bytes.Buffer // of all its lives; read it only while it is dead

	greeting string // what it printed last when it was ready
	done     chan struct{}
	http     *http.Client
}

// binary is built once, with the race detector when the test has it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "casewatch")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "local")
	build := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	if err := goleak.Find(goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")); code == 0 &&
		err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func newProgram(t *testing.T, env ...string) *program {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := &program{
		t: t, base: "http://127.0.0.1:" + port, log: &bytes.Buffer{}, http: &http.Client{Transport: &http.Transport{}},
	}
	p.env = append(p.env, "PATH="+os.Getenv("PATH"), "HOME="+os.Getenv("HOME"), "PORT="+port, "DATA_DIR="+t.TempDir())
	p.env = append(p.env, env...)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.wantNoLeak()
			p.stop(syscall.SIGKILL)
		}
		p.http.CloseIdleConnections()
	})
	return p
}

// run starts the process and returns when it says that it is ready.
func (p *program) run() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.Background(), binary)
	p.cmd.Env = p.env
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		lines, greeting := bufio.NewReader(out), ""
		for {
			line, err := lines.ReadString('\n')
			p.log.WriteString(line)
			if strings.HasPrefix(line, "ready ") || greeting != "" && strings.HasPrefix(line, "  ") {
				greeting += line
			}
			if strings.HasPrefix(line, "  pages ") { // its last line
				p.greeting = greeting
				ready <- true
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-ready:
	case <-p.done:
		p.t.Fatal("it ended before it was ready")
	case <-time.After(time.Minute):
		p.t.Fatal("it is not ready after a minute")
	}
}

// stop ends the process with a signal and returns its exit code.
func (p *program) stop(signal syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Error(err)
	}
	<-p.done
	_ = p.cmd.Wait() // it was killed
	code := p.cmd.ProcessState.ExitCode()
	p.cmd = nil
	return code
}

func (p *program) do(method, url, body string) (int, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, data
}

// wantNoLeak wants the console to find no run that leaked.
func (p *program) wantNoLeak() {
	p.t.Helper()
	code, body := p.do("GET", p.base+"/console/-/health", "")
	if code != http.StatusOK || !bytes.Contains(body, []byte(`"leaked":0`)) {
		p.t.Errorf("the console says %d %s", code, body)
	}
}

func (p *program) start(form string) (statusURL string) {
	p.t.Helper()
	code, body := p.do("POST", p.base+"/start", form)
	var b struct {
		StatusURL string `json:"status_url"`
	}
	if err := json.Unmarshal(body, &b); err != nil || code != http.StatusAccepted {
		p.t.Fatalf("start: %d %s", code, body)
	}
	return b.StatusURL
}

// end waits until the case has ended.
func (p *program) end(statusURL string) cases.View {
	p.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		code, body := p.do("GET", statusURL, "")
		var v cases.View
		if err := json.Unmarshal(body, &v); err != nil || code != http.StatusOK {
			p.t.Fatalf("status: %d %s", code, body)
		}
		if v.EndedAt != nil {
			return v
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("it does not end: %s", body)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at another process
	}
}

const bigForm = `{"case_id":"main","Form":{"Id":"f-1","InternalName":"intake","Name":"Intake"},
"PlaintiffDetails":[{"Id":"1","ItemNumber":1,"HeadOfHousehold":true,
	"PlaintiffItemNumberName":{"First":"Jane","Last":"Doe","FirstAndLast":"Jane Doe"},
	"PlaintiffItemNumberType":"Individual","PlaintiffItemNumberAgeCategory":["Adult"],
	"PlaintiffItemNumberDiscovery":{"VerminIssue":true,"Vermin":["Rats/Mice <b>"]}},
	{"Id":2,"FirstName":"John","LastName":"Doe"},
	{"Id":"3",
	"PlaintiffItemNumberName":{"First":"Åsa <b>","Last":"O'Neil & Sons","FirstAndLast":"Åsa <b> O'Neil & Sons"}}],
"DefendantDetails2":[{"Id":"a","DefendantItemNumberName":{"First":"","Last":"Acme LLC","FirstAndLast":"Acme LLC"},
	"DefendantItemNumberType":"LLC","DefendantItemNumberManagerOwner":"Manager"},
	{"Id":"b","DefendantItemNumberName":{"First":"Bob","Last":"Owner"}}],
"Full_Address":{"StreetAddress":"1 Main St","City":"Los Angeles","State":"CA","PostalCode":"90012"},
"Filing city":"Los Angeles","Filing county":"Los Angeles","document_types":["srogs","pods","admissions"]}`

func TestFormBecomesDocuments(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.run()
	v := p.end(p.start(bigForm))
	if v.State != cases.Succeeded || v.Documents == nil || !reflect.DeepEqual(v.Documents,
		&cases.Documents{Total: new(18), Succeeded: new(18), Failed: new(0)}) || v.OutputURL == nil {
		t.Fatalf("%+v", v)
	}
	code, index := p.do("GET", *v.OutputURL, "")
	links := regexp.MustCompile(`href="([^"]+\.html)"`).FindAllSubmatch(index, -1)
	if code != http.StatusOK || len(links) != 18 {
		t.Fatalf("%d with %d links", code, len(links))
	}
	for _, link := range links {
		code, document := p.do("GET", *v.OutputURL+string(link[1]), "")
		if code != http.StatusOK || !bytes.Contains(document, []byte("Acme LLC")) &&
			!bytes.Contains(document, []byte("Bob Owner")) || bytes.Contains(document, []byte("<b>")) {
			t.Errorf("%s: %d, %d bytes", link[1], code, len(document))
		}
	}
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	traces, ended := map[string]bool{}, 0
	for line := range strings.Lines(p.log.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil || fields["case_id"] != "main" {
			continue
		}
		traces[fmt.Sprint(fields["logging.googleapis.com/trace"])] = true
		if fields["message"] == "progress checks ended" {
			ended++
		}
	}
	if len(traces) != 1 || ended != 1 {
		t.Errorf("%d traces, %d ends in the log", len(traces), ended)
	}
	if strings.Contains(p.log.String(), "O'Neil") {
		t.Error("the form is in the log")
	}
}

// TestDescribedPipelines: each pipeline of pipelines.yaml works on a case, and answers every poll.
func TestDescribedPipelines(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile("pipelines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	file := filepath.Join(t.TempDir(), "pipelines.yaml")
	here := bytes.ReplaceAll(shipped, []byte("http://127.0.0.1:8080"), []byte(p.base))
	if err := os.WriteFile(file, here, 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "PIPELINES_FILE="+file)
	p.run()
	names := regexp.MustCompile(`(?m)^([a-z]+):$`).FindAllSubmatch(shipped, -1)
	if len(names) < 5 {
		t.Fatalf("%d pipelines in pipelines.yaml, want one of each protocol", len(names))
	}
	urls := map[string]string{}
	for _, name := range names {
		pipeline := string(name[1])
		form := strings.Replace(bigForm, `"main"`, `"`+pipeline+`"`, 1)
		form = strings.Replace(form, `,"pods","admissions"]`, `]`, 1)
		code, body := p.do("POST", p.base+"/start?pipeline="+pipeline, form)
		var accepted struct {
			StatusURL string `json:"status_url"`
		}
		if err := json.Unmarshal(body, &accepted); err != nil || code != http.StatusAccepted {
			t.Fatalf("%s: %d %s", pipeline, code, body)
		}
		urls[pipeline] = accepted.StatusURL
	}
	for pipeline, url := range urls {
		v := p.end(url)
		if v.State != cases.Succeeded || v.OutputURL == nil || v.Checks.Failures != 0 || v.Pipeline != pipeline {
			t.Errorf("%s: %+v, want it to succeed with an output and without a failed poll", pipeline, v)
		}
	}
}

func TestKilledThreeTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute: go test without -short")
	}
	t.Parallel()
	// How long after its end was seen a poll may arrive, on a busy machine, whose check began before.
	// That none began after it is what "leaked" tells, by the versions that the checks read.
	const underWay = 2 * time.Second
	pipe := pipelinetest.New(t)
	p := newProgram(t, "PIPELINE_API_URL="+pipe.URL, "CHECK_MAX_INTERVAL=3s", "COMPLETION_GRACE=2s", "START_GRACE=10s")
	p.run()
	const n = 100
	urls := map[string]string{}
	for i := range n {
		id := fmt.Sprint("case", i)
		each := time.Duration(1+i%5) * time.Second
		if i%2 == 0 {
			pipe.Script(id, pipelinetest.Work(4, 1, each)) // it holds the request until it is done
		} else {
			pipe.Script(id, pipelinetest.Async(4))
		}
		urls[id] = p.start(`{"case_id":"` + id + `"}`)
	}
	for range 3 {
		time.Sleep(1500 * time.Millisecond) // let it get on
		p.stop(syscall.SIGKILL)
		p.run()
	}
	for i := 1; i < n; i += 2 {
		pipe.SetProgress(fmt.Sprint("case", i), 4, 4, "")
	}
	states, seen := map[string]int{}, map[string]time.Time{}
	doubled, after := 0, 0
	for id, url := range urls {
		v := p.end(url)
		states[string(v.State)+" "+string(v.End.Reason)]++
		if len(pipe.Posts(id)) > 1 {
			doubled++
		}
		seen[id] = time.Now()
	}
	t.Log(states)
	time.Sleep(underWay + 3*time.Second) // CHECK_MAX_INTERVAL: what is still polled shows
	for id, at := range seen {
		after += len(pipe.PollsAfter(id, at.Add(underWay)))
	}
	if doubled != 0 || after != 0 {
		t.Errorf("%d started twice, %d polls after an end", doubled, after)
	}
	if states["succeeded completed"] < n*9/10 {
		// A kill between the saved mark and the request leaves a case of which nobody knows whether it was started.
		t.Errorf("%v", states)
	}
	// The private functions know whom they let in; one that is told not to look lets us ask.
	if code, body := p.do("POST", p.base+"/sweep", ""); code != http.StatusUnauthorized {
		t.Errorf("%d %s", code, body)
	}
	p.stop(syscall.SIGKILL)
	p.env = append(p.env, "INVOKER_SERVICE_ACCOUNTS=")
	p.run()
	if code, body := p.do("POST", p.base+"/sweep", ""); code != http.StatusOK ||
		!bytes.Contains(body, []byte(`"open":0,`)) || !bytes.Contains(body, []byte(`"leaked":0`)) {
		t.Errorf("%d %s", code, body)
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	p := newProgram(t,
		"PIPELINE_API_URL=nowhere", "CHECK_TIMEOUT=soon", "TOKEN_SECRET=short-secret", "CASE_DEADLINE=-1s")
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
	}
	for _, name := range []string{"PIPELINE_API_URL", "CHECK_TIMEOUT", "TOKEN_SECRET", "CASE_DEADLINE"} {
		if !bytes.Contains(out, []byte(name)) {
			t.Errorf("%s is not named in %s", name, out)
		}
	}
	if bytes.Contains(out, []byte("short-secret")) {
		t.Errorf("a secret is told: %s", out)
	}
	cmd = exec.CommandContext(t.Context(), binary)
	cmd.Env = append(p.env, "PORT=x", "DATA_DIR=", "FUNCTION_TARGET=start")
	out, err = cmd.CombinedOutput()
	for _, name := range []string{"PORT", "DATA_DIR", "FUNCTION_TARGET", "PIPELINE_API_URL", "CHECK_TIMEOUT"} {
		if err == nil || !bytes.Contains(out, []byte(name)) {
			t.Errorf("%s is not named in %s", name, out)
		}
	}
	for _, store := range []string{"firestore:", "postgres://u@db.example/x", "sqlite:/dev/null/x.db"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd = exec.CommandContext(ctx, binary)
		cmd.Env = append(newProgram(t).env, "STORE="+store)
		out, err := cmd.CombinedOutput()
		if err == nil || ctx.Err() != nil || !bytes.Contains(out, []byte("STORE")) {
			t.Errorf("%s: %v %s", store, err, out)
		}
		cancel()
	}
	first := newProgram(t)
	first.run()
	_, port, _ := strings.Cut(strings.TrimPrefix(newProgram(t).base, "http://"), ":")
	cmd = exec.CommandContext(t.Context(), binary)
	cmd.Env = append(first.env, "PORT="+port)
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("another process is using it")) {
		t.Errorf("two on one DATA_DIR: %v %s", err, out)
	}
}
