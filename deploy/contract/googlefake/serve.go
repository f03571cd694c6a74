package googlefake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBody bounds a request; an archive of sources is below it.
const maxBody = 256 << 20

// serve answers one request. gcloud also uses the fake as its HTTP proxy: then the request's target is an absolute URL, the host of which may begin
// with a region (gcloud puts it before the host of Cloud Run's override).
func (f *Fake) serve(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := &request{Fake: f, host: r.Host, method: r.Method, raw: raw, ctype: r.Header.Get("Content-Type"), query: r.URL.Query()}
	escaped := r.URL.EscapedPath()
	for strings.Contains(escaped, "//") {
		escaped = strings.ReplaceAll(escaped, "//", "/")
	}
	req.api, req.path, _ = strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	if r.Method == http.MethodConnect {
		req.api, req.path = "https", r.Host
	}
	if strings.Contains(req.ctype, "json") && len(raw) > 0 {
		if err := json.Unmarshal(raw, &req.body); err != nil {
			req.body = nil
		}
	}
	if req.body == nil {
		req.body = obj{}
	}
	status, answer := f.answer(req)
	if raw, ok := answer.(media); ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(status)
		_, _ = w.Write(raw)
		return
	}
	data, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// media is an answer that is not JSON.
type media []byte

// answer finds who answers a call, records it, and returns what to say. Answers are copies.
func (f *Fake) answer(req *request) (status int, answer any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	req.name, req.verb = split(req.path)
	call := f.record(req)
	defer func() {
		call.Status = status
		f.calls = append(f.calls, call)
		if f.opts.Log != nil {
			_, _ = fmt.Fprintf(f.opts.Log, "%d %s\n", status, call)
		}
	}()
	var result any
	err := f.inject(call)
	if err == nil {
		result, err = f.handle(req)
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		call.Unknown = e.status == unknownCall
		if call.Unknown {
			e.status = "INVALID_ARGUMENT"
		}
		call.Error = e.Error()
		return e.code, e.json()
	}
	if err != nil {
		return http.StatusBadRequest, (&apiError{code: http.StatusBadRequest, status: "INVALID_ARGUMENT", message: err.Error()}).json()
	}
	if raw, ok := result.(media); ok {
		return http.StatusOK, raw
	}
	if result == nil {
		result = obj{}
	}
	return http.StatusOK, clone(result)
}

// unknownCall marks a call that the fake has no answer for. It is never sent: gcloud repeats what it takes for a passing
// fault for half a minute and more, so an unknown call is a bad request.
const unknownCall = "UNKNOWN_CALL"

func (f *Fake) handle(req *request) (any, error) {
	unknown := &apiError{
		code: http.StatusBadRequest, status: unknownCall,
		message: fmt.Sprintf("the fake knows no %s %s %s", req.method, req.api, req.path),
	}
	if req.api == "upload" { // of Cloud Storage
		return uploadObject(req)
	}
	a, ok := apis[req.api]
	if !ok {
		return nil, unknown
	}
	if err := f.ours(req); err != nil {
		return nil, err
	}
	if err := f.enabled(a); err != nil {
		return nil, err
	}
	if a.policies && isPolicyVerb(req.verb) {
		return f.policyCall(req)
	}
	if done, ok := f.ops[req.key()]; ok && req.method == http.MethodGet && req.verb == "" {
		return done, nil
	}
	for _, r := range a.routes {
		pattern, verb, _ := strings.Cut(r.pattern, ":")
		if r.method != req.method || verb != req.verb {
			continue
		}
		vars, ok := match(pattern, req.name)
		if !ok {
			continue
		}
		req.vars = vars
		return r.answer(req)
	}
	return nil, unknown
}
