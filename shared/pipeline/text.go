package pipeline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/casewatch/casewatch/shared/pipeline/report"
	"github.com/casewatch/casewatch/shared/printable"
)

const (
	maxMessage = 500 // runes of a message for people
	maxCurrent = 300 // runes of the current document's name
)

// clean returns text of the pipeline without the secrets, shortened and made printable by
// [printable.Line].
func clean(s string, limit int, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) > 3 { // a shorter one occurs by chance in ordinary words
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return printable.Line(s, limit)
}

// statusText formats a status, such as "404 Not Found".
func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// cause adds the host to an error text for the log.
func cause(what, host string) string { return what + " (host " + host + ")" }

// logCause is [errorText] for the log. It adds addresses, which readers of a case must not see.
func (c *Client) logCause(ctx context.Context, err error, host string, secrets []string) string {
	var (
		op   *net.OpError
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
	)
	what := errorText(ctx, err)
	var detail error // holds names, addresses and numbers, and never content of the form
	switch {
	case errors.As(err, &op):
		detail = op
	case errors.As(err, &dns):
		detail = dns
	case errors.As(err, &cert):
		detail = cert
	}
	if detail != nil && context.Cause(ctx) != nil {
		what += ": " + detail.Error()
	} else if detail != nil {
		what = detail.Error()
	}
	return clean(cause(what, host), maxMessage, secrets)
}

// errorText says why there is no complete answer. It repeats only those errors of the transport
// that cannot quote the peer, because the peer may have sent content of the form.
func errorText(ctx context.Context, err error) string {
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
		return "the request was canceled: " + cause.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection within " + connectTimeout.String()
	case errors.Is(err, report.ErrTooLarge), errors.Is(err, report.ErrPacked):
		return err.Error()
	case errors.As(err, &dns):
		return "its name cannot be resolved"
	case errors.As(err, &cert), errors.As(err, &unknown):
		return "its TLS certificate cannot be trusted"
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.As(err, &op): // without addresses: readers of a case must not learn where the pipeline is
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
