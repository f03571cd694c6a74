package functiontest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// RefusesPages checks that a private function refuses what a page of another site can have a browser send: requests that
// say that they are cross-origin, whether or not the settings name who may call, and bodies of the types that a page may
// send without being asked about it (https://fetch.spec.whatwg.org/#cors-safelisted-request-header). A request with that
// body and header is answered as wanted, if it comes from no page or one of the same origin.
func RefusesPages(t *testing.T, build func(*config.Config, *reconcile.Reconciler) http.Handler, body string, want int, header ...string) {
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
			{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Sec-Fetch-Site: cross-site", "Origin: " + u},
		} {
			a := do(body, with(cross...)...)
			b.Problem(a, http.StatusForbidden)
			if a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s, %v: %v", name, cross, a.Header)
			}
		}
		if n := strings.Count(b.Log.String(), `"message":"a caller was refused"`); n != 6 {
			t.Errorf("%s: %d refusals are logged, want 6", name, n)
		}
		preflight := b.Do(http.MethodOptions, u, "", "Origin: https://forms.example", "Access-Control-Request-Method: POST")
		if preflight.Status != http.StatusMethodNotAllowed || preflight.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: a preflight is answered %d %v", name, preflight.Status, preflight.Header)
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/octet-stream", "application/json-seq", "application/json, text/plain"} {
			lines := []string{}
			if kind != "" {
				lines = append(lines, "Content-Type: "+kind)
			}
			b.Problem(do(`{"case_id":"c","run":1,"seq":1}`, lines...), http.StatusUnsupportedMediaType)
		}
		for _, own := range [][]string{nil, {"Sec-Fetch-Site: same-origin", "Origin: " + u}, {"Sec-Fetch-Site: none"}, {"Origin: " + u}} {
			if a := do(body, with(own...)...); a.Status != want {
				t.Errorf("%s, %v: %d %s, want %d", name, own, a.Status, a.Body, want)
			}
		}
	}
}
