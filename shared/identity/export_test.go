package identity

import "crypto/sha256"

// MaxVerified is the most tokens that are remembered.
const MaxVerified = maxVerified

// Remembered is how many tokens are remembered.
func (v *Verifier) Remembered() int {
	v.verified.mu.Lock()
	defer v.verified.mu.Unlock()
	return len(v.verified.seen)
}

// Remember remembers a token as one that was verified.
func (v *Verifier) Remember(token string) { v.verified.add(sha256.Sum256([]byte(token)), remembered{}) }
