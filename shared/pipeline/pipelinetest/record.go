package pipelinetest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Post is one POST that the server received.
type Post struct {
	At     time.Time // when its headers had arrived
	Done   time.Time // when it was answered or cut off; zero while it is held
	CaseID string    // from the body
	Run    int
	Header http.Header
	Body   []byte
}

// Poll is one poll that the server received.
type Poll struct {
	At     time.Time
	CaseID string
	Header http.Header
}

// Posts returns the POSTs of a case, oldest first. "" means every case.
func (s *Server) Posts(caseID string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Post
	for _, p := range s.posts {
		if caseID == "" || p.CaseID == caseID {
			found = append(found, *p)
		}
	}
	return found
}

// PostsOfRun returns the POSTs of one run of a case, oldest first.
func (s *Server) PostsOfRun(caseID string, run int) []Post {
	return slices.DeleteFunc(s.Posts(caseID), func(p Post) bool { return p.Run != run })
}

// Polls returns the polls of a case, oldest first. "" means every case.
func (s *Server) Polls(caseID string) []Poll { return s.PollsAfter(caseID, time.Time{}) }

// PollsAfter returns the polls of a case that arrived after t, oldest first. "" means every case.
func (s *Server) PollsAfter(caseID string, t time.Time) []Poll {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Poll
	for _, p := range s.polls {
		if (caseID == "" || p.CaseID == caseID) && p.At.After(t) {
			found = append(found, *p)
		}
	}
	return found
}

// Open returns how many POSTs are held.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.posts {
		if p.Done.IsZero() {
			n++
		}
	}
	return n
}

// WaitPosts waits until n POSTs of the case have arrived. The error is that of the context.
func (s *Server) WaitPosts(ctx context.Context, caseID string, n int) error {
	return s.Wait(ctx, func() bool { return len(s.Posts(caseID)) >= n })
}

// WaitWork waits until POSTs have started n runs of the case; then [Server.Finish] can end them.
// The error is that of the context.
func (s *Server) WaitWork(ctx context.Context, caseID string, n int) error {
	return s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.held[caseID]) >= n
	})
}

// Wait waits until the condition is true. It evaluates the condition after each request, each
// answer and each change by the test. The error is that of the context, or says that the server was
// closed.
func (s *Server) Wait(ctx context.Context, condition func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-s.closing:
			return fmt.Errorf("pipelinetest: %w", http.ErrServerClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withoutPrefix serves the API below any path prefix.
func withoutPrefix(next http.Handler) http.Handler {
	cut := func(path string) string {
		if i := strings.Index(path, "/api/"); i > 0 {
			return path[i:]
		}
		return path
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = cut(r.URL.Path), cut(r.URL.RawPath)
		next.ServeHTTP(w, r)
	})
}
