package report

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/jsonscan"
)

// maxCount is the largest accepted number of documents.
const maxCount = 1 << 31

// Given reports whether a member is present and not null.
func Given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// within returns members of a valid JSON value. If the value is not an object, each member is nil.
func within(value json.RawMessage, names ...string) []json.RawMessage {
	if len(value) == 0 || value[0] != '{' {
		return make([]json.RawMessage, len(names))
	}
	return jsonscan.Find(value, names...)
}

// String reads a string. It returns "" if raw is not a string.
func String(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// number reads a number, or a string that holds a number in the spelling of JSON.
func number(raw json.RawMessage) (float64, bool) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if text = strings.TrimSpace(String(raw)); !json.Valid([]byte(text)) {
			return 0, false // ParseFloat also accepts 0x1p4, 1_000 and Inf
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// Whole reads a whole number in any spelling: 3, 3.0, 3e0, "3".
func Whole(raw json.RawMessage) (int, bool) {
	n, ok := number(raw)
	if !ok || n != math.Trunc(n) || math.Abs(n) > maxCount {
		return 0, false
	}
	return int(n), true
}

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
