package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/queue"
)

// changed serves h, with what it answers as JSON to status changed by f. Streams stay.
func changed(h http.Handler, f func(run map[string]any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "event-stream") {
			h.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		var run map[string]any
		if answer.Code == http.StatusOK && json.Unmarshal(body, &run) == nil {
			f(run)
			body, _ = json.Marshal(run)
		}
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
	})
}

// delivered serves h, and tells f of each task that it was given.
func delivered(h http.Handler, f func(queue.Body)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(data))
		h.ServeHTTP(w, r)
		if body, err := queue.DecodeBody(data); err == nil {
			f(body)
		}
	})
}

// at plants a bug at one path.
func at(where string, bug func(*machine.Machine, http.Handler) http.Handler) plant {
	return func(m *machine.Machine, path string, h http.Handler) http.Handler {
		if path != where {
			return h
		}
		return bug(m, h)
	}
}

// Every promise is seen to be broken by a bug that breaks it, and by that promise's name.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		bug   plant
		fault string
		want  witness.Promise
		seen  string // part of what is told of it
		slow  bool   // it takes until what was lost should have been found
	}{
		{"a reader is shown older progress", at("/status/", func(_ *machine.Machine, h http.Handler) http.Handler {
			var mu sync.Mutex
			reads := 0
			return changed(h, func(run map[string]any) {
				mu.Lock()
				defer mu.Unlock()
				if reads++; reads%2 == 0 && run["ended_at"] == nil {
					run["progress"].(map[string]any)["completed"] = 0
				}
			})
		}), "disordered-events", witness.Forward, "status showed 0 documents", false},
		{"the stream drops the end", at("/status/", func(_ *machine.Machine, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(&endless{w}, r)
			})
		}), "repeated-event", witness.Told, "the stream did not tell", false},
		{"a repeated dispatch starts the pipeline again",
			at("/dispatch", func(m *machine.Machine, h http.Handler) http.Handler {
				var mu sync.Mutex
				seen := map[queue.Body]bool{}
				return delivered(h, func(b queue.Body) {
					mu.Lock()
					again := seen[b]
					seen[b] = true
					mu.Unlock()
					if again {
						form := fmt.Sprintf(`{"case_id":%q,"run":%d,"sample":{"mode":"silent","fault":"hang"}}`,
							b.CaseID, b.Run)
						post(m.Config.Pipeline.URL+"/api/normalize", form)
					}
				})
			}), "stale-tasks", witness.Once, "was started 41 times", false},
		{"a report after the end becomes the end",
			at("/status/", func(_ *machine.Machine, h http.Handler) http.Handler {
				return changed(h, func(run map[string]any) {
					if late, ok := run["late"].(map[string]any); ok {
						run["state"], run["late"] = late["state"], nil
					}
				})
			}), "late-event", witness.Final, "it was succeeded, completed, and then failed", false},
		{"a report after the end is dropped", at("/status/", func(_ *machine.Machine, h http.Handler) http.Handler {
			return changed(h, func(run map[string]any) { run["late"] = nil })
		}), "cancel-twice", witness.Final, "is not kept as late", true},
		{"checks of ended runs ask the pipeline", at("/check", func(m *machine.Machine, h http.Handler) http.Handler {
			return delivered(h, func(b queue.Body) {
				if over(m, b.CaseID) {
					get(m.Config.Pipeline.URL + "/api/progress/" + b.CaseID)
				}
			})
		}), "stale-tasks", witness.OneChain, "times after the end", false},
		{"repeated checks of open runs ask the pipeline",
			at("/check", func(m *machine.Machine, h http.Handler) http.Handler {
				return delivered(h, func(b queue.Body) {
					if !over(m, b.CaseID) {
						get(m.Config.Pipeline.URL + "/api/progress/" + b.CaseID)
					}
				})
			}), "stale-tasks", witness.OneChain, "and its checks tell of", false},
		{"a start ignores its Idempotency-Key", at("/start", func(_ *machine.Machine, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Idempotency-Key")
				h.ServeHTTP(w, r)
			})
		}), "repeated-start", witness.Once, "was answered", false},
		{"nothing sweeps", at("/sweep", func(_ *machine.Machine, _ http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		}), "kill-at-check", witness.Ends, "it has not ended", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.slow && testing.Short() {
				t.Skip("it takes half a minute: leave out -short")
			}
			where := newTarget(t, test.bug)
			if test.want == witness.Ends {
				where.Patience = 15
			}
			_, rep, _ := drilled(t, where, "--only", test.fault)
			if got := rep.Faults[0].Promises[test.want]; got != broken {
				t.Errorf("%q is %s, want %s", test.want, got, broken)
			}
			for _, b := range rep.Faults[0].Breaches {
				if b.Promise == test.want && !strings.Contains(b.Seen, test.seen) {
					t.Errorf("%q is said to be broken by another thing: %s", b.Promise, b.Seen)
				}
				if b.Promise != test.want && !alsoBroken(test.want, b.Promise) {
					t.Errorf("%q is said to be broken too: %s", b.Promise, b.Seen)
				}
			}
		})
	}
}

// alsoBroken reports whether a bug that breaks one promise may well break another.
func alsoBroken(want, other witness.Promise) bool {
	return want == witness.Ends && other == witness.Told // what does not end is not told to have ended
}

// endless is a stream without its end.
type endless struct{ http.ResponseWriter }

func (e *endless) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("event: complete")) {
		return len(p), nil
	}
	return e.ResponseWriter.Write(p)
}

func (e *endless) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func post(to, body string) {
	if res, err := http.Post(to, "application/json", strings.NewReader(body)); err == nil {
		_ = res.Body.Close()
	}
}

func get(from string) {
	if res, err := http.Get(from); err == nil {
		_ = res.Body.Close()
	}
}

// over reports whether the first run of a case has ended.
func over(m *machine.Machine, caseID string) bool {
	d := newDoor(m.Target())
	defer d.http.CloseIdleConnections()
	var found struct {
		Case witness.View `json:"case"`
	}
	err := d.console(context.Background(), "/"+caseID+"?run=1", &found)
	return err == nil && found.Case.Ended()
}
