package samplepipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// job generates the documents of one form.
type job struct {
	form    *form
	key     string
	trace   string // traceparent of the request, for the log
	started time.Time
	midway  chan struct{} // closed when form.sample.At documents are done
	done    chan struct{} // closed when the job has ended
	answer  *outcome      // set before done is closed; nil if waiting requests get no answer

	ctx    context.Context // ends this job
	cancel context.CancelFunc

	mu        sync.Mutex
	cancelled bool // by its caller
	completed int
	current   string
	failed    string // the message of a failure that the progress reports, or ""
}

// outcome is the result or the failure of a job.
type outcome struct {
	result  *result
	failure string // "" if the job succeeded
}

// result is the body of the 200 of a job that succeeded.
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

func newJob(ctx context.Context, f *form, key, traceParent string, now time.Time) *job {
	ctx, cancel := context.WithCancel(ctx)
	return &job{
		ctx:     ctx,
		cancel:  cancel,
		form:    f,
		key:     key,
		trace:   traceParent,
		started: now,
		midway:  make(chan struct{}),
		done:    make(chan struct{}),
	}
}

// run executes a job. It returns when the job has ended or the pipeline is closed.
func (p *Pipeline) run(j *job) {
	log, ctx := p.opts.Logger.With("case_id", string(j.form.CaseID)), gcplog.WithTrace(p.ctx, j.trace)
	defer p.end(j)
	defer j.cancel()
	defer close(j.done) // runs before end, which can forget the job
	fault := j.form.sample.Fault
	work := newWork(p, j)
	normalized := time.Now()
	for i, set := range work.sets {
		j.setProgress(i, set.title())
		if i == j.form.sample.At {
			close(j.midway)
			if stop := p.applyMidwayFault(j); stop {
				return
			}
		}
		// The time differs by up to a quarter, as with real documents.
		if ctxtime.Sleep(j.ctx, p.opts.DocumentTime*3/4+rand.N(p.opts.DocumentTime/2+1)) != nil {
			return
		}
		work.write(i, fails(fault, i, len(work.sets)))
		p.publishProgress(j, i+1)
	}
	j.setProgress(work.reached(fault), "")
	if j.form.sample.At == len(work.sets) {
		close(j.midway)
		if stop := p.applyMidwayFault(j); stop {
			return
		}
	}
	if err := work.finish(); err != nil {
		log.ErrorContext(ctx, "sample pipeline: index not written", "error", err)
	}
	if j.ctx.Err() != nil {
		return
	}
	j.answer = &outcome{result: work.result(normalized)}
	p.publishEnd(j)
	log.InfoContext(ctx, "sample pipeline: done", "documents", len(work.sets), "failed", work.failed)
}

// applyMidwayFault does what the faults fail, hang and forget do midway. It reports whether the job
// has ended.
func (p *Pipeline) applyMidwayFault(j *job) bool {
	switch j.form.sample.Fault {
	case "fail":
		message := fmt.Sprintf("document generation failed after %d of %d documents",
			j.form.sample.At, j.form.total())
		if j.form.sample.Mode == "silent" {
			j.mu.Lock()
			j.failed = message
			j.mu.Unlock()
		}
		j.answer = &outcome{failure: message}
		p.publishEnd(j)
	case "hang":
		<-j.ctx.Done()
	case "forget":
		p.mu.Lock()
		p.forget(j)
		p.mu.Unlock()
	default:
		return false
	}
	return true
}

// fails reports whether a fault has document i of n fail. i counts from 0.
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

// setProgress sets the progress that is reported.
func (j *job) setProgress(completed int, current string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.completed, j.current = completed, current
}
