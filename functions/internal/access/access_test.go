package access_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
)

var keys = config.NewAPIKeys(sha256.Sum256([]byte("alpha-key")), sha256.Sum256([]byte("beta-key")))

// callers are those who hold one of the keys.
func callers(keys config.APIKeys) access.Callers {
	cfg := &config.Config{Access: config.Access{APIKeys: keys, TokenSecrets: []config.Secret{newer, older}}}
	return access.NewCallers(cfg, func() time.Time { return now })
}

func request(target string, header http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	r.Header = header
	return r
}

func TestIdentify(t *testing.T) {
	const alpha, beta, nobody, refused = "alpha", "beta", "nobody", "refused"
	for _, test := range []struct {
		name   string
		header http.Header
		want   string
	}{
		{"nothing", http.Header{}, nobody},
		{"X-API-Key", http.Header{"X-Api-Key": {"alpha-key"}}, alpha},
		{"Bearer", http.Header{"Authorization": {"Bearer alpha-key"}}, alpha},
		{"scheme in small letters", http.Header{"Authorization": {"bearer alpha-key"}}, alpha},
		{"scheme in capitals", http.Header{"Authorization": {"BEARER beta-key"}}, beta},
		{"spaces", http.Header{"Authorization": {"Bearer   beta-key "}}, beta},
		{"both: X-API-Key counts", http.Header{"Authorization": {"Bearer alpha-key"}, "X-Api-Key": {"beta-key"}}, beta},
		{"both, a Bearer of a gateway", http.Header{"Authorization": {"Bearer wrong"}, "X-Api-Key": {"beta-key"}}, beta},
		{"both, a wrong X-API-Key", http.Header{"Authorization": {"Bearer alpha-key"}, "X-Api-Key": {"wrong"}}, alpha},
		{"both wrong", http.Header{"Authorization": {"Bearer wrong"}, "X-Api-Key": {"wrong"}}, refused},
		{"another scheme", http.Header{"Authorization": {"Basic alpha-key"}}, nobody},
		{"another scheme and a key", http.Header{"Authorization": {"Basic eDp5"}, "X-Api-Key": {"beta-key"}}, beta},
		{"no credentials", http.Header{"Authorization": {"Bearer"}}, nobody},
		{"wrong", http.Header{"X-Api-Key": {"alpha-ke"}}, refused},
		{"capitals", http.Header{"X-Api-Key": {"ALPHA-KEY"}}, refused},
		{"empty", http.Header{"X-Api-Key": {""}}, nobody},
	} {
		t.Run(test.name, func(t *testing.T) {
			caller, err := callers(keys).Identify(request("/", test.header))
			switch test.want {
			case refused:
				if err == nil || fault.KindOf(err) != fault.Unauthorized || !caller.Anonymous() {
					t.Errorf("%+v, %v", caller, err)
				}
			case nobody:
				if err != nil || !caller.Anonymous() {
					t.Errorf("%+v, %v", caller, err)
				}
			default:
				want, _ := callers(keys).Identify(request("/", http.Header{"X-Api-Key": {test.want + "-key"}}))
				if err != nil || caller.Anonymous() || caller != want || !caller.APIKey || caller.Owner() != "" {
					t.Errorf("%+v, %v, want %+v", caller, err, want)
				}
			}
		})
	}
	if _, err := callers(config.APIKeys{}).Identify(request("/", http.Header{"X-Api-Key": {"alpha-key"}})); err == nil {
		t.Error("a key is known where there are none")
	}
}

// Ids of cases are derived from callers' names, so these never change; and they do not tell their keys, nor the hashes that settings hold.
func TestNames(t *testing.T) {
	for key, want := range map[string]string{"alpha-key": "7f7ebf9655e06aa813e99d2f133cbdad", "beta-key": "752e867dd10561e4a2fce495a2c67645"} {
		caller, err := callers(keys).Identify(request("/", http.Header{"X-Api-Key": {key}}))
		if err != nil || caller.Name != want {
			t.Errorf("%s is %q, %v, want %q", key, caller.Name, err, want)
		}
		if sum := sha256.Sum256([]byte(key)); strings.Contains(hex.EncodeToString(sum[:]), caller.Name) {
			t.Errorf("%s tells the hash of %s", caller.Name, key)
		}
	}
}

func TestToCase(t *testing.T) {
	good, other := tokens.Sign("c", now.Add(time.Minute)), tokens.Sign("d", now.Add(time.Minute))
	expired := tokens.Sign("c", now)
	for _, test := range []struct {
		name, token, key string
		want             fault.Kind // Internal: none
	}{
		{"token", good, "", 0},
		{"token and wrong key", good, "wrong", 0},
		{"key", "", "alpha-key", 0},
		{"key and another case's token", other, "alpha-key", 0},
		{"nothing", "", "", fault.Unauthorized},
		{"wrong key", "", "wrong", fault.Unauthorized},
		{"another case's token", other, "", fault.Forbidden},
		{"another case's token and wrong key", other, "wrong", fault.Forbidden},
		{"expired", expired, "", fault.Forbidden},
		{"no token", "x", "", fault.Forbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{}
			if test.key != "" {
				header.Set("X-API-Key", test.key)
			}
			err := callers(keys).ToCase(request("/c?"+url.Values{"token": {test.token}}.Encode(), header), access.ToRead, "c", noOwner)
			if (err == nil) != (test.want == 0) || err != nil && fault.KindOf(err) != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// noOwner is for callers of whom it does not matter whose a case is.
func noOwner(context.Context, string) (string, error) {
	return "", errors.New("the owner was asked for")
}

// What a page's own client of events sends along.
func TestCORSHeaders(t *testing.T) {
	for _, name := range []string{"last-event-id", "cache-control", "if-none-match", "idempotency-key", "content-type", "authorization", "x-api-key",
		"traceparent", "tracestate", "baggage", "sentry-trace"} { // what libraries that trace add by themselves
		r := httptest.NewRequest(http.MethodOptions, "/", http.NoBody)
		r.Header = http.Header{"Origin": {"https://forms.example"}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {name}}
		w := httptest.NewRecorder()
		access.CORS([]string{"https://forms.example"}, http.NotFoundHandler(), http.MethodGet).ServeHTTP(w, r)
		if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Headers") != name {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}

func TestCORS(t *testing.T) {
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	preflight := func(origins []string, origin, method string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, "/", http.NoBody)
		r.Header = http.Header{"Origin": {origin}, "Access-Control-Request-Method": {method}}
		w := httptest.NewRecorder()
		access.CORS(origins, inner, http.MethodPost).ServeHTTP(w, r)
		return w
	}
	ours := []string{"https://forms.example"}
	for _, test := range []struct {
		name           string
		origins        []string
		origin, method string
		code           int
		allowed        string
	}{
		{"none are allowed", nil, "https://forms.example", "POST", http.StatusTeapot, ""},
		{"ours", ours, "https://forms.example", "POST", http.StatusNoContent, "https://forms.example"},
		{"another", ours, "https://evil.example", "POST", http.StatusNoContent, ""},
		{"another port", ours, "https://forms.example:8443", "POST", http.StatusNoContent, ""},
		{"another scheme", ours, "http://forms.example", "POST", http.StatusNoContent, ""},
		{"a suffix", ours, "https://forms.example.evil.example", "POST", http.StatusNoContent, ""},
		{"another method", ours, "https://forms.example", "DELETE", http.StatusNoContent, ""},
		{"any", []string{"*"}, "https://x.example", "POST", http.StatusNoContent, "*"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := preflight(test.origins, test.origin, test.method)
			if w.Code != test.code || w.Header().Get("Access-Control-Allow-Origin") != test.allowed || w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		})
	}
}
