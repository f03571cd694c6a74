package contract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/contract/googlefake"
	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/shared/config"
)

const (
	deployedKey = "a-key-of-the-frontend-that-smoke-uses"
	pipelineKey = "a-key-that-only-the-pipeline-knows"
)

// live is a project on the fake, whose services answer as the functions of one machine do.
type live struct {
	t    *testing.T
	fake *googlefake.Fake
	env  []string
	file string
}

// run runs a script that has to succeed.
func (l *live) run(name string, args ...string) string {
	l.t.Helper()
	out, status := script(l.t, l.env, name, append([]string{l.file}, args...)...)
	if status != 0 {
		l.t.Fatalf("%s exits with %d:\n%s", name, status, out)
	}
	return out
}

// fails runs a script that has to fail.
func (l *live) fails(name string, args ...string) string {
	l.t.Helper()
	out, status := script(l.t, l.env, name, append([]string{l.file}, args...)...)
	if status == 0 {
		l.t.Fatalf("%s succeeds:\n%s", name, out)
	}
	return out
}

// TestDeployment takes one project from nothing to a deployment, changes it, breaks it and takes it down, with the real gcloud.
func TestDeployment(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of gcloud commands take minutes: run without -short")
	}
	t.Parallel()
	googlefake.Gcloud(t)
	needsTools(t, "jq", "curl", "openssl")
	fake := googlefake.Start(t, googlefake.Options{})
	fake.Warm(t)
	base := startMachine(t)
	for _, name := range config.Functions() {
		fake.SetURL("casewatch-"+name, base+"/"+name)
	}
	l := &live{t, fake, append(fake.Env(), "RETRY_SECONDS=1"), environment(t, "production")}

	t.Run("nothing is changed before the operator's secret is there", func(t *testing.T) {
		l := l.in(t)
		out := l.fails("deploy.sh")
		if !strings.Contains(out, "gcloud secrets versions add casewatch-pipeline-api-key") || mutations(fake) != "" {
			t.Errorf("it changed\n%s\nand said\n%s", mutations(fake), out)
		}
	})
	gcloud(t, fake, "", "services", "enable", "secretmanager.googleapis.com")
	for name, value := range map[string]string{"casewatch-pipeline-api-key": pipelineKey, "casewatch-api-keys": deployedKey} {
		gcloud(t, fake, "", "secrets", "create", name, "--replication-policy=automatic")
		gcloud(t, fake, value, "secrets", "versions", "add", name, "--data-file=-")
	}
	fake.ResetCalls()

	t.Run("a deployment that breaks off goes on where it was", func(t *testing.T) {
		l := l.in(t)
		fake.Fail(`^POST run \S+/services `, 3, http.StatusForbidden)
		out := l.fails("deploy.sh")
		if !strings.Contains(out, "This command failed") || !strings.Contains(out, "gcloud run deploy casewatch-complete") || strings.Contains(out, "gcloud run deploy casewatch-start") {
			t.Errorf("it says\n%s", out)
		}
		out = l.run("deploy.sh")
		for _, function := range []string{"dispatch", "check", "complete", "sweep", "console"} {
			if !strings.Contains(out, "ok: "+function+" answers 40") {
				t.Errorf("that %s refuses strangers is not seen:\n%s", function, out)
			}
		}
		if !strings.Contains(out, "ended succeeded") || strings.Contains(out, "gcloud builds submit") || strings.Contains(out, "queues create") {
			t.Errorf("it does again what was done, or takes no canary to its end:\n%s", out)
		}
		for _, secret := range []string{deployedKey, pipelineKey} {
			if strings.Contains(out, secret) {
				t.Error("it tells a secret")
			}
		}
		golden(t, "first-deploy.calls", made(fake))
	})
	t.Run("each function is given what it uses", func(t *testing.T) { l.in(t).environments() })
	t.Run("the archive is what boots", func(t *testing.T) { l.in(t).archive() })
	t.Run("a second deployment changes nothing", func(t *testing.T) {
		l := l.in(t)
		fake.ResetCalls()
		l.run("deploy.sh")
		if changed := mutations(fake); changed != "" {
			t.Errorf("it calls\n%s", changed)
		}
		t.Logf("%d reads", len(fake.Calls()))
	})
	t.Run("what is live is right", func(t *testing.T) { l.in(t).run("verify.sh") })
	t.Run("verify finds each planted fault", func(t *testing.T) { l.in(t).faults() })

	l.file = environment(t, "production", "CHECK_MAX_INTERVAL=20s", "DISPATCH_RATE=5")
	t.Run("a deployment heals what was planted, but for what somebody may have paused for a reason", func(t *testing.T) {
		l := l.in(t)
		out := l.run("deploy.sh")
		if strings.Contains(out, "gcloud builds submit") {
			t.Errorf("it builds what is built:\n%s", out)
		}
		for _, name := range config.Functions() {
			if !strings.Contains(out, "run deploy casewatch-"+name) || !strings.Contains(out, "update-traffic casewatch-"+name) {
				t.Errorf("%s is not deployed and promoted:\n%s", name, out)
			}
		}
		out = l.fails("verify.sh")
		if strings.Count(out, ", should be ") != 2 || strings.Count(out, "PAUSED") != 2 {
			t.Errorf("verify says\n%s", out)
		}
	})
	l.file = environment(t, "production", "CHECK_MAX_INTERVAL=20s", "STALL_AFTER=6m", "DISPATCH_RATE=5", "CANARY_FORM="+failingForm(t))
	t.Run("nothing is promoted while the canary fails", func(t *testing.T) {
		l := l.in(t)
		serving := l.serving()
		out := l.fails("deploy.sh")
		if now := l.serving(); !slices.Equal(now, serving) || !strings.Contains(out, "ended failed") {
			t.Errorf("what serves is %v, was %v:\n%s", now, serving, out)
		}
		for _, name := range config.Functions() { // status has no use for the time
			if deployed := strings.Contains(out, "run deploy casewatch-"+name); deployed != (name != "status") {
				t.Errorf("%s deployed: %v:\n%s", name, deployed, out)
			}
		}
	})
	l.file = environment(t, "production", "CHECK_MAX_INTERVAL=20s", "STALL_AFTER=6m", "DISPATCH_RATE=5")
	t.Run("traffic goes back when the promotion breaks off", func(t *testing.T) {
		l := l.in(t)
		serving := l.serving()
		fake.Fail(`^PUT run `, 4, http.StatusForbidden)
		out := l.fails("deploy.sh")
		if now := l.serving(); !slices.Equal(now, serving) || !strings.Contains(out, "Traffic goes back") {
			t.Errorf("what serves is %v, was %v:\n%s", now, serving, out)
		}
	})
	t.Run("rollback", func(t *testing.T) {
		l := l.in(t)
		before := l.serving()
		l.run("rollback.sh")
		after := l.serving()
		for i := range before {
			if before[i] == after[i] {
				t.Errorf("%s serves as before", after[i])
			}
		}
	})
	l.file = environment(t, "production", "CONSOLE_USERS=", "CONSOLE_IAP=")
	t.Run("a console that the env file does not have any more is found", func(t *testing.T) {
		if out := l.in(t).fails("verify.sh"); !strings.Contains(out, "service casewatch-console: deployed is there, should be not there: CONSOLE_USERS is not set") {
			t.Errorf("verify says\n%s", out)
		}
	})
	t.Run("destroy", func(t *testing.T) { l.in(t).destroyed() })
	for _, call := range fake.Unknown() {
		t.Errorf("the fake does not know %s", call)
	}
}

func (l *live) in(t *testing.T) *live {
	sub := *l
	sub.t = t
	return &sub
}

// startMachine serves the functions on this machine, and returns where.
func startMachine(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	settings := map[string]string{"API_KEYS": deployedKey, "ALLOW_ANONYMOUS": "false", "CHECK_MIN_INTERVAL": "200ms",
		"CONSOLE_USERS": "operator@example.com", "CONSOLE_AUDIENCES": base + "/console"}
	m, err := machine.Open(t.Context(), machine.Options{
		BaseURL: base, DataDir: t.TempDir(), Log: io.Discard, DocumentTime: 10 * time.Millisecond,
		Lookup: func(name string) (string, bool) { v, ok := settings[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, h := range m.Handlers {
		below, slash := m.Handlers[path+"/"]
		if slash { // on one machine it only leads there
			h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path += "/"
				below.ServeHTTP(w, r)
			})
		}
		mux.Handle(path, h)
		if !slash && !strings.HasSuffix(path, "/") {
			mux.Handle(path+"/", h) // as when deployed: each function is served at every path
		}
	}
	server := httptest.NewUnstartedServer(mux)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return base
}

var hashes = regexp.MustCompile(`sha256:[0-9a-f]{12,64}|casewatch-(source|spec)":"[0-9a-f]+"|casewatch:[0-9a-f]{12,64}\b`)

// made are the calls that changed something, without what follows from the source or from chance, and without those that were made to fail.
func made(fake *googlefake.Fake) string {
	var b strings.Builder
	for _, c := range fake.Mutations() {
		if c.Status < 400 {
			b.WriteString(hashes.ReplaceAllString(c.String(), "HASH") + "\n")
		}
	}
	return b.String()
}

// service is a service as Cloud Run has it.
func (l *live) service(function string) map[string]any {
	return l.fake.Get("services/casewatch-" + function)
}

// at walks into JSON by names and indices.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			a, _ := v.([]any)
			if step >= len(a) {
				return nil
			}
			v = a[step]
		}
	}
	return v
}

// variables are the environment of a service, and the names of those that are secrets.
func (l *live) variables(function string) (env map[string]string, secrets map[string]bool) {
	env, secrets = map[string]string{}, map[string]bool{}
	list, _ := at(l.service(function), "spec", "template", "spec", "containers", 0, "env").([]any)
	for _, v := range list {
		name := fmt.Sprint(at(v, "name"))
		if secret := at(v, "valueFrom", "secretKeyRef", "name"); secret != nil {
			env[name], secrets[name] = fmt.Sprint(secret), true
		} else {
			env[name] = fmt.Sprint(at(v, "value"))
		}
	}
	return env, secrets
}

// environments wants every setting to be given to exactly those functions that use it, with values by which they start.
func (l *live) environments() {
	given := map[string]bool{}
	for _, function := range config.Functions() {
		env, secrets := l.variables(function)
		for name := range env {
			given[name] = true
		}
		for _, s := range config.Settings() {
			value, ok := env[s.Name]
			switch {
			case ok && !s.UsedBy(function):
				l.t.Errorf("%s is given %s, which it does not use", function, s.Name)
			case !ok && s.UsedBy(function) && s.Required:
				l.t.Errorf("%s is not given %s", function, s.Name)
			case ok && s.Secret && s.Name != "STORE" && !secrets[s.Name]:
				l.t.Errorf("%s of %s is not a secret", s.Name, function)
			case strings.Contains(value, "localhost") || strings.Contains(value, "127.0.0.1"):
				l.t.Errorf("%s of %s is %s", s.Name, function, value)
			}
			delete(env, s.Name)
		}
		if env["FUNCTION_TARGET"] != function || len(env) != 1 {
			l.t.Errorf("%s has more than its settings and its name: %v", function, env)
		}
		if _, err := config.Load(function, l.lookup(function)); err != nil {
			l.t.Error(err)
		}
	}
	for _, s := range config.Settings() {
		if s.Required && !given[s.Name] {
			l.t.Errorf("nobody is given %s", s.Name)
		}
	}
}

// lookup is the environment of a function as it starts on Google Cloud.
func (l *live) lookup(function string) func(string) (string, bool) {
	env, secrets := l.variables(function)
	env["K_SERVICE"] = "casewatch-" + function
	return func(name string) (string, bool) {
		value, ok := env[name]
		if secrets[name] {
			value = strings.Repeat("s", 40) // any
		}
		return value, ok
	}
}

// archive wants the archive that was uploaded to be what .gcloudignore leaves, and each function of it to boot with what it was given.
func (l *live) archive() {
	uploads := l.fake.Uploads()
	if len(uploads) != 1 {
		l.t.Fatalf("%d archives were uploaded", len(uploads))
	}
	source := filepath.Join(l.t.TempDir(), "source")
	got := unpack(l.t, uploads[0].Data, source)
	want := upload(l.t, root(l.t), l.t.TempDir())
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		l.t.Errorf("the archive has %q, the tests of the tree take it to have %q", got, want)
	}
	main := filepath.Join(source, appDir)
	if err := os.MkdirAll(main, 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(main, "main.go"), []byte(appMain), 0o644); err != nil {
		l.t.Fatal(err)
	}
	run(l.t, source, "go", "mod", "tidy")
	binary := filepath.Join(l.t.TempDir(), "app")
	run(l.t, source, "go", "build", "-trimpath", "-tags="+storeTags["firestore"], "-ldflags=-s -w", "-o", binary, "./"+appDir)
	for _, function := range config.Functions() {
		env, _ := l.variables(function)
		lookup := l.lookup(function)
		var given []string
		for name := range env {
			value, _ := lookup(name)
			given = append(given, name+"="+value)
		}
		boot(l.t, binary, function, given).mustAnswer(l.t)
	}
}

// unpack unpacks a .tgz and returns the names of its files.
func unpack(t *testing.T, archive []byte, dir string) []string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for files := tar.NewReader(zipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Clean(header.Name)
		if !filepath.IsLocal(name) {
			t.Fatalf("the archive holds %s", name)
		}
		to := filepath.Join(dir, name)
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
}

// failingForm is a form that the sample pipeline fails.
func failingForm(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "form.json")
	if err := os.WriteFile(file, []byte(`{"document_types":["no such type"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serving are the revisions that have the traffic.
func (l *live) serving() []string {
	var all []string
	for _, function := range config.Functions() {
		traffic, _ := at(l.service(function), "status", "traffic").([]any)
		for _, entry := range traffic {
			if at(entry, "percent") != nil && fmt.Sprint(at(entry, "percent")) == "100" {
				all = append(all, fmt.Sprint(at(entry, "revisionName")))
			}
		}
	}
	return all
}

// faults plants some, each of another kind, and wants verify to name every one.
func (l *live) faults() {
	f := l.fake
	setEnv := func(function, name, value string) {
		f.Edit("services/casewatch-"+function, func(s map[string]any) {
			list, _ := at(s, "spec", "template", "spec", "containers", 0, "env").([]any)
			for _, v := range list {
				if at(v, "name") == name {
					v.(map[string]any)["value"] = value
				}
			}
		})
	}
	type fault struct {
		what  string
		plant func()
		found string // a pattern of verify's line
	}
	planted := []fault{
		{"a loopback URL", func() { setEnv("check", "PIPELINE_API_URL", "http://localhost:8000") }, `casewatch-check.*PIPELINE_API_URL`},
		{"another setting", func() { setEnv("sweep", "TASKS_LOCATION", "europe-west1") }, `casewatch-sweep.*TASKS_LOCATION`},
		{"less memory", func() {
			f.Edit("services/casewatch-status", func(s map[string]any) {
				at(s, "spec", "template", "spec", "containers", 0, "resources", "limits").(map[string]any)["memory"] = "256Mi"
			})
		}, `casewatch-status.*memory`},
		{"a private function for everyone", func() {
			f.Edit("services/casewatch-dispatch:iamPolicy", func(p map[string]any) {
				p["bindings"].([]any)[0].(map[string]any)["members"] = append(at(p, "bindings", 0, "members").([]any), "allUsers")
			})
		}, `casewatch-dispatch.*allUsers`},
		{"a public console", func() {
			f.Edit("services/casewatch-console:iamPolicy", func(p map[string]any) {
				p["bindings"].([]any)[0].(map[string]any)["members"] = append(at(p, "bindings", 0, "members").([]any), "allUsers")
			})
		}, `service/casewatch-console.*allUsers`},
		{"a console that IAP does not guard", func() {
			f.Edit("services/casewatch-console", func(s map[string]any) {
				delete(s["metadata"].(map[string]any)["annotations"].(map[string]any), "run.googleapis.com/iap-enabled")
			})
		}, `casewatch-console.*IAP is off`},
		{"a stranger whom IAP lets pass", func() {
			f.Edit("cloud_run-us-central1/casewatch-console:iamPolicy", func(p map[string]any) {
				p["bindings"].([]any)[0].(map[string]any)["members"] = append(at(p, "bindings", 0, "members").([]any), "domain:example.com")
			})
		}, `iap/casewatch-console.*domain:example.com`},
		{"a private function that asks nobody who calls", func() {
			f.Edit("services/casewatch-complete", func(s map[string]any) {
				s["metadata"].(map[string]any)["annotations"].(map[string]any)["run.googleapis.com/invoker-iam-disabled"] = "true"
			})
		}, `casewatch-complete.*check of who calls`},
		{"a paused queue", func() { f.Edit("queues/casewatch-check", func(q map[string]any) { q["state"] = "PAUSED" }) }, `casewatch-check.*PAUSED`},
		{"a queue's limit", func() {
			f.Edit("queues/casewatch-dispatch", func(q map[string]any) { q["rateLimits"].(map[string]any)["maxConcurrentDispatches"] = 1000 })
		}, `casewatch-dispatch.*1000`},
		{"no TTL", func() {
			f.Edit("collectionGroups/runs/fields/expire_at", func(field map[string]any) { delete(field, "ttlConfig") })
		}, `ttl.*runs`},
		{"no dead letters", func() {
			f.Edit("subscriptions/casewatch-complete", func(s map[string]any) { delete(s, "deadLetterPolicy") })
		}, `casewatch-complete.*(dead|delivery attempts)`},
		{"a missing alert", func() { l.deleteAlert("leaked") }, `alert.*leaked`},
		{"a paused job", func() { f.Edit("jobs/casewatch-sweep", func(j map[string]any) { j["state"] = "PAUSED" }) }, `casewatch-sweep.*PAUSED`},
	}
	for _, p := range planted {
		p.plant()
	}
	out := l.fails("verify.sh")
	for _, p := range planted {
		if !regexp.MustCompile(p.found).MatchString(out) {
			l.t.Errorf("%s is not found", p.what)
		}
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, ", should be ") && !slices.ContainsFunc(planted, func(p fault) bool { return regexp.MustCompile(p.found).MatchString(line) }) {
			l.t.Errorf("what nobody planted is found: %s", line)
		}
	}
	l.t.Logf("verify says\n%s", out)
}

// deleteAlert deletes the policy that a file of deploy/monitoring/alerts has made.
func (l *live) deleteAlert(file string) {
	for _, key := range l.fake.Names("monitoring/projects/" + l.fake.Project() + "/alertPolicies/") {
		if at(l.fake.Get(key), "userLabels", "casewatch-file") == file {
			l.fake.Delete(key)
			return
		}
	}
	l.t.Fatalf("there is no alert of %s", file)
}

// destroyed wants nothing to be deleted unasked, and then all but the data.
func (l *live) destroyed() {
	l.fake.ResetCalls()
	out := l.fails("destroy.sh")
	if changed := mutations(l.fake); changed != "" {
		l.t.Errorf("unasked, it calls\n%s", changed)
	}
	out += l.run("destroy.sh", "--yes")
	for _, gone := range []string{"services/casewatch-start", "services/casewatch-console", "serviceAccounts/casewatch-console@demo-p.iam.gserviceaccount.com", "queues/casewatch-check", "subscriptions/casewatch-complete", "jobs/casewatch-sweep"} {
		if l.fake.Has(gone) {
			l.t.Errorf("%s is still there:\n%s", gone, out)
		}
	}
	for _, kept := range []string{"secrets/casewatch-token-secret", "databases/(default)", "topics/casewatch-ended"} {
		if !l.fake.Has(kept) {
			l.t.Errorf("%s is gone:\n%s", kept, out)
		}
	}
}
