// Package access says who may call the public functions.
package access

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
)

// Caller is who calls. The zero Caller is anonymous.
type Caller struct {
	// Name tells callers apart, without being or betraying a key; "" for an anonymous one.
	Name string
}

// Anonymous reports whether the caller showed no key.
func (c Caller) Anonymous() bool { return c.Name == "" }

// Identify returns who calls. The error is Unauthorized if a key is shown that is none.
func Identify(r *http.Request, keys config.APIKeys) (Caller, error) {
	key := r.Header.Get("X-API-Key")
	if scheme, credentials, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		key = strings.TrimSpace(credentials)
	}
	if key == "" {
		return Caller{}, nil
	}
	if !keys.Match(key) {
		return Caller{}, fault.New(fault.Unauthorized, "the API key is not known")
	}
	sum := sha256.Sum256([]byte("casewatch caller\x00" + key))
	return Caller{Name: hex.EncodeToString(sum[:8])}, nil
}

// ToCase returns nil if the request may see and cancel a case: by a key, or by a token of the case in its query. Else the error is
// Unauthorized if it showed nothing, Forbidden if it showed a token that is not for this case or has expired.
func ToCase(r *http.Request, keys config.APIKeys, tokens Tokens, caseID string, now time.Time) error {
	token := r.URL.Query().Get("token")
	if token != "" {
		if tokens.Verify(token, caseID, now) {
			return nil
		}
		if caller, err := Identify(r, keys); err == nil && !caller.Anonymous() {
			return nil
		}
		return fault.New(fault.Forbidden, "the token is not for this case, or has expired")
	}
	caller, err := Identify(r, keys)
	if err == nil && caller.Anonymous() {
		return fault.New(fault.Unauthorized, "a token of the case or an API key is needed")
	}
	return err
}

// CORS lets pages of the given origins call h with the given methods.
func CORS(origins []string, h http.Handler, methods ...string) http.Handler {
	if len(origins) == 0 {
		return h
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: methods,
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Traceparent", "X-API-Key"},
		ExposedHeaders: []string{"ETag", "Location", "Retry-After"},
		MaxAge:         600,
	}).Handler(h)
}
