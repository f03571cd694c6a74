package samplepipeline

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

var errNoTopic = errors.New("no topic to publish to")

// normalize answers a request to start the job of a form. The form's "sample" chooses the answer.
func (p *Pipeline) normalize(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		reply(w, http.StatusRequestEntityTooLarge, detail("the form is larger than 1 MiB"))
		return
	}
	if err != nil {
		return // the caller disconnected
	}
	f, err := parseForm(body)
	switch {
	case errors.Is(err, errNotAnObject):
		reply(w, http.StatusUnprocessableEntity, fastAPIError("model_attributes_type", err.Error(), "body"))
		return
	case err != nil:
		reply(w, http.StatusUnprocessableEntity, detail(err.Error()))
		return
	}
	key := r.Header.Get("Idempotency-Key")
	j, did := p.jobFor(w, r, f, key)
	p.recordRequest(f, key, did, arrived) // before the answer, because the answer may take long
	if j != nil {
		p.answer(w, r, j)
	}
}

// jobFor returns the job of a request. If there is no job, it has answered the request. did is what
// the record says about the request.
func (p *Pipeline) jobFor(w http.ResponseWriter, r *http.Request, f *form, key string) (_ *job, did string) {
	if j := p.join(key); j != nil {
		return j, "joined"
	}
	switch f.sample.Fault {
	case "refuse":
		reply(w, http.StatusUnprocessableEntity,
			fastAPIError("missing", "Field required", "body", "PlaintiffDetails", 0, "PlaintiffItemNumberName"))
		return nil, "refused"
	case "busy":
		if p.answerBusy(key + "\x00" + string(f.CaseID)) {
			w.Header().Set("Retry-After", "2")
			reply(w, http.StatusServiceUnavailable, detail("too many cases at this time"))
			return nil, "busy"
		}
	case "error500":
		reply(w, http.StatusInternalServerError, detail("Internal Server Error"))
		return nil, "refused"
	}
	j, joined := p.begin(f, key, r.Header.Get("Traceparent"))
	switch {
	case j == nil:
		resetConnection(w)
		return nil, "refused"
	case joined:
		return j, "joined"
	}
	return j, "started"
}

// answer answers a request: in mode sync when its job has ended, and otherwise immediately.
func (p *Pipeline) answer(w http.ResponseWriter, r *http.Request, j *job) {
	sample := j.form.sample
	if sample.Mode != "sync" {
		if sample.Fault == "reset" {
			resetConnection(w)
			return
		}
		reply(w, http.StatusAccepted, map[string]any{"case_id": j.form.CaseID, "status": "accepted"})
		return
	}
	var midway <-chan struct{}
	if sample.Fault == "reset" {
		midway = j.midway
	}
	select {
	case <-midway:
		resetConnection(w)
		return
	case <-r.Context().Done():
		return // the job continues
	case <-p.ctx.Done():
		resetConnection(w)
		return
	case <-j.done:
	}
	switch {
	case j.answer == nil:
		resetConnection(w)
	case j.answer.failure != "":
		reply(w, http.StatusInternalServerError, map[string]any{"detail": map[string]any{
			"success": false, "case_id": j.form.CaseID, "error": j.answer.failure,
		}})
	case sample.Fault == "not_json":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>OK</title><p>The request has been forwarded.</p>\n")
	default:
		reply(w, http.StatusOK, j.answer.result)
	}
}

// progress answers with the progress of the newest job of a case.
func (p *Pipeline) progress(w http.ResponseWriter, r *http.Request) {
	p.recordPoll(r.PathValue("case_id"), time.Now())
	p.mu.Lock()
	j := p.byCase[r.PathValue("case_id")]
	p.mu.Unlock()
	if j == nil {
		reply(w, http.StatusNotFound, detail("no job of this case is known"))
		return
	}
	switch j.form.sample.Fault {
	case "down":
		resetConnection(w)
		return
	case "slow_progress":
		timer := time.NewTimer(3 * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		case <-p.ctx.Done():
			resetConnection(w)
			return
		}
	}
	j.mu.Lock()
	answer := map[string]any{
		"case_id": j.form.CaseID, "completed": j.completed, "total": j.form.total(),
		"current_doc": j.current, "progress_percent": percent(j.completed, j.form.total()),
	}
	if j.failed != "" {
		answer["status"], answer["error"] = "failed", j.failed
	}
	j.mu.Unlock()
	reply(w, http.StatusOK, answer)
}

func percent(completed, total int) float64 {
	return math.Round(1000*float64(completed)/float64(total)) / 10
}

// resetConnection ends the connection without an answer. If possible, it sends a TCP reset, as the
// end of a process does.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http closes the connection
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func detail(message string) map[string]any { return map[string]any{"detail": message} }

// fastAPIError returns the answer of FastAPI for a body that does not match its model.
func fastAPIError(kind, message string, location ...any) map[string]any {
	return map[string]any{"detail": []any{
		map[string]any{"type": kind, "loc": location, "msg": message, "input": nil},
	}}
}

func reply(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // fails only if the caller disconnected
}
