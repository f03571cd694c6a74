package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/casewatch/casewatch/shared/weburl"
)

// The errors here give the number of an entry, from 1, because an entry may be a secret.

// headerSecret parses a secret that is sent as the value of an HTTP header.
func headerSecret(f field[Secret]) value {
	return value{expects: "visible ASCII characters", parse: func(c *Config, text string) error {
		if !visible(text) {
			return errors.New("holds characters that no HTTP header can carry as they are")
		}
		*f(c) = NewSecret(text)
		return nil
	}}
}

// visible reports whether text is not empty and consists of visible ASCII characters.
func visible(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// minAPIKey is the minimum length of a plain key, in characters. 20 random letters and digits have
// 119 bits.
const minAPIKey = 20

func apiKeys() value {
	expects := fmt.Sprintf(
		"a comma-separated list of keys of visible ASCII characters, "+
			"each plain and of at least %d characters, or as sha256:<64 hex digits>",
		minAPIKey,
	)
	return value{expects: expects, parse: func(c *Config, text string) error {
		var hashes [][sha256.Size]byte
		for i, key := range strings.Split(text, ",") {
			key = strings.TrimSpace(key)
			if !visible(key) {
				return fmt.Errorf("has an entry, number %d, that is empty or has other characters", i+1)
			}
			digits, hashed := strings.CutPrefix(key, "sha256:")
			if !hashed && len(key) < minAPIKey {
				return fmt.Errorf("has an entry, number %d, of %d characters", i+1, len(key))
			}
			if !hashed {
				hashes = append(hashes, sha256.Sum256([]byte(key)))
				continue
			}
			hash, err := hex.DecodeString(digits)
			if err != nil || len(hash) != sha256.Size {
				return fmt.Errorf("has an entry, number %d, that begins with sha256: and is not such a hash", i+1)
			}
			hashes = append(hashes, [sha256.Size]byte(hash))
		}
		c.Access.APIKeys = NewAPIKeys(hashes...)
		return nil
	}}
}

// tokenSecretLen is the minimum length of a secret, in bytes: the output length of the hash that
// signs with it (RFC 2104, section 3).
const tokenSecretLen = 32

func tokenSecrets() value {
	expects := fmt.Sprintf(
		"a comma-separated list of secrets of at least %d bytes each; openssl rand -hex 32 makes one",
		tokenSecretLen,
	)
	return value{expects: expects, parse: func(c *Config, text string) error {
		var secrets []Secret
		for i, s := range strings.Split(text, ",") {
			s = strings.TrimSpace(s)
			if len(s) < tokenSecretLen {
				return fmt.Errorf("has an entry, number %d, of %d bytes", i+1, len(s))
			}
			secrets = append(secrets, NewSecret(s))
		}
		c.Access.TokenSecrets = secrets
		return nil
	}}
}

func origins() value {
	expects := "* for any, or a comma-separated list of origins as browsers send them, " +
		"such as https://forms.example.com or http://localhost:3000"
	return value{expects: expects, parse: func(c *Config, text string) error {
		var list []string
		for o := range strings.SplitSeq(text, ",") {
			o = strings.TrimSpace(o)
			if o != "*" && !isOrigin(o) {
				return fmt.Errorf("has an entry that is no origin, %.80q", o)
			}
			if !slices.Contains(list, o) {
				list = append(list, o)
			}
		}
		if len(list) > 1 && slices.Contains(list, "*") {
			return errors.New("has * beside other entries, which then mean nothing")
		}
		c.Access.AllowedOrigins = list
		return nil
	}}
}

// isOrigin reports whether o is a serialized origin
// (https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin). An
// origin in another form never equals what a browser sends.
func isOrigin(o string) bool {
	u, err := weburl.ParseBase(o)
	if err != nil || weburl.Origin(u) != o || strings.ToLower(o) != o {
		return false
	}
	standard := map[string]string{"http": "80", "https": "443"}
	return u.Port() != standard[u.Scheme]
}
