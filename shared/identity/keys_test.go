package identity_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/identity"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

const unavailable = "Service Unavailable"

// clock is a time that passes when it is told to.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// bench is a verifier whose time is told to pass, and its issuer.
type bench struct {
	t      *testing.T
	clock  *clock
	issuer *identitytest.Issuer
	v      *identity.Verifier
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, clock: newClock(), issuer: identitytest.NewIssuer(t)}
	b.v = identity.New(identity.Config{Issuer: b.issuer.URL, Audiences: []string{audience}, Now: b.clock.now})
	return b
}

// token holds for days, whatever the clock says.
func (b *bench) token(changes ...identitytest.Change) string {
	changes = append(changes, identitytest.Expires(b.clock.now().Add(100*time.Hour)))
	return b.issuer.Sign(account, audience, changes...)
}

func (b *bench) want(token, kind string, fetches int) {
	b.t.Helper()
	if _, err := b.v.Verify(b.t.Context(), token); kindOf(err) != kind {
		b.t.Errorf("%v, want %q", err, kind)
	}
	if n := b.issuer.Fetches(); n != fetches {
		b.t.Errorf("the issuer was asked %d times, want %d", n, fetches)
	}
}

func TestKeysAreKeptWhileFresh(t *testing.T) {
	b := newBench(t)
	if n := b.issuer.Fetches(); n != 0 {
		t.Errorf("asked %d times before anything was to be verified", n)
	}
	for range 3 {
		b.want(b.token(), "", 1)
	}
	b.clock.advance(59 * time.Minute)
	b.want(b.token(), "", 1)
	b.clock.advance(2 * time.Minute) // an hour was said
	b.want(b.token(), "", 2)
	for maxAge, least := range map[time.Duration]time.Duration{
		0: time.Minute, time.Second: time.Minute, 2 * time.Hour: 2 * time.Hour, 1000 * time.Hour: 6 * time.Hour,
	} {
		b := newBench(t)
		b.issuer.SetMaxAge(maxAge)
		b.want(b.token(), "", 1)
		b.clock.advance(least - time.Second)
		b.want(b.token(), "", 1)
		b.clock.advance(2 * time.Second)
		b.want(b.token(), "", 2)
	}
}

func TestRotation(t *testing.T) {
	b := newBench(t)
	old := b.token()
	b.want(old, "", 1)
	b.issuer.Rotate()
	b.want(b.token(), refused, 1) // within half a minute nobody asks again
	b.clock.advance(31 * time.Second)
	b.want(b.token(), "", 2)
	b.want(old, "", 2) // both are published
	b.issuer.Retire()
	b.clock.advance(time.Hour)
	b.want(old, refused, 3)
	b.want(b.token(), "", 3)
}

// Tokens with made-up key ids make the issuer hear of us once in half a minute.
func TestFloodOfMadeUpKeys(t *testing.T) {
	b := newBench(t)
	b.want(b.token(), "", 1)
	for minute := range 3 {
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 50 {
					token := b.token(identitytest.Header("kid", fmt.Sprint(minute, worker, i)))
					if _, err := b.v.Verify(t.Context(), token); kindOf(err) != refused {
						t.Errorf("%v", err)
					}
				}
			})
		}
		wg.Wait()
		b.want(b.token(), "", 1+minute) // the first flood is within half a minute of the first fetch
		b.clock.advance(31 * time.Second)
	}
}

func TestIssuerDown(t *testing.T) {
	b := newBench(t)
	b.issuer.SetDown(true)
	for range 5 {
		b.want(b.token(), unavailable, 1) // one question in two seconds, however many ask
	}
	b.clock.advance(3 * time.Second)
	b.want(b.token(), unavailable, 2)
	b.issuer.SetDown(false)
	b.clock.advance(3 * time.Second)
	b.want(b.token(), "", 3)

	// Down later: the keys serve on for a day. Of a key that they lack nobody can tell.
	old := b.token()
	b.issuer.Rotate()
	b.issuer.SetDown(true)
	b.clock.advance(2 * time.Hour)
	b.want(old, "", 4)
	b.want(old, "", 4)
	b.want(b.token(), unavailable, 4)
	b.clock.advance(31 * time.Second)
	b.want(b.token(), unavailable, 5)
	b.clock.advance(21 * time.Hour)
	b.want(old, "", 6)
	b.clock.advance(time.Hour)
	b.want(old, unavailable, 7)
	b.issuer.SetDown(false)
	b.clock.advance(3 * time.Second)
	b.want(old, "", 8)
	b.want(b.token(), "", 8)
}

// slow is an issuer that does not answer until it is let.
func slow(
	t *testing.T,
	issuer *identitytest.Issuer,
) (v *identity.Verifier, asked <-chan struct{}, let func(), requests *atomic.Int64) {
	t.Helper()
	began, released := make(chan struct{}, 1000), make(chan struct{})
	requests = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		began <- struct{}{}
		<-released
		issuer.ServeHTTP(w, r)
	}))
	var once sync.Once
	let = func() { once.Do(func() { close(released) }) }
	t.Cleanup(func() { let(); server.Close() })
	issuer.URL = server.URL
	return identity.New(identity.Config{Issuer: server.URL, Audiences: []string{audience}}), began, let, requests
}

// While one call fetches, others wait for it, but no longer than their context, and ask nobody.
func TestOneFetchAtATime(t *testing.T) {
	issuer := identitytest.New("")
	v, asked, let, requests := slow(t, issuer)
	token := issuer.Sign(account, audience)
	errs := make(chan error, 20)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := v.Verify(t.Context(), token)
			errs <- err
		})
	}
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := v.Verify(ctx, token); kindOf(err) != unavailable {
		t.Errorf("a waiter whose time is over: %v", err)
	}
	let()
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if n := requests.Load(); n != 2 { // where the keys are, and the keys
		t.Errorf("%d requests", n)
	}
}

// The fetch does not end with the call that happens to make it: whoever goes away cannot keep the
// keys from the others.
func TestCallerGoesAway(t *testing.T) {
	issuer := identitytest.New("")
	v, asked, let, requests := slow(t, issuer)
	token := issuer.Sign(account, audience)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := v.Verify(ctx, token)
		done <- err
	}()
	<-asked
	cancel()
	let()
	if err := <-done; err != nil {
		t.Errorf("%v", err)
	}
	if _, err := v.Verify(t.Context(), token); err != nil || requests.Load() != 2 {
		t.Errorf("%v, %d requests", err, requests.Load())
	}
}

func BenchmarkVerify(b *testing.B) {
	issuer := identitytest.NewIssuer(b)
	v := identity.New(identity.Config{Issuer: issuer.URL, Audiences: []string{audience}})
	token := issuer.Sign(account, audience)
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
