package cases

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/printable"
)

const (
	// maxMessage bounds the messages that a record keeps, in characters.
	maxMessage = 1000
	// maxReportIDs is how many ids of terminal reports a record remembers.
	maxReportIDs = 8
	// withoutResult is the message of a success whose result did not come.
	withoutResult = "completed without a result"
)

// Reason says why a run ended.
type Reason string

// The reasons of an end.
const (
	ReasonCompleted           Reason = "completed"            // the pipeline finished it
	ReasonPipelineFailed      Reason = "pipeline_failed"      // the pipeline reported that it failed
	ReasonPipelineRefused     Reason = "pipeline_refused"     // the pipeline did not accept the form
	ReasonPipelineUnreachable Reason = "pipeline_unreachable" // no request reached it for UnreachableAfter
	ReasonPipelineLost        Reason = "pipeline_lost"        // known once, unknown for UnreachableAfter
	ReasonNoDocuments         Reason = "no_documents"         // it finished, and every document failed
	ReasonStartUnknown        Reason = "start_unknown"        // the request may have arrived; no sign of it since
	ReasonDeadline            Reason = "deadline"             // the deadline passed first
	ReasonCancelled           Reason = "cancelled"            // it was cancelled
	ReasonSuperseded          Reason = "superseded"           // a newer run replaced it
)

// Source says where the input came from that ended a run.
type Source string

// The sources of an end or of a late report.
const (
	SourceEvent    Source = "event"
	SourceCallback Source = "callback"
	SourceDispatch Source = "dispatch"
	SourceCheck    Source = "check"
	SourceCancel   Source = "cancel"
	SourceDeadline Source = "deadline"
	SourceSweep    Source = "sweep"
)

// End tells how a run ended.
type End struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	Source  Source `json:"source"`
}

// Ending is what a [Reason] means.
type Ending struct {
	Reason   Reason
	State    State
	Sentence string // for operators
	Message  string // for those who follow the run, where the end has no message of its own
}

// endings has every reason. To add one, add its constant and a line here: a test then names what
// else lacks it (the page, the types of the browser module, the OpenAPI description). The console
// and the stream take their text from here.
var endings = []Ending{
	{ReasonCompleted, Succeeded, "The pipeline finished it.", "the documents are ready"},
	{ReasonPipelineFailed, Failed, "The pipeline said that it failed.", "the pipeline could not make the documents"},
	{ReasonPipelineRefused, Failed, "The pipeline did not take the form.", "the pipeline did not accept the form"},
	{
		ReasonPipelineUnreachable, Failed, "The pipeline could not be reached for too long.",
		"the pipeline could not be reached",
	},
	{ReasonPipelineLost, Failed, "The pipeline no longer knew the case.", "the pipeline no longer knows of the case"},
	{ReasonNoDocuments, Failed, "The pipeline finished it, and every document failed.", "no document could be made"},
	{
		ReasonStartUnknown, Failed, "The request may or may not have reached the pipeline, which showed no sign of it.",
		"it is not known whether the pipeline began",
	},
	{ReasonDeadline, TimedOut, "The deadline passed first.", "it took too long"},
	{ReasonCancelled, Cancelled, "It was cancelled.", "it was cancelled"},
	{ReasonSuperseded, Cancelled, "A newer run took its place.", "a newer run took its place"},
}

// Endings returns what each reason means, in the order in which people are shown them.
func Endings() []Ending { return slices.Clone(endings) }

// EndingOf returns what a reason means. False if this program does not know it: a newer revision
// may have written it.
func EndingOf(reason Reason) (Ending, bool) {
	i := slices.IndexFunc(endings, func(e Ending) bool { return e.Reason == reason })
	if i < 0 {
		return Ending{Reason: reason}, false
	}
	return endings[i], true
}

// finish ends the run. It is the only place that does.
func (c *Case) finish(reason Reason, message string, source Source, now time.Time) {
	o := &c.Outcome
	if c.Dispatch.Attempts == 0 && !c.Adopted {
		o.Reported = true // the pipeline was never asked: it has nothing to report
	}
	if c.Job.StartedAt.IsZero() && o.Reported && c.Dispatch.Attempts > 0 && reason != ReasonPipelineRefused {
		c.Job.StartedAt = c.Dispatch.SentAt
	}
	ending, _ := EndingOf(reason)
	c.State, o.EndedAt, o.Text = ending.State, now, clip(message)
	o.End = &End{Reason: reason, Message: o.message(), Source: source}
	c.Job.Stalled = false
	c.Checks.NextAt = time.Time{}
}

// endSucceeded ends a run that the pipeline has finished, without a result.
func (r Rules) endSucceeded(n *Case, source Source, now time.Time) {
	text := withoutResult
	switch {
	case source == SourceEvent, source == SourceCallback:
		n.Outcome.Reported, n.Outcome.Dropped = true, n.Job.SucceededDropped
	case !n.Job.ResultMissingSince.IsZero():
		n.Outcome.Reported = true
		if n.Job.ResultProblem != "" {
			text += ": " + n.Job.ResultProblem
		}
	}
	n.finish(ReasonCompleted, text, source, now)
}

// announcedBy is what brought the success that SucceededSince notes.
func (c Case) announcedBy() Source { return cmp.Or(c.Job.SucceededSource, SourceEvent) }

// endAtDeadline ends a run whose deadline has passed. The deadline cuts graces short: what they
// waited for counts as over.
func (r Rules) endAtDeadline(n *Case, source Source, now time.Time) {
	switch {
	case !n.Job.SucceededSince.IsZero():
		r.endSucceeded(n, n.announcedBy(), now)
	case n.workIsDone():
		r.endSucceeded(n, SourceCheck, now)
	default:
		n.finish(ReasonDeadline, "the deadline passed before the pipeline was done", source, now)
	}
}

// wholeProgress is the progress of a run that has succeeded. A result that comes after the end does
// not change it any more: the end was shown and published with it.
func (c Case) wholeProgress() Progress {
	p := c.Job.Progress
	p.Total = max(p.Total, p.Completed, c.Outcome.Documents.total())
	p.Completed, p.Percent = p.Total, 100
	return p
}

// terminalReport is what the pipeline says of how a run ended, in an answer or an event.
type terminalReport struct {
	id           string // the same each time that it is delivered
	status       Status // terminal
	message      string
	result       *Result
	dropped      Dropped
	source       Source
	unattributed bool // it may be about another run
}

func (in CheckOutcome) reportID() string { return "check:" + strconv.FormatInt(in.Seq, 10) }

// reason is how the run ended. One of which every document failed has not succeeded.
func (rep terminalReport) reason() Reason {
	switch {
	case rep.status == StatusCancelled:
		return ReasonCancelled
	case rep.status == StatusFailed:
		return ReasonPipelineFailed
	case rep.result != nil && rep.result.Documents.None():
		return ReasonNoDocuments
	default:
		return ReasonCompleted
	}
}

// text is the message of the report. One of a failure that says nothing at all says so.
func (rep terminalReport) text() string {
	if rep.message != "" || rep.dropped != (Dropped{}) {
		return rep.message
	}
	switch rep.reason() {
	case ReasonNoDocuments:
		return "every document failed"
	case ReasonPipelineFailed:
		return "the pipeline gave no reason"
	case ReasonCancelled:
		return "the pipeline cancelled it"
	}
	return ""
}

// takeReport takes in a terminal report. The first step that applies decides:
//
//  1. It was taken in before: a duplicate.
//  2. The run is open: it ends.
//  3. It agrees with the end, which has no result, and has one: the result is filled in.
//  4. It says that the pipeline cancelled the job, which was to be cancelled: that is confirmed.
//  5. It is kept beside the end, as late.
func (r Rules) takeReport(n *Case, rep terminalReport, now time.Time) Verdict {
	o := &n.Outcome
	if slices.Contains(o.ReportIDs, rep.id) {
		return Verdict{Kind: Duplicate}
	}
	n.rememberReport(rep.id)
	ending, _ := EndingOf(rep.reason())
	switch {
	case !n.State.Ended():
		o.Reported, o.Dropped, n.Dispatch.LastError = true, rep.dropped, ""
		n.finish(ending.Reason, rep.text(), rep.source, now)
		return Verdict{Kind: Applied, Keep: n.attach(rep.result)}
	case ending.State == n.State && rep.result != nil && !rep.unattributed && !o.HasResult && o.OmittedBytes == 0:
		return Verdict{Kind: Filled, Keep: n.attach(rep.result)}
	case rep.status == StatusCancelled && n.Stop.State != StopNone:
		n.Stop.confirm()
		return Verdict{Kind: Applied}
	default:
		return n.keepLate(rep, ending.State, now)
	}
}

// rememberReport keeps the id of a terminal report, and forgets the oldest of many.
func (c *Case) rememberReport(id string) {
	ids := append(slices.Clone(c.Outcome.ReportIDs), id)
	c.Outcome.ReportIDs = ids[max(0, len(ids)-maxReportIDs):]
}

// attach makes a result the run's, and says where its bytes go.
func (c *Case) attach(res *Result) Keep {
	if res == nil {
		return KeepNothing
	}
	o := &c.Outcome
	o.Documents, o.OutputURL = res.Documents, res.OutputURL
	if strings.HasPrefix(o.Text, withoutResult) {
		o.Text = ""
	}
	o.Dropped.Result = false // here it is after all
	keep := KeepResult
	if res.Raw == nil {
		o.OmittedBytes, keep = res.Size, KeepNothing
	} else {
		o.HasResult = true
	}
	o.End = &End{Reason: o.End.Reason, Message: o.message(), Source: o.End.Source}
	return keep
}

// keepLate keeps a report that came too late to be the end. Of the first one all is kept, with the
// first result that agrees with it; of the others their number.
func (c *Case) keepLate(rep terminalReport, state State, now time.Time) Verdict {
	late := LateReport{
		State:   state,
		Message: withRemarks(rep.text(), rep.dropped.remarks()),
		Source:  rep.source,
		At:      now,
	}
	if c.Outcome.Late != nil {
		late = *c.Outcome.Late
	}
	late.Count++
	v := Verdict{Kind: Late}
	if rep.result != nil && rep.result.Raw != nil && !late.HasResult && late.State == state {
		late.HasResult, v.Keep = true, KeepLate
	}
	c.Outcome.Late = &late
	return v
}

// message is the message of the end: its text, and what became of its result and progress.
func (o Outcome) message() string {
	remarks := o.Dropped.remarks()
	if o.OmittedBytes > 0 {
		remarks = append(remarks,
			fmt.Sprintf("the result of %d bytes is larger than the %d that are kept", o.OmittedBytes, MaxResult))
	}
	return withRemarks(o.Text, remarks)
}

func (d Dropped) remarks() (remarks []string) {
	if d.Progress {
		remarks = append(remarks, "the progress could not be read and was dropped")
	}
	if d.Result {
		remarks = append(remarks, "the result could not be read and was dropped")
	}
	return remarks
}

// withRemarks returns a text with remarks behind it, cut so that they fit.
func withRemarks(text string, remarks []string) string {
	behind := strings.Join(remarks, "; ")
	switch {
	case behind == "":
		return clip(text)
	case text == "":
		return behind
	}
	return printable.Line(text, maxMessage-len("; ")-len(behind)) + "; " + behind
}

// clip returns a text as it is kept and shown.
func clip(s string) string { return printable.Line(s, maxMessage) }
