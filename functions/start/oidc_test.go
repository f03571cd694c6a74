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

// Holders of ID tokens start cases, each their own, and see and cancel those only.
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
	// Cases are for their own callers, whose other tokens will do; and for who holds a key.
	for _, other := range []string{token("u2", "other"), token("u1", "other", identitytest.Claim("iss", issuer.URL+"/"))} {
		for _, header := range [][]string{{other}, {other, "Accept: text/event-stream"}} {
			if a := b.Do("GET", seen+"/"+id, "", header...); a.Status != 403 && a.Status != 401 {
				t.Errorf("another caller reads it: %d %s", a.Status, a.Body)
			}
		}
	}
	another := token("u2", "other")
	for path, method := range map[string]string{seen: "GET", ended: "POST"} {
		theirs, none := b.Do(method, path+"/"+id, "", another), b.Do(method, path+"/nobody", "", another)
		b.Problem(theirs, 403)
		b.Problem(none, 403)
		if theirs.JSON(t)["detail"] != none.JSON(t)["detail"] {
			t.Errorf("a case that is not there is told from another's: %s, %s", theirs.Body, none.Body)
		}
		b.Problem(b.Do(method, path+"/nobody", "", key), 404)
	}
	named := `{"case_id":"named"}`
	if a := b.Do("POST", u, named, isJSON, u1); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	for _, query := range []string{"", "?supersede=true"} {
		a := b.Do("POST", u+"/"+query, named, isJSON, another)
		b.Problem(a, 403)
		if strings.Contains(a.Body, "token") {
			t.Errorf("%s", a.Body)
		}
	}
	for want, who := range map[int]string{200: u1, 202: key} {
		query := map[int]string{202: "?supersede=true"}[want]
		if a := b.Do("POST", u+"/"+query, named, isJSON, who); a.Status != want {
			t.Errorf("%d %s, want %d", a.Status, a.Body, want)
		}
	}
	// A key that superseded it does not make it the key's.
	if a := b.Do("GET", seen+"/named", "", u1); a.Status != 200 || a.JSON(t)["run"] != 2.0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// What was begun by a key is not for those who have no key.
	b.Do("POST", u, `{"case_id":"of-a-key"}`, isJSON, key)
	b.Problem(b.Do("GET", seen+"/of-a-key", "", u1), 403)
	b.Problem(b.Do("POST", u, `{"case_id":"of-a-key"}`, isJSON, u1), 403)
	if a := b.Do("GET", seen+"/"+id, "", token("u1", "other")); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("POST", ended+"/"+id, "", token("u1", "other")); a.Status != 200 || a.JSON(t)["state"] != "cancelled" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if log := b.Log.String(); strings.Contains(log, "u@x.example") || strings.Contains(log, issuer.URL) {
		t.Errorf("the log tells who calls: %s", log)
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

// Elsewhere than in make run a holder of an ID token may name a case, as one of a key may, but not adopt one.
func TestIDTokenOfAFunction(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	b := functiontest.New(t, map[string]string{"OIDC_ISSUER": issuer.URL, "OIDC_AUDIENCE": "p", "ALLOW_ANONYMOUS": "true"})
	b.Config.Function = "start"
	u := b.Serve(start.New)
	token := "Authorization: Bearer " + issuer.Sign("u@x.example", "p")
	b.Problem(b.Do("POST", u, `{"case_id":"c"}`, isJSON), 403)
	b.Problem(b.Do("POST", u+"/?adopt=true", `{"case_id":"c"}`, isJSON, token), 403)
	if a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, token); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// What anonymous callers begin opens by its own addresses, and by keys.
	a := b.Do("POST", u, `{}`, isJSON)
	id, _ := a.JSON(t)["case_id"].(string)
	seen := b.Serve(status.New)
	b.Problem(b.Do("GET", seen+"/"+id, "", token), 403)
	b.Problem(b.Do("GET", seen+"/"+id, ""), 401)
	if a := b.Do("GET", seen+"/"+id, "", key); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	_, query, _ := strings.Cut(a.JSON(t)["status_url"].(string), "?")
	if a := b.Do("GET", seen+"/"+id+"?"+query, "", token); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
