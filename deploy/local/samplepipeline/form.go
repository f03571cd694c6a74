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

// maxDocuments is the most documents of one case.
const maxDocuments = 500

// maxText is the longest text of a form that gets into a document, in characters.
const maxText = 300

// validID is what a case id and a run may be: they become names of folders.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// text reads strings, numbers and booleans; anything else is "". It has no control characters and
// is at most maxText long.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v.(type) {
	case string:
	case float64, bool:
		v = string(data) // as it was written: an id of 19 digits does not fit a float64
	default:
		v = ""
	}
	*t = clean(fmt.Sprint(v))
	return nil
}

func clean(s string) text { return text(printable.Line(s, maxText)) }

// flag reads booleans however they are written.
type flag bool

func (f *flag) UnmarshalJSON(data []byte) error {
	var t text
	if err := t.UnmarshalJSON(data); err != nil {
		return err
	}
	*f = flag(slices.Contains([]string{"true", "yes", "y", "1", "on"}, strings.ToLower(string(t))))
	return nil
}

// list reads a list, one object as a list of one, and anything else as an empty one. An element
// that cannot be read is zero.
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

// lenient reads an object; anything else is the zero value.
type lenient[T any] struct{ v T }

func (l *lenient[T]) UnmarshalJSON(data []byte) error {
	_ = json.Unmarshal(data, &l.v)
	return nil
}

// party is a plaintiff or a defendant, in the form frontend's members or in those of the shape
// before it.
type party struct {
	ID              text `json:"Id"`
	HeadOfHousehold flag

	PlaintiffName lenient[name] `json:"PlaintiffItemNumberName"`
	Issues        issues        `json:"PlaintiffItemNumberDiscovery"`
	DefendantName lenient[name] `json:"DefendantItemNumberName"`
	DefendantType text          `json:"DefendantItemNumberType"`
	DefendantRole text          `json:"DefendantItemNumberManagerOwner"`

	// The shape before.
	FirstName, LastName, EntityType text
}

type name struct{ First, Last, FirstAndLast text }

func (n name) String() string { return or(string(n.FirstAndLast), join(n.First, n.Last)) }

func (p party) name() string {
	return or(p.PlaintiffName.v.String(), p.DefendantName.v.String(), join(p.FirstName, p.LastName))
}

func join(first, last text) string { return strings.TrimSpace(string(first + " " + last)) }

// maxIssues is the most kinds of issues of one plaintiff that get into documents. The form frontend
// has about 25.
const maxIssues = 40

// issues are what a plaintiff complains of, as texts such as "Vermin (Rats/Mice, Skunks)", in the
// order of their names.
type issues []string

// UnmarshalJSON reads the members that are lists, each the choices of one kind of issue; an empty
// list is no issue. The flags beside them (VerminIssue for Vermin) only say that the list is not
// empty, and are not read.
func (all *issues) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(data, &members) // anything but an object has none
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

// address has a street of one of three names.
type address struct{ StreetAddress, Line1, Street, City, State, PostalCode text }

func (a address) String() string {
	region := strings.TrimSpace(string(a.State + " " + a.PostalCode))
	street := or(string(a.StreetAddress), string(a.Line1), string(a.Street))
	parts := slices.DeleteFunc([]string{street, string(a.City), region}, func(s string) bool { return s == "" })
	return strings.Join(parts, ", ")
}

// sample is the part of the form that chooses the behaviour.
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
	Plaintiffs         list[party]      `json:"PlaintiffDetails"`
	Defendants         list[party]      `json:"DefendantDetails2"`
	Address            lenient[address] `json:"Full_Address"`
	FilingCity         text             `json:"Filing city"`
	FilingCounty       text             `json:"Filing county"`
	FilingCityBefore   text             `json:"FilingCity"`
	FilingCountyBefore text             `json:"FilingCounty"`
	DocumentTypes      list[text]       `json:"document_types"`
	RawSample          json.RawMessage  `json:"sample"`

	sample sample
}

var errNotAnObject = errors.New("Input should be a valid JSON object") //nolint:staticcheck // FastAPI's words

// parseForm reads a form. Only what is not an object, an id that is not one, a "sample" that asks
// for what there is not, and too many documents are errors; their text is for the caller.
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
		return nil, errors.New("case_id and run begin with a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -")
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
		return nil, fmt.Errorf("%d documents are more than the %d of one case", n, maxDocuments)
	}
	return f, f.parseSample()
}

func (f *form) parseSample() error {
	f.sample.Mode = "sync"
	if len(f.RawSample) > 0 {
		if err := json.Unmarshal(f.RawSample, &f.sample); err != nil {
			return errors.New(`sample is an object with the strings "mode" and "fault" and the number "at"`)
		}
	}
	if f.sample.Mode == "" {
		f.sample.Mode = "sync"
	}
	if !slices.Contains(modes, f.sample.Mode) {
		return fmt.Errorf("sample.mode is one of %s", strings.Join(modes, ", "))
	}
	if f.sample.Fault != "" && !slices.Contains(faults, f.sample.Fault) {
		return fmt.Errorf("sample.fault is one of %s", strings.Join(faults, ", "))
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

// runFolder is the run as a part of paths. A caller that knows no runs has one.
func (f *form) runFolder() string { return cmp.Or(string(f.Run), "1") }

func (f *form) filingCity() string {
	return or(string(f.FilingCity), string(f.FilingCityBefore), string(f.Address.v.City))
}

func (f *form) total() int { return len(f.Plaintiffs) * len(f.Defendants) * len(f.DocumentTypes) }

var (
	modes  = []string{"sync", "async", "silent"}
	faults = []string{
		"fail", "fail_event", "hang", "forget", "stop_short", "some_fail", "none_succeed", "reset", "refuse", "busy",
		"error500", "not_json", "slow_progress", "down",
	}
)
