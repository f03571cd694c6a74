// Package pipeline is the client of the document pipeline: it hands a run over ([Client.Dispatch])
// and polls its progress ([Client.Poll]), and returns each outcome in the types of package cases. It decides nothing and keeps nothing.
//
// What it promises beyond HTTP is about certainty. A dispatch is one request on a connection of its
// own, never repeated and never redirected, and it is called unreachable only when no byte of the
// request was handed to the network. Everything between that and the pipeline's own answer is
// uncertain.
//
// Requests are HTTP/1.1 and go straight to the pipeline: the proxy variables of the environment are
// not read, since a proxy's own errors could not be told from the pipeline's.
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

// How the client proves to the pipeline's platform who it is.
const (
	AuthNone = "none" // not at all
	AuthOIDC = "oidc" // with a Google-signed ID token in Authorization
)

const (
	// connectTimeout bounds a dial, a TLS handshake included: a host that drops packets is known to
	// be unreachable long before a whole dispatch would time out.
	connectTimeout = 30 * time.Second

	// maxAnswer is the largest answer Cloud Run sends over HTTP/1 without streaming
	// (https://cloud.google.com/run/quotas#request_limits).
	maxAnswer = 32 << 20

	maxHeader = 1 << 20
)

// Config is what a client needs. It holds secrets: it is not to be printed.
type Config struct {
	// URL is where the pipeline is: http or https, with a path before /api/ if it has one, without
	// query, fragment or password.
	URL string
	// APIKey is sent as X-API-Key; "" for none. It is removed from every message, should the
	// pipeline repeat it.
	APIKey string
	// Auth is AuthNone or AuthOIDC; "" is AuthNone.
	Auth string
	// TokenSource returns an ID token for the audience that [Audience] says. Needed with AuthOIDC.
	// It is called once per request, so it should cache; it has to end with its context.
	TokenSource func(ctx context.Context) (string, error)
	// Timeout is how long a dispatch may take, from the dial to the last byte of the answer. Above
	// 0.
	Timeout time.Duration
	// CheckTimeout is how long a poll may take. Above 0.
	CheckTimeout time.Duration

	// MaxAnswer is the largest answer that is read, in bytes; 0 is 32 MiB.
	MaxAnswer int64
	// TLS is the configuration for https; nil is Go's own. DialContext opens connections; nil is a
	// net.Dialer with TCP keep-alives. Now is the clock against which a Retry-After date is read,
	// and connections age; nil is time.Now.
	TLS         *tls.Config
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Now         func() time.Time
}

// Client speaks to one pipeline. Its methods are safe for concurrent use.
type Client struct {
	config    Config
	base      string // the URL without a slash at the end
	host      string // the URL's host, with its port if it has one
	tlsConfig *tls.Config
	pool      pool
}

// New returns a client. It opens no connection. The error names every fault of the configuration,
// without secrets.
func New(config Config) (*Client, error) {
	c := &Client{config: config}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("pipeline: "+format, args...)) }

	u, err := parseURL(config.URL)
	if err != nil {
		faults = append(faults, err)
	} else {
		c.base = u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/")
		c.host, c.tlsConfig = u.Host, c.clientTLS(u.Hostname())
	}
	if !headerValue(config.APIKey) {
		fault("the API key has characters that no header can carry (a line end, perhaps)")
	}
	switch config.Auth {
	case "", AuthNone:
	case AuthOIDC:
		if config.TokenSource == nil {
			fault("auth %q needs a token source", AuthOIDC)
		}
	default:
		fault("auth is %q, not %q or %q", config.Auth, AuthNone, AuthOIDC)
	}
	if config.Timeout <= 0 {
		fault("the timeout %s is not above 0", config.Timeout)
	}
	if config.CheckTimeout <= 0 {
		fault("the check timeout %s is not above 0", config.CheckTimeout)
	}
	if config.MaxAnswer < 0 {
		fault("the largest answer %d is below 0", config.MaxAnswer)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}

	if c.config.MaxAnswer == 0 {
		c.config.MaxAnswer = maxAnswer
	}
	if c.config.Now == nil {
		c.config.Now = time.Now
	}
	if c.config.DialContext == nil {
		// A dispatch may wait half an hour in silence. Keep-alives keep its way open (Cloud NAT
		// forgets an idle TCP connection after 20 minutes) and tell within 3 minutes when the other
		// host is gone.
		dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 9,
		}}
		c.config.DialContext = dialer.DialContext
	}
	return c, nil
}

// Close closes the idle connections. Calls in flight are not cut off.
func (c *Client) Close() { c.polls().CloseIdleConnections() }

// Audience returns for whom the ID tokens for a pipeline at rawURL are issued: its scheme and host.
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

// authorize sets the headers that say who asks, and returns the secrets among them.
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
