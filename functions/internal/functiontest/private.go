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

// Account may call the private functions of a bench that [NewGuarded] made, for Audience.
const (
	Account  = "invoker@functiontest.iam.gserviceaccount.com"
	Audience = "https://functiontest.example"
)

// NewGuarded returns a bench whose private functions check who calls, and who signs the tokens.
func NewGuarded(t testing.TB) (*Bench, *identitytest.Issuer) {
	t.Helper()
	issuer := identitytest.NewIssuer(t)
	return New(t, map[string]string{"INVOKER_SERVICE_ACCOUNTS": Account, "INVOKER_AUDIENCES": Audience, "INVOKER_ISSUER": issuer.URL}), issuer
}

// Refused checks that a private function refuses whom it should, body unread and nothing done; and that it lets the account in that the settings
// name: then a request with that body is answered as wanted.
func Refused(t *testing.T, build func(*config.Config, *reconcile.Reconciler) http.Handler, body string, want int, header ...string) {
	t.Helper()
	b, issuer := NewGuarded(t)
	u := b.Serve(build)
	b.Store.SetDown(true) // whoever gets through is answered 503
	removed := issuer.Sign(Account, Audience)
	for _, test := range []struct {
		name, token string
		want        int
	}{
		{"no token", "", 401},
		{"no ID token", "Bearer " + Key, 401},
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
				t.Errorf("%s: the token is told: %s", test.name, a.Body)
			}
		}
		unread := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", iotest.ErrReader(errors.New("the body was read")))
		if test.token != "" {
			unread.Header.Set("Authorization", test.token)
		}
		w := httptest.NewRecorder()
		if build(b.Config, b.Reconciler).ServeHTTP(w, unread); w.Code != test.want || strings.Contains(b.Log.String(), "the body was read") {
			t.Errorf("%s: %d %s, want %d with the body unread", test.name, w.Code, w.Body, test.want)
		}
	}
	if n := strings.Count(b.Log.String(), `"message":"a caller was refused"`); n != 14 {
		t.Errorf("%d refusals are logged, want 14", n)
	}
	issuer.SetDown(true)
	other := b.Serve(build)
	b.Problem(b.Do(http.MethodPost, other, body, append([]string{"Authorization: Bearer " + issuer.Sign(Account, Audience)}, header...)...), 503)
	issuer.SetDown(false)
	b.Store.SetDown(false)
	if a := b.Do(http.MethodPost, u, body, append([]string{"Authorization: Bearer " + issuer.Sign(Account, Audience)}, header...)...); a.Status != want {
		t.Errorf("the account that is named: %d %s, want %d", a.Status, a.Body, want)
	}
}
