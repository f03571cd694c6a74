// Package pipelinetest is a document pipeline for tests: a real HTTP server on loopback that speaks the pipeline's side of the protocol,
// badly if asked to, and writes down everything that it is sent. It shares no code with the client it tests.
//
// What it answers to a case's POSTs is scripted by [Reaction] values; how the case gets on is told it by the test ([Server.SetProgress],
// [Server.Finish], [Server.Forget], …). It does nothing by itself and never sleeps, unless a reaction says so.
//
//	p := pipelinetest.New(t)
//	p.Script("c-1", pipelinetest.Busy(503, "1"), pipelinetest.Sync(3))
//	…
//	p.WaitPosts(t.Context(), "c-1", 2)
//	p.SetProgress("c-1", 2, 3, "Srogs.docx")
//	p.Finish("c-1", nil)
//
// Its limits: it writes no documents, and like the real one it keeps everything in memory.
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
	// URL is where it is: http, host and port. Paths below any prefix work.
	URL string
	// OnEnd, if set before the first request, is given the completion event of every asynchronous run that ends by [Server.Finish] or
	// [Server.Fail]: the data of the message that a real pipeline would publish. It is called by those methods.
	OnEnd func(event []byte)
	// Key, if set before the first request, has to come as X-API-Key; otherwise the answer is 401.
	Key string

	http    *httptest.Server
	closing chan struct{}
	close   sync.Once

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	fallback Reaction
	scripts  map[string]*script
	jobs     map[string]*job   // by case: the newest
	held     map[string][]*job // by case: every job there was
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
	_ = s.http.Listener.Close() // the one that httptest chose
	s.http.Listener = l
	s.http.Start()
	s.URL = s.http.URL
	return s, nil
}

// Close ends what is held open, without an answer, and stops the server. A second call does nothing.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.closing)
		s.http.CloseClientConnections()
		s.http.Close()
	})
}

// Script sets how the POSTs of a case are answered: the first by the first reaction, and so on; the last one stays.
// It begins anew with each call.
func (s *Server) Script(caseID string, posts ...Reaction) {
	s.update(func() {
		sc := s.script(caseID)
		sc.posts, sc.posted = posts, 0
	})
}

// ScriptPolls sets how the next polls of a case are answered, one reaction each; after them they are answered truthfully again.
func (s *Server) ScriptPolls(caseID string, polls ...Reaction) {
	s.update(func() { s.script(caseID).polls = polls })
}

// Default sets how POSTs of cases without a script are answered. It is Async(1) at first.
func (s *Server) Default(r Reaction) { s.update(func() { s.fallback = r }) }

func (s *Server) script(caseID string) *script {
	sc := s.scripts[caseID]
	if sc == nil {
		sc = &script{}
		s.scripts[caseID] = sc
	}
	return sc
}

// update changes the state and wakes those who wait for a change.
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
		return // the client is gone
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
		react = Answer(http.StatusUnprocessableEntity,
			`{"detail":[{"type":"missing","loc":["body","case_id"],"msg":"Field required","input":`+quote(string(body))+`}]}`)
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
