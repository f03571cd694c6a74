// Package openapi_test generates a client from functions/openapi.yaml as its readers do, and compiles it.
package openapi_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/oapi-codegen/runtime" // what a generated client imports
)

// TestGeneratedClient: a client that oapi-codegen generates compiles, and so does a program that
// uses it. Neither is kept: the compiler is told where they are instead of in the folders that it
// reads.
func TestGeneratedClient(t *testing.T) {
	dir := t.TempDir()
	// Read here, so that go test knows by what its cached result was made.
	description := copyOf(t, filepath.Join("..", "..", "..", "functions", "openapi.yaml"), dir)
	usage := copyOf(t, filepath.Join("testdata", "usage.go"), dir)
	client := filepath.Join(dir, "client.go")
	run(t, "go", "tool", "oapi-codegen", "-generate=types,client", "-package=client", "-o="+client, description)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, "client", "client.go"): client,
		filepath.Join(here, "usage", "usage.go"):   usage,
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "go", "build", "-overlay="+file, "-o="+os.DevNull, "./usage")
}

func copyOf(t *testing.T, path, dir string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
