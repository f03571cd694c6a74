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
)

const (
	// refetchAfter is the least time between two fetches while there are keys, so that tokens with made-up key ids cannot make us ask
	// the issuer without end.
	refetchAfter = 30 * time.Second
	// retryAfter is the least time between two fetches while there are none.
	retryAfter = 2 * time.Second
	// keptFor is how long keys serve after they were fetched if no newer ones can be had.
	keptFor = 24 * time.Hour
	// fetchTimeout bounds one fetch.
	fetchTimeout = 5 * time.Second
)

// algorithms are all that can be accepted: signatures that only the issuer can make. Of these, RS256, ES256 and what the issuer says are.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

var algorithmNames = func() []string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return names
}()

// published is what an issuer published at one time. It is not changed once made.
type published struct {
	keys       []jose.JSONWebKey // for signatures, with their public halves only
	algorithms []string          // that the issuer says it signs with
	fetched    time.Time
	freshUntil time.Time
}

// keySet has the keys of an issuer. They are fetched when they are first needed, when they are no longer fresh, and when a token names one that
// is not among them; by one call at a time, inside that call.
type keySet struct {
	issuer  string
	address string // of the keys; "": the issuer says
	client  *http.Client
	now     func() time.Time
	turn    chan struct{} // holds a token while keys are being fetched

	mu    sync.Mutex
	had   *published // nil before the first
	tried time.Time  // when the last fetch ended
	err   error      // of the last fetch
}

func newKeySet(cfg Config) *keySet {
	return &keySet{issuer: cfg.Issuer, address: cfg.KeysURL, client: cfg.Client, now: cfg.Now, turn: make(chan struct{}, 1)}
}

// verify returns the payload of a token that one of the issuer's keys signed. Errors: Unauthorized, Unavailable.
func (k *keySet) verify(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, fault.Wrap(fault.Unauthorized, err, "this is no ID token")
	}
	header := jws.Signatures[0].Protected
	issued, err := k.with(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	if header.Algorithm != string(jose.RS256) && header.Algorithm != string(jose.ES256) && !slices.Contains(issued.algorithms, header.Algorithm) {
		return nil, fault.New(fault.Unauthorized, "the token is signed otherwise than the issuer signs")
	}
	for _, key := range issued.keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, fault.New(fault.Unauthorized, "the token's signature is not the issuer's")
}

// with returns keys among which is the one of that id, fetching them if need be. Errors: Unauthorized if the issuer has no such key,
// Unavailable if nobody can tell.
func (k *keySet) with(ctx context.Context, id string) (*published, error) {
	for {
		found, due, err := k.look(id)
		if !due {
			return found, err
		}
		if found != nil {
			select {
			case k.turn <- struct{}{}:
			default: // somebody is at it; what there is will do
				return found, nil
			}
		} else {
			select {
			case k.turn <- struct{}{}:
			case <-ctx.Done():
				return nil, fault.Wrap(fault.Unavailable, ctx.Err(), keysMissing)
			}
		}
		k.fetchIfDue(ctx, id)
	}
}

// keysMissing is what callers read.
const keysMissing = "the issuer's keys cannot be had; try again"

// look returns what is known without asking: the keys, if the one of that id is among them, or why not; and whether to fetch first.
func (k *keySet) look(id string) (found *published, due bool, err error) {
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

// fetchIfDue fetches keys, unless somebody did while the turn was waited for, and gives the turn back.
func (k *keySet) fetchIfDue(ctx context.Context, id string) {
	defer func() { <-k.turn }()
	if _, due, _ := k.look(id); !due {
		return
	}
	// Others wait for this too: it does not end with whoever happens to be first.
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

// has reports whether a key has that id; a token that names none may be signed with any.
func (p *published) has(id string) bool {
	return id == "" || slices.ContainsFunc(p.keys, func(key jose.JSONWebKey) bool { return key.KeyID == id })
}

// forSignatures reports whether a key can verify signatures that only its owner can make.
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
