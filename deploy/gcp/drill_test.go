package gcp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/gcp/env"
	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/local/machine/machinetest"
	"github.com/casewatch/casewatch/shared/config"
)

const deployedKey = "a-key-of-the-frontend-that-a-drill-uses"

// drillEnv returns an environment for drill.sh with a gcloud of its own. That gcloud knows the
// services of a deployment, which are the functions at base, and the secret with the API keys.
// Package stub is not used: its services do not answer.
func drillEnv(t *testing.T, base, keys string) []string {
	t.Helper()
	dir := t.TempDir()
	var services []map[string]any
	for _, name := range config.Functions() {
		container := map[string]any{"env": []any{
			map[string]any{"name": "API_KEYS", "valueFrom": map[string]any{
				"secretKeyRef": map[string]any{"name": "casewatch-api-keys", "key": "1"},
			}},
			map[string]any{"name": "QUEUE_SHARDS", "value": "2"},
		}}
		services = append(services, map[string]any{
			"metadata": map[string]any{"name": "casewatch-" + name},
			"spec": map[string]any{
				"template": map[string]any{"spec": map[string]any{"containers": []any{container}}},
			},
			"status": map[string]any{"url": base + "/" + name, "latestCreatedRevisionName": name + "-1"},
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
	return toolEnv("PATH=" + dir + ":" + os.Getenv("PATH"))
}

// TestDrill drills deployed functions. drill.sh reads their addresses and settings from their
// services, leaves out the faults that are impossible or not allowed there, and prints no secret.
func TestDrill(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "jq", "curl", "openssl")
	// A case of three hundred documents is still open when the drill supersedes it.
	form := filepath.Join(t.TempDir(), "form.json")
	text := `{"document_types":["srogs"],"DefendantDetails2":[` + strings.Repeat("{},", 299) + `{}]}`
	if err := os.WriteFile(form, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	base, file := startMachine(t), env.Example(t, "production", "CANARY_FORM="+form)
	out, status := runScript(t, drillEnv(t, base, "sha256:00, "+deployedKey+"\n"), "drill.sh", file,
		"--only", "purge,freeze,kill-at-check,repeated-start,supersede")
	if status != 0 {
		t.Fatalf("drill.sh exits with %d:\n%s", status, out)
	}
	for _, want := range []string{
		"only with --yes-purge", "only the sample pipeline does this", "the console answered 401",
		"known to the console only", "every promise kept", "casewatch in demo-p",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not contain %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{deployedKey, "an-access-token"} {
		if strings.Contains(out, secret) {
			t.Error("the output contains a secret")
		}
	}
}

// TestDrillThatCannotBegin shows that drill.sh exits with 2, and says why, if it cannot inject
// faults at all.
func TestDrillThatCannotBegin(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "jq", "curl", "openssl")
	const nowhere = "http://127.0.0.1:1"
	file := env.Example(t, "production")
	invalid := env.Example(t, "production", "PIPELINE_API_URL=nowhere")
	hashes := drillEnv(t, nowhere, "sha256:00\n")
	for name, test := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no environment":     {hashes, []string{"--json"}, "usage: drill.sh"},
		"hashes of keys":     {hashes, []string{file}, "no API key could be read"},
		"unknown name":       {hashes, []string{"nowhere"}, "there is no "},
		"invalid env file":   {hashes, []string{invalid}, "cannot be deployed"},
		"dry run":            {append(hashes, "DRY_RUN=1"), []string{file}, "no dry run"},
		"no function at all": {drillEnv(t, nowhere, "key\n"), []string{file}, "nothing answers"},
		"unknown fault": {
			drillEnv(t, startMachine(t), deployedKey), []string{file, "--only", "flood"}, "there is no fault flood",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, status := runScript(t, test.env, "drill.sh", test.args...)
			if status != 2 || !strings.Contains(out, test.want) {
				t.Errorf("drill.sh exits with %d, want 2, and should print %q:\n%s", status, test.want, out)
			}
		})
	}
}

// startMachine serves all functions on this machine until the test ends. It returns their base URL.
func startMachine(t *testing.T) string {
	t.Helper()
	listener := machinetest.Listen(t)
	base := "http://" + listener.Addr().String()
	settings := map[string]string{
		"API_KEYS": deployedKey, "ALLOW_ANONYMOUS": "false", "CHECK_MIN_INTERVAL": "200ms",
		"CONSOLE_USERS": "operator@example.com", "CONSOLE_AUDIENCES": base + "/console",
	}
	m, err := machine.Open(t.Context(), machine.Options{
		BaseURL: base, DataDir: t.TempDir(), Log: io.Discard, DocumentTime: 10 * time.Millisecond,
		Lookup: func(name string) (string, bool) { v, ok := settings[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	handlers := map[string]http.Handler{}
	for path, h := range m.Handlers {
		below, slash := m.Handlers[path+"/"]
		if slash { // the handler without the slash only redirects
			h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path += "/"
				below.ServeHTTP(w, r)
			})
		}
		handlers[path] = h
		if !slash && !strings.HasSuffix(path, "/") {
			handlers[path+"/"] = h // a deployed function is served at every path
		}
	}
	server := machinetest.Serve(listener, handlers)
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
