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

// splice returns the form with case_id and run set, and every other byte of it as it came: a form that is decoded and encoded
// again loses the digits of its numbers, the order of its keys and the spelling of its strings.
//
// A key that is there has its value replaced in place, at its first mention, however it is spelled; further mentions are taken out, so
// that all parsers read the same. A key that is not there is added in front.
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
	rest, before := start, start // what is copied next, and the end of the member before
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
