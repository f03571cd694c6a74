package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grace is how late after its deadline a run may end here.
const grace = time.Second

var (
	began    = time.Now()
	deadline = began.Add(time.Hour)
)

// open is a run as JSON shows it before its end.
func open(run int, version int64, completed int) View {
	return View{
		CaseID: "c", Run: run, State: "running", Progress: Progress{Completed: completed, Total: 3},
		DeadlineAt: deadline, Version: version,
	}
}

// end is a run that succeeded, at version 5, with what changes make of it.
func end(changes ...func(*View)) View {
	v, at := open(1, 5, 2), began
	v.State, v.EndedAt, v.End = "succeeded", &at, &End{Reason: "completed", Source: "event"}
	v.Result, v.Documents = json.RawMessage(`{"success":true}`), json.RawMessage(`{"total":1}`)
	v.Checks.Count = 4
	for _, change := range changes {
		change(&v)
	}
	return v
}

func missing(v *View) {
	v.Result, v.Documents, v.End.Message = json.RawMessage("null"), json.RawMessage("null"), "without a result"
}

func failed(v *View) { v.State, v.End.Reason = "failed", "pipeline_failed" }

func of(run int) func(*View) { return func(v *View) { v.Run = run } }

func late(state string, count int) func(*View) {
	return func(v *View) { v.Late = &Late{State: state, Count: count} }
}

func checks(n int) func(*View) { return func(v *View) { v.Checks.Count = n } }

func reason(r string) func(*View) { return func(v *View) { v.End.Reason = r } }

func message(m string) func(*View) { return func(v *View) { v.End.Message = m } }

func due(v View, at time.Time) View {
	v.DeadlineAt = at
	return v
}

// event is an event of the stream. One of an end that is an error tells that the pipeline failed.
func event(name, id string, current int) string {
	run, _, _ := strings.Cut(id, ".")
	return fmt.Sprintf("event: %s\nid: %s\ndata: {\"jobId\":\"c\",\"case_id\":\"c\",\"run\":%s,\"current\":%d,"+
		"\"state\":\"failed\",\"code\":\"pipeline_failed\"}\n\n", name, id, run, current)
}

func progress(id string, current int) string { return event("progress", id, current) }
func complete(id string) string              { return event("complete", id, 2) }
func failure(id string) string               { return event("error", id, 0) }

// shown is what the readers of a case are shown.
type shown struct {
	polls   []View   // of JSON, in this order; the last one again and again
	streams []string // connection by connection, a number for an answer with that status; then 204
}

// server shows it.
type server struct {
	shown
	mu            sync.Mutex
	polled, opens int
}

func (s *server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(r.Header.Get("Accept"), "event-stream") {
		s.polled++
		if len(s.polls) == 0 {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, err := json.Marshal(s.poll(r.FormValue("run")))
		if err != nil {
			panic(err)
		}
		_, _ = rw.Write(body)
		return
	}
	s.opens++
	switch {
	case s.opens > len(s.streams):
		rw.WriteHeader(http.StatusNoContent)
	case s.streams[s.opens-1] == "500":
		rw.Header().Set("X-Instance", "1")
		rw.WriteHeader(http.StatusInternalServerError)
	case s.streams[s.opens-1] == "503": // there is no instance
		rw.WriteHeader(http.StatusServiceUnavailable)
	default:
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(rw, "retry: 1\n\n"+s.streams[s.opens-1])
	}
}

// poll is what the next poll shows. Every earlier run is shown as superseded.
func (s *server) poll(run string) View {
	if run != "" {
		s.polled-- // it is not one of the table
		return end(failed, func(v *View) { _, _ = fmt.Sscan(run, &v.Run) })
	}
	return s.polls[min(s.polled, len(s.polls))-1]
}

// over reports whether everything was shown, and read.
func (s *server) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := len(s.streams) == s.opens && (s.opens == 0 || s.streams[s.opens-1] == "500")
	return s.polled > len(s.polls) && (refused || s.opens > len(s.streams))
}

// TestWitness shows readers what they may be shown, and what they may not: each lie is named by the
// promise that it breaks, and by no other.
func TestWitness(t *testing.T) {
	json := func(polls ...View) shown { return shown{polls: polls} }
	both := func(poll View, streams ...string) shown { return shown{[]View{poll}, streams} }
	tests := []struct {
		name  string
		shown shown   // without streams, no reader opens one
		want  Promise // that is broken; "" for none
		seen  string  // part of what is said of it
	}{
		{"JSON goes on to its end", json(open(1, 3, 1), open(1, 3, 1), open(1, 4, 2), end(), end()), "", ""},
		{"a result is filled in", json(end(missing), end(), end()), "", ""},
		{"a late report is kept", json(end(), end(late("failed", 1)), end(late("failed", 2))), "", ""},
		{"the check under way is counted", json(end(), end(checks(5))), "", ""},
		{"progress goes back", json(open(1, 3, 2), open(1, 4, 1)), Forward, "status showed 1 documents"},
		{"an older version", json(open(1, 4, 1), open(1, 3, 1)), Forward, "version 3 after 4"},
		{"it runs again", json(end(), open(1, 6, 2)), Final, "running 2 of 3 again"},
		{"its end is dropped", json(end(missing), end(func(v *View) { v.End = nil })), Final, "again"},
		{"another state", json(end(), end(func(v *View) { v.State = "failed" })), Final, "and then failed"},
		{"another end", json(end(), end(failed)), Final, "and then failed, pipeline_failed"},
		{"another reason", json(end(), end(reason("deadline"))), Final, "and then succeeded, deadline"},
		{"another source", json(end(), end(func(v *View) { v.End.Source = "check" })), Final, "and then the check"},
		{"another time", json(end(), end(func(v *View) { v.EndedAt = &deadline })), Final, "had ended at"},
		{"more progress after the end", json(end(), end(func(v *View) { v.Progress.Completed++ })), Final, "progress"},
		{"another result", json(end(), end(func(v *View) { v.Result = []byte(`{}`) })), Final, "its result changed"},
		{"the result goes", json(end(), end(missing)), Final, "its result changed"},
		{"another message", json(end(), end(message("else"))), Final, "else"},
		{"a message alone", json(end(missing), end(missing, message("else"))), Final, "without a result"},
		{"other documents", json(end(), end(func(v *View) { v.Documents = nil })), Final, `{"total":1}`},
		{"another address", json(end(), end(func(v *View) { v.OutputURL = []byte(`"x"`) })), Final, `"x"`},
		{"a late report goes", json(end(late("failed", 1)), end()), Final, "after the end"},
		{"another late report", json(end(late("failed", 1)), end(late("succeeded", 2))), Final, "after the end"},
		{"a late report becomes the end", json(end(late("failed", 1)), end(failed)), Final, "and then failed"},
		{"checks go on", json(end(), end(checks(6))), OneChain, "and later 6"},
		{"another case", json(end(), end(func(v *View) { v.CaseID = "d" })), Told, `"case_id":"d"`},
		{"it never ends", json(due(open(1, 1, 0), began.Add(-time.Minute))), Ends, "has not ended"},
		{"it ends late", json(due(end(), began.Add(-time.Minute))), Ends, "1m0s after its deadline"},
		{"it times out early", json(end(func(v *View) { v.State = "timed_out" })), Ends, "before its deadline"},
		{"it cannot be read", json(), Ends, "never be read"},

		{"the stream goes on to its end", both(end(), progress("1.2", 1), progress("1.3", 2)+complete("1.5")), "", ""},
		{"there is no instance for a while", both(end(), progress("1.2", 1), "503", complete("1.5")), "", ""},
		{"a rerun goes on", both(end(of(2), failed), progress("1.9", 3)+progress("2.1", 0)+failure("2.2")), "", ""},
		{"the stream goes back", both(end(), progress("1.2", 2)+progress("1.3", 1)+complete("1.5")),
			Forward, "the stream showed 1 documents"},
		{"an event is repeated", both(end(), progress("1.2", 1), progress("1.2", 1)+complete("1.5")),
			Forward, "1.2 after 1.2"},
		{"a run before is shown", both(end(of(2)), progress("2.2", 1)+progress("1.9", 1)+complete("2.3")),
			Forward, "1.9 after 2.2"},
		{"two ends", both(end(), complete("1.5"), complete("1.6")), Told, "the end again"},
		{"progress after the end", both(end(), complete("1.4")+progress("1.5", 3)), Final, "the stream told succeeded"},
		{"no end", both(end(), progress("1.2", 1)), Told, "never told the end"},
		{"no end of an open run", both(open(1, 2, 1), progress("1.2", 1)), Told, "never told the end"},
		{"another end than status", both(end(failed), complete("1.5")), Final, "told succeeded, and status failed"},
		{"another kind of end than status", both(end(), failure("1.5")), Final, "status succeeded"},
		{"another reason than status", both(end(failed, reason("pipeline_lost")), failure("1.5")),
			Final, "and status failed, pipeline_lost"},
		{"an end that status takes back", both(open(1, 6, 2), complete("1.5")), Final, "and status"},
		{"an end that status never shows", both(open(1, 4, 2), complete("1.5")), Final, "and status never did"},
		{"the end of a run that is superseded",
			both(end(of(2)), strings.ReplaceAll(failure("1.4"), "pipeline_failed", "superseded")+complete("2.3")),
			Told, "superseded"},
		{"never told to stop", both(end(), complete("1.5"), "500"), Told, "answered 500"},
		{"the event of another case", both(end(), strings.ReplaceAll(complete("1.5"), `"c"`, `"d"`)),
			Told, `"case_id":"d"`},
		{"a retry that is no time", both(end(), "retry: soon\n\n"+complete("1.5")), Told, "retry: soon"},
		{"an event of no known kind", both(end(), event("end", "1.4", 2)+complete("1.5")), Told, "the stream sent end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &server{shown: test.shown}
			w := read(t, Options{Every: time.Millisecond}, len(s.streams) > 0, s.ServeHTTP)
			reading, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for !s.over() && ctxtime.Sleep(reading, time.Millisecond) == nil {
				continue
			}
			judging, cancel := context.WithTimeout(reading, time.Second)
			defer cancel()
			if test.want == "" { // it is over when everything was told
				judging = reading
			}
			w.Judge(judging, grace)
			w.Await(judging, func(View) bool { return test.want == "" || len(w.Breaches()) > 0 })
			got := w.Breaches()
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("got %v, want no breach", got)
			case test.want != "" &&
				(len(got) != 1 || got[0].Promise != test.want || !strings.Contains(got[0].Seen, test.seen)):
				t.Errorf("got %v, want a breach of %q: %q", got, test.want, test.seen)
			}
		})
	}
}

// TestRequests: a long poll says what the reader knows until the run has ended, and a stream is
// opened again with the id of the last event.
func TestRequests(t *testing.T) {
	asked := make(chan string, 100)
	var polls atomic.Int64
	often := Options{Every: time.Millisecond, Wait: time.Second}
	w := read(t, often, true, func(rw http.ResponseWriter, r *http.Request) {
		h := r.Header
		asked <- fmt.Sprint(r.URL.RawQuery, h["If-None-Match"], h["Last-Event-Id"])
		switch {
		case h.Get("Last-Event-Id") != "":
			rw.WriteHeader(http.StatusNoContent)
		case h.Get("Accept") == "text/event-stream":
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(rw, "retry: 1\n\n"+complete("1.5"))
		case h.Get("If-None-Match") != "" && polls.Add(1) == 1:
			rw.WriteHeader(http.StatusNotModified)
		case polls.Load() > 0:
			_ = json.NewEncoder(rw).Encode(end())
		default:
			_ = json.NewEncoder(rw).Encode(open(1, 3, 1))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w.Await(ctx, View.Ended)
	w.Judge(ctx, grace)
	var got []string
	for len(asked) > 0 {
		got = append(got, <-asked)
	}
	for _, want := range []string{`token=t[] []`, `token=t&wait=1s[W/"1.3"] []`, `token=t[] [1.5]`} {
		if !slices.Contains(got, want) {
			t.Errorf("got %q, want %q among them", got, want)
		}
	}
	if broken := w.Breaches(); len(broken) > 0 {
		t.Errorf("got %v, want no breach", broken)
	}
}

// read has a witness read what h serves, until the test ends.
func read(t *testing.T, o Options, stream bool, h http.HandlerFunc) *Witness {
	server := httptest.NewServer(h)
	o.Client = &http.Client{Transport: &http.Transport{}}
	w := New("c", server.URL+"/c?token=t", o)
	var reading sync.WaitGroup
	reading.Go(func() { w.Poll(t.Context()) })
	if stream {
		reading.Go(func() { w.Stream(t.Context()) })
	}
	t.Cleanup(func() {
		reading.Wait()
		o.Client.CloseIdleConnections()
		server.Close()
	})
	return w
}
