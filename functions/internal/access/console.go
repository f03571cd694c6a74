package access

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/weburl"
)

// assertion is the header in which IAP says who it let in
// (https://cloud.google.com/iap/docs/signed-headers-howto).
const assertion = "X-Goog-IAP-JWT-Assertion"

// ThisMachine is who uses a console on the machine that it runs on, where nobody is named.
const ThisMachine = "this machine"

// Console returns what tells who uses the console: the e-mail address, in lower case, of one whom
// the settings name, shown by IAP's assertion, or else by an ID token. It looks at headers only.
// Errors and what is logged are those of [Private].
//
// If the settings name nobody, only requests from this machine to this machine are let in, as
// [ThisMachine]; on Google Cloud none.
func Console(cfg *config.Config, log *slog.Logger, now func() time.Time) func(r *http.Request) (user string, err error) {
	return console(cfg, log, now, identity.Config{Issuer: identity.IAP, KeysURL: identity.IAPKeys})
}

func console(cfg *config.Config, log *slog.Logger, now func() time.Time, iap identity.Config) func(r *http.Request) (string, error) {
	users := cfg.Access.ConsoleUsers
	accepts := func(email string) bool {
		lower := strings.ToLower(email)
		return len(lower) == len(email) && slices.Contains(users, lower) // a Kelvin sign would become a k
	}
	iap.Audiences, iap.Now = cfg.Access.ConsoleAudiences, now
	c := consoleUsers{
		open: len(users) == 0 && !cfg.OnGoogleCloud, accepts: accepts,
		iap: identity.New(iap), tokens: newIDTokens(cfg, cfg.Access.ConsoleAudiences, now, accepts),
	}
	return func(r *http.Request) (string, error) {
		user, err := c.identify(r)
		logRefusal(r, log, err)
		return strings.ToLower(user), err
	}
}

type consoleUsers struct {
	open    bool // to this machine
	accepts func(email string) bool
	iap     *identity.Verifier
	tokens  idTokens
}

func (c consoleUsers) identify(r *http.Request) (string, error) {
	if c.open {
		if !withinMachine(r) {
			return "", fault.New(fault.Forbidden, "nobody is named who may use the console, so it is open to this machine only")
		}
		return ThisMachine, nil
	}
	assertions := r.Header.Values(assertion)
	if len(assertions) == 0 {
		return c.tokens.identify(r)
	}
	if len(assertions) > 1 {
		return "", fault.New(fault.Unauthorized, "one %s header is needed", assertion)
	}
	claims, err := c.iap.Verify(r.Context(), assertions[0])
	switch {
	case err != nil:
		return "", err
	// IAP verifies addresses itself, and says nothing of it; one of an external identity has its
	// provider in front
	// (https://cloud.google.com/iap/docs/signed-headers-howto#verifying_the_jwt_payload).
	case !c.accepts(claims.Email):
		return "", fault.New(fault.Forbidden, "this account may not use the console")
	}
	return claims.Email, nil
}

// withinMachine reports whether a request comes from this machine and means it: with the name of
// another one it may be the work of a page that had its name resolved to this one, and with a
// proxy's header it comes from elsewhere.
func withinMachine(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	return weburl.IsLoopback(from) && weburl.IsLoopbackHostPort(r.Host)
}
