package pipelinetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Exchange is one request being answered.
type Exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	caseID string
	run    int
}

// Reaction answers one request.
type Reaction func(*Exchange)

// Sync takes the run up, n documents to write, and holds the request until the run ends: then the answer is its result. When
// the client leaves before, the work goes on.
func Sync(n int) Reaction {
	return func(x *Exchange) {
		j := x.begin(n, false)
		select {
		case <-j.ended:
			x.answer(j.status, j.body)
		case <-x.r.Context().Done():
		case <-x.server.closing:
			x.cut()
		}
	}
}

// Work is Sync without a test that tells it to go on: each document takes as long as said, the last failed of them fail, and then it answers.
func Work(n, failed int, each time.Duration) Reaction {
	return func(x *Exchange) {
		j := x.begin(n, false)
		x.server.update(func() { j.each = each })
		timer := time.NewTimer(time.Duration(n) * each)
		defer timer.Stop()
		select {
		case <-timer.C:
			body := Result(x.caseID, n, failed)
			x.server.update(func() { j.end(http.StatusOK, body, n) })
			x.answer(http.StatusOK, body)
		case <-j.ended: // the test was faster
			x.answer(j.status, j.body)
		case <-x.server.closing:
			x.cut()
		}
	}
}

// Async takes the run up, n documents to write, and answers 202 at once.
func Async(n int) Reaction {
	return func(x *Exchange) {
		x.begin(n, true)
		x.answer(http.StatusAccepted, []byte(`{"status":"accepted","case_id":`+quote(x.caseID)+`}`))
	}
}

// Answer answers with this status and body, and with these headers: name, value, name, value, …
// No work begins.
func Answer(status int, body string, headers ...string) Reaction {
	return func(x *Exchange) {
		for i := 0; i+1 < len(headers); i += 2 {
			x.w.Header().Set(headers[i], headers[i+1])
		}
		x.answer(status, []byte(body))
	}
}

// Busy answers 429 or 503 with this Retry-After ("" for none).
func Busy(status int, retryAfter string) Reaction {
	if retryAfter == "" {
		return Answer(status, `{"error":"busy"}`)
	}
	return Answer(status, `{"error":"busy"}`, "Retry-After", retryAfter)
}

// Refuse refuses the form, or fails to take it: {"error": message}.
func Refuse(status int, message string) Reaction {
	return Answer(status, `{"error":`+quote(message)+`}`)
}

// RefuseDetail is Refuse as FastAPI says it: {"detail": message}.
func RefuseDetail(status int, message string) Reaction {
	return Answer(status, `{"detail":`+quote(message)+`}`)
}

// RefuseObject is Refuse as FastAPI says it of an object: {"detail": {"message": message}}.
func RefuseObject(status int, message string) Reaction {
	return Answer(status, `{"detail":{"message":`+quote(message)+`}}`)
}

// RefuseText is Refuse in plain text.
func RefuseText(status int, message string) Reaction {
	return Answer(status, message, "Content-Type", "text/plain; charset=utf-8")
}

// Redirect answers with a redirect.
func Redirect(status int, location string) Reaction { return Answer(status, "", "Location", location) }

// Failed is the terminal report that the run failed: {"success": false, "error": message}, with any status.
func Failed(status int, message string) Reaction {
	return Answer(status, `{"success":false,"error":`+quote(message)+`}`)
}

// FailedDetail is Failed as FastAPI says it: below "detail".
func FailedDetail(status int, message string) Reaction {
	return Answer(status, `{"detail":{"success":false,"error":`+quote(message)+`}}`)
}

// RefuseInvalid refuses as FastAPI's validation does: one fault per path, each with what was sent as "input".
func RefuseInvalid(paths ...string) Reaction {
	return func(x *Exchange) {
		var faults []string
		for _, path := range paths {
			faults = append(faults, fmt.Sprintf(`{"type":"missing","loc":["body",%s],"msg":"Field required","input":{"secret":"of the form"}}`, quote(path)))
		}
		x.answer(http.StatusUnprocessableEntity, []byte(`{"detail":[`+strings.Join(faults, ",")+`]}`))
	}
}

// NotJSON answers 200 with a page.
func NotJSON() Reaction { return Answer(200, "<html>It works!</html>", "Content-Type", "text/html") }

// Reset breaks the connection (RST) without an answer. With taken, the run was taken up all the same, n documents to write.
func Reset(taken bool, n int) Reaction {
	return func(x *Exchange) {
		if taken {
			x.begin(n, true)
		}
		x.cut()
	}
}

// ResetDuring sends half of the answer that r gives, and breaks the connection (RST).
func ResetDuring(r Reaction) Reaction {
	return func(x *Exchange) {
		record := &recorder{header: http.Header{}, status: http.StatusOK}
		r(&Exchange{server: x.server, w: record, r: x.r, caseID: x.caseID, run: x.run})
		maps.Copy(x.w.Header(), record.header)
		x.w.Header().Set("Content-Length", strconv.Itoa(max(record.body.Len(), 2)))
		x.w.WriteHeader(record.status)
		_, _ = x.w.Write(record.body.Bytes()[:record.body.Len()/2]) // the connection breaks anyway
		_ = http.NewResponseController(x.w).Flush()
		x.cut()
	}
}

// Hang gives no answer until the client leaves or the server is closed. With taken, the run was taken up, n documents to write.
func Hang(taken bool, n int) Reaction {
	return func(x *Exchange) {
		if taken {
			x.begin(n, true)
		}
		select {
		case <-x.r.Context().Done():
		case <-x.server.closing:
		}
		x.cut()
	}
}

// Until waits for the channel (or for the client to leave, or the server to be closed) and then reacts as r.
func Until(ready <-chan struct{}, r Reaction) Reaction {
	return func(x *Exchange) {
		select {
		case <-ready:
			r(x)
		case <-x.r.Context().Done():
		case <-x.server.closing:
			x.cut()
		}
	}
}

// Slow waits for d and then reacts as r.
func Slow(d time.Duration, r Reaction) Reaction {
	return func(x *Exchange) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			r(x)
		case <-x.server.closing:
			x.cut()
		}
	}
}

// Truth answers a poll as if nothing had been scripted.
func Truth() Reaction { return truth }

func truth(x *Exchange) {
	status, body := x.server.state(x.caseID)
	x.answer(status, body)
}

func (x *Exchange) answer(status int, body []byte) {
	if x.w.Header().Get("Content-Type") == "" {
		x.w.Header().Set("Content-Type", "application/json")
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a client that is gone does not care
}

// cut breaks the connection with a RST.
func (x *Exchange) cut() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // breaks it too, with a FIN
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}
