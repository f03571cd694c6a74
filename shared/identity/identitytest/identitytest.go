// Package identitytest is an OpenID issuer for tests, and for machines on which Google does not
// sign tokens.
package identitytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Lifetime is how long its tokens are valid, the same as for tokens of Google.
const Lifetime = time.Hour

// Issuer signs ID tokens in the format of Google's service accounts or of IAP. It publishes the
// keys to verify them. It is safe for concurrent use.
type Issuer struct {
	URL string // the name in its tokens, without a slash at the end

	mu      sync.Mutex
	es256   bool
	keys    []key // the first one signs; all are published
	made    int
	down    bool
	maxAge  time.Duration
	fetches int
}

// key is a signing key: RS256 as for Google's accounts, or ES256 as for IAP.
type key struct {
	id  string
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func (k key) algorithm() string {
	if k.ec != nil {
		return "ES256"
	}
	return "RS256"
}

func (k key) public() any {
	if k.ec != nil {
		return &k.ec.PublicKey
	}
	return &k.rsa.PublicKey
}

// sign returns the signature of a text in base64url (RFC 7518, sections 3.3 and 3.4).
func (k key) sign(text string) string {
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	var err error
	if k.ec != nil {
		r, s, failed := ecdsa.Sign(rand.Reader, k.ec, sum[:])
		if err = failed; err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	} else {
		signature, err = rsa.SignPKCS1v15(rand.Reader, k.rsa, crypto.SHA256, sum[:])
	}
	if err != nil {
		panic(err) // the key is long enough
	}
	return base64.RawURLEncoding.EncodeToString(signature)
}

// New returns an issuer for the given URL, http or https. The caller serves its ServeHTTP there,
// and strips the path of the URL, if it has one, from requests.
func New(url string) *Issuer {
	i := &Issuer{URL: url, maxAge: time.Hour}
	i.Rotate()
	return i
}

// NewIssuer returns an issuer that serves on loopback until the test ends.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	i := New("http://" + server.Listener.Addr().String())
	server.Config.Handler = i
	server.Start()
	t.Cleanup(server.Close)
	return i
}

// NewIAP returns an issuer that signs like IAP, with ES256, under the given name. It publishes its
// keys at keysURL and no discovery document. It serves on loopback until the test ends.
func NewIAP(t testing.TB, url string) (i *Issuer, keysURL string) {
	t.Helper()
	i = &Issuer{URL: url, maxAge: time.Hour, es256: true}
	i.Rotate()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" {
			http.NotFound(w, r)
			return
		}
		i.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return i, server.URL + "/keys"
}

// Rotate creates a new key, which signs from now on. Earlier keys stay published.
func (i *Issuer) Rotate() {
	var k key
	var err error
	if i.es256 {
		k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(err) // no randomness is available
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	k.id = fmt.Sprintf("key-%d-%x", i.made, id)
	i.keys = append([]key{k}, i.keys...)
}

// Retire withdraws all keys except the one that signs.
func (i *Issuer) Retire() { i.mu.Lock(); defer i.mu.Unlock(); i.keys = i.keys[:1] }

// SetDown sets whether every request fails.
func (i *Issuer) SetDown(down bool) { i.mu.Lock(); defer i.mu.Unlock(); i.down = down }

// SetMaxAge sets how long the keys may be cached. The initial value is one hour.
func (i *Issuer) SetMaxAge(d time.Duration) { i.mu.Lock(); defer i.mu.Unlock(); i.maxAge = d }

// Fetches returns how many times the keys were requested. While the issuer is down, it counts every
// request.
func (i *Issuer) Fetches() int { i.mu.Lock(); defer i.mu.Unlock(); return i.fetches }

// ServeHTTP serves the discovery document and the keys.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var answer any
	switch {
	case i.down:
		i.fetches++
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	case r.URL.Path == "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer":                                i.URL,
			"jwks_uri":                              strings.TrimSuffix(i.URL, "/") + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
		}
	case r.URL.Path == "/keys":
		i.fetches++
		var set jose.JSONWebKeySet
		for _, k := range i.keys {
			public := jose.JSONWebKey{Key: k.public(), KeyID: k.id, Algorithm: k.algorithm(), Use: "sig"}
			set.Keys = append(set.Keys, public)
		}
		answer = set
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(i.maxAge.Seconds())))
	_ = json.NewEncoder(w).Encode(answer) // the client may have disconnected
}

// Token is a token before it is signed.
type Token struct {
	Header map[string]any
	Claims map[string]any
}

// Change modifies a token before it is signed.
type Change func(*Token)

// Claim sets a claim; nil removes it.
func Claim(name string, value any) Change { return func(t *Token) { set(t.Claims, name, value) } }

// Header sets a field of the header; nil removes it. It does not change how the token is signed.
func Header(name string, value any) Change { return func(t *Token) { set(t.Header, name, value) } }

func set(fields map[string]any, name string, value any) {
	if fields[name] = value; value == nil {
		delete(fields, name)
	}
}

// Expires sets when the token expires.
func Expires(at time.Time) Change { return Claim("exp", at.Unix()) }

// Sign returns a token of an account for an audience, in the format of Google's service accounts,
// with the changes applied.
func (i *Issuer) Sign(email, audience string, changes ...Change) string {
	i.mu.Lock()
	k := i.keys[0]
	i.mu.Unlock()
	now := time.Now()
	t := &Token{
		Header: map[string]any{"alg": k.algorithm(), "kid": k.id, "typ": "JWT"},
		Claims: map[string]any{
			"iss":            i.URL,
			"sub":            "id-of-" + email,
			"azp":            "id-of-" + email,
			"aud":            audience,
			"email":          email,
			"email_verified": true,
			"iat":            now.Unix(),
			"exp":            now.Add(Lifetime).Unix(),
		},
	}
	for _, change := range changes {
		change(t)
	}
	text := t.Encode()
	return text + "." + k.sign(text)
}

// PublicKey returns the public key of the RS256 key that signs.
func (i *Issuer) PublicKey() *rsa.PublicKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return &i.keys[0].rsa.PublicKey
}

// KeyID returns the id of the key that signs.
func (i *Issuer) KeyID() string { i.mu.Lock(); defer i.mu.Unlock(); return i.keys[0].id }

// Encode returns the signed text of a token: its header and its claims.
func (t *Token) Encode() string {
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err) // the test's claims are not JSON
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	return part(t.Header) + "." + part(t.Claims)
}
