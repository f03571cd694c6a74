package pipeline

import (
	"net/http"

	"github.com/casewatch/casewatch/shared/pipeline/description"
)

// Exchange is a request and its answer, for a person who tries a description. Secrets are removed.
type Exchange struct {
	Method, URL string
	Header      http.Header
	Body        string
	Status      int // 0 if there was no answer
	Answer      http.Header
	AnswerBody  string
	Problem     string // why there is no answer, or why it cannot be read; "" for nothing
	// Found are the places that the description names, and what the answer has there. Empty for the
	// preset documents.
	Found []Found
}

// Found is a part of a description and the value that an answer has there.
type Found struct {
	Name   string // of the part, such as "progress.total"
	Places string // where it was searched
	At     string // where it was found; "" if no place has a value
	Value  string // shortened
}

// maxObserved bounds what is shown of a body, in runes.
const maxObserved = 2000

func (c *Client) observe(r *http.Request, body []byte, a answer, problem string) {
	if c.config.Observe == nil {
		return
	}
	e := Exchange{
		Method: r.Method, URL: clean(r.URL.String(), maxObserved, a.secrets), Header: redacted(r.Header, a.secrets),
		Body:   clean(string(body), maxObserved, a.secrets),
		Status: a.status, Answer: redacted(a.header, a.secrets),
		AnswerBody: clean(string(a.body), maxObserved, a.secrets),
		Problem:    or(problem, a.unreadable),
	}
	if a.status != 0 && !c.documents() {
		e.Found = c.found(a)
	}
	c.config.Observe(e)
}

func redacted(h http.Header, secrets []string) http.Header {
	clear := http.Header{}
	for name, values := range h {
		for _, value := range values {
			clear.Add(name, clean(value, maxMessage, secrets))
		}
	}
	return clear
}

// found returns what an answer has at each place of the description.
func (c *Client) found(a answer) (list []Found) {
	d := c.pipeline
	for _, part := range []struct {
		name   string
		places description.Values
		scalar bool
	}{
		{"start.job", d.Start.Job, true},
		{"status.at", d.Status.At, false},
		{"status.failed_if", d.Status.FailedIf, false},
		{"progress.completed", d.Progress.Completed, true},
		{"progress.total", d.Progress.Total, true},
		{"progress.percent", d.Progress.Percent, true},
		{"progress.current", d.Progress.Current, true},
		{"result.at", d.Result.At, false},
		{"result.url", d.Result.URL, false},
		{"error", d.Error, false},
	} {
		if len(part.places) == 0 {
			continue
		}
		f := Found{Name: part.name, Places: part.places.String()}
		search := a.find
		if part.scalar {
			search = a.findScalar
		}
		if raw, at := search(part.places); raw != nil {
			f.At, f.Value = at.String(), clean(string(raw), maxStatus, a.secrets)
		}
		list = append(list, f)
	}
	return list
}
