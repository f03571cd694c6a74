package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/casewatch/casewatch/deploy/local/samplepipeline"
)

// recorded are the cases to record: plaintiffs, defendants. Each has a document for each pair and
// type, about a second each.
var recorded = [][2]int{{1, 1}, {1, 2}, {2, 1}, {1, 3}, {2, 2}, {1, 5}, {3, 2}, {2, 4}, {3, 3}, {2, 5}, {4, 3}, {3, 5},
	{4, 4}, {17, 1}, {3, 6}, {4, 5}}

// often is how often the progress of a case is asked for: so exact are the times.
const often = 100 * time.Millisecond

// record runs the sample pipeline, asks for the progress of its cases, and writes what that showed to path.
func record(path string) error {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	base := ""
	p := samplepipeline.New(samplepipeline.Options{
		Dir: filepath.Join(dir, "documents"), BaseURL: func() string { return base },
		Logger: slog.New(slog.DiscardHandler),
	})
	defer p.Close()
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	base = server.URL
	rec := recording{
		About: fmt.Sprintf("What the progress endpoint of deploy/local/samplepipeline showed, asked every %v, of "+
			"cases that ran at the same time on one machine. Written by go run ./deploy/bench/policy -record.", often),
		Runs: make([]trace, len(recorded)),
	}
	errs := make([]error, len(recorded))
	var all sync.WaitGroup
	for i, size := range recorded {
		all.Go(func() { rec.Runs[i], errs[i] = recordOne(base, fmt.Sprintf("case-%d", i), size) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	data = bytes.ReplaceAll(data, []byte(`{"documents"`), []byte("\n\t"+`{"documents"`))
	return os.WriteFile(path, append(data, '\n'), 0o600)
}

func recordOne(base, id string, size [2]int) (trace, error) {
	people := func(n int) []map[string]string {
		all := make([]map[string]string, n)
		for i := range all {
			all[i] = map[string]string{"FirstName": "A", "LastName": fmt.Sprint("Person", i)}
		}
		return all
	}
	form, err := json.Marshal(map[string]any{
		"case_id": id, "run": 1, "PlaintiffDetails": people(size[0]), "DefendantDetails2": people(size[1]),
		"sample": map[string]string{"mode": "silent"},
	})
	if err != nil {
		return trace{}, err
	}
	began := time.Now()
	resp, err := http.Post(base+"/api/normalize", "application/json", bytes.NewReader(form))
	if err != nil {
		return trace{}, err
	}
	_ = resp.Body.Close()
	var t trace
	ticks := time.NewTicker(often)
	defer ticks.Stop()
	for range ticks.C {
		var seen struct {
			Completed, Total int
		}
		resp, err := http.Get(base + "/api/progress/" + id)
		if err != nil {
			return trace{}, err
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(data, &seen) != nil {
			return trace{}, fmt.Errorf("%s: %s %s (%v)", id, resp.Status, data, err)
		}
		now := math.Round(time.Since(began).Seconds()*10) / 10
		for len(t.Documents) < seen.Completed {
			t.Documents = append(t.Documents, now)
		}
		if seen.Total > 0 && seen.Completed == seen.Total {
			t.End = now
			return t, nil
		}
	}
	return trace{}, nil
}
