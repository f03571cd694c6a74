package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask is what is printed in place of a secret.
const mask = "[redacted]"

// redacted prints itself as mask in every way that a value is usually printed.
type redacted struct{}

func (redacted) String() string               { return mask }
func (redacted) GoString() string             { return mask }
func (redacted) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, mask) }
func (redacted) MarshalText() ([]byte, error) { return []byte(mask), nil }
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
func (redacted) LogValue() slog.Value         { return slog.StringValue(mask) }

// Secret is a text that does not print: not with fmt, JSON or slog, nor from inside another value.
// Only Reveal returns it. The zero Secret is unset. Copies share the text; two Secrets are == only
// if one is a copy of the other.
type Secret struct {
	redacted
	value *string // a pointer, so that fmt finds an address where it may call no method: in unexported fields
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

// APIKeys is a set of API keys, kept as SHA-256 hashes only. The zero APIKeys is empty. It does not
// print.
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

// Match reports whether key is in the set. It takes the same time for every key of one length. The
// empty key is in no set.
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
