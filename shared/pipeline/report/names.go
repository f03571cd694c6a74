package report

import (
	"encoding/json"
	"strconv"

	"github.com/casewatch/casewatch/shared/jsonscan"
)

// Another reports whether text names a case or run other than the given one. It returns "another
// case", "another run", or "" if neither is named. It reads case_id and run at the top of the
// object and in its result, detail and webhook_summary. A member that is missing, null or of the
// wrong type is ignored. With run 0, only the case is compared.
func Another(text []byte, caseID string, run int) string {
	top, err := jsonscan.Members(text, "case_id", "run", "result", "detail", "webhook_summary")
	if err != nil {
		return ""
	}
	ids, runs := []json.RawMessage{top[0]}, []json.RawMessage{top[1]}
	for _, part := range top[2:] {
		in := within(part, "case_id", "run")
		ids, runs = append(ids, in[0]), append(runs, in[1])
	}
	for _, raw := range ids {
		if names, ok := caseName(raw); ok && names != caseID {
			return "another case"
		}
	}
	for _, raw := range runs {
		if names, ok := Whole(raw); run > 0 && ok && names > 0 && names != run {
			return "another run"
		}
	}
	return ""
}

// caseName reads the id of a case: a non-empty string, or a number.
func caseName(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 {
		return "", false
	}
	switch c := raw[0]; {
	case c == '"':
		name := String(raw)
		return name, name != ""
	case c == '-' || c >= '0' && c <= '9':
		if n, ok := Whole(raw); ok {
			return strconv.Itoa(n), true
		}
		return string(raw), true
	}
	return "", false
}
