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
	// maxErrors bounds how many errors of a list, or members of an object, the message names.
	maxErrors = 5
	// maxListed bounds how many members of an object are searched for a message.
	maxListed = 100
	// maxNested bounds the depth at which a message is searched. Deeper text is no message for
	// people.
	maxNested = 16
	// maxText bounds how much of one text is read, in bytes.
	maxText = 64 << 10
)

// messageMembers are the members that may hold a message. The most specific one is first.
var messageMembers = []string{
	"error", "message", "msg", "detail", "errors", "error_description", "errorMessage", "error_message",
	"Message", "defaultMessage", "description", "reason", "title",
}

// searched are the members of an error object that are read: its place, and what may be its
// message.
var searched = append([]string{"loc", "field"}, messageMembers...)

// repeated are the members of an error that repeat the request, or hold no message: "input" and
// "ctx" of FastAPI (https://docs.pydantic.dev/latest/errors/errors/), "rejectedValue" of Spring,
// "value" of express-validator.
var repeated = []string{"input", "ctx", "url", "success", "value", "rejectedValue", "body", "data"}

// Message returns the error message that the body of an answer holds, or "" if it holds none. It
// reads {"error"}, FastAPI's {"detail"} as a string, an object or a list, problem+json, plain text,
// and the errors of GraphQL, Google, Spring and ASP.NET.
//
// If there are several texts, it prefers a sentence to a code, and a code to the name of a status.
// It returns "" for HTML, which is not written for callers, and for invalid JSON, which may hold
// the form.
//
// It needs little memory besides the text that it returns, for a body of any size and shape.
func Message(body []byte) string {
	body = bytes.TrimSpace(body)
	if !json.Valid(body) {
		if len(body) == 0 || bytes.IndexByte([]byte("<{["), body[0]) >= 0 {
			return ""
		}
		return string(body[:min(len(body), maxText)])
	}
	if body[0] == '{' {
		return memberText(body, maxNested)
	}
	return messageOf(body, maxNested)
}

// messageOf returns the message in a value, which is the valid JSON of an error or of a part of
// one. It returns "" for true, false and null.
func messageOf(value json.RawMessage, depth int) string {
	if depth <= 0 || len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		return decodePrefix(value)
	case '[':
		var parts []string
		n := 0
		for element := range jsonscan.Array(value) {
			if n++; n > maxErrors {
				continue
			}
			if s := messageOf(element, depth-1); s != "" {
				parts = append(parts, s)
			}
		}
		if n > maxErrors {
			parts = append(parts, fmt.Sprintf("and %d more", n-maxErrors))
		}
		return strings.Join(parts, "; ")
	case '{':
		if s := memberText(value, depth); s != "" {
			return s
		}
		return listMembers(value, ", ", func(raw json.RawMessage) string {
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

// memberText returns the most specific text among the members of an object. If the object is a
// validation error, the place of the error precedes the text.
func memberText(object json.RawMessage, depth int) string {
	members := jsonscan.Find(object, searched...)
	best, found := "", 0
	for i, name := range searched[2:] {
		value := members[2+i]
		if len(value) == 0 || depth <= 0 {
			continue
		}
		var s string
		if name == "errors" && value[0] == '{' {
			s = fieldErrors(value, depth-1)
		} else {
			s = messageOf(value, depth-1)
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

// fieldErrors returns the errors of an object such as {"city": ["must not be blank"]}. If the
// object has a message of its own, fieldErrors returns that.
func fieldErrors(object json.RawMessage, depth int) string {
	if s := memberText(object, depth); s != "" {
		return s
	}
	// The members are searched for the second time here. Without a smaller bound, the work would
	// grow exponentially with the depth.
	return listMembers(object, "; ", func(raw json.RawMessage) string { return messageOf(raw, min(depth-1, 3)) })
}

// placeOf returns the place of an error: the path that FastAPI gives, or the name of a field.
func placeOf(loc, field json.RawMessage) string {
	if len(loc) == 0 || loc[0] != '[' {
		return String(field)
	}
	var place []string
	for step := range jsonscan.Array(loc) {
		if len(place) == maxNested {
			break
		}
		place = append(place, messageOf(step, 1))
	}
	return strings.Join(place, ".")
}

// listMembers formats the members of an object as "name: text", in their order. It leaves out
// members without text and those in repeated, and stops after maxErrors.
func listMembers(object json.RawMessage, separator string, tell func(json.RawMessage) string) string {
	var parts []string
	n := 0
	for m := range jsonscan.Object(object) {
		if n++; n > maxListed {
			break
		}
		if slices.ContainsFunc(repeated, m.Is) {
			continue
		}
		if s := tell(object[m.From:m.To]); s != "" {
			parts = append(parts, m.Name()+": "+s)
		}
		if len(parts) == maxErrors {
			break
		}
	}
	return strings.Join(parts, separator)
}

// scalar returns the text of a string, a number or a boolean.
func scalar(value json.RawMessage) string {
	switch value[0] {
	case '"':
		return decodePrefix(value)
	case 'n':
		return ""
	}
	return string(value[:min(len(value), maxText)])
}

// decodePrefix decodes a string. Of a longer one it decodes the first maxText bytes.
func decodePrefix(value json.RawMessage) string {
	if len(value) <= maxText {
		return String(value)
	}
	cut := value[:maxText]
	if i := bytes.LastIndexByte(cut, '\\'); i >= 0 && len(cut)-i < 6 { // the cut may have split this escape
		cut = cut[:i]
	}
	if escapes := len(cut) - len(bytes.TrimRight(cut, `\`)); escapes%2 == 1 {
		cut = cut[:len(cut)-1]
	}
	return String(append(slices.Clone(cut), '"'))
}

// weight ranks a text: 3 is a sentence, 2 is one word such as a code, 1 is a number or a general
// phrase, 0 is empty.
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

// phrases are texts that say nothing about the failure: the reason phrases of HTTP statuses
// (https://www.iana.org/assignments/http-status-codes), and what frameworks send instead.
var phrases = []string{
	"bad request", "unauthorized", "payment required", "forbidden", "not found", "method not allowed", "not acceptable",
	"proxy authentication required", "request timeout", "conflict", "gone", "length required", "precondition failed",
	"request entity too large", "content too large", "payload too large", "request uri too long",
	"uri too long", "unsupported media type", "requested range not satisfiable",
	"range not satisfiable", "expectation failed", "i'm a teapot", "misdirected request",
	"unprocessable entity", "unprocessable content", "locked", "failed dependency", "too early", "upgrade required",
	"precondition required", "too many requests", "request header fields too large", "unavailable for legal reasons",
	"internal server error", "not implemented", "bad gateway", "service unavailable",
	"gateway timeout", "http version not supported", "variant also negotiates",
	"insufficient storage", "loop detected", "not extended", "network authentication required",
	"error", "an error occurred", "failed", "failure", "fail", "exception", "true", "false",
	"invalid request", "request failed", "validation failed", "validation error",
	"one or more validation errors occurred",
}
