package complete_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/complete"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
)

// FuzzCloudEvent checks that every CloudEvent, in headers or as a whole in the body, is accepted or
// rejected.
func FuzzCloudEvent(f *testing.F) {
	b := functiontest.New(f, nil)
	b.Begin("c")
	h := complete.New(b.Config, b.Reconciler)
	const structured = `{"specversion":"1.0","id":"1","source":"//pubsub",` +
		`"type":"google.cloud.pubsub.topic.v1.messagePublished","time":"2026-01-01T00:00:00Z",` +
		`"datacontenttype":"application/json","data":`
	f.Add("application/cloudevents+json", "", "", "",
		[]byte(structured+wrapped("1", `{"case_id":"c","status":"running"}`)+"}"))
	f.Add("application/cloudevents+json; charset=utf-16", "", "", "", []byte(structured+`{"message":null}}`))
	f.Add("application/cloudevents+json", "", "", "", []byte(`{"specversion":"1.0","data_base64":"e30=","id":7}`))
	f.Add("application/cloudevents-batch+json", "", "", "", []byte(`[]`))
	f.Add("application/json", "1.0", "google.cloud.pubsub.topic.v1.messagePublished", "2026-01-01T00:00:00Z",
		[]byte(wrapped("1", "{}")))
	f.Add("text/plain; x", "0.3", "x", "yesterday", []byte("\x00"))
	f.Fuzz(func(t *testing.T, contentType, version, kind, at string, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(body)))
		for name, value := range map[string]string{
			"Content-Type":   contentType,
			"Ce-Specversion": version,
			"Ce-Type":        kind,
			"Ce-Time":        at,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if version != "" {
			r.Header.Set("Ce-Id", "1")
			r.Header.Set("Ce-Source", "//pubsub")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		rejected := w.Code == http.StatusBadRequest || w.Code == http.StatusUnsupportedMediaType
		accepted := w.Code == http.StatusNoContent && w.Body.Len() == 0
		isProblem := w.Header().Get("Content-Type") == "application/problem+json" && json.Valid(w.Body.Bytes())
		if !accepted && (!rejected || !isProblem) {
			t.Errorf("%q %q %q: %d %s", contentType, version, body, w.Code, w.Body)
		}
	})
}
