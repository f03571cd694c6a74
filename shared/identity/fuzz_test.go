package identity_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

// publisherOf answers discovery and keys with the bodies that it is given, and fails a test whose
// verifier asks anyone else.
type publisherOf struct {
	t            *testing.T
	about, keys  []byte
	cacheControl string
}

func (p *publisherOf) RoundTrip(r *http.Request) (*http.Response, error) {
	body := p.about
	if !strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		body = p.keys
		loopback := r.URL.Hostname() == "localhost" || strings.HasPrefix(r.URL.Hostname(), "127.") ||
			r.URL.Hostname() == "::1"
		if r.URL.Scheme != "https" &&
			!loopback ||
			r.URL.User != nil {
			p.t.Errorf("it asks %s for keys", r.URL)
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Status:     "200 OK",
		Header:     http.Header{"Cache-Control": {p.cacheControl}},
		Body:       io.NopCloser(strings.NewReader(string(body))),
		Request:    r,
	}, nil
}

// FuzzKeys: whatever is published in an issuer's name, a token that its keys did not sign is not
// accepted, and nothing is asked over a connection that others can change.
func FuzzKeys(f *testing.F) {
	const issuer = "https://issuer.example"
	stranger := identitytest.New(issuer)
	token := stranger.Sign(account, audience)
	f.Add(
		[]byte(
			`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/keys",`+
				`"id_token_signing_alg_values_supported":["RS256"]}`,
		),
		[]byte(
			`{"keys":[{"kty":"RSA","kid":"`+stranger.KeyID()+`","use":"sig","alg":"RS256","n":"AQAB","e":"AQAB"}]}`,
		),
		"public, max-age=60",
	)
	f.Add(
		[]byte(`{"issuer":"https://issuer.example","jwks_uri":"http://169.254.169.254/"}`),
		[]byte(`{"keys":[]}`),
		"max-age=99999999999999999999",
	)
	f.Add(
		[]byte(`{"issuer":"https://issuer.example","jwks_uri":"file:///etc/passwd"}`),
		[]byte(`{"keys":[{"kty":"oct","k":"AAAA"},7,null]}`),
		"no-store",
	)
	f.Fuzz(func(t *testing.T, about, keys []byte, cacheControl string) {
		v := identity.New(
			identity.Config{
				Issuer:    issuer,
				Audiences: []string{audience},
				Client: &http.Client{
					Transport: &publisherOf{t: t, about: about, keys: keys, cacheControl: cacheControl},
				},
			},
		)
		for range 2 {
			if claims, err := v.Verify(t.Context(), token); err == nil {
				t.Errorf("accepted: %+v, by %q and %q", claims, about, keys)
			}
		}
	})
}

// FuzzClaims: whatever a token says that the issuer did sign, it is for an audience of ours, of the
// issuer, and has a subject, or it is refused.
func FuzzClaims(f *testing.F) {
	const issuer = "https://issuer.example"
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := json.Marshal(
		map[string]any{
			"keys": []any{
				map[string]any{
					"kty": "RSA",
					"kid": "k",
					"alg": "RS256",
					"use": "sig",
					"n":   encode(private.N.Bytes()),
					"e":   "AQAB",
				},
			},
		},
	)
	if err != nil {
		f.Fatal(err)
	}
	for _, claims := range []string{
		`{"iss":"https://issuer.example","aud":"https://check.example","sub":"1","exp":99999999999,"iat":1,` +
			`"email":"a@b.example","email_verified":"true"}`,
		`{"iss":"https://issuer.example","aud":["https://check.example",7],"sub":"","exp":1e300,"nbf":-1e300}`,
		`{"iss":["https://issuer.example"],"aud":{},"exp":"soon"}`, `[]`, `null`, "",
	} {
		f.Add([]byte(claims))
	}
	v := identity.New(
		identity.Config{Issuer: issuer, Audiences: []string{audience}, Client: &http.Client{Transport: &publisherOf{
			about: []byte(`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/keys"}`), keys: keys,
		}}},
	)
	f.Fuzz(func(t *testing.T, claims []byte) {
		text := encode([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encode(claims)
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(t.Context(), text+"."+encode(signature))
		if err != nil {
			if kind := kindOf(err); kind != refused {
				t.Errorf("%q: %s", claims, kind)
			}
			return
		}
		var said struct {
			Issuer   string          `json:"iss"`
			Audience json.RawMessage `json:"aud"`
			Subject  string          `json:"sub"`
		}
		if json.Unmarshal(claims, &said) != nil || said.Issuer != issuer || got.Subject == "" || got.Issuer != issuer ||
			!strings.Contains(string(said.Audience), "check.example") && !strings.Contains(string(said.Audience), `\`) {
			t.Errorf("%q is accepted: %+v", claims, got)
		}
	})
}
