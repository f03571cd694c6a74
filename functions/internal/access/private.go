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

// Private returns a function that checks requests to a private function. It reads only headers and
// is safe for concurrent use.
//
// It rejects cross-origin requests everywhere. Outside Google Cloud it also requires an ID token of
// one of INVOKER_SERVICE_ACCOUNTS. On Google Cloud that setting is empty, because IAM has already
// checked the caller.
//
// The error is Unauthorized without a valid ID token. It is Forbidden for a valid token of another
// account and for a cross-origin request. It is Unavailable if the keys that verify tokens cannot
// be fetched. Rejections are logged: they mean that settings contradict each other, or that
// somebody attempts an attack.
func Private(cfg *config.Config, log *slog.Logger, now func() time.Time) func(r *http.Request) error {
	invokers := cfg.Access.Invokers
	accepts := func(email string) bool { return slices.Contains(invokers, email) }
	tokens := newIDTokens(cfg, cfg.Access.InvokerTokens.Audiences, now, accepts)
	cross := http.NewCrossOriginProtection()
	return func(r *http.Request) error {
		err := cross.Check(r)
		switch {
		case err != nil:
			err = fault.Wrap(fault.Forbidden, err, "a page of another site may not call the function")
		case len(invokers) > 0:
			_, err = tokens.identify(r)
		}
		logRejection(r, log, err)
		return err
	}
}

// logRejection logs why a caller was refused, if one was.
func logRejection(r *http.Request, log *slog.Logger, err error) {
	if err == nil || fault.KindOf(err) == fault.Unavailable { // every 503 is logged elsewhere
		return
	}
	log.WarnContext(
		r.Context(), "caller rejected",
		"status", fault.KindOf(err).Status(), "reason", fault.From(err).Detail,
	)
}

// idTokens identifies callers by Google's ID tokens.
type idTokens struct {
	accepts  func(email string) bool
	verifier *identity.Verifier
}

// newIDTokens returns an idTokens. It accepts tokens that have one of the audiences and a verified
// e-mail address for which accepts returns true.
func newIDTokens(
	cfg *config.Config,
	audiences []string,
	now func() time.Time,
	accepts func(email string) bool,
) idTokens {
	return idTokens{
		accepts,
		identity.New(identity.Config{Issuer: cfg.Access.InvokerTokens.Issuer, Audiences: audiences, Now: now}),
	}
}

// identify returns the e-mail address of the account whose token is in the request. Errors are
// those of [Private].
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
