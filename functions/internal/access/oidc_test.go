package access_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

// both accepts the keys and the ID tokens of the issuer.
func both(issuer *identitytest.Issuer) access.Callers {
	return access.NewCallers(&config.Config{Access: config.Access{
		APIKeys:      keys,
		TokenSecrets: []config.Secret{newer},
		OIDC:         config.Tokens{Issuer: issuer.URL, Audiences: []string{"project", "other"}},
	}}, time.Now)
}

func TestIdentifyByIDToken(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	c := both(issuer)
	token := func(subject string, changes ...identitytest.Change) string {
		return issuer.Sign("u@x.example", "project", append(changes, identitytest.Claim("sub", subject))...)
	}
	for _, test := range []struct {
		name          string
		authorization string
		key           string
		want          fault.Kind
		same          string // the credentials of the same caller
	}{
		{"a token", "Bearer " + token("u1"), "", 0, "Bearer " + token("u1")},
		{"the other audience", "bearer " + token("u1", identitytest.Claim("aud", "other")), "", 0,
			"Bearer " + token("u1")},
		{"no e-mail address: the subject counts",
			"Bearer " + token("u1", identitytest.Claim("email", nil)), "", 0, "Bearer " + token("u1")},
		{"a key", "Bearer alpha-key", "", 0, "Bearer alpha-key"},
		{"a wrong key with two dots", "Bearer a.b.c", "", fault.Unauthorized, ""},
		{"a token and a key: the key counts", "Bearer " + token("u1"), "alpha-key", 0, "Bearer alpha-key"},
		{"a gateway's token and a key", "Bearer " + token("u1", identitytest.Claim("aud", "stranger")),
			"alpha-key", 0, "Bearer alpha-key"},
		{"a token and a wrong key: the token counts", "Bearer " + token("u1"), "wrong", 0, "Bearer " + token("u1")},
		{"a bad token and a wrong key", "Bearer " + token("u1", identitytest.Claim("aud", "stranger")), "wrong",
			fault.Unauthorized, ""},
		{"a token as a key", "", token("u1"), fault.Unauthorized, ""},
		{"expired", "Bearer " + token("u1", identitytest.Expires(time.Now().Add(-time.Hour))), "",
			fault.Unauthorized, ""},
		{"no subject", "Bearer " + token(""), "", fault.Unauthorized, ""},
		{"signature removed", unsigned("Bearer " + token("u1")), "", fault.Unauthorized, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			if test.authorization != "" {
				h.Set("Authorization", test.authorization)
			}
			if test.key != "" {
				h.Set("X-API-Key", test.key)
			}
			caller, err := c.Identify(request("/", h))
			wantKind(t, err, test.want)
			if err != nil {
				return
			}
			same, err := c.Identify(request("/", http.Header{"Authorization": {test.same}}))
			if err != nil || caller != same || caller.Anonymous() {
				t.Errorf("%+v, want %+v, %v", caller, same, err)
			}
		})
	}
	seen := map[access.Caller]string{}
	for _, who := range []string{token("u1"), token("u2"), "alpha-key", "beta-key"} {
		caller, err := c.Identify(request("/", http.Header{"Authorization": {"Bearer " + who}}))
		if other, taken := seen[caller]; err != nil || taken {
			t.Errorf("got %v; %.20s is the same caller as %.20s", err, who, other)
		}
		seen[caller] = who
	}
}

// Case ids are derived from the names of callers, so names must never change.
func TestNamesOfIDTokens(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	at := issuer.URL
	c := both(issuer)
	signed := func() http.Header {
		return http.Header{"Authorization": {"Bearer " + issuer.Sign("", "project", identitytest.Claim("sub", "u1"))}}
	}
	first, err := c.Identify(request("/", signed()))
	if err != nil {
		t.Fatal(err)
	}
	if want := access.NameOf("oidc\x00" + at + "\x00u1"); first.Name != want {
		t.Errorf("%s, want %s", first.Name, want)
	}
	const want = "f64fc553cdedff899ce37c02f5d55fc9"
	if got := access.NameOf("oidc\x00https://securetoken.google.com/p\x00u1"); got != want {
		t.Errorf("the name of an account is %s, want %s", got, want)
	}
	issuer.Rotate()
	issuer.Retire()
	again, err := both(issuer).Identify(request("/", signed()))
	if err != nil || again != first {
		t.Errorf("after a rotation of the keys: got %+v, %v; want %+v", again, err, first)
	}
}

func TestToCaseByIDToken(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	token := "Bearer " + issuer.Sign("u@x.example", "project")
	good, wrong := casetoken.New(casetoken.ToRead, []config.Secret{newer}).Sign("c", time.Now().Add(time.Minute)), "x"
	c := both(issuer)
	down := both(issuer)
	me, err := c.Identify(request("/", http.Header{"Authorization": {token}}))
	if err != nil {
		t.Fatal(err)
	}
	owner := func(context.Context, string) (string, error) { return me.Owner(), nil }
	for _, test := range []struct {
		name          string
		callers       access.Callers
		authorization string
		token         string
		want          fault.Kind
	}{
		{"an ID token", c, token, "", 0},
		{"an ID token and an invalid token", c, token, wrong, 0},
		{"a bad ID token", c, unsigned(token), "", fault.Unauthorized},
		{"a bad ID token and a token of the case", c, unsigned(token), good, 0},
		{"a bad ID token and an invalid token", c, unsigned(token), wrong, fault.Forbidden},
		{"issuer down", down, token, "", fault.Unavailable},
		{"issuer down, an invalid token", down, token, wrong, fault.Unavailable},
		{"issuer down, a token of the case", down, token, good, 0},
		{"issuer down, a key", down, "Bearer alpha-key", "", 0},
		{"issuer down, a wrong key", down, "Bearer wrong", "", fault.Unauthorized},
		{"issuer down, no credentials", down, "", "", fault.Unauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			// This fetches the keys for c before the issuer is down.
			if _, err := c.Identify(request("/", http.Header{"Authorization": {token}})); err != nil {
				t.Fatal(err)
			}
			issuer.SetDown(true)
			defer issuer.SetDown(false)
			r := request(
				"/c?"+url.Values{"token": {test.token}}.Encode(),
				http.Header{"Authorization": {test.authorization}},
			)
			wantKind(t, test.callers.ToCase(r, casetoken.ToRead, "c", owner), test.want)
		})
	}
}

// A caller with an ID token can access only their own cases. For other cases they get the same
// error whether or not the case exists.
func TestToCaseOfAnother(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	c := both(issuer)
	token := func(subject string) http.Header {
		return http.Header{
			"Authorization": {"Bearer " + issuer.Sign("u@x.example", "project", identitytest.Claim("sub", subject))},
		}
	}
	ann, err := c.Identify(request("/", token("ann")))
	if err != nil || ann.APIKey || ann.Owner() == "" {
		t.Fatalf("%+v, %v", ann, err)
	}
	missing := fault.New(fault.NotFound, "there is no such case")
	var details []string
	for _, test := range []struct {
		name       string
		header     http.Header
		owner      string
		err        error
		want       fault.Kind
		readsOwner bool
		sameError  bool
	}{
		{"their own", token("ann"), ann.Owner(), nil, 0, true, false},
		{"another's", token("bob"), ann.Owner(), nil, fault.Forbidden, true, true},
		{"without owner", token("ann"), "", nil, fault.Forbidden, true, true},
		{"no such case", token("ann"), "", missing, fault.Forbidden, true, true},
		{"no such case, wrapped", token("bob"), "", fmt.Errorf("x: %w", missing), fault.Forbidden, true, true},
		{"store down", token("ann"), "", fault.New(fault.Unavailable, "try again"), fault.Unavailable, true, false},
		{"a key", http.Header{"X-Api-Key": {"alpha-key"}}, ann.Owner(), nil, 0, false, false},
		{"a key beside the token of another",
			http.Header{"X-Api-Key": {"alpha-key"}, "Authorization": token("bob")["Authorization"]},
			ann.Owner(), nil, 0, false, false},
		{"no credentials", http.Header{}, "", nil, fault.Unauthorized, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := ""
			for _, query := range []string{"", "?token=x"} {
				err := c.ToCase(
					request("/c"+query, test.header),
					casetoken.ToCancel,
					"c",
					func(_ context.Context, caseID string) (string, error) {
						asked = caseID
						return test.owner, test.err
					},
				)
				if query != "" && test.want == fault.Unauthorized {
					wantKind(t, err, fault.Forbidden) // because of the invalid token in the query
					continue
				}
				wantKind(t, err, test.want)
				if test.sameError {
					details = append(details, fault.From(err).Detail)
				}
			}
			if (asked == "c") != test.readsOwner {
				t.Errorf("the owner of %q was read, want a read: %v", asked, test.readsOwner)
			}
		})
	}
	if slices.Sort(details); details[0] != details[len(details)-1] {
		t.Errorf("the errors differ: %q", slices.Compact(details))
	}
}

// FuzzAuthorization checks that only a key or a token of the issuer identifies a caller.
func FuzzAuthorization(f *testing.F) {
	issuer := identitytest.NewIssuer(f)
	token := issuer.Sign("u@x.example", "project")
	c := both(issuer)
	if _, err := c.Identify(request("/", http.Header{"Authorization": {"Bearer " + token}})); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "Bearer", "Bearer alpha-key", "bearer  beta-key ", "Basic x", "Bearer " + token,
		unsigned("Bearer " + token), "Bearer\talpha-key",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		caller, err := c.Identify(request("/", http.Header{"Authorization": {header}}))
		if err != nil || caller.Anonymous() {
			return
		}
		if shown, ok := access.Bearer(header); !ok || shown != "alpha-key" && shown != "beta-key" && shown != token {
			t.Errorf("Authorization %q identifies %+v", header, caller)
		}
	})
}

// A key may have the form of an ID token. It must still work as a key when ID tokens are accepted,
// even while the issuer is down.
func TestKeyInTheFormOfAToken(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	key := identitytest.New("https://keys.example").Sign("u@x.example", "keys")
	c := access.NewCallers(&config.Config{Access: config.Access{
		APIKeys:      config.NewAPIKeys(sha256.Sum256([]byte(key))),
		TokenSecrets: []config.Secret{newer},
		OIDC:         config.Tokens{Issuer: issuer.URL, Audiences: []string{"project"}},
	}}, time.Now)
	issuer.SetDown(true)
	want, err := c.Identify(request("/", http.Header{"X-Api-Key": {key}}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Identify(request("/", http.Header{"Authorization": {"Bearer " + key}})); err != nil ||
		got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
