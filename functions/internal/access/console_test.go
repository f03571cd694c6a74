package access_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

const (
	operator = "operator@example.com"
	audience = "https://console.example"
	service  = "/projects/1/locations/europe-west1/services/casewatch-console"
)

// consoleBench is a console with two configured users, Google's issuer and an IAP of its own.
type consoleBench struct {
	google, iap *identitytest.Issuer
	keys        string
}

func newConsoleBench(t *testing.T) *consoleBench {
	t.Helper()
	b := &consoleBench{google: identitytest.NewIssuer(t)}
	b.iap, b.keys = identitytest.NewIAP(t, identity.IAP)
	return b
}

func (b *consoleBench) users(
	onCloud bool,
	audiences ...string,
) (func(*http.Request) (string, error), *strings.Builder) {
	log := &strings.Builder{}
	return access.ConsoleOf(&config.Config{OnGoogleCloud: onCloud, Access: config.Access{
		ConsoleUsers:     []string{operator, "kim@example.com"},
		ConsoleAudiences: audiences,
		InvokerTokens:    config.Tokens{Issuer: b.google.URL},
	}}, slog.New(slog.NewTextHandler(log, nil)), time.Now, identity.Config{Issuer: identity.IAP, KeysURL: b.keys}), log
}

func TestConsole(t *testing.T) {
	b := newConsoleBench(t)
	claim := identitytest.Claim
	bearer := func(email string, changes ...identitytest.Change) http.Header {
		return http.Header{"Authorization": {"Bearer " + b.google.Sign(email, audience, changes...)}}
	}
	iap := func(email string, changes ...identitytest.Change) http.Header {
		changes = append([]identitytest.Change{claim("email_verified", nil)}, changes...)
		return http.Header{"X-Goog-Iap-Jwt-Assertion": {b.iap.Sign(email, service, changes...)}}
	}
	with := func(h http.Header, name string, values ...string) http.Header {
		h = h.Clone()
		h[name] = append(h[name], values...)
		return h
	}
	for _, test := range []struct {
		name   string
		header http.Header
		want   fault.Kind // 0: no error
	}{
		{"an ID token", bearer(operator), 0},
		{"an address in mixed case", bearer("Operator@Example.com"), 0},
		{"the client id's token", bearer(operator, claim("aud", "1.apps.googleusercontent.com")), 0},
		{"nothing", nil, fault.Unauthorized},
		{"another account", bearer("somebody@example.com"), fault.Forbidden},
		{"another account, whose Kelvin sign is k in lower case", bearer("\u212aim@example.com"),
			fault.Forbidden},
		{"an unverified address", bearer(operator, claim("email_verified", false)), fault.Forbidden},
		{"another audience", bearer(operator, claim("aud", "https://other.example")), fault.Unauthorized},
		{"another issuer", bearer(operator, claim("iss", "https://issuer.example")), fault.Unauthorized},
		{"expired", bearer(operator, identitytest.Expires(time.Now().Add(-time.Hour))), fault.Unauthorized},
		{"signature removed",
			http.Header{"Authorization": {unsigned("Bearer " + b.google.Sign(operator, audience))}},
			fault.Unauthorized},
		{"an API key", http.Header{"X-Api-Key": {"k"}}, fault.Unauthorized},

		{"an assertion", iap(operator), 0},
		{"an assertion in upper case", iap("OPERATOR@example.com"), 0},
		{"an assertion and an invalid token", with(iap(operator), "Authorization", "Bearer x"), 0},
		{"an assertion of another account", iap("somebody@example.com"), fault.Forbidden},
		{"an assertion of another account and a valid token",
			with(bearer(operator), "X-Goog-Iap-Jwt-Assertion", b.iap.Sign("somebody@example.com", service)),
			fault.Forbidden},
		{"an external identity", iap("securetoken.google.com/project/tenant:" + operator), fault.Forbidden},
		{"an assertion for another service", iap(operator, claim("aud", service+"2")), fault.Unauthorized},
		{"an expired assertion", iap(operator, identitytest.Expires(time.Now().Add(-time.Hour))), fault.Unauthorized},
		{"two assertions", with(iap(operator), "X-Goog-Iap-Jwt-Assertion", "x"), fault.Unauthorized},
		{"an ID token as assertion",
			http.Header{"X-Goog-Iap-Jwt-Assertion": {b.google.Sign(operator, service)}}, fault.Unauthorized},
		{"an assertion as ID token",
			http.Header{"Authorization": {"Bearer " + b.iap.Sign(operator, audience)}}, fault.Unauthorized},
		{"garbage as assertion", http.Header{"X-Goog-Iap-Jwt-Assertion": {"x"}}, fault.Unauthorized},
		{"IAP's unsigned header",
			http.Header{"X-Goog-Authenticated-User-Email": {"accounts.google.com:" + operator}},
			fault.Unauthorized},
		{"an assertion without signature",
			http.Header{"X-Goog-Iap-Jwt-Assertion": {unsigned(b.iap.Sign(operator, service))}},
			fault.Unauthorized},
	} {
		for _, onCloud := range []bool{false, true} {
			users, log := b.users(onCloud, audience, service, "1.apps.googleusercontent.com")
			user, err := users(request("/", test.header))
			wantKind(t, err, test.want)
			if (user == operator) != (test.want == 0) || err != nil && user != "" {
				t.Errorf("%s: got user %q, %v", test.name, user, err)
			}
			if (log.Len() > 0) != (test.want != 0) || strings.Contains(log.String(), "eyJ") {
				t.Errorf("%s: log: %s", test.name, log)
			}
		}
	}
}

// If the keys cannot be fetched, a token cannot be verified. That is not a rejection.
func TestConsoleWithoutKeys(t *testing.T) {
	b := newConsoleBench(t)
	b.google.SetDown(true)
	users, log := b.users(true, audience)
	_, err := users(request("/", http.Header{"Authorization": {"Bearer " + b.google.Sign(operator, audience)}}))
	wantKind(t, err, fault.Unavailable)
	if log.Len() > 0 {
		t.Errorf("a rejection was logged: %s", log)
	}
}

// Without configured users, the console accepts only requests of this machine that name it as host.
func TestConsoleWithoutUsers(t *testing.T) {
	for _, test := range []struct {
		name, from, host string
		header           http.Header
		onCloud, want    bool
	}{
		{"by its address", "127.0.0.1:4711", "127.0.0.1:8080", nil, false, true},
		{"by its name", "127.0.0.1:4711", "localhost:8080", nil, false, true},
		{"by its other address", "[::1]:4711", "[::1]:8080", nil, false, true},
		{"without a port", "[::ffff:127.0.0.1]:4711", "localhost", nil, false, true},
		{"a foreign name that resolves to this machine", "127.0.0.1:4711", "rebound.example:8080", nil, false, false},
		{"a foreign name that begins like ours", "127.0.0.1:4711", "127.0.0.1.example:8080", nil, false, false},
		{"a foreign name that ends like ours", "127.0.0.1:4711", "x.localhost:8080", nil, false, false},
		{"no name", "127.0.0.1:4711", "", nil, false, false},
		{"a name that cannot be read", "127.0.0.1:4711", "[::1", nil, false, false},
		{"another machine", "10.1.2.3:4711", "127.0.0.1:8080", nil, false, false},
		{"an unknown address", "@", "localhost", nil, false, false},
		{"another machine, through a local proxy", "127.0.0.1:4711", "127.0.0.1:8080",
			http.Header{"X-Forwarded-For": {"10.1.2.3"}}, false, false},
		{"another machine, through another local proxy", "127.0.0.1:4711", "127.0.0.1:8080",
			http.Header{"X-Real-Ip": {"10.1.2.3"}}, false, false},
		{"on Google Cloud", "127.0.0.1:4711", "127.0.0.1:8080", nil, true, false},
	} {
		log := &strings.Builder{}
		users := access.Console(
			&config.Config{
				OnGoogleCloud: test.onCloud,
				Access:        config.Access{InvokerTokens: config.Tokens{Issuer: identity.Google}},
			},
			slog.New(slog.NewTextHandler(log, nil)),
			time.Now,
		)
		r := request("/", test.header)
		r.RemoteAddr, r.Host = test.from, test.host
		user, err := users(r)
		if (err == nil) != test.want || (user == access.ThisMachine) != test.want || (log.Len() == 0) != test.want {
			t.Errorf("%s: %q, %v, log %s", test.name, user, err, log)
		}
	}
}
