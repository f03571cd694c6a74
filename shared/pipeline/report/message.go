package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/casewatch/casewatch/shared/jsonscan"
)

const (
	// maxFaults bounds the faults of a list, and the members of an object, that are told one by one.
	maxFaults = 5
	// maxListed bounds the members of an object that are looked at one by one.
	maxListed = 100
	// maxNested bounds how deep a message is looked for: deeper ones are nobody's.
	maxNested = 16
	// maxSaid bounds what is read of one text, in bytes.
	maxSaid = 64 << 10
)

// telling are the members that may hold a message, the most telling one first.
var telling = []string{
	"error", "message", "msg", "detail", "errors", "error_description", "errorMessage", "error_message", "Message", "defaultMessage",
	"description", "reason", "title",
}

// asked are the members of an error's object that are looked at: its place, and what may be its message.
var asked = append([]string{"loc", "field"}, telling...)

// repeats are the members of an error that repeat what was sent, or say nothing: FastAPI's "input" and "ctx"
// (https://docs.pydantic.dev/latest/errors/errors/), Spring's "rejectedValue", express-validator's "value".
var repeats = []string{"input", "ctx", "url", "success", "value", "rejectedValue", "body", "data"}

// Message returns what the body of an answer says went wrong; "" if it does not say. It knows {"error"}, FastAPI's {"detail"} as a
// string, an object or a list, problem+json, the errors of GraphQL, Google, Spring and ASP.NET, and plain text. Of several texts it
// returns the most telling one: a sentence before a code, a code before the name of a status. A page of HTML is nobody's
// message, nor is JSON that cannot be read: it may hold the form.
//
// Needs little memory beside the text that it returns, however large and of whatever shape the body is.
func Message(body []byte) string {
	body = bytes.TrimSpace(body)
	if !json.Valid(body) {
		if len(body) == 0 || bytes.IndexByte([]byte("<{["), body[0]) >= 0 {
			return ""
		}
		return string(body[:min(len(body), maxSaid)])
	}
	if body[0] == '{' {
		return named(body, maxNested)
	}
	return said(body, maxNested)
}

// said returns what a value says: the valid JSON of an error, or of a part of one. It is "" for true and false.
func said(value json.RawMessage, depth int) string {
	if depth <= 0 || len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		return beginning(value)
	case '[':
		var parts []string
		n := 0
		for element := range jsonscan.Array(value) {
			if n++; n > maxFaults {
				continue
			}
			if s := said(element, depth-1); s != "" {
				parts = append(parts, s)
			}
		}
		if n > maxFaults {
			parts = append(parts, fmt.Sprintf("and %d more", n-maxFaults))
		}
		return strings.Join(parts, "; ")
	case '{':
		if s := named(value, depth); s != "" {
			return s
		}
		return listed(value, ", ", func(raw json.RawMessage) string {
			if raw[0] == '{' || raw[0] == '[' {
				return ""
			}
			return scalar(raw)
		})
	case 't', 'f', 'n':
		return ""
	}
	return scalar(value)
}

// named returns the most telling text among an object's members, with its place in front if it is a fault that validation found.
func named(object json.RawMessage, depth int) string {
	members := jsonscan.Find(object, asked...)
	best, found := "", 0
	for i, name := range asked[2:] {
		value := members[2+i]
		if len(value) == 0 || depth <= 0 {
			continue
		}
		var s string
		if name == "errors" && value[0] == '{' {
			s = byField(value, depth-1)
		} else {
			s = said(value, depth-1)
		}
		if w := weight(s); w > found {
			best, found = s, w
		}
	}
	if place := placeOf(members[0], members[1]); best != "" && place != "" {
		return place + ": " + best
	}
	return best
}

// byField tells the faults of an object such as {"city": ["must not be blank"]}, if it has no message of its own.
func byField(object json.RawMessage, depth int) string {
	if s := named(object, depth); s != "" {
		return s
	}
	// Its members were looked at before: without a bound of its own this would grow with a power of the depth.
	return listed(object, "; ", func(raw json.RawMessage) string { return said(raw, min(depth-1, 3)) })
}

// placeOf tells where a fault is: by FastAPI's path, or by the name of a field.
func placeOf(loc, field json.RawMessage) string {
	if len(loc) == 0 || loc[0] != '[' {
		return String(field)
	}
	var place []string
	for step := range jsonscan.Array(loc) {
		if len(place) == maxNested {
			break
		}
		place = append(place, said(step, 1))
	}
	return strings.Join(place, ".")
}

// listed tells the members of an object by their names, in their order: the first of those that say something and repeat nothing.
func listed(object json.RawMessage, separator string, tell func(json.RawMessage) string) string {
	var parts []string
	n := 0
	for m := range jsonscan.Object(object) {
		if n++; n > maxListed {
			break
		}
		if slices.ContainsFunc(repeats, m.Is) {
			continue
		}
		if s := tell(object[m.From:m.To]); s != "" {
			parts = append(parts, m.Name()+": "+s)
		}
		if len(parts) == maxFaults {
			break
		}
	}
	return strings.Join(parts, separator)
}

// scalar tells a string, a number or a boolean.
func scalar(value json.RawMessage) string {
	switch value[0] {
	case '"':
		return beginning(value)
	case 'n':
		return ""
	}
	return string(value[:min(len(value), maxSaid)])
}

// beginning decodes a string: the first maxSaid bytes of one that is longer.
func beginning(value json.RawMessage) string {
	if len(value) <= maxSaid {
		return String(value)
	}
	cut := value[:maxSaid]
	if i := bytes.LastIndexByte(cut, '\\'); i >= 0 && len(cut)-i < 6 { // an escape that may be cut
		cut = cut[:i]
	}
	if escapes := len(cut) - len(bytes.TrimRight(cut, `\`)); escapes%2 == 1 {
		cut = cut[:len(cut)-1]
	}
	return String(append(slices.Clone(cut), '"'))
}

// weight says how telling a text is: 3 is a sentence, 2 a single word, such as a code, 1 a number or a general phrase, 0 nothing.
func weight(s string) int {
	s = strings.TrimSpace(s)
	phrase := strings.ToLower(strings.TrimRight(strings.TrimLeft(s, "0123456789 "), ".! "))
	switch {
	case s == "":
		return 0
	case phrase == "" || slices.Contains(phrases, phrase):
		return 1
	case !strings.ContainsAny(s, " \t\n"):
		return 2
	}
	return 3
}

// phrases are what servers say of a failure when they say nothing about it: the reason phrases of its status
// (https://www.iana.org/assignments/http-status-codes), and what frameworks put in their place.
var phrases = []string{
	"bad request", "unauthorized", "payment required", "forbidden", "not found", "method not allowed", "not acceptable",
	"proxy authentication required", "request timeout", "conflict", "gone", "length required", "precondition failed",
	"request entity too large", "content too large", "payload too large", "request uri too long", "uri too long", "unsupported media type",
	"requested range not satisfiable", "range not satisfiable", "expectation failed", "i'm a teapot", "misdirected request",
	"unprocessable entity", "unprocessable content", "locked", "failed dependency", "too early", "upgrade required",
	"precondition required", "too many requests", "request header fields too large", "unavailable for legal reasons",
	"internal server error", "not implemented", "bad gateway", "service unavailable", "gateway timeout", "http version not supported",
	"variant also negotiates", "insufficient storage", "loop detected", "not extended", "network authentication required",
	"error", "an error occurred", "failed", "failure", "fail", "exception", "true", "false",
	"invalid request", "request failed", "validation failed", "validation error", "one or more validation errors occurred",
}
