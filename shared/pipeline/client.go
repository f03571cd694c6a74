// Package pipeline is the client of the document pipeline. [Client.Dispatch] sends a run to the
// pipeline, and [Client.Poll] reads the progress of a run. Both return their outcome in the types
// of package cases. The package makes no decision and stores nothing.
//
// A dispatch is one request on a connection of its own. It is never repeated and never redirected.
// Its outcome is unreachable only if no byte of the request was written to the network. The outcome
// is uncertain if a byte was written and the pipeline's own answer did not arrive.
//
// Requests use HTTP/1.1 and go straight to the pipeline. The proxy variables of the environment are
// ignored, because an error of a proxy looks like an error of the pipeline.
package pipeline

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/weburl"
)

// How the client authenticates to the platform that runs the pipeline.
const (
	AuthNone = "none" // no credentials
	AuthOIDC = "oidc" // a Google-signed ID token in the Authorization header
)

const (
	// connectTimeout bounds a dial and its TLS handshake. It is shorter than the timeout of a
	// dispatch, so that a host that drops packets is found to be unreachable early.
	connectTimeout = 30 * time.Second

	// maxAnswer is the largest answer that Cloud Run sends over HTTP/1 without streaming, in bytes
	// (https://cloud.google.com/run/quotas#request_limits).
	maxAnswer = 32 << 20

	maxHeader = 1 << 20 // bytes of the headers of an answer
)

// Config configures a client. It holds secrets; do not print it.
type Config struct {
	// URL is the address of the pipeline, http or https. It may have a path, which precedes /api/.
	// It has no query, no fragment and no password.
	URL string
	// APIKey is sent as X-API-Key. Empty means that no key is sent. If the pipeline repeats the
	// key, it is removed from the message.
	APIKey string
	// Auth is AuthNone or AuthOIDC. Empty means AuthNone.
	Auth string
	// TokenSource returns an ID token for the audience that [Audience] returns. AuthOIDC requires
	// it. It is called once a request, so it should cache tokens. It must return when its context
	// ends.
	TokenSource func(ctx context.Context) (string, error)
	// Timeout bounds a dispatch, from the dial to the last byte of the answer. It must be above 0.
	Timeout time.Duration
	// CheckTimeout bounds a poll. It must be above 0.
	CheckTimeout time.Duration

	// MaxAnswer is the largest answer that is read, in bytes. 0 means 32 MiB.
	MaxAnswer int64
	// TLS is the configuration for https; nil means Go's default. DialContext opens connections;
	// nil means a net.Dialer with TCP keep-alives. Now is the clock for the date in a Retry-After
	// and for the age of connections; nil means time.Now.
	TLS         *tls.Config
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Now         func() time.Time
}

// Client sends requests to one pipeline. Its methods are safe for concurrent use.
type Client struct {
	config    Config
	base      string // the URL without a slash at the end
	host      string // the URL's host, with its port if it has one
	tlsConfig *tls.Config
	pool      pool
}

// New returns a client. It opens no connection. The error names every invalid field of the
// configuration and no secret.
func New(config Config) (*Client, error) {
	c := &Client{config: config}
	var problems []error
	invalid := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("pipeline: "+format, args...))
	}

	u, err := parseURL(config.URL)
	if err != nil {
		problems = append(problems, err)
	} else {
		c.base = u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/")
		c.host, c.tlsConfig = u.Host, c.clientTLS(u.Hostname())
	}
	if !headerValue(config.APIKey) {
		invalid("the API key has characters that no header can carry (a line end, perhaps)")
	}
	switch config.Auth {
	case "", AuthNone:
	case AuthOIDC:
		if config.TokenSource == nil {
			invalid("auth %q needs a token source", AuthOIDC)
		}
	default:
		invalid("auth is %q, not %q or %q", config.Auth, AuthNone, AuthOIDC)
	}
	if config.Timeout <= 0 {
		invalid("the timeout %s is not above 0", config.Timeout)
	}
	if config.CheckTimeout <= 0 {
		invalid("the check timeout %s is not above 0", config.CheckTimeout)
	}
	if config.MaxAnswer < 0 {
		invalid("the largest answer %d is below 0", config.MaxAnswer)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	if c.config.MaxAnswer == 0 {
		c.config.MaxAnswer = maxAnswer
	}
	if c.config.Now == nil {
		c.config.Now = time.Now
	}
	if c.config.DialContext == nil {
		// A dispatch may wait half an hour without traffic, and Cloud NAT drops an idle TCP
		// connection after 20 minutes. Keep-alives prevent that. They also detect a lost host
		// within 3 minutes.
		dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 9,
		}}
		c.config.DialContext = dialer.DialContext
	}
	return c, nil
}

// Close closes the idle connections. It does not end calls in flight.
func (c *Client) Close() { c.polls().CloseIdleConnections() }

// Audience returns the audience of ID tokens for a pipeline at rawURL: its scheme and host.
func Audience(rawURL string) (string, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return "", err
	}
	return weburl.Origin(u), nil
}

func parseURL(raw string) (*url.URL, error) {
	u, err := weburl.ParseBase(raw)
	if err != nil {
		return nil, fmt.Errorf("pipeline: the URL %w", err)
	}
	return u, nil
}

// authorize sets the headers that identify the caller, and returns the secrets among them.
func (c *Client) authorize(ctx context.Context, h http.Header, traceParent string) (secrets []string, err error) {
	h.Set("User-Agent", "casewatch")
	if traceParent != "" && headerValue(traceParent) {
		h.Set("Traceparent", traceParent)
	}
	if c.config.APIKey != "" {
		h.Set("X-API-Key", c.config.APIKey)
		secrets = append(secrets, c.config.APIKey)
	}
	if c.config.Auth == AuthOIDC {
		token, err := c.config.TokenSource(ctx)
		if err != nil {
			return nil, err
		}
		if token == "" || !headerValue(token) {
			return nil, errors.New("the token source gave no usable token")
		}
		h.Set("Authorization", "Bearer "+token)
		secrets = append(secrets, token)
	}
	return secrets, nil
}

// headerValue reports whether s is printable ASCII.
func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
