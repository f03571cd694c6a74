package access_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/shared/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	older  = config.NewSecret(strings.Repeat("o", 32))
	newer  = config.NewSecret(strings.Repeat("n", 32))
	tokens = access.NewTokens(access.ToRead, []config.Secret{newer, older})
)

func TestVerify(t *testing.T) {
	good := tokens.Sign("c", now.Add(time.Minute))
	for _, test := range []struct {
		name, token, caseID string
		secrets             []config.Secret
		at                  time.Duration
		want                bool
	}{
		{"good", good, "c", []config.Secret{newer, older}, 0, true},
		{"until the last second", good, "c", []config.Secret{newer}, 59 * time.Second, true},
		{"expired", good, "c", []config.Secret{newer}, time.Minute, false},
		{"long expired", good, "c", []config.Secret{newer}, 1000 * time.Hour, false},
		{"other case", good, "d", []config.Secret{newer}, 0, false},
		{"longer case", good, "cc", []config.Secret{newer}, 0, false},
		{"no case", good, "", []config.Secret{newer}, 0, false},
		{"other secret", good, "c", []config.Secret{older}, 0, false},
		{"rotated: the second verifies", good, "c",
			[]config.Secret{config.NewSecret(strings.Repeat("z", 32)), newer}, 0, true},
		{"no secret", good, "c", nil, 0, false},
		{"empty", "", "c", []config.Secret{newer}, 0, false},
		{"padded", good + "=", "c", []config.Secret{newer}, 0, false},
		{"with padding", base64.URLEncoding.EncodeToString(decode(t, good)), "c", []config.Secret{newer}, 0, false},
		{"newline at the end", good + "\n", "c", []config.Secret{newer}, 0, false},
		{"newline inside", good[:9] + "\r\n" + good[9:], "c", []config.Secret{newer}, 0, false},
		{"space before", " " + good, "c", []config.Secret{newer}, 0, false},
		{"longer", good + "AAAA", "c", []config.Secret{newer}, 0, false},
		{"shorter", good[:len(good)-4], "c", []config.Secret{newer}, 0, false},
		{"not base64", strings.Repeat("%", len(good)), "c", []config.Secret{newer}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := access.NewTokens(access.ToRead, test.secrets).Verify(test.token, test.caseID, now.Add(test.at))
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func decode(t *testing.T, token string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTheFirstSecretSigns(t *testing.T) {
	token := tokens.Sign("c", now.Add(time.Minute))
	if !access.NewTokens(access.ToRead, []config.Secret{newer}).Verify(token, "c", now) ||
		access.NewTokens(access.ToRead, []config.Secret{older}).Verify(token, "c", now) {
		t.Error("the token was not signed with the first secret")
	}
	if again := tokens.Sign("c", now.Add(time.Minute)); again != token {
		t.Error("two tokens of the same case and expiry differ")
	}
}

// A token of one purpose is not valid for the other.
func TestPurposes(t *testing.T) {
	secrets := []config.Secret{newer, older}
	purposes := []access.Purpose{access.ToRead, access.ToCancel}
	for _, signed := range purposes {
		token := access.NewTokens(signed, secrets).Sign("c", now.Add(time.Minute))
		for _, wanted := range purposes {
			if got := access.NewTokens(wanted, secrets).Verify(token, "c", now); got != (signed == wanted) {
				t.Errorf("a token %s used %s: got %v", signed, wanted, got)
			}
			r := request("/c?"+url.Values{"token": {token}}.Encode(), http.Header{})
			if err := callers(keys).ToCase(r, wanted, "c", noOwner); (err == nil) != (signed == wanted) {
				t.Errorf("a token %s used %s: got %v", signed, wanted, err)
			}
		}
	}
}

// No bit or letter of a token can be changed, and its expiry cannot be extended.
func TestTampering(t *testing.T) {
	good := tokens.Sign("c", now.Add(time.Minute))
	raw := decode(t, good)
	for i := range raw {
		for bit := range 8 {
			bad := append([]byte(nil), raw...)
			bad[i] ^= 1 << bit
			if tokens.Verify(base64.RawURLEncoding.EncodeToString(bad), "c", now) {
				t.Fatalf("bit %d of byte %d can be changed", bit, i)
			}
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
	for i := range good {
		for _, letter := range alphabet {
			if bad := good[:i] + string(letter) + good[i+1:]; bad != good && tokens.Verify(bad, "c", now) {
				t.Fatalf("letter %d can be %c", i, letter)
			}
		}
	}
	late := tokens.Sign("c", now.Add(time.Hour))
	mixed := append(decode(t, late)[:8:8], raw[8:]...)
	if tokens.Verify(base64.RawURLEncoding.EncodeToString(mixed), "c", now) {
		t.Error("the expiry can be extended")
	}
}

// FuzzVerify checks that only signed tokens verify.
func FuzzVerify(f *testing.F) {
	good := tokens.Sign("c", now.Add(time.Minute))
	f.Add(good, "c")
	f.Add(good+"=", "c")
	f.Add("", "")
	f.Add(tokens.Sign("d", now.Add(time.Minute)), "c")
	f.Fuzz(func(t *testing.T, token, caseID string) {
		if tokens.Verify(token, caseID, now) && (token != good || caseID != "c") &&
			token != tokens.Sign(caseID, now.Add(time.Minute)) {
			t.Fatalf("%q verifies for %q", token, caseID)
		}
	})
}
