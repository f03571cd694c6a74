package witness

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

const (
	answerTimeout = 30 * time.Second // of one poll, besides what it may wait
	answerLimit   = 4 << 20          // bytes of a poll's answer, and of a line of a stream
	browsersRetry = 3 * time.Second  // after which a browser reconnects unless the stream says otherwise
	longestStream = time.Hour        // Cloud Run lets no request last longer
)

// errUnchanged says that a long poll ended without a change.
var errUnchanged = errors.New("nothing has changed")

// Poll asks for every run of the case again and again, until ctx ends.
func (w *Witness) Poll(ctx context.Context) {
	for ctx.Err() == nil {
		wait := w.o.Wait
		if known := w.Latest(); known.Run == 0 || known.Ended() {
			wait = 0
		}
		v, err := w.read(ctx, 0, wait)
		for run := 1; run < v.Run; run++ {
			_, _ = w.Read(ctx, run) // it is read again
		}
		if wait == 0 || err != nil {
			_ = ctxtime.Sleep(ctx, w.o.Every)
		}
	}
}

// Read reads a run once, the current one for run 0, and takes in what it is shown. A broken
// connection, 429 and 5xx are errors and no more: a reader asks again. Any other answer but 200
// breaks a promise too.
func (w *Witness) Read(ctx context.Context, run int) (View, error) { return w.read(ctx, run, 0) }

// read is Read, which waits that long for a change of the newest run.
func (w *Witness) read(ctx context.Context, run int, wait time.Duration) (v View, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait+answerTimeout)
	defer cancel()
	query, header := "", http.Header{}
	if run > 0 {
		query = fmt.Sprintf("&run=%d", run)
	}
	if wait > 0 {
		known := w.Latest()
		query = fmt.Sprintf("&wait=%s", wait)
		header.Set("If-None-Match", fmt.Sprintf(`W/"%s"`, ID{known.Run, known.Version}))
	}
	res, err := w.get(ctx, query, header)
	if err != nil {
		return v, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	switch {
	case err != nil:
		return v, err
	case res.StatusCode == http.StatusNotModified:
		return v, errUnchanged
	case passes(res):
		return v, fmt.Errorf("status answered %s", res.Status)
	case res.StatusCode != http.StatusOK || json.Unmarshal(body, &v) != nil || v.CaseID != w.CaseID ||
		v.Run < 1 || run > 0 && v.Run != run:
		err := fmt.Errorf("status answered %s: %.300s", res.Status, body)
		w.Accuse(Told, max(1, run), "%v", err)
		return View{}, err
	}
	w.Saw(v, time.Now())
	return v, nil
}

// passes reports whether an answer may be given for a while to a reader, who asks again.
func passes(res *http.Response) bool {
	return res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusInternalServerError
}

// get asks for the status of the case. Its error does not have the address, in which the token is.
func (w *Witness) get(ctx context.Context, query string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+query, http.NoBody)
	if err != nil {
		return nil, errors.New("the status_url is not valid")
	}
	req.Header = header
	res, err := w.o.Client.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("status: %w", failed.Err)
	}
	return res, err
}

// Stream follows the stream of the case as a browser's EventSource does, until ctx ends. When the
// connection ends it reconnects with the id of the last event, after the time that it was told; it
// stops at 204.
// (https://html.spec.whatwg.org/multipage/server-sent-events.html)
//
// Two things it does that an EventSource does not. It opens the stream again when there is a new
// run, as a page does that watches a case anew. And it reconnects after an answer that is not of a
// function, but of what is in front of it: there is no instance, or it died before it could answer.
func (w *Witness) Stream(ctx context.Context) {
	w.mu.Lock()
	w.streams, w.retry = true, browsersRetry
	w.mu.Unlock()
	for ctx.Err() == nil && w.connect(ctx) {
		_ = ctxtime.Sleep(ctx, w.retry)
	}
}

// connect holds one connection. It reports whether to open another, once there is reason to.
func (w *Witness) connect(ctx context.Context) bool {
	holding, cancel := context.WithTimeout(ctx, cmp.Or(w.o.Cut, longestStream))
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}, "Cache-Control": {"no-store"}}
	if w.last.Run > 0 {
		header.Set("Last-Event-Id", w.last.String())
	}
	since := time.Now()
	w.mu.Lock()
	w.visits++
	w.mu.Unlock()
	res, err := w.get(holding, "", header)
	if err != nil {
		return true
	}
	defer func() { _ = res.Body.Close() }()
	instance, media := res.Header.Get("X-Instance"), res.Header.Get("Content-Type")
	switch {
	case res.StatusCode == http.StatusNoContent:
		w.closed()
		return w.Await(ctx, func(v View) bool { return v.Run > w.last.Run })
	case passes(res) && instance == "" && media != "application/problem+json": // it is not of a function
		return true
	case res.StatusCode != http.StatusOK || media != "text/event-stream":
		w.Accuse(Told, max(1, w.last.Run), "the stream answered %s, %s: a browser gives up", res.Status, media)
		return false
	}
	if err := w.receive(res.Body, Event{Since: since, Instance: instance}); err != nil && holding.Err() == nil {
		w.mu.Lock()
		w.broke++ // without an end of its own
		w.mu.Unlock()
	}
	return true
}

// receive takes the events of one connection. e is what they have in common.
func (w *Witness) receive(body io.Reader, e Event) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, answerLimit)
	var id, data string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != "" {
				w.take(e, id, data)
			}
			e.Name, data = "", ""
		case field == "event":
			e.Name = value
		case field == "data":
			data += value
		case field == "id":
			id = value
		case field == "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				w.retry = time.Duration(ms) * time.Millisecond
			} else {
				w.Accuse(Told, max(1, w.last.Run), "the stream sent retry: %s", value)
			}
		}
	}
	return lines.Err()
}

// take takes one event, which has to be of this case.
func (w *Witness) take(e Event, id, data string) {
	err := json.Unmarshal([]byte(data), &e)
	_, _ = fmt.Sscanf(id, "%d.%d", &e.ID.Run, &e.ID.Version)
	e.At = time.Now()
	known := e.Name == "progress" || e.IsEnd()
	if err != nil || !known || e.ID.String() != id || e.Run != e.ID.Run || e.CaseID != w.CaseID || e.JobID != w.CaseID {
		w.Accuse(Told, max(1, w.last.Run), "the stream sent %s %s: %.300s", e.Name, id, data)
		return
	}
	w.streamed(e)
}
