// Package access authenticates and authorizes callers. Public functions accept an API key, an ID
// token or a token in the address. Private functions accept the ID token of a configured account.
// The console accepts an assertion of Identity-Aware Proxy (IAP) or the ID token of a configured
// user.
package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
)

// Caller identifies a caller. The zero Caller is anonymous.
type Caller struct {
	// Name is different for every caller and reveals neither key nor account. It is "" for an
	// anonymous caller.
	Name string
	// APIKey means that the caller has an API key, which gives access to all cases.
	APIKey bool
}

// Anonymous reports whether the request had no credentials.
func (c Caller) Anonymous() bool { return c.Name == "" }

// Owner returns the name of the caller as the owner of cases. It is "" for callers that own no
// cases: anonymous ones and those with an API key.
func (c Caller) Owner() string {
	if c.APIKey {
		return ""
	}
	return c.Name
}

// Callers authenticates the callers of the public functions. It is safe for concurrent use.
type Callers struct {
	keys    config.APIKeys
	oidc    *identity.Verifier // nil: ID tokens are not accepted
	secrets []config.Secret    // for tokens in addresses
	now     func() time.Time
}

// NewCallers returns the Callers that the settings describe.
func NewCallers(cfg *config.Config, now func() time.Time) Callers {
	c := Callers{keys: cfg.Access.APIKeys, secrets: cfg.Access.TokenSecrets, now: now}
	if o := cfg.Access.OIDC; o.Issuer != "" {
		c.oidc = identity.New(identity.Config{Issuer: o.Issuer, Audiences: o.Audiences, Now: now})
	}
	return c
}

// Needed describes the credentials that a caller can use, for error messages.
func (c Callers) Needed() string {
	if c.oidc == nil {
		return "an API key"
	}
	return "an API key or ID token"
}

// Identify returns the caller of a request. One valid credential is enough, even beside an invalid
// one, because gateways put tokens of their own into Authorization. An API key, in X-API-Key or as
// a bearer token, takes precedence over an ID token.
//
// The error is Unauthorized if there are credentials and none is valid. It is Unavailable if an ID
// token cannot be verified now.
func (c Callers) Identify(r *http.Request) (Caller, error) {
	key := r.Header.Get("X-API-Key")
	credentials, _ := bearer(r.Header.Get("Authorization"))
	for _, shown := range []string{key, credentials} {
		if shown != "" && c.keys.Match(shown) {
			return Caller{Name: nameOf(shown), APIKey: true}, nil
		}
	}
	switch {
	case c.oidc != nil && identity.IsToken(credentials):
		claims, err := c.oidc.Verify(r.Context(), credentials)
		if err != nil {
			return Caller{}, err
		}
		// A key contains no NUL, so no key gets the name of an account.
		return Caller{Name: nameOf("oidc\x00" + claims.Issuer + "\x00" + claims.Subject)}, nil
	case key != "" || credentials != "":
		return Caller{}, fault.New(fault.Unauthorized, "the API key is not known")
	}
	return Caller{}, nil
}

// nameOf returns the name of the caller with an API key, or with the issuer and subject of an ID
// token. Case ids and the ownership of cases depend on names, so this function must never change.
func nameOf(credential string) string {
	sum := sha256.Sum256([]byte("casewatch caller\x00" + credential))
	return hex.EncodeToString(sum[:16])
}

// bearer returns the credentials of an Authorization header. ok reports whether its scheme is
// Bearer.
func bearer(header string) (credentials string, ok bool) {
	scheme, credentials, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(credentials), true
}

// OwnerOf returns the owner of a case. The error is NotFound or Unavailable.
type OwnerOf func(ctx context.Context, caseID string) (owner string, err error)

// ToCase returns nil if the request may access the case for the purpose. It may with a token of the
// case and the purpose in its query, with an API key, or with the ID token of the case's owner.
//
// The error is Unauthorized without credentials. It is Forbidden for a token that is expired or of
// another case or purpose, and for the ID token of a caller who is not the owner, whether or not
// the case exists. It is Unavailable if the credentials or the owner cannot be checked now.
func (c Callers) ToCase(r *http.Request, purpose casetoken.Purpose, caseID string, ownerOf OwnerOf) error {
	token := r.URL.Query().Get("token")
	if casetoken.New(purpose, c.secrets).Verify(token, caseID, c.now()) {
		return nil
	}
	caller, err := c.Identify(r)
	switch {
	case err == nil && caller.APIKey:
		return nil
	case err == nil && !caller.Anonymous():
		return caller.owns(r.Context(), caseID, ownerOf)
	case err != nil && (token == "" || fault.KindOf(err) == fault.Unavailable):
		return err
	case token != "":
		return fault.New(fault.Forbidden, "the token is for another case or another purpose, or has expired")
	}
	return fault.New(fault.Unauthorized, "a token of the case or %s is needed", c.Needed())
}

// owns returns nil if the case belongs to the caller. A case that does not exist gets the same
// error as another caller's case, so that callers cannot find out which ids exist.
func (c Caller) owns(ctx context.Context, caseID string, ownerOf OwnerOf) error {
	owner, err := ownerOf(ctx, caseID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil || owner != c.Owner() {
		return fault.New(fault.Forbidden, "the case is another caller's")
	}
	return nil
}

// CORS lets pages of the origins call h with the methods. It responds to preflight requests itself,
// without reading a body, because they have none
// (https://fetch.spec.whatwg.org/#cors-preflight-fetch). An OPTIONS request with a body goes to h,
// which limits how long the body may take.
func CORS(origins []string, h http.Handler, methods ...string) http.Handler {
	if len(origins) == 0 {
		return h
	}
	shared := cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: methods,
		AllowedHeaders: []string{
			"Authorization", "Cache-Control", "Content-Type", "Idempotency-Key",
			"If-None-Match", "Last-Event-ID", "Prefer", "X-API-Key",
			// Tracing libraries add these headers to every request of a page.
			"Baggage", "Sentry-Trace", "Traceparent", "Tracestate",
		},
		ExposedHeaders: []string{"ETag", "Location", "Preference-Applied", "Retry-After"},
		MaxAge:         600,
	}).Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions && r.ContentLength != 0 {
			h.ServeHTTP(w, r)
			return
		}
		shared.ServeHTTP(w, r)
	})
}
