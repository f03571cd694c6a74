package access

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
)

// removed is what Cloud Run may put in the place of a signature that it has checked (https://cloud.google.com/run/docs/troubleshooting#signature-removed).
const removed = ".SIGNATURE_REMOVED_BY_GOOGLE"

// otherProofs are the headers by which Google lets in who shows them, without a look at Authorization: then that may hold anything
// (https://cloud.google.com/run/docs/authenticating/service-to-service, https://cloud.google.com/iap/docs/authentication-howto).
var otherProofs = []string{"X-Serverless-Authorization", "Proxy-Authorization", "X-Goog-Iap-Jwt-Assertion"}

// Private returns what tells whether a request may call a private function: nil if it may, by an ID token of one of the accounts that the
// settings name. It looks at headers only. Else the error is Unauthorized if it shows no token that is good here, Forbidden if it shows one of another account,
// Unavailable if nobody can tell. Refusals are logged: they are a deployment that does not fit together, or somebody trying.
//
// If the settings name no account, everyone may but a page of another site, which would have the browser of somebody
// call who may: IAM alone guards the function.
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

// idTokens tells who calls by Google's ID tokens.
type idTokens struct {
	accepts  func(email string) bool
	verifier *identity.Verifier
	door     *frontDoor // nil where there is no Cloud Run, or none of its addresses is known
}

// newIDTokens returns what accepts tokens for one of the audiences, of accounts with a verified address that is accepted.
func newIDTokens(cfg *config.Config, audiences []string, now func() time.Time, accepts func(email string) bool) idTokens {
	p := idTokens{
		accepts:  accepts,
		verifier: identity.New(identity.Config{Issuer: cfg.Access.InvokerTokens.Issuer, Audiences: audiences, Now: now}),
	}
	addresses := slices.DeleteFunc(slices.Clone(audiences), func(a string) bool {
		return !strings.HasPrefix(a, "https://") && !strings.HasPrefix(a, "http://") // a client id, or a service of IAP
	})
	if cfg.OnGoogleCloud && len(addresses) > 0 {
		p.door = newFrontDoor(addresses, now)
	}
	return p
}

// identify returns the address of the account whose token a request shows. Errors: as those of [Private].
func (p idTokens) identify(r *http.Request) (email string, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", fault.New(fault.Unauthorized, "an ID token is needed")
	}
	token, ok := bearer(headers[0])
	if len(headers) > 1 || !ok {
		return "", fault.New(fault.Unauthorized, "one Authorization header of the scheme Bearer is needed")
	}
	signed := !strings.HasSuffix(token, removed)
	var claims identity.Claims
	switch {
	case signed:
		claims, err = p.verifier.Verify(r.Context(), token)
	case p.door == nil:
		return "", fault.New(fault.Unauthorized, "the token is not signed")
	case slices.ContainsFunc(otherProofs, func(name string) bool { return len(r.Header.Values(name)) > 0 }):
		return "", fault.New(fault.Unauthorized, "the token is not signed, and nobody has checked it")
	default:
		claims, err = p.verifier.VerifyAllButSignature(token)
	}
	switch {
	case err != nil:
		return "", err
	case !claims.EmailVerified || !p.accepts(claims.Email):
		return "", fault.New(fault.Forbidden, "this account may not call the function")
	case !signed:
		err = p.door.guarded(r.Context())
	}
	if err != nil {
		return "", err
	}
	return claims.Email, nil
}
