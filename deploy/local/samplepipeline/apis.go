package samplepipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest/apis"
)

// firstAPIJob is where the ids of jobs begin. They differ after a restart, since a pipeline does not
// give an id twice.
var firstAPIJob = func() int64 { return time.Now().UnixMilli() * 1000 }

// api is the pipeline behind one of the protocols of package apis. Its jobs are not those of a case:
// their documents are below the job's own name, and no events are published.
type api struct {
	p    *Pipeline
	name string

	mu   sync.Mutex
	next int64
	jobs map[string]*job
}

func (p *Pipeline) newAPI(name string) *api {
	return &api{p: p, name: name, next: firstAPIJob(), jobs: map[string]*job{}}
}

func (a *api) base() string {
	if a.p.opts.BaseURL == nil {
		return ""
	}
	return a.p.opts.BaseURL() + "/apis/" + a.name
}

// Start implements [apis.Jobs].
func (a *api) Start(data []byte, callbackURL string) (string, error) {
	f, err := parseForm(data)
	if err != nil {
		return "", err
	}
	if f.sample.Fault == "busy" && a.p.answerBusy(a.name+"\x00"+string(f.CaseID)) {
		return "", errors.New("too many cases at this time")
	}
	a.mu.Lock()
	a.next++
	id := strconv.FormatInt(a.next, 10)
	a.mu.Unlock()
	f.CaseID, f.Run, f.sample.Mode = text(a.name+"-"+id), "1", "silent"
	j, _ := a.p.begin(f, "", "")
	if j == nil {
		return "", errors.New("the pipeline is closing")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.jobs) >= maxJobs {
		clear(a.jobs) // the memory of a sample is bounded
	}
	a.jobs[id] = j
	if a.mayCall(callbackURL) {
		a.p.wg.Go(func() { a.report(j, id, callbackURL) })
	}
	return id, nil
}

// Job implements [apis.Jobs].
func (a *api) Job(id string) (apis.Job, bool) {
	a.mu.Lock()
	j := a.jobs[id]
	a.mu.Unlock()
	if j == nil {
		return apis.Job{}, false
	}
	shown := apis.Job{ID: id, State: apis.Running, Total: j.form.total()}
	j.mu.Lock()
	shown.Completed, shown.Current = j.completed, j.current
	cancelled := j.cancelled
	j.mu.Unlock()
	select {
	case <-j.done:
	default:
		if cancelled {
			shown.State = apis.Cancelled
		}
		return shown, true
	}
	switch {
	case cancelled:
		shown.State = apis.Cancelled
	case j.answer == nil: // it was forgotten midway
		return apis.Job{}, false
	case j.answer.failure != "":
		shown.State, shown.Error = apis.Failed, j.answer.failure
	default:
		result, err := json.Marshal(j.answer.result)
		if err != nil {
			return apis.Job{}, false
		}
		shown.State, shown.Result = apis.Succeeded, result
	}
	return shown, true
}

// Cancel implements [apis.Jobs].
func (a *api) Cancel(id string) bool {
	a.mu.Lock()
	j := a.jobs[id]
	a.mu.Unlock()
	if j == nil {
		return false
	}
	select {
	case <-j.done:
		return false
	default:
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cancelled = true
	j.cancel()
	return true
}

// mayCall reports whether the pipeline may report to that address: only to the machine that it runs
// on, since a form can name any.
func (a *api) mayCall(callbackURL string) bool {
	to, err := url.Parse(callbackURL)
	own, ownErr := url.Parse(a.base())
	return callbackURL != "" && err == nil && ownErr == nil && own.Host != "" && to.Scheme == own.Scheme &&
		to.Host == own.Host
}

// report reports the end of a job to its webhook. It tries for about a minute.
func (a *api) report(j *job, id, callbackURL string) {
	select {
	case <-j.done:
	case <-a.p.ctx.Done():
		return
	}
	shown, ok := a.Job(id)
	if !ok {
		return
	}
	body := apis.Report(a.name, a.base(), shown)
	for wait := time.Second; wait < time.Minute; wait *= 2 {
		if a.call(callbackURL, body) || ctxtime.Sleep(a.p.ctx, wait) != nil {
			return
		}
	}
	a.p.opts.Logger.WarnContext(gcplog.WithTrace(a.p.ctx, j.trace), "sample pipeline: end not reported", "job", id)
}

func (a *api) call(to string, body []byte) (taken bool) {
	ctx, cancel := context.WithTimeout(a.p.ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return true // no later call fares better
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests
}

// apiHandler serves every protocol of package apis below /apis/.
func (p *Pipeline) apiHandler() http.Handler {
	mux := http.NewServeMux()
	for _, name := range apis.Names {
		prefix := "/apis/" + name
		a := p.newAPI(name)
		mux.Handle(prefix+"/", http.StripPrefix(prefix, apis.New(name, a.base, a)))
	}
	return mux
}
