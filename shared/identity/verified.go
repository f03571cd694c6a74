package identity

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// maxVerified bounds the remembered tokens. Cloud Tasks and Pub/Sub each send one token for about an
// hour, so a private function sees two or three. A public function sees one of each caller.
const maxVerified = 1024

// verified remembers tokens that were verified, by their hash, so that a signature is checked once
// and not for each task. A token that was refused is never remembered. It is safe for concurrent
// use.
type verified struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]remembered
}

// remembered is a token that was verified.
type remembered struct {
	claims Claims
	keyID  string
	keys   *published // whose signature it has
	since  time.Time  // when it was verified
	expiry time.Time
}

// find returns the claims of a remembered token that is still valid. It is no longer valid once it
// has expired, or the issuer has published keys anew: the key that signed it may have been
// withdrawn. A clock that was set back makes a token be verified anew, too.
func (v *verified) find(ctx context.Context, hash [sha256.Size]byte, keys *keySet, now time.Time) (Claims, bool) {
	v.mu.Lock()
	r, found := v.seen[hash]
	v.mu.Unlock()
	if !found || now.Before(r.since) || r.expiry.Before(now.Add(-leeway)) {
		return Claims{}, false
	}
	if current, err := keys.with(ctx, r.keyID); err != nil || current != r.keys {
		return Claims{}, false
	}
	r.claims.Audience = slices.Clone(r.claims.Audience) // it is the caller's to change
	return r.claims, true
}

// add remembers a token. If there are too many, it forgets any other one.
func (v *verified) add(hash [sha256.Size]byte, r remembered) {
	r.claims.Audience = slices.Clone(r.claims.Audience)
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, replaces := v.seen[hash]; !replaces && len(v.seen) >= maxVerified {
		for other := range v.seen {
			delete(v.seen, other)
			break
		}
	}
	v.seen[hash] = r
}
