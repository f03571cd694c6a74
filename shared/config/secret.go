package config

import (
	"crypto/sha256"
	"crypto/subtle"

	"github.com/casewatch/casewatch/shared/secret"
)

// Secret is a text that is never printed.
type Secret = secret.Secret

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret { return secret.New(value) }

// APIKeys is a set of API keys, stored as SHA-256 hashes. The zero APIKeys is empty. It prints as a
// mask.
type APIKeys struct {
	hashes *[][sha256.Size]byte
	secret.Redacted
}

// NewAPIKeys returns the set of keys with the given hashes.
func NewAPIKeys(hashes ...[sha256.Size]byte) APIKeys { return APIKeys{hashes: &hashes} }

// Len returns the number of keys.
func (k APIKeys) Len() int {
	if k.hashes == nil {
		return 0
	}
	return len(*k.hashes)
}

// Match reports whether key is in the set. The time does not depend on which keys of the same
// length are in the set. The empty key is never in the set.
func (k APIKeys) Match(key string) bool {
	if k.hashes == nil || key == "" {
		return false
	}
	hash, found := sha256.Sum256([]byte(key)), 0
	for _, h := range *k.hashes {
		found |= subtle.ConstantTimeCompare(hash[:], h[:])
	}
	return found == 1
}
