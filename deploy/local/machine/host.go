package machine

import (
	"encoding/json"
	"net/http"

	"github.com/casewatch/casewatch/shared/weburl"
)

// loopbackOnly serves only requests whose Host is localhost or a loopback address, with any port.
// All others are answered 421, as problem+json, before anything of h runs.
//
// A web page can have a DNS name of its own resolved to 127.0.0.1 (DNS rebinding). To the browser
// this machine is then the page's own origin, so that neither CORS nor the Origin header keeps the
// page out. The Host header does: it still has that name. Names below localhost are refused too,
// since some resolvers ask DNS for them.
func (m *Machine) loopbackOnly(h http.Handler) http.Handler {
	// It does not repeat the Host: that is another's text.
	problem, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(http.StatusMisdirectedRequest), "status": http.StatusMisdirectedRequest,
		"detail": "The Host of this request is not this machine. Here only localhost, 127.0.0.0/8 and [::1] are answered: use " + m.base + ".",
	})
	if err != nil {
		panic(err) // it is texts and a number
	}
	problem = append(problem, '\n')
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !weburl.IsLoopbackHostPort(r.Host) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusMisdirectedRequest)
			_, _ = w.Write(problem) // the caller may be gone
			return
		}
		h.ServeHTTP(w, r)
	})
}
