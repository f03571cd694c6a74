// Package pipeline is the client of pipelines. A [description.Pipeline] says how to talk to one.
// [Client.Dispatch] starts the job of a run, [Client.Poll] asks how far it is, [Client.Cancel]
// cancels it, and [Client.ReadCallback] reads what the pipeline reports by itself. They return
// their outcome in the types of package cases. The package makes no decision and stores nothing.
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

	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/weburl"
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
	// Pipeline describes the pipeline. It has an URL and a dispatch timeout above 0, and is not
	// changed later. The client removes its secrets from what the pipeline says.
	Pipeline *description.Pipeline
	// TokenSource returns an ID token for the audience that [Audience] returns. A pipeline that
	// wants Google ID tokens requires it. It is called once a request, so it should cache tokens.
	// It must return when its context ends.
	TokenSource func(ctx context.Context) (string, error)
	// CheckTimeout bounds a poll, with the request for its result, and a cancel request. It must be
	// above 0.
	CheckTimeout time.Duration

	// MaxAnswer is the largest answer that is read, in bytes. 0 means 32 MiB.
	MaxAnswer int64
	// TLS is the configuration for https; nil means Go's default. DialContext opens connections;
	// nil means a net.Dialer with TCP keep-alives. Now is the clock for the date in a Retry-After
	// and for the age of connections; nil means time.Now.
	TLS         *tls.Config
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Now         func() time.Time
	// Observe, if it is not nil, is told of every request and its answer, without secrets. For a
	// person who tries a description.
	Observe func(Exchange)
}

// Client sends requests to one pipeline. Its methods are safe for concurrent use.
type Client struct {
	config    Config
	pipeline  *description.Pipeline
	base      string // the URL without a slash at the end
	host      string // the URL's host, with its port if it has one
	origin    string // the URL's, as originOf returns it
	tlsConfig *tls.Config
	pool      pool
}

// New returns a client. It opens no connection. The error names every invalid field of the
// configuration and no secret.
func New(config Config) (*Client, error) {
	c := &Client{config: config, pipeline: config.Pipeline}
	var problems []error
	invalid := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("pipeline: "+format, args...))
	}
	if config.Pipeline == nil {
		return nil, errors.New("pipeline: no pipeline is described")
	}

	u, err := parseURL(config.Pipeline.URL)
	if err != nil {
		problems = append(problems, err)
	} else {
		c.base = u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/")
		c.host, c.origin, c.tlsConfig = u.Host, originOf(u), clientTLS(config.TLS)
	}
	if !headerValue(config.Pipeline.Auth.Value.Reveal()) {
		invalid("the API key has characters that no header can carry (a line end, perhaps)")
	}
	if config.Pipeline.Auth.GoogleIDToken && config.TokenSource == nil {
		invalid("a pipeline that wants Google ID tokens needs a token source")
	}
	if config.Pipeline.Dispatch.Timeout <= 0 {
		invalid("the timeout %s is not above 0", config.Pipeline.Dispatch.Timeout)
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

// Pipeline returns the description that the client follows. It is not to be changed.
func (c *Client) Pipeline() *description.Pipeline { return c.pipeline }

// documents reports whether the preset is the document pipeline's.
func (c *Client) documents() bool { return c.pipeline.Preset == description.Documents }

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

// authorize sets the headers that identify the caller, and returns what is secret in the request.
// Credentials are sent to the pipeline's own origin only.
func (c *Client) authorize(ctx context.Context, r *http.Request, job Job) (secrets []string, err error) {
	h := r.Header
	h.Set("User-Agent", "casewatch")
	if job.TraceParent != "" && headerValue(job.TraceParent) {
		h.Set("Traceparent", job.TraceParent)
	}
	secrets = job.secrets()
	if originOf(r.URL) != c.origin {
		return secrets, nil
	}
	auth := c.pipeline.Auth
	if value := auth.Value.Reveal(); value != "" {
		h.Set(auth.Header, value)
		secrets = append(secrets, secretsIn(value)...)
	}
	if auth.GoogleIDToken {
		token, err := c.config.TokenSource(ctx)
		if err != nil {
			return secrets, err
		}
		if token == "" || !headerValue(token) {
			return secrets, errors.New("the token source gave no usable token")
		}
		h.Set("Authorization", "Bearer "+token)
		secrets = append(secrets, token)
	}
	return secrets, nil
}

// secretsIn returns what is to be removed from texts if that value is a secret: the value, and of
// "Bearer abc" the last word, too.
func secretsIn(value string) []string {
	secrets := []string{value}
	if i := strings.LastIndexByte(value, ' '); i >= 0 {
		secrets = append(secrets, value[i+1:])
	}
	return secrets
}

// headerValue reports whether s is printable ASCII.
func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
