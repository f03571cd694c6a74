package pipeline

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// This file reads answers as a description says.

// maxStatus bounds what is kept of a status that no list has, in runes.
const maxStatus = 100

// find returns the first of the places that has a value, as JSON. A value of null is none.
func (a answer) find(places description.Values) (raw json.RawMessage, at description.Value) {
	for _, place := range places {
		if raw := a.valueAt(place); report.Given(raw) {
			return raw, place
		}
	}
	return nil, description.Value{}
}

// findScalar is find for a text, a number or a boolean: an object or a list is none.
func (a answer) findScalar(places description.Values) (raw json.RawMessage, at description.Value) {
	for _, place := range places {
		if raw := a.valueAt(place); report.Given(raw) && raw[0] != '{' && raw[0] != '[' {
			return raw, place
		}
	}
	return nil, description.Value{}
}

func (a answer) valueAt(place description.Value) json.RawMessage {
	switch place.Kind {
	case description.FromCode:
		if a.status != 0 {
			return json.RawMessage(strconv.Itoa(a.status))
		}
	case description.FromHeader:
		if value := a.header.Get(place.Header); value != "" {
			text, _ := json.Marshal(value) // no string fails
			return text
		}
	case description.FromBody:
		if a.isJSON() {
			return pointed(a.body, place.Path)
		}
	}
	return nil
}

// isJSON reports whether the body is one JSON value, read to its end.
func (a answer) isJSON() bool { return a.unreadable == "" && json.Valid(a.body) }

// pointed returns the value at a path below a valid JSON value; nil if there is none.
func pointed(value json.RawMessage, path []string) json.RawMessage {
	for _, token := range path {
		if len(value) == 0 {
			return nil
		}
		var inner json.RawMessage
		switch value[0] {
		case '{':
			for m := range jsonscan.Object(value) {
				if m.Name() == token { // of several, the last one counts
					inner = value[m.From:m.To:m.To]
				}
			}
		case '[':
			index, err := strconv.Atoi(token)
			if err != nil || strconv.Itoa(index) != token {
				return nil
			}
			for element := range jsonscan.Array(value) {
				if index == 0 {
					inner = element
					break
				}
				index--
			}
		}
		value = inner
	}
	return value
}

// scalarText returns the text of a string, a number with all its digits, or a boolean; "" of
// anything else.
func scalarText(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
		return ""
	case raw[0] == '"':
		return report.String(raw)
	}
	return string(raw)
}

// listed reports whether a list has the value: the same text, or the same number.
func listed(list []string, raw json.RawMessage) bool {
	text := scalarText(raw)
	return slices.ContainsFunc(list, func(item string) bool {
		if item == text {
			return true
		}
		a, errA := strconv.ParseFloat(item, 64)
		b, errB := strconv.ParseFloat(text, 64)
		return errA == nil && errB == nil && a == b && raw[0] != '"'
	})
}

// shown is what an answer shows of a job.
type shown struct {
	cases.Reading
	jobID     string // the job's own name, if the answer has it in its body
	jobAt     description.Value
	jobErr    error             // why the job's name cannot be used
	statusAt  description.Value // where the status was found
	hasStatus bool
	hasTotal  bool
	note      string // for the log: what could not be read; "" for nothing
}

// read reads what the answer shows of a job. With a description that says where the status is,
// Status is given: a status that is missing, or that no list has, means that the job runs.
func (c *Client) read(a answer) shown {
	d := c.pipeline
	s := shown{}
	raw, at := a.findScalar(d.Start.Job)
	if raw != nil {
		s.jobAt = at
		s.jobID, s.jobErr = c.jobID(raw, a.request)
	}
	s.Status, s.Unmapped, s.statusAt, s.hasStatus = a.state(d.Status)
	var odd []string
	count := func(name string, places description.Values) int {
		raw, at := a.findScalar(places)
		n, ok := report.Whole(raw)
		if raw != nil && !ok {
			odd = append(odd, fmt.Sprintf("progress.%s at %s is no whole number", name, at))
		}
		if name == "total" {
			s.hasTotal = ok
		}
		return max(n, 0)
	}
	s.Completed, s.Total = count("completed", d.Progress.Completed), count("total", d.Progress.Total)
	raw, _ = a.findScalar(d.Progress.Percent)
	s.Percent = report.Percent(raw, s.Completed, s.Total)
	raw, _ = a.findScalar(d.Progress.Current)
	s.Current = clean(scalarText(raw), maxCurrent, a.secrets)
	s.note = strings.Join(odd, "; ")
	return s
}

// state returns the status of a job. In order: a status that means cancelled, what fails the job
// whatever its status is, and the other lists. Without a description of the status it is not given.
func (a answer) state(d description.Status) (
	status cases.Status, unmapped string, at description.Value, found bool,
) {
	raw, at := a.find(d.At)
	if raw != nil && listed(d.Cancelled, raw) {
		return cases.StatusCancelled, "", at, true
	}
	if failure, where := a.find(d.FailedIf); failure != nil {
		return cases.StatusFailed, "", where, true
	}
	switch {
	case len(d.At) == 0:
		return cases.StatusNotGiven, "", at, false
	case raw == nil:
		return cases.StatusRunning, "", at, false
	case listed(d.Succeeded, raw):
		return cases.StatusSucceeded, "", at, true
	case listed(d.Failed, raw):
		return cases.StatusFailed, "", at, true
	case listed(d.Running, raw):
		return cases.StatusRunning, "", at, true
	}
	text := scalarText(raw)
	if text == "" {
		text = "(no text, number or boolean)"
	}
	return cases.StatusRunning, clean(text, maxStatus, a.secrets), at, true
}

// failure returns the message of an answer that says that the job failed.
func (a answer) failure(places description.Values) string {
	raw, _ := a.find(places)
	message := scalarText(raw)
	if raw != nil && message == "" {
		message = report.Message(raw)
	}
	if message == "" {
		message = report.Message(a.body)
	}
	return or(clean(message, maxMessage, a.secrets), "the pipeline says that it failed, and not why")
}

// result returns the result in an answer; nil if there is none. dropped says that there is one that
// cannot be read.
func (a answer) result(d description.Result) (result *cases.Result, dropped bool) {
	raw, _ := a.find(d.At)
	address := a.resultURL(d)
	dropped = len(d.At) > 0 && (a.unreadable != "" || len(a.body) > 0 && !a.isJSON())
	if raw == nil && address == "" {
		return nil, dropped
	}
	result = &cases.Result{Size: len(raw), OutputURL: address}
	if raw != nil && len(raw) <= cases.MaxResult {
		result.Raw = slices.Clone(raw) // raw is a part of a larger text
	}
	return result, dropped
}

// resultOfFailure returns what a job that failed made all the same. An answer as a whole is none.
func (a answer) resultOfFailure(d description.Result) *cases.Result {
	if _, at := a.find(d.At); at.Kind == description.FromBody && len(at.Path) == 0 {
		return nil
	}
	result, _ := a.result(d)
	return result
}

// resultURL returns the address of the result, absolute; "" if the answer has none.
func (a answer) resultURL(d description.Result) string {
	for _, place := range d.URL {
		text := report.String(a.valueAt(place))
		if text == "" || len(text) > report.MaxURL || a.request == nil {
			continue
		}
		u, err := a.request.Parse(text)
		if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil &&
			(place.Kind == description.FromHeader || isAddress(text)) {
			return u.String()
		}
	}
	return ""
}

// isAddress reports whether text is an absolute address, or a path. Any other text in a body may be
// the result itself.
func isAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.IsAbs() || strings.HasPrefix(text, "/"))
}

// fetches reports whether the result is to be fetched by a request of its own, after this answer.
func (c *Client) fetches(a answer) bool {
	r := c.pipeline.Result
	if !r.Request.Given() {
		return false
	}
	return !r.Request.Target.Uses("result_url") || a.resultURL(r) != ""
}

// started returns the outcome of a dispatch. The cases of the switch are in order of precedence;
// [Client.Dispatch] lists the outcomes.
func (c *Client) started(a answer) cases.DispatchOutcome {
	out := cases.DispatchOutcome{Cause: a.logCause("")}
	switch {
	case a.busy():
		out.Kind, out.RetryAfter = cases.DispatchBusy, retryAfter(a.retryAfter, a.now)
		out.Message = or(a.message(), a.statusLine())
		return out
	case slices.Contains(c.pipeline.Start.Accepted, a.status):
		return c.accepted(a)
	case a.status >= 300 && a.status < 400:
		out.Kind, out.Message = cases.DispatchRefused,
			or(a.message(), a.statusLine()+", a redirect, which is not followed")
	case a.status >= 400 && a.status < 500:
		out.Kind, out.Message = cases.DispatchRefused, or(a.message(), a.statusLine())
	default:
		out.Kind, out.Message = cases.DispatchUncertain, a.statusLine()
		if said := a.message(); said != "" {
			out.Message = clean(out.Message+": "+said, maxMessage, a.secrets)
		}
	}
	return out
}

// accepted reads an answer whose status accepts the start.
func (c *Client) accepted(a answer) cases.DispatchOutcome {
	d := c.pipeline
	s := c.read(a)
	uncertain := func(why string) cases.DispatchOutcome {
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain,
			Message: a.statusLine() + ", but " + why, Cause: a.logCause(", but " + why)}
	}
	if s.jobErr != nil {
		return uncertain(s.jobErr.Error())
	}
	// The status code of an answer that names a job says that the job was made, not that it is done.
	if s.statusAt.Kind == description.FromCode && s.jobID != "" {
		s.Status, s.Unmapped = cases.StatusRunning, ""
	}
	out := cases.DispatchOutcome{
		Kind: cases.DispatchAccepted, JobID: s.jobID, RetryAfter: retryAfter(a.retryAfter, a.now),
	}
	switch s.Status {
	case cases.StatusFailed:
		out.Kind, out.Message, out.Result = cases.DispatchFailed, a.failure(d.Error), a.resultOfFailure(d.Result)
		return out
	case cases.StatusCancelled:
		out.Kind = cases.DispatchCancelled
		return out
	case cases.StatusSucceeded:
		if !c.fetches(a) {
			out.Kind = cases.DispatchSucceeded
			out.Result, _ = a.result(d.Result)
			return out
		}
		s.Status = cases.StatusRunning // the poll that reads success fetches the result
	}
	if a.unreadable != "" && s.jobID == "" {
		return uncertain(a.unreadable)
	}
	if len(d.Start.Job) > 0 && s.jobID == "" {
		return uncertain("it names no job at " + d.Start.Job.String())
	}
	if s.hasStatus || s.hasTotal || s.Percent >= 0 || s.Current != "" {
		out.Reading = &s.Reading
	}
	return out
}

// polled returns the outcome of a poll, before the result is fetched. [Client.Poll] lists the
// outcomes.
func (c *Client) polled(a answer, job Job) cases.CheckOutcome {
	d := c.pipeline
	failed := func(why string) cases.CheckOutcome {
		return failedPoll(clean(a.statusLine()+", but "+why, maxMessage, a.secrets), a.logCause(", but "+why))
	}
	switch {
	case a.busy():
		return cases.CheckOutcome{Kind: cases.CheckBusy, RetryAfter: retryAfter(a.retryAfter, a.now),
			Message: or(a.message(), a.statusLine()), Cause: a.logCause("")}
	case slices.Contains(d.Poll.Unknown, a.status):
		return cases.CheckOutcome{Kind: cases.CheckUnknown}
	case a.status/100 != 2 && !c.statusListed(a.status):
		message := a.statusLine()
		if said := a.message(); said != "" {
			message = clean(message+": "+said, maxMessage, a.secrets)
		}
		return failedPoll(message, a.logCause(""))
	case a.unreadable != "":
		return failed(a.unreadable)
	}
	s := c.read(a)
	switch {
	case s.jobAt.Kind != description.FromBody:
		s.jobID = "" // where a header of a poll's answer leads is not what the start's named
	case s.jobErr == nil && s.jobID != "" && job.ID != "" && s.jobID != job.ID:
		return failed("about another job")
	}
	if !a.isJSON() && s.statusAt.Kind == description.FromBody {
		return failed("it is no JSON")
	}
	return c.outcome(a, s)
}

// outcome returns what a readable answer, or a callback, says.
func (c *Client) outcome(a answer, s shown) cases.CheckOutcome {
	d := c.pipeline
	out := cases.CheckOutcome{Kind: cases.CheckReading, Reading: s.Reading, JobID: s.jobID}
	if s.note != "" {
		out.Cause = clean(cause(s.note, a.host), maxMessage, a.secrets)
	}
	switch s.Status {
	case cases.StatusSucceeded:
		out.Result, out.Dropped.Result = a.result(d.Result)
	case cases.StatusFailed:
		out.Message, out.Result = a.failure(d.Error), a.resultOfFailure(d.Result)
	case cases.StatusCancelled:
	case cases.StatusRunning:
		out.RetryAfter = retryAfter(a.retryAfter, a.now)
	default:
		switch {
		case !s.hasTotal:
			why := "it has no total at " + d.Progress.Total.String()
			return failedPoll(a.statusLine()+", but "+why, a.logCause(", but "+why))
		case s.Total == 0:
			return cases.CheckOutcome{Kind: cases.CheckUnknown}
		}
		out.RetryAfter = retryAfter(a.retryAfter, a.now)
	}
	return out
}

// statusListed reports whether the description says what this status code means for the job.
func (c *Client) statusListed(code int) bool {
	s := c.pipeline.Status
	if !slices.ContainsFunc(s.At, func(v description.Value) bool { return v.Kind == description.FromCode }) {
		return false
	}
	return slices.Contains(slices.Concat(s.Running, s.Succeeded, s.Failed, s.Cancelled), strconv.Itoa(code))
}
