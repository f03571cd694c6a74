package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/casewatch/casewatch/deploy/test/witness"
)

// notAsked marks a fault that the caller left out.
const notAsked = "not asked for"

// unjudged is what else is promised.
const unjudged = "that memory does not grow with the cases in flight cannot be seen from outside: `make test` " +
	"measures it"

// report is what a drill saw.
type report struct {
	Target  string    `json:"target"`
	Seconds float64   `json:"seconds"`
	Faults  []outcome `json:"faults"`
	Leaked  *int      `json:"leaked"` // how many more the console's health told of in the drill; null: not looked at
	Broken  int       `json:"broken"` // promises, by fault
	// NotDrilled counts the faults that did not happen, though they should: nothing is known of
	// what they would do.
	NotDrilled int      `json:"not_drilled"`
	Left       string   `json:"left,omitempty"` // what could not be cleaned up, and why
	Notes      []string `json:"notes"`          // what was not judged, and what else is to be known
}

// outcome is what came of a fault.
type outcome struct {
	Fault    string                      `json:"fault"`
	Does     string                      `json:"does"`
	Skipped  string                      `json:"skipped,omitempty"` // why
	Error    string                      `json:"error,omitempty"`   // why it did not happen
	Cases    []string                    `json:"cases"`
	Ended    []string                    `json:"ended"` // how the last run of each did
	Promises map[witness.Promise]verdict `json:"promises"`
	Breaches []witness.Breach            `json:"breaches"`
}

// verdict is "kept", "broken", or "-" where it was not judged.
type verdict string

const (
	kept      verdict = "kept"
	broken    verdict = "BROKEN"
	notJudged verdict = "-"
)

// told is how a broken promise is told to people.
func told(fault string, b witness.Breach) string { return fmt.Sprintf("BROKEN  %s, %s", fault, b) }

// report gathers what was seen.
func (d *drill) report(rep *report) {
	for i := range rep.Faults {
		o := &rep.Faults[i]
		o.Cases, o.Ended = []string{}, []string{}
		o.Breaches, o.Promises = []witness.Breach{}, map[witness.Promise]verdict{}
		cases := d.casesOf(o.Fault)
		for _, c := range cases {
			v := c.Latest()
			o.Cases, o.Ended = append(o.Cases, c.CaseID), append(o.Ended, v.String())
			o.Breaches = append(o.Breaches, c.Breaches()...)
		}
		for _, p := range witness.Promises {
			o.Promises[p.Promise] = kept
			unseen := p.Promise == witness.Once && d.t.SamplePipeline == "" && o.Fault != "repeated-start"
			if len(cases) == 0 || o.Skipped != "" || o.Error != "" || unseen {
				o.Promises[p.Promise] = notJudged
			}
		}
		for _, b := range o.Breaches {
			o.Promises[b.Promise] = broken
		}
		for _, v := range o.Promises {
			if v == broken {
				rep.Broken++
			}
		}
		if o.Error != "" {
			rep.NotDrilled++
		}
	}
	if d.noHouse == nil {
		leaked := max(0, d.worst.Leaked-d.before.Leaked)
		if rep.Leaked = &leaked; leaked > 0 {
			rep.Broken++
		}
	}
	rep.Notes = append(d.notes, unjudged)
}

// print writes the report for people.
func (r *report) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := []string{"fault"}
	for _, p := range witness.Promises {
		head = append(head, string(p.Promise))
	}
	fmt.Fprintln(table, strings.Join(append(head, "ended"), "\t"))
	for _, o := range r.Faults {
		line := []string{o.Fault}
		if o.Skipped != "" {
			fmt.Fprintf(table, "%s\tskipped: %s\n", o.Fault, o.Skipped)
			continue
		}
		for _, p := range witness.Promises {
			line = append(line, string(o.Promises[p.Promise]))
		}
		fmt.Fprintln(table, strings.Join(append(line, strings.Join(o.Ended, "; ")), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, o := range r.Faults {
		for _, seen := range o.Breaches {
			fmt.Fprintln(&b, told(o.Fault, seen))
		}
		if o.Error != "" {
			fmt.Fprintf(&b, "NOT DRILLED  %s: %s\n", o.Fault, strings.ReplaceAll(o.Error, "\n", "; "))
		}
	}
	if r.Leaked != nil && *r.Leaked > 0 {
		fmt.Fprintf(&b, "BROKEN  the console's health told of %d leaked\n", *r.Leaked)
	}
	if r.Left != "" {
		fmt.Fprintf(&b, "LEFT BEHIND  %s\n", strings.ReplaceAll(r.Left, "\n", "; "))
	}
	b.WriteByte('\n')
	for _, p := range witness.Promises {
		fmt.Fprintf(&b, "%-10s %s\n", p.Promise, p.Words)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	leaked := "not known"
	if r.Leaked != nil {
		leaked = fmt.Sprint(*r.Leaked)
	}
	fmt.Fprintf(&b, "%s: %d cases, %.0f s, leaked %s: %s\n", r.Target, r.cases(), r.Seconds, leaked, r.words())
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *report) cases() int {
	n := 0
	for _, o := range r.Faults {
		n += len(o.Cases)
	}
	return n
}

func (r *report) words() string {
	skipped := 0
	for _, o := range r.Faults {
		if o.Skipped != "" {
			skipped++
		}
	}
	text := "every promise kept"
	switch {
	case r.Broken > 0:
		text = fmt.Sprintf("%d promises BROKEN", r.Broken)
	case r.cases() == 0:
		text = "nothing was drilled"
	case r.NotDrilled > 0:
		text = "nothing seen broken"
	}
	if r.NotDrilled > 0 {
		text += fmt.Sprintf("; %d faults NOT DRILLED", r.NotDrilled)
	}
	if r.Left != "" {
		text += "; NOT cleaned up"
	}
	if skipped > 0 {
		text += fmt.Sprintf("; %d skipped", skipped)
	}
	return text
}
