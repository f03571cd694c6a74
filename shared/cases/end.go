package cases

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/printable"
)

// maxMessage bounds the messages that a record keeps, in characters.
const maxMessage = 1000

// withoutResult is the message of an end that came without its result.
const withoutResult = "completed without a result"

// keptWords is how many ids of final words a record remembers.
const maxReportIDs = 8

// word is the pipeline's own statement of how a run ended.
type terminalReport struct {
	id           string
	succeeded    bool
	message      string
	result       *Result
	source       Source
	unattributed bool // it may be about another run
}

func (in CheckOutcome) id() string { return "check:" + strconv.FormatInt(in.Seq, 10) }

// end returns the state and reason that w means: a run of which every document failed has not succeeded.
func (w terminalReport) end() (State, Reason) {
	switch {
	case !w.succeeded, w.result != nil && w.result.Success != nil && !*w.result.Success:
		return Failed, ReasonPipelineFailed
	case w.result != nil && w.result.Documents.None():
		return Failed, ReasonNoDocuments
	default:
		return Succeeded, ReasonCompleted
	}
}

// text is the message that w leaves.
func (w terminalReport) text(reason Reason) string {
	if w.message == "" && w.result != nil {
		w.message = w.result.Message
	}
	switch {
	case reason == ReasonNoDocuments && w.message == "":
		return "every document failed"
	case reason == ReasonPipelineFailed && w.message == "":
		return "the pipeline gave no reason"
	}
	return w.message
}

// word takes in the pipeline's own word: it is the end if there is none yet; else it fills in a missing result if it
// agrees with the end, or is kept beside it.
func (r Rules) takeReport(n *Case, w terminalReport, now time.Time) Verdict {
	if slices.Contains(n.Outcome.ReportIDs, w.id) {
		return Verdict{Kind: Duplicate}
	}
	n.rememberReport(w.id)
	state, reason := w.end()
	switch {
	case !n.State.Ended():
		n.Outcome.Reported, n.Dispatch.LastError = true, ""
		n.finish(state, reason, w.text(reason), w.source, now)
		return Verdict{Kind: Applied, Keep: n.attach(w.result)}
	case state == n.State && w.result != nil && !w.unattributed && !n.Outcome.HasResult && !n.Outcome.ResultOmitted:
		return Verdict{Kind: Filled, Keep: n.attach(w.result)}
	}
	late := LateReport{State: state, Message: clip(w.text(reason)), Source: w.source, At: now}
	if n.Outcome.Late != nil {
		late = *n.Outcome.Late
	}
	late.Count++
	v := Verdict{Kind: Late}
	if w.result != nil && w.result.Raw != nil && !late.HasResult && late.State == state {
		late.HasResult, v.Keep = true, KeepLate
	}
	n.Outcome.Late = &late
	return v
}

// attach makes a result the run's, and says where its bytes go.
func (c *Case) attach(res *Result) Keep {
	if res == nil {
		return KeepNothing
	}
	c.Outcome.Documents, c.Outcome.OutputURL = res.Documents, res.OutputURL
	end := *c.Outcome.End
	if end.Message == withoutResult {
		end.Message = ""
	}
	end.Message = strings.TrimSuffix(strings.TrimSuffix(end.Message, ResultDropped), "; ") // here it is after all
	c.Outcome.End = &end
	if res.Raw != nil {
		c.Outcome.HasResult = true
		return KeepResult
	}
	c.Outcome.ResultOmitted = true
	if end.Message != "" {
		end.Message += "; "
	}
	end.Message = clip(end.Message + res.omitted())
	return KeepNothing
}

// finish ends the run. It is the only place that does.
func (c *Case) finish(state State, reason Reason, message string, source Source, now time.Time) {
	if c.Dispatch.Attempts == 0 && !c.Adopted {
		c.Outcome.Reported = true // the pipeline was never asked: it has nothing to say
	}
	if c.Job.StartedAt.IsZero() && c.Outcome.Reported && c.Dispatch.Attempts > 0 && reason != ReasonPipelineRefused {
		c.Job.StartedAt = c.Dispatch.SentAt
	}
	c.State, c.Outcome.EndedAt = state, now
	c.Outcome.End = &End{Reason: reason, Message: clip(message), Source: source}
	c.Job.Stalled = false
	c.Checks.NextAt = time.Time{}
}

// wholeProgress is the progress of a run that has succeeded. A result that comes after the end does not change it any more:
// the end was shown and published with it.
func (c Case) wholeProgress() Progress {
	p := c.Job.Progress
	p.Total = max(p.Total, p.Completed, c.Outcome.Documents.total())
	p.Completed, p.Percent = p.Total, 100
	return p
}

// endSucceeded ends a run that the pipeline has finished, without a result.
func (r Rules) endSucceeded(n *Case, source Source, now time.Time) {
	n.Outcome.Reported = source == SourceEvent
	n.finish(Succeeded, ReasonCompleted, withoutResult, source, now)
}

// endAtDeadline ends a run whose time is up. Graces are cut by the deadline: what they waited out counts as over.
func (r Rules) endAtDeadline(n *Case, source Source, now time.Time) {
	switch {
	case !n.Job.SucceededSince.IsZero():
		r.endSucceeded(n, SourceEvent, now)
	case !n.Job.CompleteSince.IsZero():
		r.endSucceeded(n, SourceCheck, now)
	default:
		n.finish(TimedOut, ReasonDeadline, "the deadline passed before the pipeline was done", source, now)
	}
}

// rememberReport keeps the id of a terminal report, and forgets the oldest of many.
func (c *Case) rememberReport(id string) {
	ids := append(slices.Clone(c.Outcome.ReportIDs), id)
	c.Outcome.ReportIDs = ids[max(0, len(ids)-maxReportIDs):]
}

// clip returns a text as it is kept and shown.
func clip(s string) string { return printable.Line(s, maxMessage) }

func oneDecimal(f float64) float64 { return math.Round(f*10) / 10 }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
