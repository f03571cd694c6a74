// Package secret holds texts that must never be printed.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// mask is printed in place of a secret.
const mask = "[redacted]"

// Redacted prints as a mask with fmt, JSON and slog. A type that embeds it does, too.
type Redacted struct{}

// String returns the mask.
func (Redacted) String() string { return mask }

// GoString returns the mask.
func (Redacted) GoString() string { return mask }

// Format writes the mask, whatever the verb is.
func (Redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// MarshalText returns the mask.
func (Redacted) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON returns the mask.
func (Redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// LogValue returns the mask.
func (Redacted) LogValue() slog.Value { return slog.StringValue(mask) }

// Secret is a text that fmt, JSON and slog never print, even inside another value. Only Reveal
// returns the text. The zero Secret is unset. Copies share the text. Two Secrets are == only if one
// is a copy of the other.
type Secret struct {
	// value is a pointer because fmt calls no method of a value in an unexported field. It then
	// prints an address instead of the text.
	value *string
	Redacted
}

// New returns a Secret that holds value.
func New(value string) Secret { return Secret{value: &value} }

// Reveal returns the text; "" if s is unset.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether s is unset.
func (s Secret) IsZero() bool { return s.value == nil }
