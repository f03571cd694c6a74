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

// words are what the templates say things with.
var words = template.FuncMap{
	"state": stateWord, "source": sourceWord, "reason": reasonWord, "what": whatWord, "phase": phaseWord,
	"age": ageWord, "ages": func() []string { return ages }, "states": cases.States,
	"duration": func(d time.Duration) string { return durationWord(d) },
	"seconds":  func(s float64) string { return durationWord(time.Duration(s * float64(time.Second))) },
	"since":    func(now, t time.Time) string { return durationWord(max(0, now.Sub(t))) },
	"until":    func(now, t time.Time) string { return durationWord(max(0, t.Sub(now))) },
	"rfc":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"utc":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
	"precise":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") + " UTC" },
	"shown":    shown, "made": madeWord, "failures": failures,
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
	"dollars": func(usd float64) string { return fmt.Sprintf("$%.6f", usd) },
}

// madeWord says how many documents were made, as far as the pipeline counts them.
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

// failures returns how many documents failed; 0 if the pipeline does not say.
func failures(d *cases.Documents) int {
	if d.Failed == nil {
		return 0
	}
	return *d.Failed
}

func stateWord(s cases.State) string {
	return orPlain(map[cases.State]string{
		cases.Pending: "Pending", cases.Running: "Running", cases.Succeeded: "Succeeded", cases.Failed: "Failed", cases.TimedOut: "Timed out", cases.Cancelled: "Cancelled",
	}, s)
}

// orPlain returns the words for a value, or the value itself: a newer revision may have written it.
func orPlain[T ~string](known map[T]string, value T) string {
	if text, ok := known[value]; ok {
		return text
	}
	return strings.ReplaceAll(string(value), "_", " ")
}

func sourceWord(s cases.Source) string {
	return orPlain(map[cases.Source]string{
		"": "Casewatch", cases.SourceEvent: "an event of the pipeline", cases.SourceDispatch: "the request to the pipeline", cases.SourceCheck: "a check", cases.SourceCancel: "a cancel",
		cases.SourceDeadline: "the deadline", cases.SourceSweep: "the sweep",
	}, s)
}

func reasonWord(r cases.Reason) string {
	return orPlain(map[cases.Reason]string{
		cases.ReasonCompleted:           "The pipeline finished it.",
		cases.ReasonNoDocuments:         "The pipeline finished it, and every document failed.",
		cases.ReasonPipelineFailed:      "The pipeline said that it failed.",
		cases.ReasonPipelineRefused:     "The pipeline did not take the form.",
		cases.ReasonPipelineUnreachable: "The pipeline could not be reached for too long.",
		cases.ReasonPipelineLost:        "The pipeline no longer knew the case.",
		cases.ReasonStartUnknown:        "The request may or may not have reached the pipeline, which showed no sign of it.",
		cases.ReasonDeadline:            "The deadline passed first.",
		cases.ReasonCancelled:           "It was cancelled.",
		cases.ReasonSuperseded:          "A newer run took its place.",
	}, r)
}

func whatWord(w cases.What) string {
	return orPlain(map[cases.What]string{
		cases.NoteBegan:       "Recorded",
		cases.NoteSent:        "Sent to the pipeline",
		cases.NoteNotStarted:  "Nothing was started; queued again",
		cases.NoteUncertain:   "Nobody knows whether the request arrived",
		cases.NoteRepeated:    "The pipeline does not know it; queued again, under the same key",
		cases.NoteAnswered:    "The pipeline took it",
		cases.NoteRunning:     "The pipeline works on it",
		cases.NoteStalled:     "Progress stalled",
		cases.NoteMoved:       "Progress moves again",
		cases.NoteUnreachable: "The pipeline could not be asked",
		cases.NoteReachable:   "The pipeline could be asked again",
		cases.NoteBusy:        "The pipeline asked to be asked later",
		cases.NoteUnknown:     "The pipeline does not know the case",
		cases.NoteKnown:       "The pipeline knows the case again",
		cases.NoteComplete:    "Every document is done; the result is awaited",
		cases.NoteIncomplete:  "It is still at work after all",
		cases.NoteAnnounced:   "Success was announced; the result is awaited",
		cases.NoteRearmed:     "A lost wake-up was scheduled anew",
		cases.NoteEnded:       "Ended",
		cases.NoteFilled:      "The result came after the end, and agrees with it",
		cases.NoteLate:        "Lost the race: a word that came after the end",
		cases.NoteLeaked:      "A check asked the pipeline after the end",
		cases.NotePublished:   "The end was published",
		cases.NoteFormDropped: "The form was deleted",
	}, w)
}

func phaseWord(p cases.Phase) string {
	return orPlain(map[cases.Phase]string{
		"":                   "nothing to send: the run was adopted",
		cases.PhaseQueued:    "waiting in the queue",
		cases.PhaseInFlight:  "the request is open",
		cases.PhaseUncertain: "nobody knows whether the request arrived; checks find out",
		cases.PhaseAnswered:  "the pipeline answered",
	}, p)
}

// ageWord says what an age of the filter means.
func ageWord(age string) string {
	sense, text, _ := strings.Cut(age, "-")
	d, ok := parseAge(text)
	if !ok {
		return age
	}
	return map[string]string{"newer": "Begun in the last ", "older": "Begun more than "}[sense] + durationWord(d) + map[string]string{"older": " ago"}[sense]
}

// durationWord says a duration in its two largest units.
func durationWord(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	}
	var said []string
	rest := d.Round(time.Second)
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		n := rest / unit.length
		rest %= unit.length
		if n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, unit.name))
		}
		if len(said) == 2 || n == 0 && len(said) == 1 {
			break
		}
	}
	return strings.Join(said, " ")
}

// maxShown bounds how much of a result a page shows, in bytes.
const maxShown = 16 << 10

// excerpt is the beginning of a result.
type excerpt struct {
	Text  string
	Bytes int // of all of it
	Cut   bool
}

// shown returns as much of a result as a page shows, indented; nil if there is none.
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

// indented returns valid JSON as json.Indent writes it, cut soon after limit bytes: all of it could be thousands of times as long as
// what is nested deeply.
func indented(raw []byte, limit int) string {
	var b strings.Builder
	var last byte // that was written, white space aside
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
