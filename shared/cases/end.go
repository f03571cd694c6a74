package cases

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxMessage bounds the messages that a record keeps, in characters.
const maxMessage = 1000

// withoutResult is the message of an end that came without its result.
const withoutResult = "completed without a result"

// keptWords is how many ids of final words a record remembers.
const keptWords = 8

// word is the pipeline's own statement of how a run ended.
type word struct {
	id        string
	succeeded bool
	message   string
	result    *Result
	source    Source
	unsure    bool // it may be about another run
}

func (in CheckOutcome) id() string { return "check:" + strconv.FormatInt(in.Seq, 10) }

// end returns the state and reason that w means: a run of which every document failed has not succeeded.
func (w word) end() (State, Reason) {
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
func (w word) text(reason Reason) string {
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
func (r Rules) word(n *Case, w word, now time.Time) Verdict {
	if slices.Contains(n.Words, w.id) {
		return Verdict{Kind: Duplicate}
	}
	n.remember(w.id)
	state, reason := w.end()
	switch {
	case !n.State.Ended():
		n.Heard, n.Dispatch.LastError = true, ""
		n.finish(state, reason, w.text(reason), w.source, now)
		return Verdict{Kind: Applied, Keep: n.attach(w.result)}
	case state == n.State && w.result != nil && !w.unsure && !n.HasResult && !n.ResultOmitted:
		return Verdict{Kind: Filled, Keep: n.attach(w.result)}
	}
	late := Late{State: state, Message: clip(w.text(reason)), Source: w.source, At: now}
	if n.Late != nil {
		late = *n.Late
	}
	late.Count++
	v := Verdict{Kind: LateWord}
	if w.result != nil && w.result.Raw != nil && !late.HasResult && late.State == state {
		late.HasResult, v.Keep = true, KeepLate
	}
	n.Late = &late
	return v
}

// attach makes a result the run's, and says where its bytes go.
func (c *Case) attach(res *Result) Keep {
	if res == nil {
		return KeepNothing
	}
	c.Documents, c.OutputURL = res.Documents, res.OutputURL
	end := *c.End
	if end.Message == withoutResult {
		end.Message = ""
	}
	end.Message = strings.TrimSuffix(strings.TrimSuffix(end.Message, ResultDropped), "; ") // here it is after all
	c.End = &end
	if res.Raw != nil {
		c.HasResult = true
		return KeepResult
	}
	c.ResultOmitted = true
	if end.Message != "" {
		end.Message += "; "
	}
	end.Message = clip(end.Message + res.omitted())
	return KeepNothing
}

// finish ends the run. It is the only place that does.
func (c *Case) finish(state State, reason Reason, message string, source Source, now time.Time) {
	if c.Dispatch.Attempts == 0 && !c.Adopted {
		c.Heard = true // the pipeline was never asked: it has nothing to say
	}
	if c.StartedAt.IsZero() && c.Heard && c.Dispatch.Attempts > 0 && reason != ReasonPipelineRefused {
		c.StartedAt = c.Dispatch.SentAt
	}
	c.State, c.EndedAt = state, now
	c.End = &End{Reason: reason, Message: clip(message), Source: source}
	c.Stalled = false
	c.Checks.NextAt = time.Time{}
}

// wholeProgress is the progress of a run that has succeeded. A result that comes after the end does not change it any more:
// the end was shown and published with it.
func (c Case) wholeProgress() Progress {
	p := c.Progress
	p.Total = max(p.Total, p.Completed, c.Documents.total())
	p.Completed, p.Percent = p.Total, 100
	return p
}

// endSucceeded ends a run that the pipeline has finished, without a result.
func (r Rules) endSucceeded(n *Case, source Source, now time.Time) {
	n.Heard = source == SourceEvent
	n.finish(Succeeded, ReasonCompleted, withoutResult, source, now)
}

// endAtDeadline ends a run whose time is up. Graces are cut by the deadline: what they waited out counts as over.
func (r Rules) endAtDeadline(n *Case, source Source, now time.Time) {
	switch {
	case !n.SucceededSince.IsZero():
		r.endSucceeded(n, SourceEvent, now)
	case !n.CompleteSince.IsZero():
		r.endSucceeded(n, SourceCheck, now)
	default:
		n.finish(TimedOut, ReasonDeadline, "the deadline passed before the pipeline was done", source, now)
	}
}

// nowRunning notes that the pipeline has the job.
func (c *Case) nowRunning(now time.Time) {
	c.Known, c.Dispatch.LastError = true, ""
	if c.State != Pending {
		return
	}
	c.State, c.StartedAt = Running, now
	if !c.Dispatch.SentAt.IsZero() {
		c.StartedAt = c.Dispatch.SentAt
	}
}

// remember keeps the id of a final word, and forgets the oldest of many.
func (c *Case) remember(id string) {
	words := append(slices.Clone(c.Words), id)
	c.Words = words[max(0, len(words)-keptWords):]
}

// clip makes a text fit to be shown: bounded, and without characters that control what shows it.
func clip(s string) string { return clipTo(s, maxMessage) }

func clipTo(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
	runes := 0
	for i := range s {
		if runes == most {
			return s[:i] + "…"
		}
		runes++
	}
	return s
}

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
