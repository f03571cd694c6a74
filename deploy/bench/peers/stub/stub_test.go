package stub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestLength shows that lengths depend only on seed and case, stay within their limits, and have
// the documented median and mean.
func TestLength(t *testing.T) {
	const n = 20_000
	var sum time.Duration
	below := 0
	for i := range n {
		id := fmt.Sprint("case-", i)
		length := Length(1, id)
		if length != Length(1, id) {
			t.Fatalf("%s has two lengths", id)
		}
		if length < shortest || length > longest {
			t.Fatalf("%s takes %v, want %v to %v", id, length, shortest, longest)
		}
		sum += length
		if length < median {
			below++
		}
	}
	if mean := sum / n; mean < 22600*time.Millisecond || mean > 23200*time.Millisecond {
		t.Errorf("the mean is %v, want about 22.9s", mean)
	}
	if share := float64(below) / n; share < 0.48 || share > 0.52 {
		t.Errorf("a share of %.3f is below the median, want about 0.5", share)
	}
	if Length(1, "a") == Length(1, "b") || Length(1, "a") == Length(2, "a") {
		t.Error("two cases, or two seeds, have the same length")
	}
}

func TestCompleted(t *testing.T) {
	for _, test := range []struct {
		elapsed time.Duration
		want    int
	}{
		{-time.Second, 0},
		{0, 0},
		{999 * time.Millisecond, 0},
		{time.Second, 1},
		{15 * time.Second, 15},
		{30 * time.Second, 30},
		{time.Hour, 30},
	} {
		if got := completed(test.elapsed, 30*time.Second); got != test.want {
			t.Errorf("after %v: %d, want %d", test.elapsed, got, test.want)
		}
	}
}

// TestPipeline shows that requests are recorded, that a case starts once, and that only the mode
// Polling has a status in the progress.
func TestPipeline(t *testing.T) {
	for _, mode := range []Mode{Events, Polling} {
		p := New(mode, 1, func(string) {})
		server := httptest.NewServer(p)
		get := func() (int, map[string]any) {
			res, err := server.Client().Get(server.URL + "/api/progress/c")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var progress map[string]any
			_ = json.NewDecoder(res.Body).Decode(&progress) // a 404 is not JSON
			return res.StatusCode, progress
		}
		if code, _ := get(); code != http.StatusNotFound {
			t.Errorf("%s: a poll before the start is answered %d, want 404", mode, code)
		}
		for range 2 {
			body := strings.NewReader(`{"case_id":"c"}`)
			res, err := server.Client().Post(server.URL+"/api/normalize", "application/json", body)
			if err != nil || res.StatusCode != http.StatusAccepted {
				t.Fatalf("%s: %v %v", mode, res, err)
			}
			_ = res.Body.Close()
		}
		code, progress := get()
		if code != http.StatusOK || progress["total"] != float64(Documents) ||
			(progress["status"] == "running") != (mode == Polling) {
			t.Errorf("%s: a poll of a running case is answered %d %v", mode, code, progress)
		}
		n, last := p.Started()
		r := p.Records()["c"]
		if n != 1 || r.Posts != 2 || len(r.Polls) != 2 || !r.Ends.Equal(last) || time.Until(r.Ends) > Length(1, "c") {
			t.Errorf("%s: %d cases started, want 1; the record is %+v, want 2 posts and 2 polls", mode, n, r)
		}
		p.mu.Lock()
		p.records["c"].Ends = time.Now()
		p.mu.Unlock()
		_, progress = get()
		if progress["completed"] != float64(Documents) || (progress["status"] == "succeeded") != (mode == Polling) {
			t.Errorf("%s: a poll at the end is answered %v", mode, progress)
		}
		server.Close()
	}
}

func TestEvent(t *testing.T) {
	var e struct {
		CaseID string `json:"case_id"`
		Status string
		Result struct{ Success bool }
	}
	err := json.Unmarshal(Event("c"), &e)
	if err != nil || e.CaseID != "c" || e.Status != "succeeded" || !e.Result.Success {
		t.Errorf("the event is %+v (%v)", e, err)
	}
}
