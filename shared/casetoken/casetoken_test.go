package casetoken_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	older  = config.NewSecret(strings.Repeat("o", 32))
	newer  = config.NewSecret(strings.Repeat("n", 32))
	tokens = casetoken.New(casetoken.ToRead, []config.Secret{newer, older})
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
			got := casetoken.New(casetoken.ToRead, test.secrets).Verify(test.token, test.caseID, now.Add(test.at))
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
	if !casetoken.New(casetoken.ToRead, []config.Secret{newer}).Verify(token, "c", now) ||
		casetoken.New(casetoken.ToRead, []config.Secret{older}).Verify(token, "c", now) {
		t.Error("the token was not signed with the first secret")
	}
	if again := tokens.Sign("c", now.Add(time.Minute)); again != token {
		t.Error("two tokens of the same case and expiry differ")
	}
}

// A token of one purpose is not valid for the other.
func TestPurposes(t *testing.T) {
	secrets := []config.Secret{newer, older}
	purposes := []casetoken.Purpose{casetoken.ToRead, casetoken.ToCancel, casetoken.ToReport}
	for _, signed := range purposes {
		token := casetoken.New(signed, secrets).Sign("c", now.Add(time.Minute))
		for _, wanted := range purposes {
			if got := casetoken.New(wanted, secrets).Verify(token, "c", now); got != (signed == wanted) {
				t.Errorf("a token %s used %s: got %v", signed, wanted, got)
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

func TestACallbackIsOfOneRun(t *testing.T) {
	secrets := []config.Secret{newer, older}
	address := casetoken.Callback("https://callback.example", secrets, "a:b", 2, now.Add(time.Minute))
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	token := u.Query().Get("token")
	if !strings.HasPrefix(address, "https://callback.example/a:b?run=2&token=") {
		t.Error(address)
	}
	for name, test := range map[string]struct {
		token, caseID string
		run           int
		at            time.Duration
		want          bool
	}{
		"its own":        {token, "a:b", 2, 0, true},
		"another run":    {token, "a:b", 1, 0, false},
		"a longer run":   {token, "a:b", 22, 0, false},
		"another case":   {token, "a:c", 2, 0, false},
		"expired":        {token, "a:b", 2, time.Minute, false},
		"to read a case": {tokens.Sign("a:b", now.Add(time.Minute)), "a:b", 2, 0, false},
		"none":           {"", "a:b", 2, 0, false},
	} {
		got := casetoken.VerifyCallback(secrets, test.token, test.caseID, test.run, now.Add(test.at))
		if got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
	if casetoken.New(casetoken.ToRead, secrets).Verify(token, "a:b", now) ||
		casetoken.New(casetoken.ToCancel, secrets).Verify(token, "a:b", now) {
		t.Error("it opens more than reports")
	}
}
