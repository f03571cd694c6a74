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

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	older  = config.NewSecret(strings.Repeat("o", 32))
	newer  = config.NewSecret(strings.Repeat("n", 32))
	tokens = casetoken.New(casetoken.ToRead, []config.Secret{newer, older})
)

var keys = config.NewAPIKeys(sha256.Sum256([]byte("alpha-key")), sha256.Sum256([]byte("beta-key")))

// callers accepts the keys and no ID tokens.
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
	const alpha, beta, anonymous, rejected = "alpha", "beta", "anonymous", "rejected"
	for _, test := range []struct {
		name   string
		header http.Header
		want   string
	}{
		{"nothing", http.Header{}, anonymous},
		{"X-API-Key", http.Header{"X-Api-Key": {"alpha-key"}}, alpha},
		{"Bearer", http.Header{"Authorization": {"Bearer alpha-key"}}, alpha},
		{"scheme in lower case", http.Header{"Authorization": {"bearer alpha-key"}}, alpha},
		{"scheme in upper case", http.Header{"Authorization": {"BEARER beta-key"}}, beta},
		{"spaces", http.Header{"Authorization": {"Bearer   beta-key "}}, beta},
		{"both: X-API-Key counts", http.Header{"Authorization": {"Bearer alpha-key"}, "X-Api-Key": {"beta-key"}}, beta},
		{"both, a gateway's token as Bearer",
			http.Header{"Authorization": {"Bearer wrong"}, "X-Api-Key": {"beta-key"}}, beta},
		{"both, a wrong X-API-Key", http.Header{"Authorization": {"Bearer alpha-key"}, "X-Api-Key": {"wrong"}}, alpha},
		{"both wrong", http.Header{"Authorization": {"Bearer wrong"}, "X-Api-Key": {"wrong"}}, rejected},
		{"another scheme", http.Header{"Authorization": {"Basic alpha-key"}}, anonymous},
		{"another scheme and a key", http.Header{"Authorization": {"Basic eDp5"}, "X-Api-Key": {"beta-key"}}, beta},
		{"a scheme without credentials", http.Header{"Authorization": {"Bearer"}}, anonymous},
		{"wrong", http.Header{"X-Api-Key": {"alpha-ke"}}, rejected},
		{"upper case", http.Header{"X-Api-Key": {"ALPHA-KEY"}}, rejected},
		{"empty", http.Header{"X-Api-Key": {""}}, anonymous},
	} {
		t.Run(test.name, func(t *testing.T) {
			caller, err := callers(keys).Identify(request("/", test.header))
			switch test.want {
			case rejected:
				if err == nil || fault.KindOf(err) != fault.Unauthorized || !caller.Anonymous() {
					t.Errorf("got %+v, %v, want %s", caller, err, test.want)
				}
			case anonymous:
				if err != nil || !caller.Anonymous() {
					t.Errorf("got %+v, %v, want %s", caller, err, test.want)
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
		t.Error("a key was accepted although none is configured")
	}
}

// Case ids are derived from the names of callers, so names must never change. A name must reveal
// neither the key nor its hash in the settings.
func TestNamesOfAPIKeys(t *testing.T) {
	for key, want := range map[string]string{
		"alpha-key": "7f7ebf9655e06aa813e99d2f133cbdad",
		"beta-key":  "752e867dd10561e4a2fce495a2c67645",
	} {
		caller, err := callers(keys).Identify(request("/", http.Header{"X-Api-Key": {key}}))
		if err != nil || caller.Name != want {
			t.Errorf("%s is %q, %v, want %q", key, caller.Name, err, want)
		}
		if sum := sha256.Sum256([]byte(key)); strings.Contains(hex.EncodeToString(sum[:]), caller.Name) {
			t.Errorf("the name %s is part of the hash of %s", caller.Name, key)
		}
	}
}

func TestToCase(t *testing.T) {
	good, other := tokens.Sign("c", now.Add(time.Minute)), tokens.Sign("d", now.Add(time.Minute))
	expired := tokens.Sign("c", now)
	for _, test := range []struct {
		name, token, key string
		want             fault.Kind // 0: no error
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
		{"not a token", "x", "", fault.Forbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{}
			if test.key != "" {
				header.Set("X-API-Key", test.key)
			}
			r := request("/c?"+url.Values{"token": {test.token}}.Encode(), header)
			err := callers(keys).ToCase(r, casetoken.ToRead, "c", noOwner)
			if (err == nil) != (test.want == 0) || err != nil && fault.KindOf(err) != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// noOwner is for callers whose access does not depend on the owner.
func noOwner(context.Context, string) (string, error) {
	return "", errors.New("the owner was requested")
}

// These are the headers that an event client of a page sends.
func TestCORSHeaders(t *testing.T) {
	for _, name := range []string{
		"last-event-id", "cache-control", "if-none-match", "idempotency-key", "content-type",
		"authorization", "x-api-key",
		// Tracing libraries add these by themselves.
		"traceparent", "tracestate", "baggage", "sentry-trace",
	} {
		r := httptest.NewRequest(http.MethodOptions, "/", http.NoBody)
		r.Header = http.Header{
			"Origin":                         {"https://forms.example"},
			"Access-Control-Request-Method":  {"GET"},
			"Access-Control-Request-Headers": {name},
		}
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
	allowed := []string{"https://forms.example"}
	for _, test := range []struct {
		name           string
		origins        []string
		origin, method string
		code           int
		allowed        string
	}{
		{"no origin is allowed", nil, "https://forms.example", "POST", http.StatusTeapot, ""},
		{"an allowed origin", allowed, "https://forms.example", "POST", http.StatusNoContent, "https://forms.example"},
		{"another", allowed, "https://evil.example", "POST", http.StatusNoContent, ""},
		{"another port", allowed, "https://forms.example:8443", "POST", http.StatusNoContent, ""},
		{"another scheme", allowed, "http://forms.example", "POST", http.StatusNoContent, ""},
		{"a suffix", allowed, "https://forms.example.evil.example", "POST", http.StatusNoContent, ""},
		{"another method", allowed, "https://forms.example", "DELETE", http.StatusNoContent, ""},
		{"every origin", []string{"*"}, "https://x.example", "POST", http.StatusNoContent, "*"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := preflight(test.origins, test.origin, test.method)
			if w.Code != test.code || w.Header().Get("Access-Control-Allow-Origin") != test.allowed ||
				w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("got %d %v, want %d and the origin %q", w.Code, w.Header(), test.code, test.allowed)
			}
		})
	}
}

// A token of one purpose opens nothing for another.
func TestATokenIsOfOnePurpose(t *testing.T) {
	purposes := []casetoken.Purpose{casetoken.ToRead, casetoken.ToCancel, casetoken.ToReport}
	for _, signed := range purposes {
		token := casetoken.New(signed, []config.Secret{newer, older}).Sign("c", now.Add(time.Minute))
		for _, wanted := range purposes {
			r := request("/c?"+url.Values{"token": {token}}.Encode(), http.Header{})
			if err := callers(keys).ToCase(r, wanted, "c", noOwner); (err == nil) != (signed == wanted) {
				t.Errorf("a token %s used %s: got %v", signed, wanted, err)
			}
		}
	}
}
