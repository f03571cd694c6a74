package gcp_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/gcp/env"
	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/shared/config"
)

const deployedKey = "a-key-of-the-frontend-that-a-drill-uses"

// drillCloud is an environment whose gcloud knows the services of a deployment, which are those of the machine at base, and the secret with the API keys. A real
// deployment, made by hundreds of commands, is TestDeployment's.
func drillCloud(t *testing.T, base, keys string) []string {
	t.Helper()
	dir := t.TempDir()
	var services []map[string]any
	for _, name := range config.Functions() {
		container := map[string]any{"env": []any{
			map[string]any{"name": "API_KEYS", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "casewatch-api-keys", "key": "1"}}},
			map[string]any{"name": "QUEUE_SHARDS", "value": "2"},
		}}
		services = append(services, map[string]any{
			"metadata": map[string]any{"name": "casewatch-" + name},
			"spec":     map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{container}}}},
			"status":   map[string]any{"url": base + "/" + name, "latestCreatedRevisionName": name + "-1"},
		})
	}
	data, err := json.Marshal(services)
	if err != nil {
		t.Fatal(err)
	}
	stub := `#!/bin/sh
case "$*" in
"version "*) echo 528.0.0 ;;
"projects describe "*projectNumber*) echo 123456789012 ;;
"projects describe "*) echo ;;
"run services list "*) cat "$(dirname "$0")/services.json" ;;
"secrets versions access 1 --secret=casewatch-api-keys "*) cat "$(dirname "$0")/keys" ;;
"auth print-access-token") echo an-access-token ;;
*) echo "gcloud $*: not known" >&2; exit 1 ;;
esac
`
	for name, text := range map[string]string{"gcloud": stub, "services.json": string(data), "keys": keys} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SETTINGS="+filepath.Join(tools, "settings"), "WAIT=0")
}

// A deployed copy is drilled by what its services say of themselves, and only as far as it may be.
func TestDrillOfADeployedCopy(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "jq", "curl", "openssl")
	form := filepath.Join(t.TempDir(), "form.json") // of three hundred documents: the case is still open when it is superseded
	if err := os.WriteFile(form, []byte(`{"document_types":["srogs"],"DefendantDetails2":[`+strings.Repeat("{},", 299)+`{}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	base, file := startMachine(t), env.Example(t, "production", "CANARY_FORM="+form)
	out, status := runScript(t, drillCloud(t, base, "sha256:00, "+deployedKey+"\n"), "drill.sh", file, "--only", "purge,freeze,kill-at-check,repeated-start,supersede")
	if status != 0 {
		t.Fatalf("%d\n%s", status, out)
	}
	for _, want := range []string{
		"only with --yes-purge", "only the sample pipeline does this", "the console answered 401", "known to the console only", "every promise kept", "casewatch in demo-p",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{deployedKey, "an-access-token"} {
		if strings.Contains(out, secret) {
			t.Error("it tells a secret")
		}
	}
}

func TestDrillRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "jq", "curl", "openssl")
	file := env.Example(t, "production")
	cloud := drillCloud(t, "http://127.0.0.1:1", "sha256:00\n")
	for name, test := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no environment":      {cloud, []string{"--json"}, "usage: drill.sh"},
		"hashes only":         {cloud, []string{file}, "no API key could be read"},
		"no such name":        {cloud, []string{"nowhere"}, "there is no "},
		"a faulty file":       {cloud, []string{env.Example(t, "production", "PIPELINE_API_URL=nowhere")}, "cannot be deployed"},
		"no dry run":          {append(cloud, "DRY_RUN=1"), []string{file}, "no dry run"},
		"nothing answers":     {drillCloud(t, "http://127.0.0.1:1", "key\n"), []string{file}, "nothing answers"},
		"a fault that is not": {drillCloud(t, startMachine(t), deployedKey), []string{file, "--only", "flood"}, "there is no fault flood"},
	} {
		t.Run(name, func(t *testing.T) {
			out, status := runScript(t, test.env, "drill.sh", test.args...)
			if status != 2 || !strings.Contains(out, test.want) {
				t.Errorf("%d, without %q:\n%s", status, test.want, out)
			}
		})
	}
}

// runScript runs a script in an environment of the test, and returns what it wrote and its exit status.
func runScript(t *testing.T, env []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./"+name, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
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
