package identity_test

import (
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

// An issuer that publishes its keys and nothing else: nobody asks it for more.
func TestKeysURL(t *testing.T) {
	const service = "/projects/1/locations/europe-west1/services/console"
	iap, keys := identitytest.NewIAP(t, identity.IAP)
	stranger, _ := identitytest.NewIAP(t, identity.IAP)
	google := identitytest.NewIssuer(t)
	clock := newClock()
	v := identity.New(
		identity.Config{Issuer: identity.IAP, KeysURL: keys, Audiences: []string{service}, Now: clock.now},
	)
	sign := func(changes ...identitytest.Change) string { return iap.Sign(account, service, changes...) }
	for _, test := range []struct{ name, token, want string }{
		{"good", sign(), ""},
		{"of who is not said to have a verified address", sign(identitytest.Claim("email_verified", nil)), ""},
		{"another service's", sign(identitytest.Claim("aud", service+"2")), refused},
		{"expired", sign(identitytest.Expires(clock.now().Add(-time.Minute))), refused},
		{"another issuer", sign(identitytest.Claim("iss", "https://accounts.google.com")), refused},
		{"another issuer's key", stranger.Sign(account, service), refused},
		{
			"another issuer's key under this one's id",
			stranger.Sign(account, service, identitytest.Header("kid", iap.KeyID())), refused,
		},
		{"RS256 in name", sign(identitytest.Header("alg", "RS256")), refused},
		{"an ID token of Google's", google.Sign(account, service), refused},
	} {
		claims, err := v.Verify(t.Context(), test.token)
		if kindOf(err) != test.want || err == nil && (claims.Email != account || claims.Issuer != identity.IAP) {
			t.Errorf("%s: %+v, %v; want %q", test.name, claims, err, test.want)
		}
	}
	if n := iap.Fetches(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	iap.Rotate()
	clock.advance(31 * time.Second)
	if _, err := v.Verify(t.Context(), sign()); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	for _, bad := range []string{"http://keys.example/", "file:///etc/passwd", "keys", keys + "/none"} {
		v := identity.New(identity.Config{Issuer: identity.IAP, KeysURL: bad, Audiences: []string{service}})
		if _, err := v.Verify(t.Context(), sign()); kindOf(err) != unavailable {
			t.Errorf("keys at %q: %v", bad, err)
		}
	}
}
