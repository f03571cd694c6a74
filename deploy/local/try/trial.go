package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/pipeline"
	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/printable"
)

// trial is one job of a pipeline.
type trial struct {
	out      io.Writer
	pipeline *description.Pipeline
	client   *pipeline.Client

	last     *pipeline.Exchange
	seen     map[string]pipeline.Found // by part of the description: where a value was found, or that none was
	problems []string
}

// maxTries bounds how many polls in a row may bring no reading.
const maxTries = 5

// run starts the job and follows it to its end.
func (t *trial) run(ctx context.Context, job pipeline.Job, cancel bool) error {
	fmt.Fprintf(t.out, "pipeline %s, preset %s, at %s\n\n", t.pipeline.Name, orNone(t.pipeline.Preset), t.pipeline.URL)
	started := t.client.Dispatch(ctx, job)
	t.show()
	fmt.Fprintf(t.out, "  read: %s%s\n", started.Kind, because(started.Message))
	switch started.Kind {
	case cases.DispatchSucceeded:
		t.result(started.Result)
		return t.verdict()
	case cases.DispatchFailed, cases.DispatchCancelled:
		return t.verdict()
	case cases.DispatchAccepted:
	default:
		t.problem("the start was not accepted%s", because(started.Message))
		return t.verdict()
	}
	if job.ID = started.JobID; job.ID != "" {
		fmt.Fprintf(t.out, "  job: %s\n", job.ID)
	}
	wait := started.RetryAfter
	for tries, first := 0, true; ; first = false {
		if ctxtime.Sleep(ctx, max(wait, t.pipeline.Poll.Min)) != nil {
			t.problem("the job did not end before the deadline (DEADLINE)")
			return t.verdict()
		}
		before := t.last
		polled := t.client.Poll(ctx, job)
		if wait = polled.RetryAfter; polled.Kind == cases.CheckReading {
			tries = 0
		} else if tries++; tries == maxTries {
			t.show()
			t.problem("%d polls in a row brought no reading: %s%s", tries, polled.Kind, because(polled.Message))
			return t.verdict()
		}
		t.showNews(before)
		fmt.Fprintf(t.out, "  read: %s\n", reading(polled))
		if unmapped := polled.Reading.Unmapped; unmapped != "" {
			t.problem("the status %q is in no list, and counts as running; list it in status", unmapped)
		}
		switch polled.Reading.Status {
		case cases.StatusSucceeded:
			if polled.ResultMissing {
				t.problem("%s", polled.Message)
			} else {
				t.result(polled.Result)
			}
			return t.verdict()
		case cases.StatusFailed, cases.StatusCancelled:
			return t.verdict()
		}
		if r := polled.Reading; polled.Kind == cases.CheckReading && r.Status == cases.StatusNotGiven && r.Total > 0 &&
			r.Completed >= r.Total {
			fmt.Fprintln(t.out, "  complete by its counts: the run would succeed after COMPLETION_GRACE")
			return t.verdict()
		}
		if cancel && first {
			stopped := t.client.Cancel(ctx, job)
			t.show()
			fmt.Fprintf(t.out, "  read: %s%s\n", stopped.Kind, because(stopped.Message))
			if stopped.Kind != cases.CancelConfirmed {
				t.problem("the cancel request was not confirmed%s", because(stopped.Message))
			}
			return t.verdict()
		}
	}
}

// result shows the result, and whether it is all that is described.
func (t *trial) result(r *cases.Result) {
	described := t.pipeline.Preset == description.Documents || len(t.pipeline.Result.At)+len(t.pipeline.Result.URL) > 0
	switch {
	case r == nil && described:
		t.problem("the job succeeded, and no result was found%s", at(t.pipeline.Result.At))
	case r != nil:
		fmt.Fprintf(t.out, "  result: %d bytes %s\n", r.Size, printable.Line(string(r.Raw), 200))
		if r.OutputURL != "" {
			fmt.Fprintf(t.out, "  output_url: %s\n", r.OutputURL)
		}
	}
}

// verdict says what no answer had, and returns an error if the description does not fit.
func (t *trial) verdict() error {
	for _, name := range slices.Sorted(maps.Keys(t.seen)) {
		f := t.seen[name]
		if f.At != "" {
			continue
		}
		fmt.Fprintf(t.out, "no answer had %s (%s)\n", f.Name, f.Places)
		if f.Name == "status.at" {
			t.problem("no answer had a status at %s", f.Places)
		}
	}
	if len(t.problems) == 0 {
		fmt.Fprintln(t.out, "the description fits")
		return nil
	}
	return errors.New("the description does not fit:\n  " + strings.Join(t.problems, "\n  "))
}

func (t *trial) problem(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(t.problems, p) {
		t.problems = append(t.problems, p)
	}
}

// observe keeps an exchange to be shown, and what was found in its answer.
func (t *trial) observe(e pipeline.Exchange) {
	if t.last != nil && t.last.Method != "" {
		t.show() // the poll before the request for its result
	}
	t.last = &e
	for _, f := range e.Found {
		if t.seen[f.Name].At == "" {
			t.seen[f.Name] = f
		}
	}
}

// show prints the last exchange, once.
func (t *trial) show() {
	e := t.last
	if e == nil || e.Method == "" {
		return
	}
	fmt.Fprintf(t.out, "> %s %s\n", e.Method, e.URL)
	headers(t.out, ">", e.Header)
	if e.Body != "" {
		fmt.Fprintf(t.out, "> %s\n", e.Body)
	}
	if e.Status != 0 {
		fmt.Fprintf(t.out, "< %d %s\n", e.Status, http.StatusText(e.Status))
		headers(t.out, "<", e.Answer)
		if e.AnswerBody != "" {
			fmt.Fprintf(t.out, "< %s\n", e.AnswerBody)
		}
	}
	if e.Problem != "" {
		fmt.Fprintf(t.out, "  problem: %s\n", e.Problem)
	}
	for _, f := range e.Found {
		if f.At != "" {
			fmt.Fprintf(t.out, "  %s: %s, at %s\n", f.Name, f.Value, f.At)
		}
	}
	// Without a method it is not shown again; the rest tells whether the next one brings news.
	t.last = &pipeline.Exchange{URL: e.Method + " " + e.URL, Status: e.Status, AnswerBody: e.AnswerBody}
}

// showNews prints the last exchange unless it brought the same as the one before.
func (t *trial) showNews(before *pipeline.Exchange) {
	if e := t.last; before != nil && e != nil && e.Method != "" && before.URL == e.Method+" "+e.URL &&
		before.Status == e.Status && before.AnswerBody == e.AnswerBody {
		t.last = before
		return
	}
	t.show()
}

// headers prints the headers that say something of a pipeline.
func headers(out io.Writer, mark string, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if slices.Contains(
			[]string{"User-Agent", "Accept", "Cache-Control", "Date", "Content-Length", "Connection", "Vary"},
			name,
		) {
			continue
		}
		fmt.Fprintf(out, "%s %s: %s\n", mark, name, strings.Join(h[name], ", "))
	}
}

// reading says what a poll found.
func reading(c cases.CheckOutcome) string {
	if c.Kind != cases.CheckReading {
		return string(c.Kind) + because(c.Message)
	}
	r := c.Reading
	parts := []string{"no status"}
	if r.Status != cases.StatusNotGiven {
		parts[0] = string(r.Status)
	}
	if r.Total > 0 || r.Completed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d", r.Completed, r.Total))
	}
	if r.Percent >= 0 {
		parts = append(parts, fmt.Sprintf("%g %%", r.Percent))
	}
	if r.Current != "" {
		parts = append(parts, r.Current)
	}
	if c.RetryAfter > 0 {
		parts = append(parts, "again after "+c.RetryAfter.Round(time.Second).String())
	}
	return strings.Join(parts, ", ") + because(c.Message)
}

func because(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

func at(places description.Values) string {
	if len(places) == 0 {
		return ""
	}
	return " at " + places.String()
}

func orNone(preset string) string {
	if preset == "" {
		return "none"
	}
	return preset
}
