package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account  = "tasks@example.iam.gserviceaccount.com"
	audience = "https://check.example"
)

// kindOf is what came of a verification: "" for a good token.
func kindOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.KindOf(err).String()
}

const refused = "Unauthorized"

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// shared signs a token's text with a secret, as HS256 does.
func shared(text string, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

func TestVerify(t *testing.T) {
	issuer, stranger := identitytest.NewIssuer(t), identitytest.NewIssuer(t)
	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	sign := func(changes ...identitytest.Change) string { return issuer.Sign(account, audience, changes...) }
	good := sign()
	parts := strings.Split(good, ".")
	der, err := x509.MarshalPKIXPublicKey(issuer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs256 := encode([]byte(`{"alg":"HS256","typ":"JWT","kid":"`+issuer.KeyID()+`"}`)) + "." + parts[1]
	none := encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	modulus := issuer.PublicKey().N.Bytes()

	for _, test := range []struct{ name, token, want string }{
		{"good", good, ""},
		{"one audience of several", sign(identitytest.Claim("aud", []string{"https://x.example", audience})), ""},
		{"the other audience", sign(identitytest.Claim("aud", "https://dispatch.example")), ""},
		{"expired within the leeway", sign(identitytest.Claim("exp", in(-20*time.Second))), ""},
		{"held back within the leeway", sign(identitytest.Claim("nbf", in(20*time.Second))), ""},
		{"no key id", sign(identitytest.Header("kid", nil)), ""},
		{"expired", sign(identitytest.Expires(now.Add(-time.Minute))), refused},
		{"no expiry", sign(identitytest.Claim("exp", nil)), refused},
		{"expiry of text", sign(identitytest.Claim("exp", "tomorrow")), refused},
		{"not yet", sign(identitytest.Claim("nbf", in(time.Minute))), refused},
		{"not yet, far", sign(identitytest.Claim("nbf", in(time.Hour))), refused},
		{"wrong audience", issuer.Sign(account, "https://other.example"), refused},
		{"audience with a slash", issuer.Sign(account, audience+"/"), refused},
		{
			"audiences, none ours",
			sign(identitytest.Claim("aud", []string{"https://x.example", "https://y.example"})), refused,
		},
		{"no audience", sign(identitytest.Claim("aud", nil)), refused},
		{"wrong issuer", sign(identitytest.Claim("iss", "https://evil.example")), refused},
		{"issuer with a slash", sign(identitytest.Claim("iss", issuer.URL+"/")), refused},
		{"no issuer", sign(identitytest.Claim("iss", nil)), refused},
		{"no subject", sign(identitytest.Claim("sub", nil)), refused},
		{"another issuer's key", stranger.Sign(account, audience, identitytest.Claim("iss", issuer.URL)), refused},
		{
			"another issuer's key under our key's id",
			stranger.Sign(account, audience,
				identitytest.Claim("iss", issuer.URL), identitytest.Header("kid", issuer.KeyID())),
			refused,
		},
		{
			"another issuer's key, no id",
			stranger.Sign(account, audience, identitytest.Claim("iss", issuer.URL), identitytest.Header("kid", nil)),
			refused,
		},
		{"wrong key id", sign(identitytest.Header("kid", "nobody's")), refused},
		{"alg none", none, refused},
		{"alg None", encode([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".", refused},
		{"alg none with a signature", encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2], refused},
		{"HS256 with the public key's PEM", shared(hs256, public), refused},
		{"HS256 with the public key's DER", shared(hs256, der), refused},
		{"HS256 with the modulus", shared(hs256, modulus), refused},
		{"RS512 that the issuer does not use", sign(identitytest.Header("alg", "RS512")), refused},
		{"PS256 in name only", sign(identitytest.Header("alg", "PS256")), refused},
		{
			"a header that must be understood",
			sign(identitytest.Header("crit", []string{"b64"}), identitytest.Header("b64", false)), refused,
		},
		{
			"own key in the header",
			sign(identitytest.Header("jwk", json.RawMessage(`{"kty":"oct","k":"AAAA"}`)),
				identitytest.Header("kid", "x")),
			refused,
		},
		{
			"claims of another token",
			parts[0] + "." + strings.Split(sign(identitytest.Claim("email", "x@y.z")), ".")[1] + "." + parts[2],
			refused,
		},
		{"no signature", parts[0] + "." + parts[1] + ".", refused},
		{"signature removed", parts[0] + "." + parts[1] + ".SIGNATURE_REMOVED_BY_GOOGLE", refused},
		{"two parts", parts[0] + "." + parts[1], refused},
		{"four parts", good + ".x", refused},
		{"empty", "", refused},
		{"garbage", "garbage", refused},
		{"dots", "..", refused},
		{
			"JSON serialization",
			`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
			refused,
		},
		{"no type", sign(identitytest.Header("typ", nil)), ""},
		{"type in small letters", sign(identitytest.Header("typ", "jwt")), ""},
		{"type in full", sign(identitytest.Header("typ", "application/JWT")), ""},
		{"an access token", sign(identitytest.Header("typ", "at+jwt")), refused},
		{"an access token, in full", sign(identitytest.Header("typ", "application/at+jwt")), refused},
		{"an access token, in capitals", sign(identitytest.Header("typ", "Application/AT+JWT")), refused},
		{"an access token, with a parameter", sign(identitytest.Header("typ", "at+jwt; v=1")), refused},
		{"a logout token", sign(identitytest.Header("typ", "logout+jwt")), refused},
		{"a logout token, in full", sign(identitytest.Header("typ", "application/Logout+jwt")), refused},
		{"an event", sign(identitytest.Header("typ", "secevent+jwt")), refused},
		{"a proof of a key", sign(identitytest.Header("typ", "dpop+jwt")), refused},
		{"a type of a list", sign(identitytest.Header("typ", []string{"at+jwt"})), refused},
		{"space inside", parts[0] + ". " + parts[1] + "." + parts[2], refused},
		{"far too long", good + strings.Repeat("A", 16<<10), refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := identity.New(
				identity.Config{Issuer: issuer.URL, Audiences: []string{audience, "https://dispatch.example"}},
			)
			claims, err := v.Verify(t.Context(), test.token)
			if kindOf(err) != test.want {
				t.Fatalf("%+v, %v; want %q", claims, err, test.want)
			}
			if err != nil {
				if claims.Subject != "" || claims.Email != "" {
					t.Errorf("a refused token has claims: %+v", claims)
				}
				for part := range strings.SplitSeq(test.token, ".") {
					if len(part) > 8 && strings.Contains(fault.From(err).Detail, part) {
						t.Errorf("it is echoed: %s", fault.From(err).Detail)
					}
				}
				return
			}
			if claims.Email != account || !claims.EmailVerified || claims.Subject != "id-of-"+account ||
				claims.Issuer != issuer.URL ||
				len(claims.Audience) == 0 {
				t.Errorf("%+v", claims)
			}
		})
	}
}

func TestEmailVerified(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	v := identity.New(identity.Config{Issuer: issuer.URL, Audiences: []string{audience}})
	for _, test := range []struct {
		value any
		want  bool
	}{{true, true}, {"true", true}, {false, false}, {"false", false}, {nil, false}, {1, false},
		{[]bool{true}, false}, {"TRUE", false}} {
		claims, err := v.Verify(
			t.Context(),
			issuer.Sign(account, audience, identitytest.Claim("email_verified", test.value)),
		)
		if err != nil || claims.EmailVerified != test.want {
			t.Errorf("%v: %+v, %v", test.value, claims, err)
		}
	}
}

// publisher is an issuer that says what it is told to.
type publisher struct {
	url       string
	discovery map[string]any
	keys      any
	discover  http.HandlerFunc
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") && p.discover != nil:
			p.discover(w, r)
		case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
			_ = json.NewEncoder(w).Encode(p.discovery)
		default:
			_ = json.NewEncoder(w).Encode(p.keys)
		}
	}))
	p.url = "http://" + server.Listener.Addr().String()
	p.discovery = map[string]any{"issuer": p.url, "jwks_uri": p.url + "/keys"}
	server.Start()
	t.Cleanup(server.Close)
	return p
}

// What other issuers than Google do: a slash at the end of their name, other algorithms, keys of
// other kinds among theirs.
func TestOtherIssuers(t *testing.T) {
	p := newPublisher(t)
	p.discovery["issuer"] = p.url + "/tenant/"
	p.discovery["id_token_signing_alg_values_supported"] = []string{"ES384", "HS256", "none"}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("s", 32))
	keys := []any{
		json.RawMessage(`{"kty":"future","kid":"f"}`), json.RawMessage(`7`),
		jose.JSONWebKey{
			Key:   secret,
			KeyID: "secret",
		}, jose.JSONWebKey{Key: &large.PublicKey, KeyID: "for encryption", Use: "enc"},
		jose.JSONWebKey{Key: large, KeyID: "private"},
		jose.JSONWebKey{Key: &p256.PublicKey, KeyID: "p256"}, jose.JSONWebKey{Key: &p384.PublicKey, KeyID: "p384"},
		jose.JSONWebKey{
			Key:   &large.PublicKey,
			KeyID: "rsa",
		}, jose.JSONWebKey{Key: &large.PublicKey, KeyID: "rsa for PS256 only", Algorithm: "PS256"},
	}
	p.keys = map[string]any{"keys": keys}
	claims, err := json.Marshal(
		map[string]any{
			"iss": p.url + "/tenant/",
			"aud": "project",
			"sub": "u",
			"exp": time.Now().Add(time.Hour).Unix(),
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		alg  jose.SignatureAlgorithm
		key  any
		id   string
		want string
	}{
		{"ES256, always", jose.ES256, p256, "p256", ""},
		{"RS256, always", jose.RS256, large, "rsa", ""},
		{"ES384, which it says", jose.ES384, p384, "p384", ""},
		{"PS256, which it does not say", jose.PS256, large, "rsa", refused},
		{"HS256, which it says", jose.HS256, secret, "secret", refused},
		{"a key for encryption", jose.RS256, large, "for encryption", refused},
		{"a key that should be private", jose.RS256, large, "private", refused},
		{"a key of another algorithm", jose.RS256, large, "rsa for PS256 only", refused},
	} {
		signer, err := jose.NewSigner(
			jose.SigningKey{Algorithm: test.alg, Key: jose.JSONWebKey{Key: test.key, KeyID: test.id}},
			nil,
		)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		v := identity.New(identity.Config{Issuer: p.url + "/tenant/", Audiences: []string{"project"}})
		if got, err := v.Verify(t.Context(), token); kindOf(err) != test.want || err == nil && got.Subject != "u" {
			t.Errorf("%s: %+v, %v; want %q", test.name, got, err, test.want)
		}
	}
}

// An issuer that cannot be trusted or understood has no keys for us, and that is never the caller's
// fault.
func TestBadIssuers(t *testing.T) {
	token := identitytest.New("https://unused.example").Sign(account, audience)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(p *publisher){
		"another issuer":     func(p *publisher) { p.discovery["issuer"] = p.url + "/" },
		"no issuer":          func(p *publisher) { delete(p.discovery, "issuer") },
		"no address of keys": func(p *publisher) { delete(p.discovery, "jwks_uri") },
		"keys without TLS":   func(p *publisher) { p.discovery["jwks_uri"] = "http://keys.example/" },
		"keys in a file":     func(p *publisher) { p.discovery["jwks_uri"] = "file:///etc/passwd" },
		"no keys":            func(p *publisher) { p.keys = map[string]any{"keys": []int{}} },
		"keys of text":       func(p *publisher) { p.keys = "keys" },
		"only small keys": func(p *publisher) {
			p.keys = map[string]any{"keys": []any{jose.JSONWebKey{Key: &small.PublicKey, KeyID: "small"}}}
		},
		"too much": func(p *publisher) { p.keys = map[string]string{"x": strings.Repeat("x", 2<<20)} },
		"not JSON": func(p *publisher) {
			p.discover = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }
		},
		"404": func(p *publisher) { p.discover = http.NotFound },
		"elsewhere": func(p *publisher) {
			p.discover = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere/.well-known/openid-configuration", http.StatusFound)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			spoil(p)
			v := identity.New(identity.Config{Issuer: p.url, Audiences: []string{audience}})
			if _, err := v.Verify(t.Context(), token); kindOf(err) != "Service Unavailable" {
				t.Errorf("%v", err)
			}
		})
	}
	for _, issuer := range []string{
		"", "http://issuer.example", "ftp://127.0.0.1", "http://127.0.0.1.example",
		"https://u:p@issuer.example",
	} {
		v := identity.New(identity.Config{Issuer: issuer, Audiences: []string{audience}})
		if _, err := v.Verify(t.Context(), token); kindOf(err) != "Service Unavailable" ||
			!strings.Contains(err.Error(), "not an https address") {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

// FuzzIsToken: what has the form of a token is in the alphabet of headers, and no text makes the
// verifier panic or accept it.
func FuzzIsToken(f *testing.F) {
	issuer := identitytest.New("https://issuer.example")
	f.Add(issuer.Sign(account, audience))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Add("..")
	v := identity.New(
		identity.Config{
			Issuer:    "https://issuer.example",
			Audiences: []string{audience},
			Client:    &http.Client{Transport: nobody{}},
		},
	)
	f.Fuzz(func(t *testing.T, text string) {
		if identity.IsToken(text) &&
			(strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" ||
				strings.Count(text, ".") != 2) {
			t.Errorf("%q has the form of a token", text)
		}
		if claims, err := v.Verify(t.Context(), text); err == nil {
			t.Errorf("%q is accepted: %+v", text, claims)
		}
	})
}

// nobody answers no request.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed }
