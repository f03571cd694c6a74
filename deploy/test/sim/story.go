package sim

import (
	"fmt"
	"hash/fnv"
	"io"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
)

// Story describes, line by line, what happened to a case; "" means all cases. Sweeps are included
// where they did something.
func (r *Record) Story(id string) string {
	var b strings.Builder
	for i := range r.Entries {
		e := &r.Entries[i]
		if id != "" && e.Case != id && e.Case != "" {
			continue
		}
		if s, ok := e.Data.(Swept); ok && s.Done &&
			s.Report.Overdue+s.Report.Leaked+s.Report.Republished+s.Report.Purged == 0 {
			continue
		}
		if strings.HasPrefix(e.Invocation, "sweep") && e.Data == nil && e.Fault == "" && e.Err == nil ||
			e.What == "sample" {
			continue
		}
		fmt.Fprintln(&b, e.line())
	}
	return b.String()
}

func (e *Entry) line() string {
	var b strings.Builder
	b.WriteString(clock(e.At))
	if e.Invocation != "" {
		fmt.Fprintf(&b, " [%s @%d]", e.Invocation, e.Instance)
	}
	b.WriteString(" " + e.What)
	if e.Run > 0 && e.Invocation == "" {
		fmt.Fprintf(&b, " %s/%d", e.Case, e.Run)
	}
	if e.Fault != "" {
		fmt.Fprintf(&b, " <<%s, call %d>>", e.Fault, e.Call)
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Data != nil {
		b.WriteString(": " + tell(e.Data))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func tell(data any) string {
	switch d := data.(type) {
	case Commits:
		var parts []string
		for _, c := range d {
			parts = append(parts, tellCase(c))
		}
		return strings.Join(parts, "; ")
	case Swept:
		return fmt.Sprintf("%+v", d.Report)
	case Told:
		return d.ID + " " + string(d.Data)
	case Shown:
		return fmt.Sprintf("run %d version %d %s %v", d.View.Run, d.View.Version, d.View.State, d.View.Progress)
	case Looked:
		r := d.Outcome.Reading
		return fmt.Sprintf("%s %d/%d %s", d.Outcome.Kind, r.Completed, r.Total, r.Status)
	case Asked:
		return fmt.Sprintf("run %d %s begun=%v %+v", d.Run, d.State, d.Begun, d.Action)
	case TaskChange:
		return fmt.Sprintf("#%d %s created=%v", d.Seq, d.Name[:6], d.Created)
	}
	return fmt.Sprintf("%+v", data)
}

func tellCase(w Commit) string {
	c := w.Case
	s := fmt.Sprintf(
		"run %d version %d %s %d/%d check #%d dispatch %s #%d",
		c.Run,
		c.Version,
		c.State,
		c.Job.Progress.Completed,
		c.Job.Progress.Total,
		c.Checks.Seq,
		c.Dispatch.Phase,
		c.Dispatch.Seq,
	)
	if c.State.Ended() {
		s += fmt.Sprintf(" %s by %s settled=%v", c.Outcome.End.Reason, c.Outcome.End.Source, c.Bookkeeping.Finalized)
	}
	if c.Outcome.Late != nil {
		s += fmt.Sprintf(" late %s %d", c.Outcome.Late.State, c.Outcome.Late.Count)
	}
	if w.Result != "" {
		s += " result " + w.Result
	}
	return s
}

// Hash returns a hash of the whole record. It is equal for two runs of one plan.
func (r *Record) Hash() uint64 {
	h := fnv.New64a()
	for i := range r.Entries {
		e := &r.Entries[i]
		_, _ = io.WriteString(h, e.line())
		if all, ok := e.Data.(Commits); ok {
			for _, c := range all {
				fmt.Fprintf(h, "%+v %v %v %v", plain(c.Case), c.Result, c.Late, c.Form)
			}
		}
	}
	return h.Sum64()
}

// plain returns the record without pointers, because those print as addresses.
func plain(c cases.Case) cases.Case {
	c.Outcome.End, c.Outcome.Documents, c.Outcome.Late = nil, nil, nil
	c.Job.Reading, c.Job.Baseline = nil, nil
	c.Durations.Earlier = nil
	return c
}
