// Package description reads the descriptions of pipelines: YAML that says how to start a job, how
// to poll it, what its answers mean and how to cancel it. Everything in it is data. [Parse] checks
// all of it and names every problem with its line. Package pipeline speaks what a description says.
//
// The package makes no request and reads no file and no variable.
package description

import (
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/secret"
)

// Documents is the preset of the document pipeline. It reads answers by rules of its own.
const Documents = "documents"

// DefaultName is the name of the one pipeline that an address alone describes.
const DefaultName = "default"

// Pipeline describes one pipeline. It may hold secrets; its String shows none.
type Pipeline struct {
	Name   string
	Preset string // "" for none
	// URL is http or https, without a slash at its end, a query or a password. Requests whose
	// address is a path are made below it.
	URL string
	// Also holds further origins. An address that the pipeline gives is requested only if it is at
	// the origin of URL or at one of these.
	Also []string
	Auth Auth

	Start    Start
	Poll     Poll
	Status   Status
	Progress Progress
	Result   Result
	Error    Values // the message of a failure; an answer without it is searched for one
	Cancel   Request
	Callback Callback
	Dispatch Dispatch
	// Deadline is how long a run may take if its start names no deadline. 0 means the deployment's.
	Deadline time.Duration
}

// Auth is sent with requests to the origin of the URL, and to no other.
type Auth struct {
	Header        string        // the name of a header; "" for none
	Value         secret.Secret // its value
	GoogleIDToken bool          // also send a Google ID token, as Authorization: Bearer
}

// Start says how a job is started.
type Start struct {
	Request  Request
	Body     Body
	Accepted []int // the status codes that accept the start; its answer is then read like a poll's
	// Job is where the answer names the job. None means that the case id names it.
	Job Values
}

// Body says how the form becomes the body of the start.
type Body struct {
	Wrap string   // the member under which the form is put; "" for none
	Set  []Member // members that are added, or whose value is replaced
}

// Member is a member of a body.
type Member struct {
	Path  []string // the names on the way to it, from the top; at least one
	Value any      // a JSON value; each text in it is a Template
}

// Poll says how a job is polled.
type Poll struct {
	Request  Request
	Unknown  []int         // the statuses of an answer that say that there is no such job
	Min, Max time.Duration // the shortest and longest time between two polls; 0 means the deployment's
}

// Status says where an answer has the status of the job and what its values mean. A value that no
// list has means that the job runs.
type Status struct {
	At                                    Values
	Running, Succeeded, Failed, Cancelled []string
	// FailedIf makes the job failed if it finds anything, whatever the status is.
	FailedIf Values
}

// Progress says where an answer has the progress of the job. Each is optional.
type Progress struct{ Completed, Total, Percent, Current Values }

// Result says where the result is.
type Result struct {
	At  Values // the result, in the answer that says that the job succeeded, or in Request's
	URL Values // the address of the result
	// Request fetches the result. If it uses {result_url} and URL finds no address, nothing is
	// fetched.
	Request Request
}

// Callback says how reports of the pipeline are verified, besides by the token in their address.
type Callback struct {
	Verify string // "" or [StandardWebhooks]
	Secret secret.Secret
}

// StandardWebhooks is the value of callback.verify for signatures as in
// https://www.standardwebhooks.com.
const StandardWebhooks = "standard-webhooks"

// Dispatch limits the starts. What is 0 is as the deployment says.
type Dispatch struct {
	Rate        float64 // a second
	Concurrency int     // at the same time
	Idempotent  bool    // whether the pipeline honours Idempotency-Key
	Timeout     time.Duration

	idempotentGiven bool
}

// Request is a request line. The zero Request is none.
type Request struct {
	Method string
	// Target is a path below the URL with its query, or begins with a placeholder that is an
	// absolute address.
	Target Template
}

// Given reports whether there is a request.
func (r Request) Given() bool { return r.Method != "" }

// NamedByCase reports whether a poll needs no name of the job. Such a pipeline can be asked for a job
// whose start was not answered.
func (p *Pipeline) NamedByCase() bool { return !p.Poll.Request.Target.Uses("job") }

// CanCancel reports whether a job can be cancelled.
func (p *Pipeline) CanCancel() bool { return p.Cancel.Given() }

// CancelNeedsJob reports whether the job's name is needed to cancel it.
func (p *Pipeline) CancelNeedsJob() bool { return p.Cancel.Target.Uses("job") }

// FetchesResult reports whether a result may have to be fetched by a request of its own, which only
// a poll does.
func (p *Pipeline) FetchesResult() bool { return p.Result.Request.Given() }

// ShowsProgress reports whether the pipeline's answers may have the progress of a job.
func (p *Pipeline) ShowsProgress() bool {
	g := p.Progress
	return p.Preset == Documents || len(g.Completed)+len(g.Total)+len(g.Percent)+len(g.Current) > 0
}

// ReadsEvents reports whether the pipeline reports by the events of the document pipeline, on the
// topic and in callbacks.
func (p *Pipeline) ReadsEvents() bool { return p.Preset == Documents }

// UsesCallback reports whether the start tells the pipeline the address of the callback.
func (p *Pipeline) UsesCallback() bool { return p.Start.uses("callback_url") }

// Set are the described pipelines, in their order. The first one is the default. Their names differ.
type Set []*Pipeline

// Get returns the pipeline of that name.
func (s Set) Get(name string) (*Pipeline, bool) {
	i := slices.IndexFunc(s, func(p *Pipeline) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return s[i], true
}

// Default returns the pipeline of runs that choose none; nil if there is none.
func (s Set) Default() *Pipeline {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

// Names returns the names in their order.
func (s Set) Names() []string {
	names := make([]string, len(s))
	for i, p := range s {
		names[i] = p.Name
	}
	return names
}

// Defaults are the deployment's values for what a description does not say.
type Defaults struct {
	Rate             float64
	Concurrency      int
	Idempotent       bool
	Timeout          time.Duration
	Deadline         time.Duration
	PollMin, PollMax time.Duration
}

// Fill sets what the descriptions do not say.
func (s Set) Fill(d Defaults) {
	for _, p := range s {
		if !p.Dispatch.idempotentGiven {
			p.Dispatch.Idempotent = d.Idempotent
		}
		orDefault(&p.Dispatch.Rate, d.Rate)
		orDefault(&p.Dispatch.Concurrency, d.Concurrency)
		orDefault(&p.Dispatch.Timeout, d.Timeout)
		orDefault(&p.Deadline, d.Deadline)
		orDefault(&p.Poll.Min, d.PollMin)
		orDefault(&p.Poll.Max, d.PollMax)
	}
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
