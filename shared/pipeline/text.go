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

// clean returns text of the pipeline as [printable.Line] does, without the secrets.
func clean(s string, limit int, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) > 3 { // a shorter one hides nothing, and is in every other word
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return printable.Line(s, limit)
}

// statusText names a status: "404 Not Found".
func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// cause says for the log what went wrong with which host.
func cause(what, host string) string { return what + " (host " + host + ")" }

// because is [faultText] for the log: with the addresses, which readers of a case are not told.
func (c *Client) because(ctx context.Context, err error, secrets []string) string {
	var (
		op   *net.OpError
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
	)
	what := faultText(ctx, err)
	var detail error // names, addresses and numbers; nothing that could repeat the form
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
	return clean(cause(what, c.host), maxMessage, secrets)
}

// faultText says why there is no whole answer. Of the transport's errors it repeats only those that
// cannot quote the peer: what the peer sent may repeat the form.
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
	case errors.Is(err, report.ErrTooLarge), errors.Is(err, report.ErrPacked):
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
