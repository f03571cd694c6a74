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

// TestLength: lengths depend on seed and case alone, lie within their bounds, and have the median and mean that the figures are about.
func TestLength(t *testing.T) {
	const n = 20_000
	var sum time.Duration
	below := 0
	for i := range n {
		id := fmt.Sprint("case-", i)
		length := Length(1, id)
		if length != Length(1, id) {
			t.Fatalf("%s takes another time when asked again", id)
		}
		if length < shortest || length > longest {
			t.Fatalf("%s takes %v", id, length)
		}
		sum += length
		if length < median {
			below++
		}
	}
	if mean := sum / n; mean < 22600*time.Millisecond || mean > 23200*time.Millisecond {
		t.Errorf("the mean is %v", mean)
	}
	if share := float64(below) / n; share < 0.48 || share > 0.52 {
		t.Errorf("%.3f are below the median", share)
	}
	if Length(1, "a") == Length(1, "b") || Length(1, "a") == Length(2, "a") {
		t.Error("another case, or another seed, takes as long")
	}
}

func TestCompleted(t *testing.T) {
	for _, test := range []struct {
		elapsed time.Duration
		want    int
	}{{-time.Second, 0}, {0, 0}, {999 * time.Millisecond, 0}, {time.Second, 1}, {15 * time.Second, 15}, {30 * time.Second, 30}, {time.Hour, 30}} {
		if got := completed(test.elapsed, 30*time.Second); got != test.want {
			t.Errorf("after %v: %d, want %d", test.elapsed, got, test.want)
		}
	}
}

// TestPipeline: what is asked is written down, a case is started once, and only in the mode of polling does progress say how a case stands.
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
			var said map[string]any
			_ = json.NewDecoder(res.Body).Decode(&said) // a 404 is no JSON
			return res.StatusCode, said
		}
		if code, _ := get(); code != http.StatusNotFound {
			t.Errorf("%s: before its start: %d", mode, code)
		}
		for range 2 {
			res, err := server.Client().Post(server.URL+"/api/normalize", "application/json", strings.NewReader(`{"case_id":"c"}`))
			if err != nil || res.StatusCode != http.StatusAccepted {
				t.Fatalf("%s: %v %v", mode, res, err)
			}
			_ = res.Body.Close()
		}
		if code, said := get(); code != http.StatusOK || said["total"] != float64(Documents) || (said["status"] == "running") != (mode == Polling) {
			t.Errorf("%s: %d %v", mode, code, said)
		}
		n, last := p.Started()
		r := p.Records()["c"]
		if n != 1 || r.Posts != 2 || len(r.Polls) != 2 || !r.Ends.Equal(last) || time.Until(r.Ends) > Length(1, "c") {
			t.Errorf("%s: %d started, %+v", mode, n, r)
		}
		p.mu.Lock()
		p.records["c"].Ends = time.Now()
		p.mu.Unlock()
		if _, said := get(); said["completed"] != float64(Documents) || (said["status"] == "succeeded") != (mode == Polling) {
			t.Errorf("%s: at its end: %v", mode, said)
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
	if err := json.Unmarshal(Event("c"), &e); err != nil || e.CaseID != "c" || e.Status != "succeeded" || !e.Result.Success {
		t.Errorf("%+v %v", e, err)
	}
}
