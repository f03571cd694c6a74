package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// good is the least that can be deployed.
func good() map[string]string {
	return map[string]string{
		"PROJECT": "demo-project", "REGION": "us-central1", "PREFIX": "casewatch", "STORE": "firestore:", "PIPELINE_API_URL": "https://pipeline.example.com",
		"MEMORY": "1Gi", "CPU": "1", "CONCURRENCY": "80", "TIMEOUT": "300", "MIN_INSTANCES": "1", "MAX_INSTANCES": "10", "INGRESS": "all",
		"TIMEOUT_DISPATCH": "3600", "SWEEP_SCHEDULE": "*/2 * * * *", "ALERT_EMAIL": "oncall@example.com", "RUNBOOKS_URL": "https://example.com/runbooks",
	}
}

func with(pairs ...string) map[string]string {
	values := good()
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return values
}

// withConsole is good with two who may use the console.
func withConsole(pairs ...string) map[string]string {
	return with(append([]string{"CONSOLE_USERS", "Operator@example.com,robot@other.iam.gserviceaccount.com"}, pairs...)...)
}

func without(names ...string) map[string]string {
	values := good()
	for _, name := range names {
		delete(values, name)
	}
	return values
}

func text(values map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(name + "=" + values[name] + "\n")
	}
	return b.String()
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// folder is a deploy folder with one file of each kind.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "firestore.indexes.json"), `{"indexes": [
		{"collectionGroup": "cases", "queryScope": "COLLECTION", "fields": [{"fieldPath": "shard", "order": "ASCENDING"}, {"fieldPath": "due", "order": "DESCENDING"}]},
		{"collectionGroup": "runs", "queryScope": "COLLECTION_GROUP", "fields": [{"fieldPath": "tags", "arrayConfig": "CONTAINS"}, {"fieldPath": "at", "order": "ASCENDING"}]}],
		"fieldOverrides": [{"collectionGroup": "cases", "fieldPath": "expire_at", "ttl": true, "indexes": []},
			{"collectionGroup": "cases", "fieldPath": "at", "indexes": [{"order": "ASCENDING", "queryScope": "COLLECTION"}]},
			{"collectionGroup": "runs", "fieldPath": "gone_at", "ttl": true}]}`)
	write(t, filepath.Join(dir, "monitoring/metrics/ended.yaml"), "name: ${PREFIX}-ended\ndescription: Cases that ended.\nfilter: project=${PROJECT}\n")
	write(t, filepath.Join(dir, "monitoring/alerts/leaked.json"), `{"displayName": "${PREFIX} leaked", "documentation": {"content": "${RUNBOOKS}/leaked.md"}, "notificationChannels": ["${CHANNELS}"], "userLabels": {"alert": "leaked"}}`)
	write(t, filepath.Join(dir, "monitoring/dashboard.json"), `{"displayName": "${PREFIX}", "labels": {"a": "b"}}`)
	return dir
}

// planFor is the plan of an env file that is good.
func planFor(t *testing.T, values map[string]string, live *state) *Plan {
	t.Helper()
	if live == nil {
		live = &state{}
	}
	p, err := planOf(write(t, filepath.Join(t.TempDir(), "test.env"), text(values)), folder(t), live, false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// faultsOf is what is wrong with an env file.
func faultsOf(t *testing.T, content string) string {
	t.Helper()
	_, err := planOf(write(t, filepath.Join(t.TempDir(), "test.env"), content), folder(t), &state{}, false)
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestExamplesAreGoodButForTheirPlaceholders(t *testing.T) {
	examples, err := filepath.Glob("../env/*.env")
	if err != nil || len(examples) < 2 {
		t.Fatalf("%v, %v", examples, err)
	}
	for _, example := range examples {
		if _, err := planOf(example, folder(t), &state{}, true); err != nil {
			t.Error(err)
		}
		_, err := planOf(example, folder(t), &state{}, false)
		if err == nil || !strings.Contains(err.Error(), "PROJECT is still the placeholder") {
			t.Errorf("%s with its placeholders: %v", example, err)
		}
	}
}

func TestCommands(t *testing.T) {
	dir := folder(t)
	file := write(t, filepath.Join(t.TempDir(), "test.env"), text(good()))
	call := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(args, strings.NewReader(""), &out)
		return out.String(), err
	}
	out, err := call("plan", "-deploy", dir, file)
	var p Plan
	if err != nil || json.Unmarshal([]byte(out), &p) != nil || p.Project != "demo-project" || len(p.Services) != 7 {
		t.Errorf("plan: %v\n%s", err, out)
	}
	out, err = call("diff", "-deploy", dir, file)
	if err != nil || !strings.Contains(out, "create\tapi\trun.googleapis.com\t-\tmissing\tthere\n") {
		t.Errorf("diff: %v\n%s", err, out)
	}
	out, err = call("policy", "-deploy", dir, file, "queue", "casewatch-check")
	if err != nil || !strings.Contains(out, `"role": "roles/cloudtasks.viewer"`) {
		t.Errorf("policy: %v\n%s", err, out)
	}
	rendered := t.TempDir()
	if _, err = call("render", "-deploy", dir, file, rendered); err != nil {
		t.Errorf("render: %v", err)
	}
	for _, name := range []string{"env/start.json", "metrics/ended.yaml", "alerts/leaked.json", "dashboards/dashboard.json"} {
		if data, err := os.ReadFile(filepath.Join(rendered, name)); err != nil || len(data) == 0 || bytes.Contains(data, []byte("${P")) {
			t.Errorf("%s: %v, %s", name, err, data)
		}
	}
	for _, args := range [][]string{nil, {"plan"}, {"plan", file, file}, {"deploy", file}, {"plan", "-x", file}, {"policy", "-deploy", dir, file, "queue", "none"}} {
		if _, err := call(args...); err == nil {
			t.Errorf("%q is accepted", args)
		} else if _, ok := errors.AsType[usageError](err); !ok {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := call("plan", "none.env"); err == nil {
		t.Error("a file that is not there is accepted")
	}
	broken := t.TempDir()
	write(t, filepath.Join(broken, "queues.json"), "[")
	if _, err := call("diff", "-deploy", dir, "-state", broken, file); err == nil || !strings.Contains(err.Error(), "queues") {
		t.Errorf("a list that cannot be understood: %v", err)
	}
}

func TestSourceIsWhatTheFilesHold(t *testing.T) {
	dir := t.TempDir()
	a, b := write(t, filepath.Join(dir, "a"), "1"), write(t, filepath.Join(dir, "b"), "2")
	of := func(names ...string) string {
		var out bytes.Buffer
		if err := source(strings.NewReader(strings.Join(names, "\n")+"\n"), &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	before := of(a, b)
	if of(b, a) != before || of(a) == before || len(strings.TrimSpace(before)) != 16 {
		t.Errorf("%q", before)
	}
	write(t, b, "3")
	if of(a, b) == before {
		t.Error("another content has the same hash")
	}
	if err := source(strings.NewReader(filepath.Join(dir, "none")), io.Discard); err == nil {
		t.Error("a file that is not there is accepted")
	}
}
