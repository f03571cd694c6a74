// Package identity verifies ID tokens (OpenID Connect Core 1.0, https://openid.net/specs/openid-connect-core-1_0.html#IDToken): that an
// issuer signed them, for whom they are, and that they hold now.
//
// The checks are go-oidc's and go-jose's. What is here is where the keys come from and how long they are kept, for an instance that gets no CPU
// between two requests: everything happens inside a call.
package identity

import (
	"context"
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
	// leeway is how far the clocks of issuer and instance may differ.
	leeway = 30 * time.Second
	// maxToken is the longest token that is looked at, in bytes. Those of Google and Firebase have about 1 KiB.
	maxToken = 16 << 10
)

// Google is the issuer of the ID tokens of Google's accounts and service accounts. It names itself in tokens with or without https://.
const Google = "https://accounts.google.com"

// IAP is the issuer of the assertions by which Identity-Aware Proxy says who it let in, and IAPKeys where its keys are: it publishes nothing else
// (https://cloud.google.com/iap/docs/signed-headers-howto#verifying_the_jwt_payload).
const (
	IAP     = "https://cloud.google.com/iap"
	IAPKeys = "https://www.gstatic.com/iap/verify/public_key-jwk"
)

// Config says which tokens are accepted.
type Config struct {
	// Issuer is the issuer as its tokens name it: https, or http on this machine. A slash at its end belongs to it.
	Issuer string
	// Audiences are for whom a token may be: one of its audiences has to be one of these.
	Audiences []string
	// KeysURL is where the issuer's keys are, https or on this machine, for an issuer that publishes nothing else; "": the issuer is asked
	// (https://openid.net/specs/openid-connect-discovery-1_0.html).
	KeysURL string
	// Client fetches the keys; nil for one that follows no redirect and keeps no connection.
	Client *http.Client
	Now    func() time.Time // nil for time.Now
}

// Claims are what a token says of its subject.
type Claims struct {
	Issuer        string // as configured, however the token spells it
	Subject       string // never empty; unique and never reassigned within the issuer
	Email         string
	EmailVerified bool
	Audience      []string
}

// Verifier verifies the tokens of one issuer. It is safe for concurrent use. Its keys are fetched at the first use.
type Verifier struct {
	cfg  Config
	keys *keySet
}

// New returns a Verifier. It asks nobody: what is wrong with the issuer shows when it is first asked.
func New(cfg Config) *Verifier {
	if cfg.Client == nil {
		cfg.Client = newClient()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg, keys: newKeySet(cfg)}
}

// Verify returns the claims of a token that is signed by the issuer, for one of the audiences, and holds now, with 30 s of leeway.
//
// Errors are classified with [fault]: Unauthorized for any other token, Unavailable if the keys to tell cannot be had. What their
// callers read of them holds nothing of the token. A call that finds somebody else fetching keys waits no longer than its context; one that
// fetches them itself ends at most 5 s late.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if !IsToken(token) {
		return Claims{}, fault.New(fault.Unauthorized, "this is no ID token")
	}
	parsed, err := jose.ParseSignedCompact(token, algorithms) // without a signature, go-oidc would let "none" pass
	switch {
	case err != nil:
		return Claims{}, fault.Wrap(fault.Unauthorized, err, "this is no ID token")
	case !isIDTokenType(parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]):
		return Claims{}, fault.New(fault.Unauthorized, "the token's type says that it is no ID token")
	}
	signature := &signature{keys: v.keys}
	checks := oidc.NewVerifier(v.cfg.Issuer, signature, &oidc.Config{
		SupportedSigningAlgs: algorithmNames,
		SkipClientIDCheck:    true, // any of several is accepted, below
		Now:                  func() time.Time { return v.cfg.Now().Add(-leeway) },
	})
	verified, err := checks.Verify(ctx, token)
	var expired *oidc.TokenExpiredError
	switch {
	case signature.err != nil:
		return Claims{}, signature.err
	case errors.As(err, &expired):
		return Claims{}, fault.Wrap(fault.Unauthorized, err, "the token has expired")
	case err != nil:
		return Claims{}, fault.Wrap(fault.Unauthorized, err, "the token is of another issuer, or cannot be read, or is signed otherwise than ID tokens are")
	}
	var more struct {
		Email         string  `json:"email"`
		EmailVerified flag    `json:"email_verified"`
		NotBefore     float64 `json:"nbf"` // seconds; go-oidc allows five minutes
	}
	err = verified.Claims(&more)
	switch {
	case err != nil:
		return Claims{}, fault.Wrap(fault.Unauthorized, err, "the token's claims cannot be read")
	case more.NotBefore > float64(v.cfg.Now().Add(leeway).Unix()):
		return Claims{}, fault.New(fault.Unauthorized, "the token does not hold yet")
	case !slices.ContainsFunc(verified.Audience, func(a string) bool { return slices.Contains(v.cfg.Audiences, a) }):
		return Claims{}, fault.New(fault.Unauthorized, "the token is for another audience")
	case verified.Subject == "":
		return Claims{}, fault.New(fault.Unauthorized, "the token has no subject")
	}
	return Claims{Issuer: v.cfg.Issuer, Subject: verified.Subject, Email: more.Email, EmailVerified: bool(more.EmailVerified), Audience: verified.Audience}, nil
}

// isIDTokenType reports whether the type in a token's header can be that of an ID token: it is missing, or names no
// special use. Tokens for other uses say so there, with a type such as at+jwt (RFC 8725, section 3.11): an access token
// (RFC 9068) or logout token of the same issuer may have the same audience, and is not meant to show who calls.
func isIDTokenType(typ any) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	mediaType, _, err := mime.ParseMediaType(text) // in lower case; application/ may be left out (RFC 7515, section 4.1.9)
	return err == nil && !strings.HasSuffix(mediaType, "+jwt")
}

// signature checks the signature of one token, and keeps why that failed: go-oidc hands on only the text.
type signature struct {
	keys *keySet
	err  error
}

// VerifySignature implements [oidc.KeySet].
func (s *signature) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	payload, s.err = s.keys.verify(ctx, token)
	return payload, s.err
}

// flag is a boolean claim, which some issuers write as a string.
type flag bool

func (f *flag) UnmarshalJSON(data []byte) error {
	*f = string(data) == `true` || string(data) == `"true"`
	return nil
}

// IsToken reports whether text has the form of a signed token (RFC 7515, section 7.1): three parts in base64url, the first of which is a JSON object
// that names an algorithm. It says nothing of whether the token is good. No token is longer than 16 KiB.
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
