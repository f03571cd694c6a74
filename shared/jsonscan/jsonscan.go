// Package jsonscan finds members of a JSON object by scanning its text. A map of all members needs
// memory for each of them, and an object of a megabyte may have 100,000. This package needs none
// for members that the caller does not use.
//
// Its functions have no state and are safe for concurrent use. They return parts of the text, not
// copies.
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

// Members returns the values of the members with these names, in the order of the names. A missing
// member has the value nil. Of several members with the same name the last one counts, as in
// encoding/json. Escapes in names are decoded before they are compared: "\u0061" is "a".
//
// The error is ErrNotObject for a text that encoding/json does not accept as an object. That
// includes values nested more than 10,000 levels deep. Members allocates only the slice that it
// returns. The time grows with the size of the text and the number of names.
func Members(text []byte, names ...string) ([]json.RawMessage, error) {
	if i := skipSpace(text, 0); i == len(text) || text[i] != '{' || !json.Valid(text) {
		return nil, ErrNotObject
	}
	return Find(text, names...), nil
}

// Find is [Members] for a text that is known to be a valid JSON object, such as a value that
// Members returned. It does not check the text again.
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

// Member is a member of an object. Its value is text[From:To] of the text that was passed to
// [Object].
type Member struct {
	From, To int
	key      []byte // as in the text, without its quotes
}

// Is reports whether the member has this name. The name must be ASCII.
func (m Member) Is(name string) bool {
	key := m.key
	if len(key) <= len(name) { // a name with escapes is longer
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

// Name returns the name with its escapes decoded.
func (m Member) Name() string {
	if bytes.IndexByte(m.key, '\\') < 0 {
		return string(m.key)
	}
	var name string
	_ = json.Unmarshal(append(append([]byte{'"'}, m.key...), '"'), &name) // the text is a valid string
	return name
}

// unescape returns the first character of a JSON string and the number of bytes that encode it; 0
// at the end of the string. It returns single bytes of text beyond ASCII. They are never ASCII
// characters.
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

// Object iterates over the members of an object in their order, including members of the same name.
// The text must be a JSON object that [Members] or [json.Valid] has accepted. Object does not check
// it, and may panic on other text.
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

// Array iterates over the elements of an array. The text must be a valid JSON array, as for
// [Object].
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
		default: // a number or a literal name, up to the next delimiter
			for b[i] > ' ' && b[i] != ',' && b[i] != '}' && b[i] != ']' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
