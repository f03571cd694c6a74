// Package jsonscan finds members of a JSON object by scanning its text. Unlike a map of all members, it needs no memory
// for those that nobody asked for: an object of a megabyte may have 100,000 of them.
//
// Its functions keep no state and are safe for concurrent use. What they return are parts of the text, not copies.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
)

// ErrNotObject is returned by [Members] for a text that is not one JSON object.
var ErrNotObject = errors.New("not a JSON object")

// Members returns the values of the members with these names, in the order of the names: nil for one that is missing.
// Of members with the same name the last one counts, as in encoding/json. Names are compared as they read, not as they
// are spelled: "a" is "\u0061".
//
// The error is ErrNotObject for all that encoding/json does not take for an object, values nested more than 10,000 deep
// among it. Needs no memory but the slice that it returns. The time grows with the text and the number of names.
func Members(text []byte, names ...string) ([]json.RawMessage, error) {
	if i := skipSpace(text, 0); i == len(text) || text[i] != '{' || !json.Valid(text) {
		return nil, ErrNotObject
	}
	return Find(text, names...), nil
}

// Find is [Members] for a text that is known to be valid JSON and an object, such as a value that Members returned: it is not
// checked again.
func Find(text []byte, names ...string) []json.RawMessage {
	values := make([]json.RawMessage, len(names))
	for m := range Object(text) {
		for i, name := range names {
			if m.Is(name) {
				values[i] = text[m.From:m.To:m.To]
			}
		}
	}
	return values
}

// Member is a member of an object. Its value is text[From:To] of the text that [Object] was given.
type Member struct {
	From, To int
	key      []byte // as it is spelled, without its quotes
}

// Is reports whether the member has this name. The name has to be ASCII.
func (m Member) Is(name string) bool {
	key := m.key
	if len(key) <= len(name) { // escapes make it longer
		return string(key) == name
	}
	for i := range len(name) {
		c, n := unescape(key)
		if n == 0 || c != rune(name[i]) {
			return false
		}
		key = key[n:]
	}
	return len(key) == 0
}

// Name returns the name as it reads.
func (m Member) Name() string {
	if bytes.IndexByte(m.key, '\\') < 0 {
		return string(m.key)
	}
	var name string
	_ = json.Unmarshal(append(append([]byte{'"'}, m.key...), '"'), &name) // it is a valid string
	return name
}

// unescape returns the first character of a string of JSON and how many bytes spell it; 0 at its end. Of text beyond ASCII
// it returns single bytes, which are no ASCII either.
func unescape(s []byte) (c rune, n int) {
	switch {
	case len(s) == 0:
		return 0, 0
	case s[0] != '\\':
		return rune(s[0]), 1
	case s[1] == 'u':
		code, _ := strconv.ParseUint(string(s[2:6]), 16, 16) // four digits: the string is valid
		return rune(code), 6
	}
	if i := bytes.IndexByte([]byte("bfnrt"), s[1]); i >= 0 {
		return rune("\b\f\n\r\t"[i]), 2
	}
	return rune(s[1]), 2 // a quote, a slash or a backslash
}

// Object iterates over the members of an object in their order, all of the same name included. The text has to be valid
// JSON that is an object, as [Members] and [json.Valid] find out: Object does not check it, and panics on some that is not.
func Object(text []byte) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := skipSpace(text, skipSpace(text, 0)+1); text[i] != '}'; {
			end := skipString(text, i)
			from := skipSpace(text, skipSpace(text, end)+1)
			to := skipValue(text, from)
			if !yield(Member{From: from, To: to, key: text[i+1 : end-1]}) {
				return
			}
			if i = skipSpace(text, to); text[i] == ',' {
				i = skipSpace(text, i+1)
			}
		}
	}
}

// Array iterates over the elements of an array. The text has to be valid JSON that is an array, as with [Object].
func Array(text []byte) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := skipSpace(text, skipSpace(text, 0)+1); text[i] != ']'; {
			to := skipValue(text, i)
			if !yield(text[i:to:to]) {
				return
			}
			if i = skipSpace(text, to); text[i] == ',' {
				i = skipSpace(text, i+1)
			}
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
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
		default: // a number or a word, to what may follow it
			for b[i] > ' ' && b[i] != ',' && b[i] != '}' && b[i] != ']' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
