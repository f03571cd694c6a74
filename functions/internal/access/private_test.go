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
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

const (
	tasksAccount = "tasks@p.iam.gserviceaccount.com"
	sweepAccount = "scheduler@p.iam.gserviceaccount.com"
)

// private returns the check of a private function and its log.
func private(issuer string, audiences []string) (func(*http.Request) error, *strings.Builder) {
	log := &strings.Builder{}
	return access.Private(&config.Config{Access: config.Access{
		Invokers:      []string{tasksAccount, sweepAccount},
		InvokerTokens: config.Tokens{Issuer: issuer, Audiences: audiences},
	}}, slog.New(slog.NewTextHandler(log, nil)), time.Now), log
}

func call(authorization ...string) *http.Request {
	return request("/", http.Header{"Authorization": authorization})
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if (err == nil) != (want == 0) || err != nil && fault.KindOf(err) != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestPrivate(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	const audience = "https://check.example"
	sign := func(changes ...identitytest.Change) string {
		return "Bearer " + issuer.Sign(tasksAccount, audience, changes...)
	}
	for _, test := range []struct {
		name          string
		authorization []string
		want          fault.Kind // 0: no error
	}{
		{"a configured account", []string{sign()}, 0},
		{"the other configured account", []string{"Bearer " + issuer.Sign(sweepAccount, audience)}, 0},
		{"the other audience", []string{"bearer " + issuer.Sign(sweepAccount, "https://sweep.example")}, 0},
		{"no token", nil, fault.Unauthorized},
		{"an empty header", []string{""}, fault.Unauthorized},
		{"no credentials", []string{"Bearer"}, fault.Unauthorized},
		{"empty credentials", []string{"Bearer "}, fault.Unauthorized},
		{"another scheme", []string{"Basic dTpw"}, fault.Unauthorized},
		{"the token alone", []string{strings.TrimPrefix(sign(), "Bearer ")}, fault.Unauthorized},
		{"two headers", []string{sign(), sign()}, fault.Unauthorized},
		{"an API key", []string{"Bearer alpha-key"}, fault.Unauthorized},
		{"a wrong audience", []string{sign(identitytest.Claim("aud", "https://other.example"))}, fault.Unauthorized},
		{"expired", []string{sign(identitytest.Expires(time.Now().Add(-time.Hour)))}, fault.Unauthorized},
		{"a wrong issuer", []string{sign(identitytest.Claim("iss", "https://accounts.google.com"))},
			fault.Unauthorized},
		{"a wrong account", []string{"Bearer " + issuer.Sign("somebody@p.iam.gserviceaccount.com", audience)},
			fault.Forbidden},
		{"an account in upper case",
			[]string{"Bearer " + issuer.Sign(strings.ToUpper(tasksAccount), audience)}, fault.Forbidden},
		{"an unverified address", []string{sign(identitytest.Claim("email_verified", false))},
			fault.Forbidden},
		{"an address without email_verified", []string{sign(identitytest.Claim("email_verified", nil))},
			fault.Forbidden},
		{"no address", []string{sign(identitytest.Claim("email", nil))}, fault.Forbidden},
		{"both accounts in one address", []string{sign(identitytest.Claim("email", tasksAccount+","+sweepAccount))},
			fault.Forbidden},
		{"signature removed", []string{unsigned(sign())}, fault.Unauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			allowed, log := private(issuer.URL, []string{audience, "https://sweep.example"})
			wantKind(t, allowed(call(test.authorization...)), test.want)
			if (log.Len() > 0) != (test.want != 0) || strings.Contains(log.String(), "eyJ") {
				t.Errorf("log: %s", log)
			}
		})
	}
	issuer.SetDown(true)
	allowed, _ := private(issuer.URL, []string{audience})
	wantKind(t, allowed(call(sign())), fault.Unavailable)
	wantKind(t, allowed(call()), fault.Unauthorized)

	open := access.Private(
		&config.Config{Access: config.Access{InvokerTokens: config.Tokens{Issuer: issuer.URL}}},
		slog.New(slog.DiscardHandler),
		time.Now,
	)
	for _, r := range []*http.Request{call(), call("Bearer x")} {
		wantKind(t, open(r), 0) // on Google Cloud, IAM has checked the caller
	}
}

func unsigned(authorization string) string {
	return authorization[:strings.LastIndexByte(authorization, '.')] + ".SIGNATURE_REMOVED_BY_GOOGLE"
}
