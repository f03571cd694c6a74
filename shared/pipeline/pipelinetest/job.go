package pipelinetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// job is the pipeline's work on one run.
type job struct {
	run       int
	async     bool
	began     time.Time
	each      time.Duration // set by Work: the time for one document
	completed int
	total     int
	current   string
	forgotAt  time.Time

	// What polls report besides counts, if the test sets it.
	said    string
	message string
	result  json.RawMessage

	ended  chan struct{} // closed at the end; then status and body are the answer
	over   bool
	status int
	body   []byte
}

// begin starts work on the run. Like the real pipeline, it forgets the earlier run of the case.
func (x *Exchange) begin(n int, async bool) *job {
	j := &job{run: x.run, async: async, began: time.Now(), total: n, ended: make(chan struct{})}
	x.server.update(func() {
		x.server.jobs[x.caseID] = j
		x.server.held[x.caseID] = append(x.server.held[x.caseID], j)
	})
	return j
}

func (j *job) end(status int, body []byte, completed int) {
	if j.over {
		return
	}
	j.over, j.status, j.body = true, status, body
	j.completed, j.current, j.each = completed, "", 0
	close(j.ended)
}

// SetProgress sets the progress that polls of the case return. It creates the case if it is
// unknown.
func (s *Server) SetProgress(caseID string, completed, total int, current string) {
	s.change(caseID, func(j *job) {
		j.completed, j.total, j.current, j.each, j.forgotAt = completed, total, current, 0, time.Time{}
	})
}

// SetStatus makes polls of the case return a status, an error and a result too. "" and nil leave a
// field out.
func (s *Server) SetStatus(caseID, status, message string, result []byte) {
	s.change(caseID, func(j *job) { j.said, j.message, j.result = status, message, result })
}

// Restart simulates a restart of the pipeline: progress is 0 of the same total.
func (s *Server) Restart(caseID string) {
	s.change(caseID, func(j *job) { j.completed, j.current, j.each = 0, "", 0 })
}

// Forget makes polls of the case return 404 from now on.
func (s *Server) Forget(caseID string) { s.ForgetAt(caseID, time.Now()) }

// ForgetAt makes polls of the case return 404 from the given time on.
func (s *Server) ForgetAt(caseID string, at time.Time) {
	s.change(caseID, func(j *job) { j.forgotAt = at })
}

func (s *Server) change(caseID string, change func(*job)) {
	s.update(func() {
		if s.jobs[caseID] == nil {
			s.jobs[caseID] = &job{async: true, began: time.Now(), ended: make(chan struct{})}
		}
		change(s.jobs[caseID])
	})
}

// Finish ends the newest run of the case with success. Its progress is complete. A held request is
// answered with 200 and the body. For an asynchronous run, [Server.OnEnd] is called with the event.
// A nil body is [Result] with every document written. Finish does nothing if no run is in progress.
func (s *Server) Finish(caseID string, body []byte) { s.FinishRun(caseID, 0, body) }

// FinishRun is [Server.Finish] for the given run of the case: its newest job in progress. 0 means
// the newest run.
func (s *Server) FinishRun(caseID string, run int, body []byte) {
	s.finish(caseID, run, "succeeded", func(j *job) {
		if body == nil {
			body = Result(caseID, j.total, 0)
		}
		j.end(http.StatusOK, body, j.total)
	})
}

// Fail ends the newest run of the case with a terminal report of failure. A held request is
// answered with 500 and the report. For an asynchronous run, the event holds it. Fail does nothing
// if no run is in progress.
func (s *Server) Fail(caseID, message string) {
	s.finish(caseID, 0, "failed", func(j *job) {
		j.message = message
		j.end(http.StatusInternalServerError, []byte(`{"success":false,"error":`+quote(message)+`}`), j.completed)
	})
}

func (s *Server) finish(caseID string, run int, status string, end func(*job)) {
	var ended *job
	s.update(func() {
		if run == 0 && s.jobs[caseID] != nil {
			run = s.jobs[caseID].run
		}
		jobs := s.held[caseID]
		for i := len(jobs) - 1; i >= 0 && ended == nil; i-- {
			if jobs[i].run == run && !jobs[i].over {
				ended = jobs[i]
				end(ended)
			}
		}
	})
	if ended == nil || !ended.async || s.OnEnd == nil {
		return
	}
	event := map[string]any{"case_id": caseID, "run": ended.run, "status": status}
	if status == "succeeded" {
		event["result"] = json.RawMessage(ended.body)
	} else {
		event["error"] = map[string]string{"code": "failed", "message": ended.message}
	}
	data, err := json.Marshal(event)
	if err != nil {
		panic(fmt.Sprintf("pipelinetest: the body given to Finish is not JSON: %v", err))
	}
	s.OnEnd(data)
}

// state returns the answer to a poll of the case.
func (s *Server) state(caseID string) (status int, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[caseID]
	if j == nil || !j.forgotAt.IsZero() && !time.Now().Before(j.forgotAt) {
		return http.StatusNotFound, []byte(`{"detail":"Case not found"}`)
	}
	completed := j.completed
	if j.each > 0 {
		completed = min(int(time.Since(j.began)/j.each), j.total)
	}
	answer := map[string]any{"case_id": caseID, "completed": completed, "total": j.total, "current_doc": j.current}
	if j.total > 0 {
		answer["progress_percent"] = 100 * float64(completed) / float64(j.total)
	} else {
		answer["progress_percent"] = 0
	}
	if j.said != "" {
		answer["status"] = j.said
	}
	if j.message != "" && j.said == "failed" {
		answer["error"] = j.message
	}
	if j.result != nil {
		answer["result"] = j.result
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("pipelinetest: the result given to SetStatus is not JSON: %v", err))
	}
	return http.StatusOK, body
}

// Result returns the body of a successful run of n documents, of which failed were not written.
func Result(caseID string, n, failed int) []byte {
	output := "https://storage.example/" + caseID
	results := []map[string]any{}
	for i := range n {
		results = append(results, map[string]any{"index": i, "success": i < n-failed})
	}
	body, err := json.Marshal(map[string]any{
		"success": true, "case_id": caseID, "execution_time_ms": 1000 * n,
		"phase_results": map[string]any{"normalize": map[string]any{"sets": n}},
		"webhook_summary": map[string]any{
			"total_sets": n,
			"succeeded":  n - failed,
			"failed":     failed,
			"output_url": output,
			"results":    results,
		},
		"output_url": output,
	})
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	return body
}
