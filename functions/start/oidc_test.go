package start_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/cancel"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

// Holders of ID tokens start cases, each their own, and see and cancel any.
func TestIDTokens(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	b := functiontest.New(t, map[string]string{"OIDC_ISSUER": issuer.URL, "OIDC_AUDIENCE": "example-project,other"})
	u, seen, ended := b.Serve(start.New), b.Serve(status.New), b.Serve(cancel.New)
	token := func(subject, audience string, changes ...identitytest.Change) string {
		return "Authorization: Bearer " + issuer.Sign("u@x.example", audience, append(changes, identitytest.Claim("sub", subject))...)
	}
	u1 := token("u1", "example-project")
	first := b.Do("POST", u, `{"a":1}`, isJSON, u1, "Idempotency-Key: k")
	id, _ := first.JSON(t)["case_id"].(string)
	if first.Status != 202 || id == "" {
		t.Fatalf("%d %s", first.Status, first.Body)
	}
	// Another token of the same account is the same caller; another account, or a key, is another.
	if again := b.Do("POST", u, `{"a":1}`, isJSON, token("u1", "other", identitytest.Claim("jti", "2")), "Idempotency-Key: k"); again.Status != 200 || again.JSON(t)["case_id"] != id {
		t.Errorf("%d %s", again.Status, again.Body)
	}
	for _, other := range []string{token("u2", "example-project"), key} {
		if a := b.Do("POST", u, `{"a":1}`, isJSON, other, "Idempotency-Key: k"); a.Status != 202 || a.JSON(t)["case_id"] == id {
			t.Errorf("another caller: %d %s", a.Status, a.Body)
		}
	}
	for name, bad := range map[string]string{
		"a wrong audience": token("u1", "somebody"), "expired": token("u1", "other", identitytest.Expires(time.Now().Add(-time.Hour))),
		"another issuer's": "Authorization: Bearer " + identitytest.New(issuer.URL).Sign("u@x.example", "other"),
	} {
		for _, a := range []functiontest.Answer{
			b.Do("POST", u, `{}`, isJSON, bad), b.Do("GET", seen+"/"+id, "", bad), b.Do("POST", ended+"/"+id, "", bad),
		} {
			b.Problem(a, 401)
			if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: %v", name, a.Header)
			}
		}
	}
	b.Problem(b.Do("POST", u, `{}`, isJSON), 401)
	if a := b.Do("GET", seen+"/"+id, "", token("u2", "other")); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("POST", ended+"/"+id, "", token("u2", "other")); a.Status != 200 || a.JSON(t)["state"] != "cancelled" {
		t.Errorf("%d %s", a.Status, a.Body)
	}

	// Without their issuer nobody can tell what tokens are worth; keys work.
	issuer.SetDown(true)
	u, seen = b.Serve(start.New), b.Serve(status.New)
	b.Problem(b.Do("POST", u, `{}`, isJSON, u1), 503)
	b.Problem(b.Do("GET", seen+"/"+id, "", u1), 503)
	if a := b.Do("POST", u, `{}`, isJSON, key); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("GET", seen+"/"+id, "", key); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// On Google Cloud a holder of an ID token may name a case, as one of a key may.
func TestIDTokenOnGoogleCloud(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	b := functiontest.New(t, map[string]string{"OIDC_ISSUER": issuer.URL, "OIDC_AUDIENCE": "p", "ALLOW_ANONYMOUS": "true"})
	b.Config.OnGoogleCloud = true
	u := b.Serve(start.New)
	b.Problem(b.Do("POST", u, `{"case_id":"c"}`, isJSON), 403)
	if a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, "Authorization: Bearer "+issuer.Sign("u@x.example", "p")); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
