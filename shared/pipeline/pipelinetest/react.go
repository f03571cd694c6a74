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

// Exchange is one request and its answer.
type Exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	caseID string
	run    int
}

// Reaction answers one request.
type Reaction func(*Exchange)

// Sync starts a run of n documents and holds the request until the run ends. Then it answers with
// the result. If the client disconnects, the run continues.
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

// Work is like Sync, but the run ends by itself. Each document takes the given time, and the last
// failed documents fail.
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

// Async starts a run of n documents and answers 202 immediately.
func Async(n int) Reaction {
	return func(x *Exchange) {
		x.begin(n, true)
		x.answer(http.StatusAccepted, []byte(`{"status":"accepted","case_id":`+quote(x.caseID)+`}`))
	}
}

// Answer answers with this status, body and headers (name, value, name, value, …). It starts no
// run.
func Answer(status int, body string, headers ...string) Reaction {
	return func(x *Exchange) {
		for i := 0; i+1 < len(headers); i += 2 {
			x.w.Header().Set(headers[i], headers[i+1])
		}
		x.answer(status, []byte(body))
	}
}

// Busy answers 429 or 503 with this Retry-After; "" sends none.
func Busy(status int, retryAfter string) Reaction {
	if retryAfter == "" {
		return Answer(status, `{"error":"busy"}`)
	}
	return Answer(status, `{"error":"busy"}`, "Retry-After", retryAfter)
}

// Refuse answers {"error": message} and starts no run.
func Refuse(status int, message string) Reaction {
	return Answer(status, `{"error":`+quote(message)+`}`)
}

// RefuseDetail is Refuse in the format of FastAPI: {"detail": message}.
func RefuseDetail(status int, message string) Reaction {
	return Answer(status, `{"detail":`+quote(message)+`}`)
}

// RefuseObject is Refuse with an object in the format of FastAPI: {"detail": {"message": message}}.
func RefuseObject(status int, message string) Reaction {
	return Answer(status, `{"detail":{"message":`+quote(message)+`}}`)
}

// RefuseText is Refuse in plain text.
func RefuseText(status int, message string) Reaction {
	return Answer(status, message, "Content-Type", "text/plain; charset=utf-8")
}

// Redirect answers with a redirect.
func Redirect(status int, location string) Reaction { return Answer(status, "", "Location", location) }

// Failed answers with a terminal report of failure, {"success": false, "error": message}, with any
// status.
func Failed(status int, message string) Reaction {
	return Answer(status, `{"success":false,"error":`+quote(message)+`}`)
}

// FailedDetail is Failed in the format of FastAPI: the report is below "detail".
func FailedDetail(status int, message string) Reaction {
	return Answer(status, `{"detail":{"success":false,"error":`+quote(message)+`}}`)
}

// RefuseInvalid answers like the validation of FastAPI: one error per path, each of which repeats
// the form as "input".
func RefuseInvalid(paths ...string) Reaction {
	return func(x *Exchange) {
		var faults []string
		for _, path := range paths {
			faults = append(
				faults,
				fmt.Sprintf(
					`{"type":"missing","loc":["body",%s],"msg":"Field required","input":{"secret":"of the form"}}`,
					quote(path),
				),
			)
		}
		x.answer(http.StatusUnprocessableEntity, []byte(`{"detail":[`+strings.Join(faults, ",")+`]}`))
	}
}

// NotJSON answers 200 with HTML.
func NotJSON() Reaction { return Answer(200, "<html>It works!</html>", "Content-Type", "text/html") }

// Reset breaks the connection with a RST and sends no answer. If taken is true, a run of n
// documents starts nevertheless.
func Reset(taken bool, n int) Reaction {
	return func(x *Exchange) {
		if taken {
			x.begin(n, true)
		}
		x.cut()
	}
}

// ResetDuring sends half of the answer of r, then breaks the connection with a RST.
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

// Hang sends no answer. It holds the request until the client disconnects or the server is closed.
// If taken is true, a run of n documents starts.
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

// Until waits for the channel, then reacts like r. It ends early if the client disconnects or the
// server is closed.
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

// Slow waits for d, then reacts like r.
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

// Truth answers a poll with the real state, as if nothing were scripted.
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
	_, _ = x.w.Write(body) // the client may have disconnected
}

// cut breaks the connection with a RST.
func (x *Exchange) cut() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // this also breaks the connection, with a FIN
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
