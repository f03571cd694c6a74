package samplepipeline

import (
	"context"
	"encoding/json"
	"time"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// event is the data of an event on the pipeline's topic.
type event struct {
	CaseID   string         `json:"case_id"`
	Run      json.Number    `json:"run,omitempty"`
	Status   string         `json:"status"`
	Progress *eventProgress `json:"progress,omitempty"`
	Result   *result        `json:"result,omitempty"`
	Error    *eventError    `json:"error,omitempty"`
}

type eventProgress struct {
	Completed int     `json:"completed"`
	Total     int     `json:"total"`
	Percent   float64 `json:"progress_percent"`
	Current   string  `json:"current_doc"`
}

type eventError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (j *job) event(status string) event {
	e := event{CaseID: string(j.form.CaseID), Status: status}
	// The receiver accepts only numbers, so any other run is left out.
	if n := json.Number(j.form.Run); validRun(n) {
		e.Run = n
	}
	return e
}

func validRun(n json.Number) bool {
	i, err := n.Int64()
	return err == nil && i > 0
}

// publishProgress publishes the progress of a job in mode async after each quarter of its
// documents. A failure is not retried, because the next event has newer progress.
func (p *Pipeline) publishProgress(j *job, completed int) {
	total := j.form.total()
	if j.form.sample.Mode != "async" || completed == total || completed*4/total == (completed-1)*4/total {
		return
	}
	j.mu.Lock()
	e := j.event("running")
	e.Progress = &eventProgress{
		Completed: completed,
		Total:     total,
		Percent:   percent(completed, total),
		Current:   j.current,
	}
	j.mu.Unlock()
	if err := p.publish(e); err != nil && p.ctx.Err() == nil {
		p.opts.Logger.WarnContext(gcplog.WithTrace(p.ctx, j.trace), "sample pipeline: progress not published",
			"case_id", e.CaseID, "error", err)
	}
}

// publishEnd publishes the end of a job in mode async. It retries for about a minute.
func (p *Pipeline) publishEnd(j *job) {
	if j.form.sample.Mode != "async" {
		return
	}
	e := j.event("succeeded")
	e.Result = j.answer.result
	if j.answer.failure != "" {
		e.Status = "failed"
		e.Error = &eventError{Code: "generation_failed", Message: j.answer.failure}
	}
	for wait := time.Second; ; wait *= 2 {
		err := p.publish(e)
		if err == nil || p.ctx.Err() != nil {
			return
		}
		p.opts.Logger.WarnContext(gcplog.WithTrace(p.ctx, j.trace), "sample pipeline: end not published",
			"case_id", e.CaseID, "error", err)
		if wait > 32*time.Second || ctxtime.Sleep(p.ctx, wait) != nil {
			return
		}
	}
}

// publish publishes an event. If it is larger than maxEvent, it leaves out the list of documents.
func (p *Pipeline) publish(e event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(data) > maxEvent && e.Result != nil {
		short := *e.Result
		short.WebhookSummary.Results = nil
		e.Result = &short
		if data, err = json.Marshal(e); err != nil {
			return err
		}
	}
	if p.opts.Publish == nil {
		return errNoTopic
	}
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	return p.opts.Publish(ctx, data)
}
