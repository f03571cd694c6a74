package contract

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
)

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
			"status":   map[string]any{"url": base + "/" + name},
		})
	}
	data, err := json.Marshal(services)
	if err != nil {
		t.Fatal(err)
	}
	stub := `#!/bin/sh
case "$*" in
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
	return append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "RETRY_SECONDS=1")
}

// A deployed copy is drilled by what its services say of themselves, and only as far as it may be.
func TestDrillOfADeployedCopy(t *testing.T) {
	t.Parallel()
	needsTools(t, "jq", "curl", "openssl")
	form := filepath.Join(t.TempDir(), "form.json") // of three hundred documents: the case is still open when it is superseded
	if err := os.WriteFile(form, []byte(`{"document_types":["srogs"],"DefendantDetails2":[`+strings.Repeat("{},", 299)+`{}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	base, file := startMachine(t), environment(t, "production", "CANARY_FORM="+form)
	out, status := script(t, drillCloud(t, base, "sha256:00, "+deployedKey+"\n"), "drill.sh", file, "--only", "purge,freeze,kill-at-check,repeated-start,supersede")
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
	needsTools(t, "jq", "curl", "openssl")
	file := environment(t, "production")
	env := drillCloud(t, "http://127.0.0.1:1", "sha256:00\n")
	for name, test := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no environment":      {env, []string{"--json"}, "usage: drill.sh"},
		"hashes only":         {env, []string{file}, "no API key could be read"},
		"no such name":        {env, []string{"nowhere"}, "there is no "},
		"a faulty file":       {env, []string{environment(t, "production", "PIPELINE_API_URL=nowhere")}, "cannot be deployed"},
		"no dry run":          {append(env, "DRY_RUN=1"), []string{file}, "no dry run"},
		"nothing answers":     {drillCloud(t, "http://127.0.0.1:1", "key\n"), []string{file}, "nothing answers"},
		"a fault that is not": {drillCloud(t, startMachine(t), deployedKey), []string{file, "--only", "flood"}, "there is no fault flood"},
	} {
		t.Run(name, func(t *testing.T) {
			out, status := script(t, test.env, "drill.sh", test.args...)
			if status != 2 || !strings.Contains(out, test.want) {
				t.Errorf("%d, without %q:\n%s", status, test.want, out)
			}
		})
	}
}
