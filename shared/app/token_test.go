package app_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/check"
	"github.com/casewatch/casewatch/functions/dispatch"
	"github.com/casewatch/casewatch/functions/start"
)

// With PIPELINE_AUTH=oidc a dispatch without an ID token is not sent, and not lost: nothing was
// started, and it is tried again. Once a token can be had, the same process has it.
func TestIDTokens(t *testing.T) {
	p := newPlace(t)
	p.overrides["PIPELINE_AUTH"] = "oidc"
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", credentials)

	begin, _ := p.process(t, "start")
	if a := call(t, begin.Handler(start.New), "POST", "/?adopt=true", `{"case_id":"c"}`, key,
		"Content-Type: application/json"); a.Code != 202 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	if a := call(t, begin.Handler(start.New), "POST", "/", `{"case_id":"d"}`, key,
		"Content-Type: application/json"); a.Code != 202 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	sending, log := p.process(t, "dispatch")
	if a := call(t, sending.Handler(dispatch.New), "POST", "/", `{"case_id":"d","run":1,"seq":1}`, isJSON,
		p.invoker); a.Code != 200 ||
		len(p.reached()) != 0 {
		t.Errorf("%d %s, %d requests\n%s", a.Code, a.Body, len(p.reached()), log)
	}
	if !strings.Contains(log.String(), `"outcome":"unreachable"`) {
		t.Errorf("%s", log)
	}
	looking, log := p.process(t, "check")
	if a := call(t, looking.Handler(check.New), "POST", "/", task, isJSON, p.invoker); a.Code != 200 ||
		len(p.reached()) != 0 ||
		!strings.Contains(log.String(), `"found":"unable"`) {
		t.Errorf("%d %s, %d requests\n%s", a.Code, a.Body, len(p.reached()), log)
	}

	minted := serviceAccount(t, credentials, p.pipelineAt)
	if a := call(t, sending.Handler(dispatch.New), "POST", "/", `{"case_id":"d","run":1,"seq":2}`, isJSON,
		p.invoker); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := call(t, looking.Handler(check.New), "POST", "/", `{"case_id":"c","run":1,"seq":2}`, isJSON,
		p.invoker); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	reached := p.reached()
	if len(reached) != 2 {
		t.Fatalf("%d requests\n%s", len(reached), log)
	}
	for _, r := range reached {
		if r.Header.Get("Authorization") != "Bearer "+minted {
			t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
	}
}

// serviceAccount writes the credentials of an account, whose tokens come from a server of this test
// and are for the audience. It returns the token.
func serviceAccount(t *testing.T, file, audience string) string {
	t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	token := part(
		map[string]any{"alg": "none"},
	) + "." + part(
		map[string]any{"aud": audience, "exp": time.Now().Add(time.Hour).Unix()},
	) + ".c2ln"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := strings.Split(r.FormValue("assertion"), ".")
		payload, err := base64.RawURLEncoding.DecodeString(claims[min(1, len(claims)-1)])
		if err != nil || !strings.Contains(string(payload), fmt.Sprintf(`"target_audience":%q`, audience)) {
			http.Error(w, "for another audience", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id_token":%q}`, token)
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(
		map[string]string{
			"type":           "service_account",
			"client_email":   "t@example-project.iam.gserviceaccount.com",
			"private_key_id": "1",
			"project_id":     "example-project",
			"private_key": string(
				pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
			),
			"token_uri": server.URL,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return token
}
