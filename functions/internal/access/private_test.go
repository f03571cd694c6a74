package access_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

const (
	tasksAccount = "tasks@p.iam.gserviceaccount.com"
	sweepAccount = "scheduler@p.iam.gserviceaccount.com"
)

// private returns the check of a private function, and its log.
func private(issuer string, audiences []string, onCloud bool, clock func() time.Time) (func(*http.Request) error, *strings.Builder) {
	log := &strings.Builder{}
	return access.Private(&config.Config{OnGoogleCloud: onCloud, Access: config.Access{
		Invokers: []string{tasksAccount, sweepAccount}, InvokerTokens: config.Tokens{Issuer: issuer, Audiences: audiences},
	}}, slog.New(slog.NewTextHandler(log, nil)), clock), log
}

func call(authorization ...string) *http.Request {
	return request("/", http.Header{"Authorization": authorization})
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if (err == nil) != (want == 0) || err != nil && fault.KindOf(err) != want {
		t.Errorf("%v, want %v", err, want)
	}
}

func TestPrivate(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	const audience = "https://check.example"
	sign := func(changes ...identitytest.Change) string {
		return "Bearer " + issuer.Sign(tasksAccount, audience, changes...)
	}
	for _, test := range []struct {
		name          string
		authorization []string
		want          fault.Kind // Internal: none
	}{
		{"an account that is named", []string{sign()}, 0},
		{"the other one", []string{"Bearer " + issuer.Sign(sweepAccount, audience)}, 0},
		{"the other audience", []string{"bearer " + issuer.Sign(sweepAccount, "https://sweep.example")}, 0},
		{"no token", nil, fault.Unauthorized},
		{"an empty header", []string{""}, fault.Unauthorized},
		{"no credentials", []string{"Bearer"}, fault.Unauthorized},
		{"empty credentials", []string{"Bearer "}, fault.Unauthorized},
		{"another scheme", []string{"Basic dTpw"}, fault.Unauthorized},
		{"the token alone", []string{strings.TrimPrefix(sign(), "Bearer ")}, fault.Unauthorized},
		{"two headers", []string{sign(), sign()}, fault.Unauthorized},
		{"an API key", []string{"Bearer alpha-key"}, fault.Unauthorized},
		{"a wrong audience", []string{sign(identitytest.Claim("aud", "https://other.example"))}, fault.Unauthorized},
		{"expired", []string{sign(identitytest.Expires(time.Now().Add(-time.Hour)))}, fault.Unauthorized},
		{"a wrong issuer", []string{sign(identitytest.Claim("iss", "https://accounts.google.com"))}, fault.Unauthorized},
		{"a wrong account", []string{"Bearer " + issuer.Sign("somebody@p.iam.gserviceaccount.com", audience)}, fault.Forbidden},
		{"an account in other letters", []string{"Bearer " + issuer.Sign(strings.ToUpper(tasksAccount), audience)}, fault.Forbidden},
		{"an address that nobody verified", []string{sign(identitytest.Claim("email_verified", false))}, fault.Forbidden},
		{"an address of which that is not said", []string{sign(identitytest.Claim("email_verified", nil))}, fault.Forbidden},
		{"no address", []string{sign(identitytest.Claim("email", nil))}, fault.Forbidden},
		{"both accounts at once", []string{sign(identitytest.Claim("email", tasksAccount+","+sweepAccount))}, fault.Forbidden},
		{"signature removed, where nobody removes it", []string{unsigned(sign())}, fault.Unauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			allowed, log := private(issuer.URL, []string{audience, "https://sweep.example"}, false, time.Now)
			wantKind(t, allowed(call(test.authorization...)), test.want)
			if (log.Len() > 0) != (test.want != 0) || strings.Contains(log.String(), "eyJ") {
				t.Errorf("log: %s", log)
			}
		})
	}
	issuer.SetDown(true)
	allowed, _ := private(issuer.URL, []string{audience}, false, time.Now)
	wantKind(t, allowed(call(sign())), fault.Unavailable)
	wantKind(t, allowed(call()), fault.Unauthorized)

	open := access.Private(&config.Config{Access: config.Access{InvokerTokens: config.Tokens{Issuer: issuer.URL}}}, slog.New(slog.DiscardHandler), time.Now)
	for _, r := range []*http.Request{call(), call("Bearer x")} {
		wantKind(t, open(r), 0) // IAM alone guards it
	}
}

func unsigned(authorization string) string {
	return authorization[:strings.LastIndexByte(authorization, '.')] + ".SIGNATURE_REMOVED_BY_GOOGLE"
}

// door is what stands at an address.
type door struct {
	answer  atomic.Pointer[http.HandlerFunc]
	knocked atomic.Int64
	shown   atomic.Bool
	url     string
}

func newDoor(t *testing.T, h http.HandlerFunc) *door {
	t.Helper()
	d := &door{}
	d.answer.Store(&h)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.knocked.Add(1)
		if r.Header.Get("Authorization") != "" {
			d.shown.Store(true)
		}
		(*d.answer.Load())(w, r)
	}))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

// guardedDoor answers as Cloud Run does to who shows nothing.
func guardedDoor(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte("<html><title>403 Forbidden</title>"))
}

// On Cloud Run a token may come without its signature. It counts only where Cloud Run is known to turn away all others.
func TestSignatureRemoved(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	issuer.SetDown(true)                                           // nothing of this asks it
	elsewhere := httptest.NewServer(http.HandlerFunc(guardedDoor)) // to be believed by nobody, since it is not asked
	defer elsewhere.Close()
	var self http.HandlerFunc
	openDoor := func(w http.ResponseWriter, r *http.Request) { self(w, r) }
	status := func(code int, contentType string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(code)
		}
	}
	for _, test := range []struct {
		name   string
		door   http.HandlerFunc
		header http.Header
		change []identitytest.Change
		want   fault.Kind
		knocks int64
	}{
		{"guarded", guardedDoor, nil, nil, 0, 1},
		{"guarded, by 401", status(401, "text/html"), nil, nil, 0, 1},
		{"open", openDoor, nil, nil, fault.Unauthorized, 1},
		{"open, an answer of ours", status(403, "application/problem+json"), nil, nil, fault.Unauthorized, 1},
		{"open, to a function that checks nothing", status(200, "application/json"), nil, nil, fault.Unauthorized, 1},
		{"not found", status(404, "text/html"), nil, nil, fault.Unavailable, 1},
		{"elsewhere", status(302, "text/html"), nil, nil, fault.Unavailable, 1},
		{"out of order", status(503, "text/html"), nil, nil, fault.Unavailable, 1},
		{"guarded by a token of another header", guardedDoor, http.Header{"X-Serverless-Authorization": {"Bearer x"}}, nil, fault.Unauthorized, 0},
		{"guarded by a proxy", guardedDoor, http.Header{"Proxy-Authorization": {"Bearer x"}}, nil, fault.Unauthorized, 0},
		{"guarded by IAP", guardedDoor, http.Header{"X-Goog-Iap-Jwt-Assertion": {"x"}}, nil, fault.Unauthorized, 0},
		{"guarded by IAP, as its door says", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Goog-IAP-Generated-Response", "true")
			guardedDoor(w, r)
		}, nil, nil, fault.Unavailable, 1},
		{"guarded by an empty one", guardedDoor, http.Header{"X-Serverless-Authorization": {""}}, nil, fault.Unauthorized, 0},
		{"guarded, a wrong account", guardedDoor, nil, []identitytest.Change{identitytest.Claim("email", "x@y.z")}, fault.Forbidden, 0},
		{"guarded, a wrong audience", guardedDoor, nil, []identitytest.Change{identitytest.Claim("aud", "https://other.example")}, fault.Unauthorized, 0},
		{"guarded, expired", guardedDoor, nil, []identitytest.Change{identitytest.Expires(time.Now().Add(-time.Hour))}, fault.Unauthorized, 0},
		{"guarded, a wrong issuer", guardedDoor, nil, []identitytest.Change{identitytest.Claim("iss", "https://x.example")}, fault.Unauthorized, 0},
		{"guarded, no algorithm", guardedDoor, nil, []identitytest.Change{identitytest.Header("alg", "none")}, fault.Unauthorized, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDoor(t, test.door)
			allowed, _ := private(issuer.URL, []string{d.url}, true, time.Now)
			log := slog.New(slog.DiscardHandler)
			self = answer.Handler(log, func(_ http.ResponseWriter, r *http.Request) error { return allowed(r) }, http.MethodPost).ServeHTTP
			r := call(unsigned("Bearer " + issuer.Sign(tasksAccount, d.url, test.change...)))
			for name, values := range test.header {
				r.Header[name] = values
			}
			for range 3 { // once is enough for a while
				wantKind(t, allowed(r), test.want)
			}
			if n := d.knocked.Load(); n != test.knocks || d.shown.Load() {
				t.Errorf("knocked %d times, want %d; showing something: %v", n, test.knocks, d.shown.Load())
			}
		})
	}
}

// Every audience is tried, so that a token for a guarded function opens no open one; and what is known is tried again.
func TestFrontDoorIsTriedAgain(t *testing.T) {
	issuer := identitytest.New("https://issuer.example")
	guarded, other := newDoor(t, guardedDoor), newDoor(t, guardedDoor)
	var passed atomic.Int64
	begun := time.Now()
	clock := func() time.Time { return begun.Add(time.Duration(passed.Load())) }
	allowed, _ := private(issuer.URL, []string{guarded.url, other.url}, true, clock)
	token := unsigned("Bearer " + issuer.Sign(tasksAccount, guarded.url, identitytest.Expires(begun.Add(100*time.Hour))))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { wantKind(t, allowed(call(token)), 0) })
	}
	wg.Wait()
	if guarded.knocked.Load() != 1 || other.knocked.Load() != 1 {
		t.Errorf("knocked %d and %d times", guarded.knocked.Load(), other.knocked.Load())
	}
	public := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	other.answer.Store(&public)
	passed.Add(int64(4 * time.Minute))
	wantKind(t, allowed(call(token)), 0)
	passed.Add(int64(2 * time.Minute))
	wantKind(t, allowed(call(token)), fault.Unauthorized)
	private := http.HandlerFunc(guardedDoor)
	other.answer.Store(&private)
	wantKind(t, allowed(call(token)), fault.Unauthorized)
	passed.Add(int64(31 * time.Second))
	wantKind(t, allowed(call(token)), 0)
}
