package samplepipeline

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// job is the work on one form.
type job struct {
	form    *form
	key     string
	trace   string // traceparent of its request, for the log
	started time.Time
	// answer is what a held request is answered, once done is closed. nil: there is no answer, the request is cut.
	done   chan struct{}
	answer *outcome
	// midway is closed once form.sample.At documents are done.
	midway chan struct{}

	mu        sync.Mutex
	completed int
	current   string
	failed    string // its own word that it failed; "" if it has not said so
}

// outcome is how a job ended.
type outcome struct {
	result  *result
	failure string // its own word that it failed; "" if it succeeded
}

// result is the 200 of a finished job.
type result struct {
	Success         bool             `json:"success"`
	CaseID          string           `json:"case_id"`
	ExecutionTimeMS int64            `json:"execution_time_ms"`
	PhaseResults    map[string]phase `json:"phase_results"`
	WebhookSummary  summary          `json:"webhook_summary"`
	OutputURL       string           `json:"output_url"`
}

type phase struct {
	Success         bool  `json:"success"`
	ExecutionTimeMS int64 `json:"execution_time_ms"`
	Items           int   `json:"items"`
}

type summary struct {
	TotalSets int         `json:"total_sets"`
	Succeeded int         `json:"succeeded"`
	Failed    int         `json:"failed"`
	OutputURL string      `json:"output_url"`
	Results   []setResult `json:"results"`
}

type setResult struct {
	Set          int    `json:"set"`
	DocumentType string `json:"document_type"`
	Plaintiff    string `json:"plaintiff"`
	Defendant    string `json:"defendant"`
	Success      bool   `json:"success"`
	URL          string `json:"url,omitempty"`
	Error        string `json:"error,omitempty"`
}

func newJob(f *form, key, traceParent string, now time.Time) *job {
	return &job{form: f, key: key, trace: traceParent, started: now, done: make(chan struct{}), midway: make(chan struct{})}
}

// run does the work of a job, and returns when it has ended or the pipeline is closed.
func (p *Pipeline) run(j *job) {
	log, ctx := p.opts.Logger.With("case_id", string(j.form.CaseID)), gcplog.WithTrace(p.ctx, j.trace)
	defer p.end(j)
	defer close(j.done) // before the job can be forgotten
	fault := j.form.sample.Fault
	work := newWork(p, j)
	normalized := time.Now()
	for i, set := range work.sets {
		j.now(i, set.title())
		if i == j.form.sample.At {
			close(j.midway)
			if stop := p.halt(j); stop {
				return
			}
		}
		// A quarter more or less, as documents differ.
		if ctxtime.Sleep(p.ctx, p.opts.DocumentTime*3/4+rand.N(p.opts.DocumentTime/2+1)) != nil {
			return
		}
		work.write(i, fails(fault, i, len(work.sets)))
		p.announce(j, i+1)
	}
	j.now(work.reached(fault), "")
	if j.form.sample.At == len(work.sets) {
		close(j.midway)
		if stop := p.halt(j); stop {
			return
		}
	}
	if err := work.finish(); err != nil {
		log.ErrorContext(ctx, "sample pipeline: the index could not be written", "error", err)
	}
	if p.ctx.Err() != nil {
		return
	}
	j.answer = &outcome{result: work.result(normalized)}
	p.tell(j)
	log.InfoContext(ctx, "sample pipeline: done", "documents", len(work.sets), "failed", work.failed)
}

// halt is what the faults that stop a job do midway. It reports whether the job is over.
func (p *Pipeline) halt(j *job) bool {
	switch j.form.sample.Fault {
	case "fail":
		message := fmt.Sprintf("document generation failed after %d of %d documents", j.form.sample.At, j.form.total())
		if j.form.sample.Mode == "silent" {
			j.mu.Lock()
			j.failed = message
			j.mu.Unlock()
		}
		j.answer = &outcome{failure: message}
		p.tell(j)
	case "hang":
		<-p.ctx.Done()
	case "forget":
		p.mu.Lock()
		p.forget(j)
		p.mu.Unlock()
	default:
		return false
	}
	return true
}

// fails reports whether a fault makes document i of n fail.
func fails(fault string, i, n int) bool {
	switch fault {
	case "some_fail":
		return i%3 == 2
	case "none_succeed":
		return true
	case "stop_short":
		return i == n-1
	}
	return false
}

// now moves the progress.
func (j *job) now(completed int, current string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.completed, j.current = completed, current
}
