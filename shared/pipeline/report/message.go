package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxFaults bounds the faults of a list that are told one by one.
const maxFaults = 5

// maxNested bounds how deep a message is looked for: deeper ones are nobody's, and each level copies what it says.
const maxNested = 16

// Message returns what the body of an answer says went wrong; "" if it does not say. It knows {"error"}, FastAPI's {"detail"} as a
// string, an object or a list, and plain text. A page of HTML is nobody's message, nor is JSON that cannot be read: it may hold the form.
func Message(body []byte) string {
	body = bytes.TrimSpace(body)
	if !json.Valid(body) {
		if len(body) == 0 || bytes.IndexByte([]byte("<{["), body[0]) >= 0 {
			return ""
		}
		return string(body[:min(len(body), 64<<10)])
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a number that is too large for others must not make the whole a text
	if decoder.Decode(&value) != nil {
		return ""
	}
	if object, ok := value.(map[string]any); ok {
		return namedText(object, maxNested)
	}
	return text(value, maxNested)
}

// text tells a value of an error. It leaves out what FastAPI's validation puts beside its messages: "input" and "ctx" repeat the
// form (https://docs.pydantic.dev/latest/errors/errors/).
func text(value any, depth int) string {
	if depth == 0 {
		return ""
	}
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []any:
		var parts []string
		for _, item := range v[:min(len(v), maxFaults)] {
			if s := text(item, depth-1); s != "" {
				parts = append(parts, s)
			}
		}
		if more := len(v) - maxFaults; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more", more))
		}
		return strings.Join(parts, "; ")
	case map[string]any:
		if s := namedText(v, depth); s != "" {
			return s
		}
		var parts []string
		for name, member := range v {
			switch member.(type) {
			case string, json.Number, bool:
				if name != "input" && name != "ctx" && name != "url" && name != "success" {
					parts = append(parts, name+": "+text(member, 1))
				}
			}
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	}
	return ""
}

// namedText returns the message among an object's members, with its place in front if it is a fault that validation found.
func namedText(object map[string]any, depth int) string {
	for _, name := range []string{"error", "message", "msg", "detail", "title", "reason"} {
		s := text(object[name], depth-1)
		if s == "" {
			continue
		}
		if loc, ok := object["loc"].([]any); ok && len(loc) > 0 {
			var place []string
			for _, step := range loc[:min(len(loc), maxNested)] {
				place = append(place, text(step, 1))
			}
			s = strings.Join(place, ".") + ": " + s
		}
		return s
	}
	return ""
}
