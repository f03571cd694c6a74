package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/singleflight"
)

const (
	// refetchAfter is the minimum time between two fetches if there are keys. It bounds the
	// requests that tokens with invented key ids cause.
	refetchAfter = 30 * time.Second
	// retryAfter is the minimum time between two fetches if there are no keys.
	retryAfter = 2 * time.Second
	// keptFor is how long keys are used after they were fetched if newer keys cannot be fetched.
	keptFor = 24 * time.Hour
	// fetchTimeout bounds one fetch.
	fetchTimeout = 5 * time.Second
)

// algorithms are the asymmetric signature algorithms. RS256, ES256 and those that the issuer lists
// are accepted.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

var algorithmNames = func() []string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return names
}()

// published holds the keys that an issuer published at one time. It is immutable.
type published struct {
	keys       []jose.JSONWebKey // public keys for signatures
	algorithms []string          // the algorithms that the issuer lists
	fetched    time.Time
	freshUntil time.Time
}

// keySet holds the keys of an issuer. It fetches them on first use, when they are no longer fresh,
// and when a token names an unknown key. One call at a time fetches.
type keySet struct {
	issuer   string
	address  string // of the keys; if empty, read from the discovery document
	client   *http.Client
	now      func() time.Time
	fetching singleflight.Flight[struct{}]

	mu    sync.Mutex
	had   *published // nil before the first successful fetch
	tried time.Time  // when the last fetch ended
	err   error      // of the last fetch
}

func newKeySet(cfg Config) *keySet {
	return &keySet{issuer: cfg.Issuer, address: cfg.KeysURL, client: cfg.Client, now: cfg.Now}
}

// verify returns the payload of a token that one of the issuer's keys signed, and those keys.
// Errors: Unauthorized, Unavailable.
func (k *keySet) verify(ctx context.Context, token string) ([]byte, *published, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Unauthorized, err, "this is no ID token")
	}
	header := jws.Signatures[0].Protected
	issued, err := k.with(ctx, header.KeyID)
	if err != nil {
		return nil, nil, err
	}
	if header.Algorithm != string(jose.RS256) && header.Algorithm != string(jose.ES256) &&
		!slices.Contains(issued.algorithms, header.Algorithm) {
		return nil, nil, fault.New(fault.Unauthorized, "the token is signed otherwise than the issuer signs")
	}
	for _, key := range issued.keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, issued, nil
		}
	}
	return nil, nil, fault.New(fault.Unauthorized, "the token's signature is not the issuer's")
}

// with returns keys that include the one with that id, and fetches them if necessary. Errors:
// Unauthorized if the issuer has no such key, Unavailable if the keys cannot be fetched.
func (k *keySet) with(ctx context.Context, id string) (*published, error) {
	for {
		found, due, err := k.cached(id)
		if !due {
			return found, err
		}
		fetch := func() (struct{}, error) { k.fetchIfDue(ctx, id); return struct{}{}, nil }
		if found != nil {
			if _, ran, _ := k.fetching.Try(fetch); !ran {
				return found, nil // another call fetches; these keys are still usable
			}
		} else if _, err := k.fetching.Do(ctx, fetch); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, keysMissing)
		}
	}
}

// keysMissing is an error text for callers.
const keysMissing = "the issuer's keys cannot be had; try again"

// cached returns the cached keys if they include the one with that id, else an error. due reports
// whether to fetch keys first. cached sends no request.
func (k *keySet) cached(id string) (found *published, due bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	usable := k.had != nil && now.Before(k.had.fetched.Add(keptFor))
	if usable && k.had.has(id) {
		found = k.had
		if now.Before(found.freshUntil) {
			return found, false, nil
		}
	}
	wait := retryAfter
	if usable {
		wait = refetchAfter
	}
	switch {
	case k.tried.IsZero() || now.Sub(k.tried) >= wait:
		return found, true, nil
	case found != nil:
		return found, false, nil
	case k.err != nil:
		return nil, false, fault.Wrap(fault.Unavailable, k.err, keysMissing)
	}
	return nil, false, fault.New(fault.Unauthorized, "the token is signed with a key that the issuer does not have")
}

// fetchIfDue fetches keys, unless another call has just fetched them.
func (k *keySet) fetchIfDue(ctx context.Context, id string) {
	if _, due, _ := k.cached(id); !due {
		return
	}
	// Other calls wait for this fetch, so it does not end with the context of this call.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	issued, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = k.now(), err
	if err == nil {
		k.had = issued
	}
}

// has reports whether a key has that id. A token without an id may be signed with any key.
func (p *published) has(id string) bool {
	return id == "" || slices.ContainsFunc(p.keys, func(key jose.JSONWebKey) bool { return key.KeyID == id })
}

// forSignatures reports whether a key is a public key for signatures.
func forSignatures(key jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= 2048 // RFC 7518, section 3.3
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false // a shared secret, or a private key that should not be there
}
