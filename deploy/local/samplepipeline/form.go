package samplepipeline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/casewatch/casewatch/shared/printable"
)

const (
	maxDocuments = 500 // documents of one case
	maxText      = 300 // characters of a text; a longer one is cut
	maxIssues    = 40  // kinds of issues of one plaintiff; the form frontend has about 25
)

// validID matches a valid case id or run. Both are used as names of directories.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// text is decoded from a string, number or boolean. Any other value is "". A text has no control
// characters and at most maxText characters.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v.(type) {
	case string:
	case float64, bool:
		v = string(data) // the original text: a float64 cannot hold an id of 19 digits
	default:
		v = ""
	}
	*t = clean(fmt.Sprint(v))
	return nil
}

func clean(s string) text { return text(printable.Line(s, maxText)) }

// flag is decoded from a boolean, or from a text such as "yes" or "1".
type flag bool

func (f *flag) UnmarshalJSON(data []byte) error {
	var t text
	if err := t.UnmarshalJSON(data); err != nil {
		return err
	}
	*f = flag(slices.Contains([]string{"true", "yes", "y", "1", "on"}, strings.ToLower(string(t))))
	return nil
}

// list is decoded from an array. An object or string is a list of one element, and any other value
// is an empty list. An element of the wrong type is the zero value.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(data []byte) error {
	var raw []json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		if len(data) == 0 || (data[0] != '{' && data[0] != '"') {
			return nil
		}
		raw = []json.RawMessage{data}
	}
	for _, r := range raw {
		var v T
		_ = json.Unmarshal(r, &v)
		*l = append(*l, v)
	}
	return nil
}

// lenient is decoded from an object. Any other value is the zero value.
type lenient[T any] struct{ v T }

func (l *lenient[T]) UnmarshalJSON(data []byte) error {
	_ = json.Unmarshal(data, &l.v)
	return nil
}

// party is a plaintiff or a defendant, with the fields of the form frontend and those of the older
// shape.
type party struct {
	ID              text `json:"Id"`
	HeadOfHousehold flag

	PlaintiffName lenient[name] `json:"PlaintiffItemNumberName"`
	Issues        issues        `json:"PlaintiffItemNumberDiscovery"`
	DefendantName lenient[name] `json:"DefendantItemNumberName"`
	DefendantType text          `json:"DefendantItemNumberType"`
	DefendantRole text          `json:"DefendantItemNumberManagerOwner"`

	// The fields of the older shape.
	FirstName, LastName, EntityType text
}

type name struct{ First, Last, FirstAndLast text }

func (n name) String() string { return cmp.Or(string(n.FirstAndLast), join(n.First, n.Last)) }

func (p party) name() string {
	return cmp.Or(p.PlaintiffName.v.String(), p.DefendantName.v.String(), join(p.FirstName, p.LastName))
}

func join(first, last text) string { return strings.TrimSpace(string(first + " " + last)) }

// issues are the complaints of a plaintiff, as texts such as "Vermin (Rats/Mice, Skunks)". They are
// ordered by kind.
type issues []string

// UnmarshalJSON reads an object. Each member that is a list has the choices for one kind of issue,
// and an empty list is no issue. A flag such as VerminIssue says only that the list Vermin is not
// empty, so it is ignored.
func (all *issues) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(data, &members) // other values have no members
	for _, kind := range slices.Sorted(maps.Keys(members)) {
		var choices []text
		if json.Unmarshal(members[kind], &choices) != nil || len(*all) == maxIssues {
			continue
		}
		var texts []string
		for _, c := range choices {
			if c != "" {
				texts = append(texts, string(c))
			}
		}
		if len(texts) > 0 {
			*all = append(*all, string(clean(kind+" ("+strings.Join(texts, ", ")+")")))
		}
	}
	return nil
}

// address is an address whose street has one of three field names.
type address struct{ StreetAddress, Line1, Street, City, State, PostalCode text }

func (a address) String() string {
	region := strings.TrimSpace(string(a.State + " " + a.PostalCode))
	street := cmp.Or(string(a.StreetAddress), string(a.Line1), string(a.Street))
	parts := slices.DeleteFunc([]string{street, string(a.City), region}, func(s string) bool { return s == "" })
	return strings.Join(parts, ", ")
}

// sample is the part of the form that chooses the pipeline's behaviour.
type sample struct {
	Mode  string
	Fault string
	At    int
}

type form struct {
	CaseID text `json:"case_id"`
	Run    text `json:"run"`
	Form   lenient[struct {
		ID           text `json:"Id"`
		InternalName text
		Name         text
	}]
	Plaintiffs        list[party]      `json:"PlaintiffDetails"`
	Defendants        list[party]      `json:"DefendantDetails2"`
	Address           lenient[address] `json:"Full_Address"`
	FilingCity        text             `json:"Filing city"`
	FilingCounty      text             `json:"Filing county"`
	OlderFilingCity   text             `json:"FilingCity"`
	OlderFilingCounty text             `json:"FilingCounty"`
	DocumentTypes     list[text]       `json:"document_types"`
	RawSample         json.RawMessage  `json:"sample"`

	sample sample
}

var errNotAnObject = errors.New("Input should be a valid JSON object") //nolint:staticcheck // FastAPI's text

// parseForm decodes a form. It fails for a value that is not an object, an invalid case_id or run,
// an invalid "sample", and more than maxDocuments documents. The texts of its errors are for the
// caller.
func parseForm(data []byte) (*form, error) {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || object == nil {
		return nil, errNotAnObject
	}
	f := &form{}
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("the form cannot be read: %w", err)
	}
	if f.CaseID == "" {
		f.CaseID = text("sample-" + uuid.NewString())
	}
	if !validID.MatchString(string(f.CaseID)) || !validID.MatchString(f.runFolder()) {
		return nil, errors.New("case_id and run must be a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -")
	}
	if len(f.Plaintiffs) == 0 {
		f.Plaintiffs = list[party]{{}}
	}
	if len(f.Defendants) == 0 {
		f.Defendants = list[party]{{}}
	}
	if len(f.DocumentTypes) == 0 {
		f.DocumentTypes = list[text]{"srogs", "pods", "admissions"}
	}
	if n := len(f.Plaintiffs) * len(f.Defendants) * len(f.DocumentTypes); n > maxDocuments {
		return nil, fmt.Errorf("the form asks for %d documents, but the limit is %d", n, maxDocuments)
	}
	return f, f.parseSample()
}

func (f *form) parseSample() error {
	f.sample.Mode = "sync"
	if len(f.RawSample) > 0 {
		if err := json.Unmarshal(f.RawSample, &f.sample); err != nil {
			return errors.New(`sample must be an object with the strings "mode" and "fault" and the number "at"`)
		}
	}
	if f.sample.Mode == "" {
		f.sample.Mode = "sync"
	}
	if !slices.Contains(modes, f.sample.Mode) {
		return fmt.Errorf("sample.mode must be one of %s", strings.Join(modes, ", "))
	}
	if f.sample.Fault != "" && !slices.Contains(faults, f.sample.Fault) {
		return fmt.Errorf("sample.fault must be one of %s", strings.Join(faults, ", "))
	}
	if f.sample.Fault == "fail_event" {
		f.sample.Mode, f.sample.Fault = "async", "fail"
	}
	total := f.total()
	if f.sample.At <= 0 {
		f.sample.At = (total + 1) / 2
	}
	f.sample.At = min(f.sample.At, total)
	return nil
}

// runFolder returns the name of the run's directory. It is "1" for a form without a run.
func (f *form) runFolder() string { return cmp.Or(string(f.Run), "1") }

func (f *form) filingCity() string {
	return cmp.Or(string(f.FilingCity), string(f.OlderFilingCity), string(f.Address.v.City))
}

func (f *form) total() int { return len(f.Plaintiffs) * len(f.Defendants) * len(f.DocumentTypes) }

var (
	modes  = []string{"sync", "async", "silent"}
	faults = []string{
		"fail", "fail_event", "hang", "forget", "stop_short", "some_fail", "none_succeed", "reset", "refuse", "busy",
		"error500", "not_json", "slow_progress", "down",
	}
)
