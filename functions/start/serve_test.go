package start_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
)

func serve(t *testing.T, h http.Handler, body []byte, query, idempotencyKey string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	r.URL = &url.URL{Path: "/", RawQuery: query}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", functiontest.Key)
	if idempotencyKey != "" {
		r.Header.Set("Idempotency-Key", idempotencyKey)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
