package system_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

// strangers wants every private function, and the console, to refuse whoever may not call it,
// before it reads what is sent.
func (s *system) strangers(t *testing.T) {
	for name, account := range map[string]string{
		"check": tasksAccount, "dispatch": tasksAccount, "complete": pushAccount,
		"sweep": schedulerAccount, "console": operator,
	} {
		to := s.routers[name].url
		forged := identitytest.New(s.issuer.URL) // of the same name, with other keys
		for _, test := range []struct {
			who, token string
			want       int
		}{
			{"nobody", "", http.StatusUnauthorized},
			{"a token for another audience", s.issuer.Sign(account, s.routers["start"].url), http.StatusUnauthorized},
			{"another account", s.issuer.Sign("mallory@system.iam.gserviceaccount.com", to), http.StatusForbidden},
			{"an expired token", s.issuer.Sign(account, to, identitytest.Expires(time.Now().Add(-time.Hour))),
				http.StatusUnauthorized},
			{"a token signed by somebody else", forged.Sign(account, to), http.StatusUnauthorized},
			{"no token at all", "letmein", http.StatusUnauthorized},
		} {
			var header []string
			if test.token != "" {
				header = []string{"Authorization", "Bearer " + test.token}
			}
			code, body, err := send(t.Context(), http.MethodPost, to,
				`{"case_id":"answers","run":1,"seq":1}`, header...)
			if err != nil || code != test.want {
				t.Errorf("%s: %s: %d %s (%v), want %d", name, test.who, code, body, err, test.want)
			}
		}
	}
}
