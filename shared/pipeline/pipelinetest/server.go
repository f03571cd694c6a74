// Package pipelinetest is a document pipeline for tests: a real HTTP server on loopback that speaks
// the pipeline's protocol. A test can make it answer wrongly. It records every request. It shares
// no code with the client that it tests.
//
// [Reaction] values script the answers to the POSTs of a case. The test sets the progress of the
// case ([Server.SetProgress], [Server.Finish], [Server.Forget], …). The server changes nothing by
// itself and never sleeps, unless a reaction says so.
//
//	p := pipelinetest.New(t)
//	p.Script("c-1", pipelinetest.Busy(503, "1"), pipelinetest.Sync(3))
//	…
//	p.WaitPosts(t.Context(), "c-1", 2)
//	p.SetProgress("c-1", 2, 3, "Srogs.docx")
//	p.Finish("c-1", nil)
//
// It writes no documents. Like the real pipeline, it keeps everything in memory.
package pipelinetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Server is a pipeline. Its methods are safe for concurrent use.
type Server struct {
	// URL is its address: http, host and port. The API works below any path prefix.
	URL string
	// OnEnd, if set before the first request, receives the completion event of every asynchronous
	// run that [Server.Finish] or [Server.Fail] ends. The event is the data of the message that a
	// real pipeline would publish. Those methods call it.
	OnEnd func(event []byte)
	// Key, if set before the first request, is the X-API-Key that requests must have; else the
	// answer is 401.
	Key string

	http    *httptest.Server
	closing chan struct{}
	close   sync.Once

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	fallback Reaction
	scripts  map[string]*script
	jobs     map[string]*job   // the newest job of each case
	held     map[string][]*job // every job of each case
	posts    []*Post
	polls    []*Poll
}

type script struct {
	posts, polls []Reaction
	posted       int
}

// New starts a server that is closed when the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatalf("pipelinetest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen starts a server at addr, for use outside of tests. The caller closes it.
func Listen(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("pipelinetest: %w", err)
	}
	s := &Server{
		closing: make(chan struct{}), changed: make(chan struct{}), fallback: Async(1),
		scripts: map[string]*script{}, jobs: map[string]*job{}, held: map[string][]*job{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/normalize", s.normalize)
	mux.HandleFunc("GET /api/progress/{case_id}", s.progress)
	s.http = httptest.NewUnstartedServer(withoutPrefix(mux))
	_ = s.http.Listener.Close() // httptest opened one of its own
	s.http.Listener = l
	s.http.Start()
	s.URL = s.http.URL
	return s, nil
}

// Close ends held requests without an answer and stops the server. A second call does nothing.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.closing)
		s.http.CloseClientConnections()
		s.http.Close()
	})
}

// Script sets the answers to the POSTs of a case: the first reaction for the first POST, and so on.
// The last reaction answers all further POSTs. Each call replaces the script.
func (s *Server) Script(caseID string, posts ...Reaction) {
	s.update(func() {
		sc := s.script(caseID)
		sc.posts, sc.posted = posts, 0
	})
}

// ScriptPolls sets the answers to the next polls of a case, one reaction each. Later polls return
// the real state.
func (s *Server) ScriptPolls(caseID string, polls ...Reaction) {
	s.update(func() { s.script(caseID).polls = polls })
}

// Default sets the answer to POSTs of cases without a script. The initial value is Async(1).
func (s *Server) Default(r Reaction) { s.update(func() { s.fallback = r }) }

func (s *Server) script(caseID string) *script {
	sc := s.scripts[caseID]
	if sc == nil {
		sc = &script{}
		s.scripts[caseID] = sc
	}
	return sc
}

// update changes the state and wakes the calls that wait for a change.
func (s *Server) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) normalize(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client disconnected
	}
	var form struct {
		CaseID *string `json:"case_id"`
		Run    int     `json:"run"`
	}
	valid := json.Unmarshal(body, &form) == nil && form.CaseID != nil && *form.CaseID != "" &&
		r.Header.Get("Content-Type") == "application/json"
	post := &Post{At: at, Header: r.Header.Clone(), Body: body, Run: form.Run}
	if form.CaseID != nil {
		post.CaseID = *form.CaseID
	}
	var react Reaction
	s.update(func() {
		s.posts = append(s.posts, post)
		react = s.fallback
		if sc := s.scripts[post.CaseID]; sc != nil && len(sc.posts) > 0 {
			react = sc.posts[min(sc.posted, len(sc.posts)-1)]
			sc.posted++
		}
	})
	switch {
	case s.Key != "" && r.Header.Get("X-API-Key") != s.Key:
		react = Answer(http.StatusUnauthorized, `{"detail":"Invalid API key"}`)
	case !valid:
		react = Answer(
			http.StatusUnprocessableEntity,
			`{"detail":[{"type":"missing","loc":["body","case_id"],"msg":"Field required","input":`+quote(
				string(body),
			)+`}]}`,
		)
	}
	react(&Exchange{server: s, w: w, r: r, caseID: post.CaseID, run: post.Run})
	s.update(func() { post.Done = time.Now() })
}

func (s *Server) progress(w http.ResponseWriter, r *http.Request) {
	caseID := r.PathValue("case_id")
	poll := &Poll{At: time.Now(), CaseID: caseID, Header: r.Header.Clone()}
	react := Reaction(truth)
	s.update(func() {
		s.polls = append(s.polls, poll)
		if sc := s.scripts[caseID]; sc != nil && len(sc.polls) > 0 {
			react, sc.polls = sc.polls[0], sc.polls[1:]
		}
	})
	if s.Key != "" && r.Header.Get("X-API-Key") != s.Key {
		react = Answer(http.StatusUnauthorized, `{"detail":"Invalid API key"}`)
	}
	react(&Exchange{server: s, w: w, r: r, caseID: caseID})
}
