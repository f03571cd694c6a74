package sim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestKeptPlans plays what once broke a promise. Each plan says in its note what that was.
func TestKeptPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no plan is kept", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var p Plan
			if err := json.Unmarshal(data, &p); err != nil {
				t.Fatal(err)
			}
			rec := p.Run(t)
			for _, v := range Check(rec) {
				t.Errorf("%s: %v", filepath.Base(file), v)
			}
			if t.Failed() {
				t.Logf("%s\n%s", p.Note, rec.Story(""))
			}
		})
	}
}
