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

// assertion is the header in which IAP sends the signed identity of the user
// (https://cloud.google.com/iap/docs/signed-headers-howto).
const assertion = "X-Goog-IAP-JWT-Assertion"

// ThisMachine is the user of a console that is open to local users, because no user is configured.
const ThisMachine = "this machine"

// Console returns a function that identifies the user of the console by the e-mail address, in
// lower case. The function reads only headers and is safe for concurrent use. It accepts users that
// CONSOLE_USERS lists. They are identified by IAP's assertion if there is one, and otherwise by an
// ID token. Errors and log lines are those of [Private].
//
// Without configured users, it accepts only requests from this machine to this machine, as
// [ThisMachine]. On Google Cloud it then accepts none.
func Console(
	cfg *config.Config,
	log *slog.Logger,
	now func() time.Time,
) func(r *http.Request) (user string, err error) {
	return console(cfg, log, now, identity.Config{Issuer: identity.IAP, KeysURL: identity.IAPKeys})
}

func console(
	cfg *config.Config,
	log *slog.Logger,
	now func() time.Time,
	iap identity.Config,
) func(r *http.Request) (string, error) {
	users := cfg.Access.ConsoleUsers
	accepts := func(email string) bool {
		lower := strings.ToLower(email)
		return len(lower) == len(email) && slices.Contains(users, lower) // lower case of a Kelvin sign is k
	}
	iap.Audiences, iap.Now = cfg.Access.ConsoleAudiences, now
	c := consoleUsers{
		open: len(users) == 0 && !cfg.OnGoogleCloud, accepts: accepts,
		iap: identity.New(iap), tokens: newIDTokens(cfg, cfg.Access.ConsoleAudiences, now, accepts),
	}
	return func(r *http.Request) (string, error) {
		user, err := c.identify(r)
		logRejection(r, log, err)
		return strings.ToLower(user), err
	}
}

type consoleUsers struct {
	open    bool // to local users, without credentials
	accepts func(email string) bool
	iap     *identity.Verifier
	tokens  idTokens
}

func (c consoleUsers) identify(r *http.Request) (string, error) {
	if c.open {
		if !withinMachine(r) {
			return "", fault.New(
				fault.Forbidden,
				"no user of the console is configured, so only users of this machine may use it",
			)
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
	// IAP verifies e-mail addresses itself and sends no email_verified. The address of an external
	// identity has the provider as a prefix
	// (https://cloud.google.com/iap/docs/signed-headers-howto#verifying_the_jwt_payload).
	case !c.accepts(claims.Email):
		return "", fault.New(fault.Forbidden, "this account may not use the console")
	}
	return claims.Email, nil
}

// withinMachine reports whether a request comes from this machine and names this machine as its
// host. Another host name can mean a DNS rebinding attack: a page of another site whose name now
// resolves to this machine. A proxy's header means that the request comes from elsewhere.
func withinMachine(r *http.Request) bool {
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via",
	} {
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
