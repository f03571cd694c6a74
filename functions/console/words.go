package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/printable"
)

// words are the functions of the templates.
var words = template.FuncMap{
	"state": stateWord, "source": sourceWord, "reason": reasonWord, "what": whatWord, "phase": phaseWord,
	"stop": stopWord, "deref": func(s *cases.StopState) cases.StopState { return *s },
	"age": ageWord, "ages": func() []string { return ages }, "states": cases.States,
	"duration": func(d time.Duration) string { return durationWord(d) },
	"seconds":  func(s float64) string { return durationWord(time.Duration(s * float64(time.Second))) },
	"since":    func(now, t time.Time) string { return durationWord(max(0, now.Sub(t))) },
	"until":    func(now, t time.Time) string { return durationWord(max(0, t.Sub(now))) },
	"rfc":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"utc":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
	"precise":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") + " UTC" },
	"shown":    shown, "shapes": shapes, "made": madeWord, "failures": failures,
	"runs": func(caption string, runs []summary) any {
		return struct {
			Caption string
			Runs    []summary
		}{caption, runs}
	},
	"finding": func(name string, count int, meaning string) any {
		return struct {
			Name    string
			Count   int
			Meaning string
		}{name, count, meaning}
	},
}

// madeWord describes how many documents were made, as far as the pipeline counts them.
func madeWord(d *cases.Documents) string {
	switch {
	case d.Succeeded != nil && d.Total != nil:
		return fmt.Sprintf("%d of %d made", *d.Succeeded, *d.Total)
	case d.Succeeded != nil:
		return fmt.Sprintf("%d made", *d.Succeeded)
	case d.Total != nil:
		return fmt.Sprintf("%d in all", *d.Total)
	}
	return "not counted"
}

// failures returns how many documents failed. It is 0 if the pipeline does not count them.
func failures(d *cases.Documents) int {
	if d.Failed == nil {
		return 0
	}
	return *d.Failed
}

func stateWord(s cases.State) string {
	return orPlain(map[cases.State]string{
		cases.Pending: "Pending", cases.Running: "Running", cases.Succeeded: "Succeeded",
		cases.Failed: "Failed", cases.TimedOut: "Timed out", cases.Cancelled: "Cancelled",
	}, s)
}

// orPlain returns the text of a value. A value of a newer revision has no text and is shown as it
// is.
func orPlain[T ~string](known map[T]string, value T) string {
	if text, ok := known[value]; ok {
		return text
	}
	return strings.ReplaceAll(string(value), "_", " ")
}

// stopWord says what became of the job of an ended run.
func stopWord(s cases.StopState) string {
	return orPlain(map[cases.StopState]string{
		cases.StopRequested: "to be cancelled",
		cases.StopConfirmed: "cancelled, or not there",
		cases.StopFailed:    "not cancelled",
	}, s)
}

func sourceWord(s cases.Source) string {
	return orPlain(map[cases.Source]string{
		"":                   "Casewatch",
		cases.SourceEvent:    "an event of the pipeline",
		cases.SourceCallback: "a callback of the pipeline",
		cases.SourceDispatch: "the request to the pipeline",
		cases.SourceCheck:    "a check",
		cases.SourceCancel:   "a cancel",
		cases.SourceDeadline: "the deadline",
		cases.SourceSweep:    "the sweep",
	}, s)
}

// reasonWord returns the sentence for a reason, or the reason itself: a newer revision may have written it.
func reasonWord(r cases.Reason) string {
	if e, ok := cases.EndingOf(r); ok {
		return e.Sentence
	}
	return strings.ReplaceAll(string(r), "_", " ")
}

func whatWord(w cases.What) string {
	return orPlain(map[cases.What]string{
		cases.NoteBegan:       "Recorded",
		cases.NoteSent:        "Sent to the pipeline",
		cases.NoteNotStarted:  "Nothing was started; queued again",
		cases.NoteUncertain:   "It is not known whether the request arrived",
		cases.NoteRepeated:    "The pipeline does not know the run; queued again with the same key",
		cases.NoteAnswered:    "The pipeline accepted it",
		cases.NoteRunning:     "The pipeline works on it",
		cases.NoteStalled:     "Progress stalled",
		cases.NoteMoved:       "Progress moves again",
		cases.NoteUnreachable: "The pipeline could not be polled",
		cases.NoteReachable:   "The pipeline could be polled again",
		cases.NoteBusy:        "The pipeline asked to be polled later",
		cases.NoteUnknown:     "The pipeline does not know the case",
		cases.NoteKnown:       "The pipeline knows the case again",
		cases.NoteComplete:    "Every document is done; the result is awaited",
		cases.NoteIncomplete:  "The pipeline still works on it",
		cases.NoteAnnounced:   "The pipeline reported success; the result is awaited",
		cases.NoteRescheduled: "A lost task was scheduled again",
		cases.NoteEnded:       "Ended",
		cases.NoteFilled:      "The result arrived after the end and agrees with it",
		cases.NoteLate:        "Lost the race: a report arrived after the end",
		cases.NoteLeaked:      "A check polled the pipeline after the end",
		cases.NoteStopped:     "The job is to be cancelled at the pipeline",
		cases.NoteStopAgain:   "It is not known whether the job was cancelled; the request is repeated",
		cases.NoteStopDone:    "The pipeline confirmed that the job is cancelled, or has no such job",
		cases.NoteStopFailed:  "The pipeline did not cancel the job",
		cases.NoteNoResult:    "The job succeeded; its result could not be fetched yet",
		cases.NoteUnmapped:    "The pipeline gave a status that its description does not list",
		cases.NotePublished:   "The end was published",
		cases.NoteFormDropped: "The form was deleted",
	}, w)
}

func phaseWord(p cases.Phase) string {
	return orPlain(map[cases.Phase]string{
		"":                   "nothing to send: the run was adopted",
		cases.PhaseQueued:    "waiting in the queue",
		cases.PhaseInFlight:  "the request is in flight",
		cases.PhaseUncertain: "it is not known whether the request arrived; checks find out",
		cases.PhaseAnswered:  "the pipeline answered",
	}, p)
}

// ageWord describes an age of the filter.
func ageWord(age string) string {
	sense, text, _ := strings.Cut(age, "-")
	d, ok := parseAge(text)
	if !ok {
		return age
	}
	if sense == "older" {
		return "Created more than " + durationWord(d) + " ago"
	}
	return "Created in the last " + durationWord(d)
}

// durationWord describes a duration in its two largest units.
func durationWord(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	}
	var parts []string
	rest := d.Round(time.Second)
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		n := rest / unit.length
		rest %= unit.length
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit.name))
		}
		if len(parts) == 2 || n == 0 && len(parts) == 1 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// maxShown is the limit in bytes of the part of a result that a page shows.
const maxShown = 16 << 10

// excerpt is the beginning of a result.
type excerpt struct {
	Text  string
	Bytes int // of the whole result
	Cut   bool
}

// shown returns the part of a result that a page shows, indented. It returns nil if there is no
// result.
func shown(raw json.RawMessage) *excerpt {
	if len(raw) == 0 {
		return nil
	}
	e := &excerpt{Text: string(raw), Bytes: len(raw)}
	if json.Valid(raw) {
		e.Text = indented(raw, maxShown+1)
	}
	if e.Cut = len(e.Text) > maxShown; e.Cut {
		e.Text = printable.Cut(e.Text, maxShown)
	}
	return e
}

// indented returns valid JSON as json.Indent writes it, cut soon after limit bytes. It does not
// indent all of it, because deeply nested JSON can become thousands of times as long.
func indented(raw []byte, limit int) string {
	var b strings.Builder
	var last byte // the last byte written that is not white space
	depth, text, escaped := 0, false, false
	line := func() { b.WriteString("\n" + strings.Repeat("  ", depth)) }
	for _, c := range raw {
		switch {
		case b.Len() > limit:
			return b.String()
		case text:
			text = escaped || c != '"'
			escaped = !escaped && c == '\\'
			b.WriteByte(c)
			last = c
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c == '}' || c == ']':
			if depth--; last != '{' && last != '[' {
				line()
			}
		case last == '{' || last == '[' || last == ',':
			line()
		}
		b.WriteByte(c)
		switch c {
		case '{', '[':
			depth++
		case ':':
			b.WriteByte(' ')
		case '"':
			text = true
		}
		last = c
	}
	return b.String()
}
