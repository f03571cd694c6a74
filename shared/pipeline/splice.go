package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

var errNotAnObject = errors.New("the form is not a JSON object")

// splice returns the form with case_id and run set, and every other byte of it as it came: a form that is decoded and encoded
// again loses the digits of its numbers, the order of its keys and the spelling of its strings.
//
// A key that is there has its value replaced in place, at its first mention, however it is spelled; further mentions are taken out, so
// that all parsers read the same. A key that is not there is added in front.
func splice(form []byte, caseID string, run int) ([]byte, error) {
	start := skipSpace(form, 0)
	if !json.Valid(form) || form[start] != '{' {
		return nil, errNotAnObject
	}
	id, err := json.Marshal(caseID)
	if err != nil {
		return nil, err
	}
	names := []string{"case_id", "run"}
	values := map[string][]byte{"case_id": id, "run": strconv.AppendInt(nil, int64(run), 10)}

	type edit struct {
		from, to int
		with     []byte
	}
	var edits []edit
	seen := map[string]bool{}
	empty, comma := true, 0
	for i := skipSpace(form, start+1); form[i] != '}'; empty = false {
		keyEnd := skipString(form, i)
		var name string
		if err := json.Unmarshal(form[i:keyEnd], &name); err != nil {
			return nil, err
		}
		from := skipSpace(form, skipSpace(form, keyEnd)+1)
		to := skipValue(form, from)
		if value, ours := values[name]; ours {
			if !seen[name] {
				edits = append(edits, edit{from, to, value})
			} else {
				edits = append(edits, edit{comma, to, nil})
			}
			seen[name] = true
		}
		if i = skipSpace(form, to); form[i] == ',' {
			comma = i
			i = skipSpace(form, i+1)
		}
	}

	out := make([]byte, 0, len(form)+len(id)+40)
	out = append(out, form[:start+1]...)
	for _, name := range names {
		if seen[name] {
			continue
		}
		if len(out) > start+1 {
			out = append(out, ',')
		}
		out = strconv.AppendQuote(out, name)
		out = append(append(out, ':'), values[name]...)
	}
	if !empty && len(out) > start+1 {
		out = append(out, ',')
	}
	rest := start + 1
	for _, e := range edits {
		out = append(out, form[rest:e.from]...)
		out = append(out, e.with...)
		rest = e.to
	}
	return append(out, form[rest:]...), nil
}

// The functions below step over parts of a text that is known to be valid JSON.

func skipSpace(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte([]byte(" \t\r\n"), b[i]) >= 0 {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index after the value that begins at i.
func skipValue(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++
		default: // a number or a word
			for bytes.IndexByte([]byte(",}] \t\r\n"), b[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
