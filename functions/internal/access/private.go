package access

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
)

// Private returns a check of requests to a private function. The check reads only headers and is safe for concurrent use.
//
// It rejects cross-origin requests everywhere. Outside Google Cloud it also wants an ID token of one of
// INVOKER_SERVICE_ACCOUNTS. On Google Cloud, where that setting is empty, IAM has checked the caller before.
//
// The error is Unauthorized without a valid ID token, Forbidden for a valid token of another account or a cross-origin
// request, and Unavailable if the keys to verify the token cannot be fetched. Rejections are logged: they mean a
// deployment that does not fit together, or an attempt to get in.
func Private(cfg *config.Config, log *slog.Logger, now func() time.Time) func(r *http.Request) error {
	invokers := cfg.Access.Invokers
	tokens := newIDTokens(cfg, cfg.Access.InvokerTokens.Audiences, now, func(email string) bool { return slices.Contains(invokers, email) })
	cross := http.NewCrossOriginProtection()
	return func(r *http.Request) error {
		err := cross.Check(r)
		switch {
		case err != nil:
			err = fault.Wrap(fault.Forbidden, err, "a page of another site may not call the function")
		case len(invokers) > 0:
			_, err = tokens.identify(r)
		}
		logRefusal(r, log, err)
		return err
	}
}

// logRefusal logs why a caller was refused, if one was.
func logRefusal(r *http.Request, log *slog.Logger, err error) {
	if err != nil && fault.KindOf(err) != fault.Unavailable { // that is logged as every 503
		log.WarnContext(r.Context(), "a caller was refused", "status", fault.KindOf(err).Status(), "reason", fault.From(err).Detail)
	}
}

// idTokens identifies callers by Google's ID tokens.
type idTokens struct {
	accepts  func(email string) bool
	verifier *identity.Verifier
}

// newIDTokens returns an idTokens for tokens with one of the audiences and a verified e-mail address that accepts takes.
func newIDTokens(cfg *config.Config, audiences []string, now func() time.Time, accepts func(email string) bool) idTokens {
	return idTokens{accepts, identity.New(identity.Config{Issuer: cfg.Access.InvokerTokens.Issuer, Audiences: audiences, Now: now})}
}

// identify returns the e-mail address of the account whose token the request carries. Errors: as those of [Private].
func (p idTokens) identify(r *http.Request) (email string, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", fault.New(fault.Unauthorized, "an ID token is needed")
	}
	token, ok := bearer(headers[0])
	if len(headers) > 1 || !ok {
		return "", fault.New(fault.Unauthorized, "one Authorization header of the scheme Bearer is needed")
	}
	claims, err := p.verifier.Verify(r.Context(), token)
	switch {
	case err != nil:
		return "", err
	case !claims.EmailVerified || !p.accepts(claims.Email):
		return "", fault.New(fault.Forbidden, "this account may not call the function")
	}
	return claims.Email, nil
}
