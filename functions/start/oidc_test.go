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

// Callers with ID tokens start cases of their own. They can read and cancel only those.
func TestIDTokens(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	b := functiontest.New(t, map[string]string{"OIDC_ISSUER": issuer.URL, "OIDC_AUDIENCE": "example-project,other"})
	u, statusURL, cancelURL := b.Serve(start.New), b.Serve(status.New), b.Serve(cancel.New)
	token := func(subject, audience string, changes ...identitytest.Change) string {
		changes = append(changes, identitytest.Claim("sub", subject))
		return "Authorization: Bearer " + issuer.Sign("u@x.example", audience, changes...)
	}
	u1 := token("u1", "example-project")
	first := b.Do("POST", u, `{"a":1}`, isJSON, u1, "Idempotency-Key: k")
	id, _ := first.JSON(t)["case_id"].(string)
	if first.Status != 202 || id == "" {
		t.Fatalf("%d %s", first.Status, first.Body)
	}
	// Another token of the same account is the same caller. Another account or a key is another
	// caller.
	otherToken := token("u1", "other", identitytest.Claim("jti", "2"))
	again := b.Do("POST", u, `{"a":1}`, isJSON, otherToken, "Idempotency-Key: k")
	if again.Status != 200 || again.JSON(t)["case_id"] != id {
		t.Errorf("another token of the same account: got %d %s", again.Status, again.Body)
	}
	for _, other := range []string{token("u2", "example-project"), key} {
		if a := b.Do("POST", u, `{"a":1}`, isJSON, other, "Idempotency-Key: k"); a.Status != 202 ||
			a.JSON(t)["case_id"] == id {
			t.Errorf("another caller: %d %s", a.Status, a.Body)
		}
	}
	for name, bad := range map[string]string{
		"a wrong audience": token("u1", "stranger"),
		"expired":          token("u1", "other", identitytest.Expires(time.Now().Add(-time.Hour))),
		"another issuer's": "Authorization: Bearer " + identitytest.New(issuer.URL).Sign("u@x.example", "other"),
	} {
		for _, a := range []functiontest.Answer{
			b.Do("POST", u, `{}`, isJSON, bad),
			b.Do("GET", statusURL+"/"+id, "", bad),
			b.Do("POST", cancelURL+"/"+id, "", bad),
		} {
			b.Problem(a, 401)
			if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: %v", name, a.Header)
			}
		}
	}
	b.Problem(b.Do("POST", u, `{}`, isJSON), 401)
	// A case is for its own caller, with any valid token, and for callers with a key.
	for _, other := range []string{
		token("u2", "other"), token("u1", "other", identitytest.Claim("iss", issuer.URL+"/")),
	} {
		for _, header := range [][]string{{other}, {other, "Accept: text/event-stream"}} {
			if a := b.Do("GET", statusURL+"/"+id, "", header...); a.Status != 403 && a.Status != 401 {
				t.Errorf("another caller can read the case: got %d %s", a.Status, a.Body)
			}
		}
	}
	another := token("u2", "other")
	for path, method := range map[string]string{statusURL: "GET", cancelURL: "POST"} {
		theirs, none := b.Do(method, path+"/"+id, "", another), b.Do(method, path+"/missing", "", another)
		b.Problem(theirs, 403)
		b.Problem(none, 403)
		if theirs.JSON(t)["detail"] != none.JSON(t)["detail"] {
			t.Errorf("a missing case and another caller's case get different errors: %s, %s", theirs.Body, none.Body)
		}
		b.Problem(b.Do(method, path+"/missing", "", key), 404)
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
	// A key that supersedes a run does not take over the case.
	if a := b.Do("GET", statusURL+"/named", "", u1); a.Status != 200 || a.JSON(t)["run"] != 2.0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// A case that a key started is not for callers without a key.
	b.Do("POST", u, `{"case_id":"of-a-key"}`, isJSON, key)
	b.Problem(b.Do("GET", statusURL+"/of-a-key", "", u1), 403)
	b.Problem(b.Do("POST", u, `{"case_id":"of-a-key"}`, isJSON, u1), 403)
	if a := b.Do("GET", statusURL+"/"+id, "", token("u1", "other")); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	cancelled := b.Do("POST", cancelURL+"/"+id, "", token("u1", "other"))
	if a := cancelled; a.Status != 200 || a.JSON(t)["state"] != "cancelled" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if log := b.Log.String(); strings.Contains(log, "u@x.example") || strings.Contains(log, issuer.URL) {
		t.Errorf("the log shows the identity of the caller: %s", log)
	}

	// Without the issuer, tokens cannot be verified. Keys still work.
	issuer.SetDown(true)
	u, statusURL = b.Serve(start.New), b.Serve(status.New)
	b.Problem(b.Do("POST", u, `{}`, isJSON, u1), 503)
	b.Problem(b.Do("GET", statusURL+"/"+id, "", u1), 503)
	if a := b.Do("POST", u, `{}`, isJSON, key); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("GET", statusURL+"/"+id, "", key); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// Outside `make run`, a caller with an ID token may name a case, as one with a key may, but may not
// adopt one.
func TestIDTokenOutsideMakeRun(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	b := functiontest.New(t, map[string]string{
		"OIDC_ISSUER": issuer.URL, "OIDC_AUDIENCE": "p", "ALLOW_ANONYMOUS": "true",
	})
	b.Config.Function = "start"
	u := b.Serve(start.New)
	token := "Authorization: Bearer " + issuer.Sign("u@x.example", "p")
	b.Problem(b.Do("POST", u, `{"case_id":"c"}`, isJSON), 403)
	b.Problem(b.Do("POST", u+"/?adopt=true", `{"case_id":"c"}`, isJSON, token), 403)
	if a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, token); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// A case that an anonymous caller started opens with its own addresses and with keys.
	a := b.Do("POST", u, `{}`, isJSON)
	id, _ := a.JSON(t)["case_id"].(string)
	statusURL := b.Serve(status.New)
	b.Problem(b.Do("GET", statusURL+"/"+id, "", token), 403)
	b.Problem(b.Do("GET", statusURL+"/"+id, ""), 401)
	if a := b.Do("GET", statusURL+"/"+id, "", key); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	_, query, _ := strings.Cut(a.JSON(t)["status_url"].(string), "?")
	if a := b.Do("GET", statusURL+"/"+id+"?"+query, "", token); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
