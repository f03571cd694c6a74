package fault

import "time"

// ContentType is the media type of an encoded [Problem] (RFC 9457, section 6.1).
const ContentType = "application/problem+json"

// internalDetail is all that a caller ever reads of an Internal error.
const internalDetail = "Something went wrong on our side. The request may be repeated."

// Problem is the body of every answer that is an error (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457).
//
// Type is always about:blank, which says that the problem means no more than its status, and that Title is the status's
// phrase. Errors is an extension member: each fault that was found.
type Problem struct {
	Type     string  `json:"type"`
	Title    string  `json:"title"`
	Status   int     `json:"status"`
	Detail   string  `json:"detail,omitempty"`
	Instance string  `json:"instance,omitempty"`
	Errors   []Fault `json:"errors,omitempty"`
}

// Problem returns what the caller may read of e. Instance is a URI reference that names this
// occurrence, such as the path of the request without its query; it may be "". Of an Internal error
// only its kind is told, whatever its fields hold.
func (e *Error) Problem(instance string) Problem {
	kind := e.Kind.known()
	p := Problem{
		Type: "about:blank", Title: kind.Title(), Status: kind.Status(),
		Detail: e.Detail, Instance: instance, Errors: e.Faults,
	}
	if kind == Internal {
		p.Detail, p.Errors = internalDetail, nil
	}
	return p
}

// RetryAfterSeconds returns the value of the Retry-After header, in whole seconds rounded up and at
// least 1; 0 for a kind that has none.
func (e *Error) RetryAfterSeconds() int {
	after := e.RetryAfter
	switch {
	case e.Kind != Unavailable && e.Kind != TooMany && after <= 0:
		return 0
	case after <= 0:
		after = DefaultRetryAfter
	}
	return max(1, int((after+time.Second-1)/time.Second))
}
