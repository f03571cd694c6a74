// Package access says who may call: the public functions by API key, ID token or a token in the address, the private ones by the ID token of
// an account that is named in the settings, the console by that of a person or by the word of Identity-Aware Proxy.
package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
)

// Caller is who calls. The zero Caller is anonymous.
type Caller struct {
	// Name tells callers apart, without being or betraying a key or an account; "" for an anonymous one.
	Name string
	// APIKey says that the caller holds an API key, which reaches all cases.
	APIKey bool
}

// Anonymous reports whether the caller showed nothing.
func (c Caller) Anonymous() bool { return c.Name == "" }

// Owner names the caller as the owner of cases; "" for one who owns none: who holds an API key or is anonymous.
func (c Caller) Owner() string {
	if c.APIKey {
		return ""
	}
	return c.Name
}

// Callers tells who calls the public functions.
type Callers struct {
	keys    config.APIKeys
	oidc    *identity.Verifier // nil: no ID tokens are accepted
	secrets []config.Secret    // of the tokens in addresses
	now     func() time.Time
}

// NewCallers returns the callers that the settings allow.
func NewCallers(cfg *config.Config, now func() time.Time) Callers {
	c := Callers{keys: cfg.Access.APIKeys, secrets: cfg.Access.TokenSecrets, now: now}
	if o := cfg.Access.OIDC; o.Issuer != "" {
		c.oidc = identity.New(identity.Config{Issuer: o.Issuer, Audiences: o.Audiences, Now: now})
	}
	return c
}

// Needed says what a caller can show.
func (c Callers) Needed() string {
	if c.oidc == nil {
		return "an API key"
	}
	return "an API key or ID token"
}

// Identify returns who calls. One valid credential suffices, even beside one that is not: gateways put tokens of their own
// into Authorization. An API key, in X-API-Key or as a bearer, outranks an ID token.
//
// The error is Unauthorized if credentials are shown and none is valid, Unavailable if it cannot be told whether an ID
// token is.
func (c Callers) Identify(r *http.Request) (Caller, error) {
	key := r.Header.Get("X-API-Key")
	credentials, _ := bearer(r.Header.Get("Authorization"))
	for _, shown := range []string{key, credentials} {
		if shown != "" && c.keys.Match(shown) {
			return Caller{Name: named(shown), APIKey: true}, nil
		}
	}
	switch {
	case c.oidc != nil && identity.IsToken(credentials):
		claims, err := c.oidc.Verify(r.Context(), credentials)
		if err != nil {
			return Caller{}, err
		}
		// Keys hold no NUL, so that none has the name of an account.
		return Caller{Name: named("oidc\x00" + claims.Issuer + "\x00" + claims.Subject)}, nil
	case key != "" || credentials != "":
		return Caller{}, fault.New(fault.Unauthorized, "the API key is not known")
	}
	return Caller{}, nil
}

// named returns the name of the caller who showed that it is who. Ids of cases are derived from the names, and cases
// belong to them: they never change.
func named(who string) string {
	sum := sha256.Sum256([]byte("casewatch caller\x00" + who))
	return hex.EncodeToString(sum[:16])
}

// bearer returns the credentials of an Authorization header of the scheme Bearer, and whether it is of that scheme.
func bearer(header string) (credentials string, ok bool) {
	scheme, credentials, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(credentials), true
}

// OwnerOf returns to whom a case belongs, or a NotFound or Unavailable error.
type OwnerOf func(ctx context.Context, caseID string) (owner string, err error)

// ToCase returns nil if the request may do with a case what the purpose says: by a token of the case and that purpose in
// its query, by an API key, or by the ID token of the case's owner.
//
// Else the error is Unauthorized if it showed nothing, Forbidden if it showed a token that is not for this or has expired,
// or an ID token of another caller than the owner, be there such a case or not; Unavailable if that cannot be decided.
func (c Callers) ToCase(r *http.Request, purpose Purpose, caseID string, ownerOf OwnerOf) error {
	token := r.URL.Query().Get("token")
	if NewTokens(purpose, c.secrets).Verify(token, caseID, c.now()) {
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

// owns returns nil if the case belongs to the caller. A case that does not exist counts as another's, so that callers cannot find out which ids are taken.
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

// CORS lets pages of the given origins call h with the given methods. It answers preflights itself, without waiting for a body: they have none
// (https://fetch.spec.whatwg.org/#cors-preflight-fetch). What looks like one and has a body is left to h, which limits how long that may take.
func CORS(origins []string, h http.Handler, methods ...string) http.Handler {
	if len(origins) == 0 {
		return h
	}
	shared := cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: methods,
		AllowedHeaders: []string{
			"Authorization", "Cache-Control", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "X-API-Key",
			"Baggage", "Sentry-Trace", "Traceparent", "Tracestate", // libraries that trace add these to every request of a page
		},
		ExposedHeaders: []string{"ETag", "Location", "Retry-After"},
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
