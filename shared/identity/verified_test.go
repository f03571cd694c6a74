package identity_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

func (b *bench) wantRemembered(want int) {
	b.t.Helper()
	if got := b.v.Remembered(); got != want {
		b.t.Errorf("%d tokens are remembered, want %d", got, want)
	}
}

func TestVerifiedTokenIsRemembered(t *testing.T) {
	b := newBench(t)
	token := b.token()
	first, err := b.v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	b.wantRemembered(1)
	first.Audience[0] = "changed by the caller"
	again, err := b.v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	b.wantRemembered(1)
	if again.Email != account || len(again.Audience) != 1 || again.Audience[0] != audience ||
		again.Subject != first.Subject || again.Issuer != b.issuer.URL || !again.EmailVerified {
		t.Errorf("the claims of the remembered token are %+v", again)
	}
	// The signature of an RS256 token takes some 300 allocations to verify.
	if n := testing.AllocsPerRun(100, func() { _, _ = b.v.Verify(t.Context(), token) }); n > 10 {
		t.Errorf("a remembered token takes %v allocations, want at most 10", n)
	}
}

func TestRememberedTokenIsRefused(t *testing.T) {
	sign := func(b *bench) string {
		return b.issuer.Sign(account, audience, identitytest.Expires(b.clock.now().Add(30*time.Minute)),
			identitytest.Claim("nbf", b.clock.now().Add(-time.Minute).Unix()))
	}
	for _, test := range []struct {
		name   string
		change func(b *bench)
		want   string
	}{
		{"within the leeway after its expiry", func(b *bench) { b.clock.advance(30*time.Minute + 28*time.Second) }, ""},
		{"after its expiry", func(b *bench) { b.clock.advance(30*time.Minute + 32*time.Second) }, refused},
		{"after the clock was set back", func(b *bench) { b.clock.advance(-2 * time.Minute) }, refused},
		{"after its key was withdrawn", func(b *bench) {
			b.issuer.SetMaxAge(time.Minute)
			b.clock.advance(29 * time.Minute)
			b.issuer.Rotate()
			b.issuer.Retire()
			// A token of the new key makes the keys be fetched anew.
			if _, err := b.v.Verify(b.t.Context(), b.token()); err != nil {
				b.t.Error(err)
			}
		}, refused},
		{"while its key is still published beside a new one", func(b *bench) {
			b.clock.advance(time.Minute)
			b.issuer.Rotate()
			if _, err := b.v.Verify(b.t.Context(), b.token()); err != nil {
				b.t.Error(err)
			}
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			token := sign(b)
			if _, err := b.v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			test.change(b)
			if _, err := b.v.Verify(t.Context(), token); kindOf(err) != test.want {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestRefusedTokenIsNotRemembered(t *testing.T) {
	b := newBench(t)
	good := b.token()
	b.want(good, "", 1)
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for name, token := range map[string]string{
		"another signature": header + "." + payload + "." + strings.Repeat("A", len(signature)),
		"another audience":  b.issuer.Sign(account, "https://other.example"),
		"expired":           b.issuer.Sign(account, audience, identitytest.Expires(b.clock.now().Add(-time.Hour))),
		"no token":          "x",
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				b.want(token, refused, 1)
			}
			b.wantRemembered(1)
		})
	}
}

func TestRememberedTokensAreBounded(t *testing.T) {
	b := newBench(t)
	for i := range identity.MaxVerified + 10 {
		b.v.Remember(strconv.Itoa(i))
	}
	b.wantRemembered(identity.MaxVerified)
	token := b.token()
	b.want(token, "", 1)
	b.want(token, "", 1)
	b.wantRemembered(identity.MaxVerified)
}
