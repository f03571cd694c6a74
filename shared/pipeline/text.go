package pipeline

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

const (
	maxMessage = 500 // runes of a message for people
	maxCurrent = 300 // runes of the current document's name
	maxFaults  = 5   // faults of a list that are told one by one
)

// clean makes text of the pipeline fit to be shown: without the secrets, in valid UTF-8, on one line, without characters that control
// or reorder, at most limit runes long.
func clean(s string, limit int, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) > 3 { // a shorter one hides nothing, and is in every other word
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	s = s[:min(len(s), 64*limit)]
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit-1]) + "…"
	}
	return s
}

// errorText returns what the body of an answer says went wrong; "" if it does not say. It knows {"error"}, FastAPI's {"detail"} as a
// string, an object or a list, and plain text. A page of HTML is nobody's message.
func errorText(body []byte) string {
	body = bytes.TrimSpace(body)
	var value any
	if json.Unmarshal(body, &value) != nil {
		if bytes.HasPrefix(body, []byte("<")) {
			return ""
		}
		return string(body[:min(len(body), 64<<10)])
	}
	if object, ok := value.(map[string]any); ok {
		return namedText(object)
	}
	return text(value)
}

// text tells a value of an error. It leaves out what FastAPI's validation puts beside its messages: "input" and "ctx" repeat the
// form (https://docs.pydantic.dev/latest/errors/errors/).
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		var parts []string
		for _, item := range v[:min(len(v), maxFaults)] {
			if s := text(item); s != "" {
				parts = append(parts, s)
			}
		}
		if more := len(v) - maxFaults; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more", more))
		}
		return strings.Join(parts, "; ")
	case map[string]any:
		if s := namedText(v); s != "" {
			return s
		}
		var parts []string
		for name, member := range v {
			switch member.(type) {
			case string, float64, bool:
				if name != "input" && name != "ctx" && name != "url" && name != "success" {
					parts = append(parts, name+": "+text(member))
				}
			}
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	}
	return ""
}

// namedText returns the message among an object's members, with its place in front if it is a fault that validation found.
func namedText(object map[string]any) string {
	for _, name := range []string{"error", "message", "msg", "detail", "title", "reason"} {
		s := text(object[name])
		if s == "" {
			continue
		}
		if loc, ok := object["loc"].([]any); ok && len(loc) > 0 {
			var place []string
			for _, step := range loc {
				place = append(place, text(step))
			}
			s = strings.Join(place, ".") + ": " + s
		}
		return s
	}
	return ""
}

// statusText names a status: "404 Not Found".
func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// faultText says why there is no whole answer. Of the transport's errors it repeats only those that cannot quote the peer: what the
// peer sent may repeat the form.
func faultText(ctx context.Context, err error) string {
	var (
		dns     *net.DNSError
		op      *net.OpError
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
	)
	var limit timeoutError
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &limit):
		return limit.Error()
	case cause != nil:
		return "it was given up: " + cause.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection within " + connectTimeout.String()
	case errors.Is(err, errTooLarge):
		return err.Error()
	case errors.As(err, &dns):
		return "its name cannot be resolved"
	case errors.As(err, &cert), errors.As(err, &unknown):
		return "its TLS certificate cannot be trusted"
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.As(err, &op): // without the addresses: readers of a case are not told where the pipeline is
		var number syscall.Errno
		if errors.As(op.Err, &number) {
			return number.Error()
		}
		return "the connection broke (" + op.Op + ")"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed in the middle"
	}
	return "the connection broke, or the answer is not HTTP"
}
