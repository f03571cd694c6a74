package report

import (
	"encoding/json"
	"errors"
	"math"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
)

// Progress is the progress of a run as the pipeline reports it.
type Progress struct {
	cases.Reading
	// HasTotal reports whether the total is present. It may be null.
	HasTotal bool
	// Unreadable is not nil if a count is present and not a whole number. The Reading holds 0 for
	// that count.
	Unreadable error
}

// ErrNoProgress is the error of [ParseProgress] if the text is not a JSON object.
var ErrNoProgress = errors.New("the progress is not a JSON object")

// ParseProgress reads the progress in the body of a poll's answer or in an event. Each field is
// read on its own. A field of the wrong type counts as missing. In the Reading
//   - Completed and Total are whole numbers, written as numbers or as text. A missing or negative
//     value is 0.
//   - Percent is at most 100, and -1 if missing. A value of at most 1 is taken as a share if that
//     agrees better with the counts: 0.43 with 3 of 7 is 43. Text is read too, and "0.43%" is never
//     a share.
//   - Status is running, succeeded or failed. Any other text counts as missing.
//   - Current is unchanged.
//
// The error is ErrNoProgress.
func ParseProgress(text []byte) (Progress, error) {
	members, err := jsonscan.Members(text, "completed", "total", "progress_percent", "current_doc", "status")
	if err != nil {
		return Progress{}, ErrNoProgress
	}
	p := Progress{HasTotal: members[1] != nil}
	var odd []string
	count := func(name string, raw json.RawMessage) int {
		n, ok := Whole(raw)
		if Given(raw) && !ok {
			odd = append(odd, name)
		}
		return max(n, 0)
	}
	p.Completed, p.Total = count("completed", members[0]), count("total", members[1])
	switch len(odd) {
	case 1:
		p.Unreadable = errors.New(odd[0] + " is no whole number of documents")
	case 2:
		p.Unreadable = errors.New("completed and total are no whole numbers of documents")
	}
	p.Percent = Percent(members[2], p.Completed, p.Total)
	p.Current = String(members[3])
	if status := cases.Status(String(members[4])); status.Known() {
		p.Status = status
	}
	return p, nil
}

// Percent reads a percentage, or a share of 1 if the counts show that it is one. It returns -1 if
// raw is neither.
func Percent(raw json.RawMessage, completed, total int) float64 {
	text := String(raw)
	bare, signed := strings.CutSuffix(strings.TrimSpace(text), "%")
	if signed {
		raw = json.RawMessage(strings.TrimSpace(bare))
	}
	p, ok := number(raw)
	if !ok || p < 0 {
		return -1
	}
	if p <= 1 && total > 0 && !signed {
		counted := 100 * float64(completed) / float64(total)
		if math.Abs(100*p-counted) < math.Abs(p-counted) {
			p *= 100
		}
	}
	return min(p, 100)
}
