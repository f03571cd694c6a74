package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask is printed in place of a secret.
const mask = "[redacted]"

// redacted prints as mask with fmt, JSON and slog.
type redacted struct{}

func (redacted) String() string               { return mask }
func (redacted) GoString() string             { return mask }
func (redacted) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, mask) }
func (redacted) MarshalText() ([]byte, error) { return []byte(mask), nil }
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
func (redacted) LogValue() slog.Value         { return slog.StringValue(mask) }

// Secret is a text that fmt, JSON and slog never print, even inside another value. Only Reveal
// returns the text. The zero Secret is unset. Copies share the text. Two Secrets are == only if one
// is a copy of the other.
type Secret struct {
	redacted
	// value is a pointer because fmt calls no method of a value in an unexported field. It then
	// prints an address instead of the text.
	value *string
}

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// Reveal returns the text; "" if s is unset.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether s is unset.
func (s Secret) IsZero() bool { return s.value == nil }

// APIKeys is a set of API keys, stored as SHA-256 hashes. The zero APIKeys is empty. It prints as a
// mask.
type APIKeys struct {
	redacted
	hashes *[][sha256.Size]byte
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
