package report

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/jsonscan"
)

// maxCount is the largest number of documents that is believed.
const maxCount = 1 << 31

// Given reports whether a member is there, and not null.
func Given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// within returns members of a value that is known to be valid: nil for each if it is no object.
func within(value json.RawMessage, names ...string) []json.RawMessage {
	if len(value) == 0 || value[0] != '{' {
		return make([]json.RawMessage, len(names))
	}
	return jsonscan.Find(value, names...)
}

// String reads a string; "" if raw is none.
func String(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// number reads a number, or a string that spells one as JSON does.
func number(raw json.RawMessage) (float64, bool) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if text = strings.TrimSpace(String(raw)); !json.Valid([]byte(text)) {
			return 0, false // such as 0x1p4, 1_000 or Inf, which ParseFloat takes too
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// Whole reads a whole number, however it is written: 3, 3.0, 3e0, "3".
func Whole(raw json.RawMessage) (int, bool) {
	n, ok := number(raw)
	if !ok || n != math.Trunc(n) || math.Abs(n) > maxCount {
		return 0, false
	}
	return int(n), true
}
