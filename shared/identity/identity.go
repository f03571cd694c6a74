// Package identity verifies ID tokens (OpenID Connect Core 1.0,
// https://openid.net/specs/openid-connect-core-1_0.html#IDToken): their signature, issuer, audience
// and lifetime.
//
// go-oidc and go-jose do the checks. This package fetches and caches the keys. It works only inside
// calls, because an instance gets no CPU between two requests.
package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/casewatch/casewatch/shared/fault"
)

const (
	// leeway is the accepted difference between the clocks of the issuer and the instance.
	leeway = 30 * time.Second
	// maxToken is the longest token that is parsed, in bytes. Tokens of Google and Firebase have
	// about 1 KiB.
	maxToken = 16 << 10
)

// Google is the issuer of the ID tokens of Google's accounts and service accounts. Its tokens name
// it with or without https://.
const Google = "https://accounts.google.com"

// IAP is the issuer of the assertions with which Identity-Aware Proxy identifies its users. IAPKeys
// is the address of its keys, since it publishes no discovery document
// (https://cloud.google.com/iap/docs/signed-headers-howto#verifying_the_jwt_payload).
const (
	IAP     = "https://cloud.google.com/iap"
	IAPKeys = "https://www.gstatic.com/iap/verify/public_key-jwk"
)

// Config says which tokens are accepted.
type Config struct {
	// Issuer is the issuer exactly as its tokens name it: https, or http on this machine. A slash
	// at the end is part of the name.
	Issuer string
	// Audiences are the accepted audiences. A token must name at least one of them.
	Audiences []string
	// KeysURL is the address of the keys, https or on this machine. It is for issuers without a
	// discovery document. If it is empty, the address is read from that document
	// (https://openid.net/specs/openid-connect-discovery-1_0.html).
	KeysURL string
	// Client fetches the keys. nil means a client that follows no redirect and keeps no connection.
	Client *http.Client
	Now    func() time.Time // nil for time.Now
}

// Claims holds the claims of a verified token.
type Claims struct {
	Issuer        string // as configured, even if the token spells it otherwise
	Subject       string // never empty; unique within the issuer, and never reassigned
	Email         string
	EmailVerified bool
	Audience      []string
}

// Verifier verifies the tokens of one issuer. It is safe for concurrent use. It fetches the keys on
// first use, and remembers the last tokens that it verified.
type Verifier struct {
	cfg      Config
	keys     *keySet
	verified verified
}

// New returns a Verifier. It sends no request. Verify returns an error if the issuer is wrong.
func New(cfg Config) *Verifier {
	if cfg.Client == nil {
		cfg.Client = newClient()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg, keys: newKeySet(cfg), verified: verified{seen: map[[sha256.Size]byte]remembered{}}}
}

// Verify verifies a token and returns its claims. The issuer must have signed it, for one of the
// audiences, and it must be valid now, with 30 s of leeway.
//
// Errors are classified with [fault]: Unavailable if the keys cannot be fetched, else Unauthorized.
// The text for callers holds nothing of the token. A call that waits for the fetch of another call
// returns when its context ends. A call that fetches keys itself may return up to 5 s later than
// that.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if len(token) > maxToken {
		return Claims{}, fault.New(fault.Unauthorized, "this is no ID token")
	}
	hash := sha256.Sum256([]byte(token))
	if claims, ok := v.verified.find(ctx, hash, v.keys, v.cfg.Now()); ok {
		return claims, nil
	}
	r, err := v.verify(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	v.verified.add(hash, r)
	return r.claims, nil
}

// verify does what Verify does, without looking at what is remembered.
func (v *Verifier) verify(ctx context.Context, token string) (remembered, error) {
	if !IsToken(token) {
		return remembered{}, fault.New(fault.Unauthorized, "this is no ID token")
	}
	parsed, err := jose.ParseSignedCompact(token, algorithms) // go-oidc alone would accept the algorithm "none"
	switch {
	case err != nil:
		return remembered{}, fault.Wrap(fault.Unauthorized, err, "this is no ID token")
	case !isIDTokenType(parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]):
		return remembered{}, fault.New(fault.Unauthorized, "the token's type says that it is no ID token")
	}
	signature, since := &signature{keys: v.keys}, v.cfg.Now()
	checks := oidc.NewVerifier(v.cfg.Issuer, signature, &oidc.Config{
		SupportedSigningAlgs: algorithmNames,
		SkipClientIDCheck:    true, // checked below, against several audiences
		Now:                  func() time.Time { return v.cfg.Now().Add(-leeway) },
	})
	verified, err := checks.Verify(ctx, token)
	var expired *oidc.TokenExpiredError
	switch {
	case signature.err != nil:
		return remembered{}, signature.err
	case errors.As(err, &expired):
		return remembered{}, fault.Wrap(fault.Unauthorized, err, "the token has expired")
	case err != nil:
		return remembered{}, fault.Wrap(fault.Unauthorized, err,
			"the token is of another issuer, or cannot be read, or is signed otherwise than ID tokens are")
	}
	var more struct {
		Email         string  `json:"email"`
		EmailVerified flag    `json:"email_verified"`
		NotBefore     float64 `json:"nbf"` // seconds; go-oidc allows five minutes
	}
	err = verified.Claims(&more)
	switch {
	case err != nil:
		return remembered{}, fault.Wrap(fault.Unauthorized, err, "the token's claims cannot be read")
	case more.NotBefore > float64(v.cfg.Now().Add(leeway).Unix()):
		return remembered{}, fault.New(fault.Unauthorized, "the token does not hold yet")
	case !slices.ContainsFunc(verified.Audience, func(a string) bool { return slices.Contains(v.cfg.Audiences, a) }):
		return remembered{}, fault.New(fault.Unauthorized, "the token is for another audience")
	case verified.Subject == "":
		return remembered{}, fault.New(fault.Unauthorized, "the token has no subject")
	}
	return remembered{
		claims: Claims{
			Issuer:        v.cfg.Issuer,
			Subject:       verified.Subject,
			Email:         more.Email,
			EmailVerified: bool(more.EmailVerified),
			Audience:      verified.Audience,
		},
		keyID: parsed.Signatures[0].Protected.KeyID, keys: signature.by, since: since, expiry: verified.Expiry,
	}, nil
}

// isIDTokenType reports whether the type in the header of a token may be that of an ID token. The
// type must be missing or general. Access tokens (RFC 9068) and logout tokens may have the same
// issuer and audience, but do not identify a caller. They have a type such as at+jwt (RFC 8725,
// section 3.11).
func isIDTokenType(typ any) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	// The result is in lower case. "application/" may be missing (RFC 7515, section 4.1.9).
	mediaType, _, err := mime.ParseMediaType(text)
	return err == nil && !strings.HasSuffix(mediaType, "+jwt")
}

// signature verifies the signature of one token. It keeps the keys by which it verified it, and the
// error, because go-oidc returns only its text.
type signature struct {
	keys *keySet
	by   *published
	err  error
}

// VerifySignature implements [oidc.KeySet].
func (s *signature) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	payload, s.by, s.err = s.keys.verify(ctx, token)
	return payload, s.err
}

// flag is a boolean claim. Some issuers write it as a string.
type flag bool

func (f *flag) UnmarshalJSON(data []byte) error {
	*f = string(data) == `true` || string(data) == `"true"`
	return nil
}

// IsToken reports whether text has the form of a signed token (RFC 7515, section 7.1): three parts
// in base64url, the first of which is a JSON object that names an algorithm. The limit is 16 KiB.
// It does not verify the token.
func IsToken(text string) bool {
	parts := strings.SplitN(text, ".", 4)
	if len(text) > maxToken || len(parts) != 3 {
		return false
	}
	for _, part := range parts {
		if strings.ContainsFunc(part, func(r rune) bool { return !isBase64URL(r) }) {
			return false
		}
	}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	var fields struct {
		Algorithm string `json:"alg"`
	}
	return err == nil && json.Unmarshal(header, &fields) == nil && fields.Algorithm != ""
}

func isBase64URL(r rune) bool {
	return 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}
