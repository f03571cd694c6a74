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
