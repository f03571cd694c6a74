package machine

import (
	"encoding/json"
	"net/http"

	"github.com/casewatch/casewatch/shared/weburl"
)

// loopbackOnly serves only requests whose Host is localhost or a loopback address, with any port.
// It answers all others 421, as problem+json, and does not call h.
//
// This prevents DNS rebinding: a web page can have its own DNS name resolved to 127.0.0.1. For the
// browser this machine is then the page's own origin, so neither CORS nor the Origin header rejects
// the page. But the Host header still has the page's name. Names below localhost are rejected too,
// because some resolvers look them up in DNS.
func (m *Machine) loopbackOnly(h http.Handler) http.Handler {
	const status = http.StatusMisdirectedRequest
	problem, err := json.Marshal(map[string]any{
		"type":   "about:blank",
		"title":  http.StatusText(status),
		"status": status,
		// The detail does not contain the Host, because the caller chooses its text.
		"detail": "The Host of this request is not this machine. " +
			"Only localhost, 127.0.0.0/8 and [::1] are allowed: use " + m.base + ".",
	})
	if err != nil {
		panic(err) // impossible: strings and numbers can always be encoded
	}
	problem = append(problem, '\n')
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !weburl.IsLoopbackHostPort(r.Host) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			_, _ = w.Write(problem) // fails only if the caller disconnected
			return
		}
		h.ServeHTTP(w, r)
	})
}
