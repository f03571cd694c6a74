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
	each      time.Duration // with Work: the time for a document
	completed int
	total     int
	current   string
	forgotAt  time.Time

	// What a status endpoint of the better kind says, if the test makes it.
	said    string
	message string
	result  json.RawMessage

	ended  chan struct{} // closed at the end; status and body are the answer then
	over   bool
	status int
	body   []byte
}

// begin takes the run up. Like the real one it forgets what it knew of the case.
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

// SetProgress makes the case known, if it is not, and sets what polls of it are told.
func (s *Server) SetProgress(caseID string, completed, total int, current string) {
	s.change(caseID, func(j *job) {
		j.completed, j.total, j.current, j.each, j.forgotAt = completed, total, current, 0, time.Time{}
	})
}

// SetStatus makes polls of the case say a status, an error and a result too; "" and nil for those they do not say.
func (s *Server) SetStatus(caseID, status, message string, result []byte) {
	s.change(caseID, func(j *job) { j.said, j.message, j.result = status, message, result })
}

// Restart is a pipeline that was started again: progress is at 0 of the same total.
func (s *Server) Restart(caseID string) {
	s.change(caseID, func(j *job) { j.completed, j.current, j.each = 0, "", 0 })
}

// Forget makes polls of the case answer 404 from now on. ForgetAt does so from that time on.
func (s *Server) Forget(caseID string) { s.ForgetAt(caseID, time.Now()) }

// ForgetAt is [Server.Forget] from that time on.
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

// Finish ends the newest run of the case: progress is complete, a held request is answered 200 with the body, and [Server.OnEnd] is given the
// event of an asynchronous one. A nil body is [Result] with every document written. It does nothing if there is no run that goes on.
func (s *Server) Finish(caseID string, body []byte) { s.FinishRun(caseID, 0, body) }

// FinishRun is [Server.Finish] for that run of the case: the newest job of it that goes on. 0 is the newest run.
func (s *Server) FinishRun(caseID string, run int, body []byte) {
	s.finish(caseID, run, "succeeded", func(j *job) {
		if body == nil {
			body = Result(caseID, j.total, 0)
		}
		j.end(http.StatusOK, body, j.total)
	})
}

// Fail ends the newest run of the case with the terminal report: a held request is answered 500 with it, an
// asynchronous run's event says it. It does nothing if there is no run that goes on.
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

// state is what a poll of the case is told.
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

// Result is the body with which the pipeline ends a case of n documents, of which failed were not written.
func Result(caseID string, n, failed int) []byte {
	output := "https://storage.example/" + caseID
	results := []map[string]any{}
	for i := range n {
		results = append(results, map[string]any{"index": i, "success": i < n-failed})
	}
	body, err := json.Marshal(map[string]any{
		"success": true, "case_id": caseID, "execution_time_ms": 1000 * n,
		"phase_results":   map[string]any{"normalize": map[string]any{"sets": n}},
		"webhook_summary": map[string]any{"total_sets": n, "succeeded": n - failed, "failed": failed, "output_url": output, "results": results},
		"output_url":      output,
	})
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	return body
}
