package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/casewatch/casewatch/shared/jsonscan"
)

var errNotAnObject = errors.New("the form is not a JSON object")

// splice returns the form with case_id and run set. Every other byte stays the same. Decoding and
// encoding the form would lose the digits of its numbers, the order of its keys and the spelling of
// its strings.
//
// If a key is present, its value is replaced in place, at its first occurrence and in any spelling.
// Further occurrences are removed, so that all parsers read the same value. A missing key is added
// at the front.
func splice(form []byte, caseID string, run int) ([]byte, error) {
	names := []string{"case_id", "run"}
	found, err := jsonscan.Members(form, names...)
	if err != nil {
		return nil, errNotAnObject
	}
	id, err := json.Marshal(caseID)
	if err != nil {
		return nil, err
	}
	values := [][]byte{id, strconv.AppendInt(nil, int64(run), 10)}

	start := bytes.IndexByte(form, '{') + 1
	out := make([]byte, 0, len(form)+len(id)+40)
	out = append(out, form[:start]...)
	for i, name := range names {
		if found[i] != nil {
			continue
		}
		if len(out) > start {
			out = append(out, ',')
		}
		out = strconv.AppendQuote(out, name)
		out = append(append(out, ':'), values[i]...)
	}

	var seen [2]bool
	rest, before := start, start // the next byte to copy, and the end of the previous member
	for m := range jsonscan.Object(form) {
		if before == start && len(out) > start {
			out = append(out, ',')
		}
		i := slices.IndexFunc(names, m.Is)
		switch {
		case i < 0:
		case !seen[i]:
			out = append(append(out, form[rest:m.From]...), values[i]...)
			seen[i], rest = true, m.To
		default:
			comma := before + bytes.IndexByte(form[before:], ',')
			out = append(out, form[rest:comma]...)
			rest = m.To
		}
		before = m.To
	}
	return append(out, form[rest:]...), nil
}
