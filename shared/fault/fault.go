// Package fault sorts errors into kinds, each with one HTTP status, so that an error is classified
// once, where it is understood, and every function answers it alike. What a caller may read of an
// error is its Detail and Faults; the error inside is for the log only.
//
// It knows the numbers of HTTP and nothing else of it, so that packages without a transport can use
// it.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is what sort of error an [Error] is. The zero Kind is Internal.
type Kind int

// The kinds, and the status that each is answered with.
const (
	Internal      Kind = iota // 500: ours; nothing of it is told
	Invalid                   // 400: not what this can read
	Unauthorized              // 401: who are you
	Forbidden                 // 403: not for you
	NotFound                  // 404
	Method                    // 405: with Allow
	Conflict                  // 409: not in this state
	TooLarge                  // 413
	MediaType                 // 415
	Unprocessable             // 422: readable, and at odds with what was said before
	TooMany                   // 429: more than is kept; with Retry-After
	Unavailable               // 503: may work later, with Retry-After
)

// kinds is the one table from kind to status and title. The titles are the phrases of RFC 9110.
var kinds = map[Kind]struct {
	status int
	title  string
}{
	Internal:      {500, "Internal Server Error"},
	Invalid:       {400, "Bad Request"},
	Unauthorized:  {401, "Unauthorized"},
	Forbidden:     {403, "Forbidden"},
	NotFound:      {404, "Not Found"},
	Method:        {405, "Method Not Allowed"},
	Conflict:      {409, "Conflict"},
	TooLarge:      {413, "Content Too Large"},
	MediaType:     {415, "Unsupported Media Type"},
	Unprocessable: {422, "Unprocessable Content"},
	TooMany:       {429, "Too Many Requests"},
	Unavailable:   {503, "Service Unavailable"},
}

// Status returns the HTTP status of k; 500 for what is not a kind.
func (k Kind) Status() int { return kinds[k.known()].status }

// Title returns the phrase of k's status, the same for every error of the kind.
func (k Kind) Title() string { return kinds[k.known()].title }

// String returns the title.
func (k Kind) String() string { return k.Title() }

func (k Kind) known() Kind {
	if _, ok := kinds[k]; !ok {
		return Internal
	}
	return k
}

// DefaultRetryAfter is when to come back from an Unavailable that does not say.
const DefaultRetryAfter = 5 * time.Second

// Fault is one thing wrong with a request.
type Fault struct {
	Pointer string `json:"pointer,omitempty"` // JSON Pointer into the body (RFC 6901), or the name of a parameter
	Detail  string `json:"detail"`
}

// Error is a classified error. Detail and Faults are written for the caller and hold no secret, no
// content of a form and no text of an inner error; Err is what went wrong inside, for the log. An
// Error is not changed once made.
type Error struct {
	Kind       Kind
	Detail     string
	Faults     []Fault       // each thing wrong, when there is more to say than Detail
	RetryAfter time.Duration // with Unavailable and TooMany: when to come back; 0 for DefaultRetryAfter
	Allow      []string      // with Method: the methods there are
	Err        error         // may be nil
}

// New returns an error of a kind. The format and its arguments are read by the caller: give no inner error to it.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of a kind around err. The caller reads detail, the log reads both.
func Wrap(kind Kind, err error, detail string) *Error {
	return &Error{Kind: kind, Detail: detail, Err: err}
}

// Error returns all that is known, for the log.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.Title())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, f := range e.Faults {
		b.WriteString("; ")
		if f.Pointer != "" {
			b.WriteString(f.Pointer + ": ")
		}
		b.WriteString(f.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// From classifies any error. The first [*Error] found by [errors.As] is returned as it is. A context that ended is
// Unavailable, since nobody knows how far it came. Everything else is Internal. Nil is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Wrap(Unavailable, err, "The request ended before it was done. It may be repeated.")
	}
	return Wrap(Internal, err, internalDetail)
}

// KindOf returns the kind that [From] finds; Internal for an error that nobody classified. Err is not nil.
func KindOf(err error) Kind {
	return From(err).Kind
}
