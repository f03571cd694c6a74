package functiontest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Account is the service account that may call the private functions of a Bench made by
// [NewGuarded], with tokens for Audience.
const (
	Account  = "invoker@functiontest.iam.gserviceaccount.com"
	Audience = "https://functiontest.example"
)

// NewGuarded returns a Bench whose private functions need an ID token, and the issuer of the
// tokens.
func NewGuarded(t testing.TB) (*Bench, *identitytest.Issuer) {
	t.Helper()
	issuer := identitytest.NewIssuer(t)
	return New(t, map[string]string{
		"INVOKER_SERVICE_ACCOUNTS": Account,
		"INVOKER_AUDIENCES":        Audience,
		"INVOKER_ISSUER":           issuer.URL,
	}), issuer
}

// CheckInvokers checks that a private function rejects every caller but the configured account,
// without reading the body or using the store. A request of the account with the body and headers
// must get the status want.
func CheckInvokers(
	t *testing.T,
	build func(*config.Config, *reconcile.Reconciler) http.Handler,
	body string,
	want int,
	header ...string,
) {
	t.Helper()
	b, issuer := NewGuarded(t)
	u := b.Serve(build)
	// A caller that is not rejected gets 503.
	b.Store.SetDown(true)
	removed := issuer.Sign(Account, Audience)
	for _, test := range []struct {
		name, token string
		want        int
	}{
		{"no token", "", 401},
		{"an API key", "Bearer " + Key, 401},
		{"a wrong audience", "Bearer " + issuer.Sign(Account, "https://other.example"), 401},
		{"expired", "Bearer " + issuer.Sign(Account, Audience, identitytest.Expires(time.Now().Add(-time.Hour))), 401},
		{"another issuer's", "Bearer " + identitytest.New(issuer.URL).Sign(Account, Audience), 401},
		{"not signed", "Bearer " + removed[:strings.LastIndexByte(removed, '.')] + ".SIGNATURE_REMOVED_BY_GOOGLE", 401},
		{"a wrong account", "Bearer " + issuer.Sign("somebody@functiontest.iam.gserviceaccount.com", Audience), 403},
	} {
		lines := header
		if test.token != "" {
			lines = append([]string{"Authorization: " + test.token}, header...)
		}
		a := b.Do(http.MethodPost, u, body, lines...)
		b.Problem(a, test.want)
		if got := a.Header.Get("WWW-Authenticate"); strings.HasPrefix(got, "Bearer") != (test.want == 401) {
			t.Errorf("%s: WWW-Authenticate is %q", test.name, got)
		}
		for part := range strings.SplitSeq(test.token, ".") {
			if len(part) > 20 && (strings.Contains(a.Body, part) || strings.Contains(b.Log.String(), part)) {
				t.Errorf("%s: the response or the log shows the token: %s", test.name, a.Body)
			}
		}
		unreadable := iotest.ErrReader(errors.New("the body was read"))
		unread := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", unreadable)
		if test.token != "" {
			unread.Header.Set("Authorization", test.token)
		}
		w := httptest.NewRecorder()
		if build(b.Config, b.Reconciler).ServeHTTP(w, unread); w.Code != test.want ||
			strings.Contains(b.Log.String(), "the body was read") {
			t.Errorf("%s: %d %s, want %d with the body unread", test.name, w.Code, w.Body, test.want)
		}
	}
	if n := strings.Count(b.Log.String(), `"message":"caller rejected"`); n != 14 {
		t.Errorf("%d rejections are logged, want 14", n)
	}
	issuer.SetDown(true)
	other := b.Serve(build)
	signed := append([]string{"Authorization: Bearer " + issuer.Sign(Account, Audience)}, header...)
	b.Problem(b.Do(http.MethodPost, other, body, signed...), 503)
	issuer.SetDown(false)
	b.Store.SetDown(false)
	if a := b.Do(http.MethodPost, u, body, signed...); a.Status != want {
		t.Errorf("the configured account: got %d %s, want %d", a.Status, a.Body, want)
	}
}

// CheckCrossOrigin checks that a private function rejects requests that a page of another site can
// make a browser send. These are requests whose headers say that they are cross-origin, and bodies
// of the types that need no preflight
// (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
//
// It tests the function with and without configured invokers. A request without such headers, or of
// the same origin, must get the status want.
func CheckCrossOrigin(
	t *testing.T,
	build func(*config.Config, *reconcile.Reconciler) http.Handler,
	body string,
	want int,
	header ...string,
) {
	t.Helper()
	guarded, issuer := NewGuarded(t)
	token := "Authorization: Bearer " + issuer.Sign(Account, Audience)
	for name, b := range map[string]*Bench{"guarded": guarded, "open": New(t, nil)} {
		u := b.Serve(build)
		do := func(body string, lines ...string) Answer {
			if name == "guarded" {
				lines = append(lines, token)
			}
			return b.Do(http.MethodPost, u, body, lines...)
		}
		with := func(lines ...string) []string { return append(lines, header...) }
		for _, cross := range [][]string{
			{"Origin: https://evil.example"}, {"Origin: null"}, {"Origin: http://localhost"},
			{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Sec-Fetch-Site: cross-site",
				"Origin: " + u},
		} {
			a := do(body, with(cross...)...)
			b.Problem(a, http.StatusForbidden)
			if a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s, %v: %v", name, cross, a.Header)
			}
		}
		if n := strings.Count(b.Log.String(), `"message":"caller rejected"`); n != 6 {
			t.Errorf("%s: %d rejections are logged, want 6", name, n)
		}
		preflight := b.Do(http.MethodOptions, u, "",
			"Origin: https://forms.example", "Access-Control-Request-Method: POST")
		if preflight.Status != http.StatusMethodNotAllowed ||
			preflight.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got %d %v for a preflight", name, preflight.Status, preflight.Header)
		}
		for _, kind := range []string{
			"",
			"text/plain",
			"application/x-www-form-urlencoded",
			"multipart/form-data; boundary=x",
			"application/octet-stream",
			"application/json-seq",
			"application/json, text/plain",
		} {
			lines := []string{}
			if kind != "" {
				lines = append(lines, "Content-Type: "+kind)
			}
			b.Problem(do(`{"case_id":"c","run":1,"seq":1}`, lines...), http.StatusUnsupportedMediaType)
		}
		for _, own := range [][]string{
			nil,
			{"Sec-Fetch-Site: same-origin", "Origin: " + u},
			{"Sec-Fetch-Site: none"},
			{"Origin: " + u},
		} {
			if a := do(body, with(own...)...); a.Status != want {
				t.Errorf("%s, %v: %d %s, want %d", name, own, a.Status, a.Body, want)
			}
		}
	}
}
