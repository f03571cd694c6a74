package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// witness sees everything that readers of one case are shown, and notes what breaks a promise. Its methods are safe for concurrent use.
type witness struct {
	caseID string

	mu       sync.Mutex
	runs     map[int]*seenRun
	latest   view // of the newest run
	breaches []breach
	news     chan struct{} // closed at the next sight
}

// seenRun is what was seen of one run.
type seenRun struct {
	last    view // as JSON
	end     *view
	endSeen time.Time
	looks   int // checks that the run had when its end was first seen
	marks   map[string]mark
	told    int // ends on the stream
}

// mark is how far a reader, or a version of the record, was.
type mark struct {
	version   int64
	completed int
	percent   float64
}

func newWitness(caseID string) *witness {
	return &witness{caseID: caseID, runs: map[int]*seenRun{}, news: make(chan struct{})}
}

// breach notes a broken promise; the same one of a run once.
func (w *witness) breach(p promise, run int, format string, args ...any) {
	b := breach{p, w.caseID, run, fmt.Sprintf(format, args...)}
	same := func(other breach) bool { return other.Promise == p && other.Run == run }
	if n := slices.IndexFunc(w.breaches, same); n < 0 {
		w.breaches = append(w.breaches, b)
	}
}

// accuse is breach for those who do not hold the lock.
func (w *witness) accuse(p promise, run int, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breach(p, run, format, args...)
}

func (w *witness) run(n int) *seenRun {
	if w.runs[n] == nil {
		w.runs[n] = &seenRun{marks: map[string]mark{}}
	}
	return w.runs[n]
}

// saw takes in a run as JSON shows it, to one reader that asks again and again.
func (w *witness) saw(v view, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.run(v.Run)
	w.moved(r, "status", v.Run, mark{v.Version, v.Progress.Completed, v.Progress.Percent})
	switch {
	case r.end == nil && v.ended():
		r.end, r.endSeen, r.looks = &v, at, v.Checks.Count
	case r.end != nil:
		w.compare(r, v)
	}
	r.last = v
	if v.Run >= w.latest.Run {
		w.latest = v
	}
	close(w.news)
	w.news = make(chan struct{})
}

// moved compares a sight with the one before of the same reader.
func (w *witness) moved(r *seenRun, reader string, run int, now mark) {
	before := r.marks[reader]
	switch {
	case now.version < before.version:
		w.breach(forward, run, "%s showed version %d after %d", reader, now.version, before.version)
	case now.completed < before.completed || now.percent < before.percent:
		w.breach(forward, run, "%s showed %d documents (%.1f %%) after %d (%.1f %%)", reader, now.completed, now.percent, before.completed, before.percent)
	}
	now.completed, now.percent = max(now.completed, before.completed), max(now.percent, before.percent)
	r.marks[reader] = now
}

// compare looks whether an end is as it was.
func (w *witness) compare(r *seenRun, v view) {
	e := *r.end
	switch {
	case !v.ended():
		w.breach(final, v.Run, "it was %s, and then %s again", e.words(), v.words())
		return
	case v.State != e.State || v.End.Reason != e.End.Reason:
		w.breach(final, v.Run, "it was %s, and then %s", e.words(), v.words())
	case !v.EndedAt.Equal(*e.EndedAt):
		w.breach(final, v.Run, "it had ended at %s, and then at %s", e.EndedAt.Format(time.RFC3339Nano), v.EndedAt.Format(time.RFC3339Nano))
	case v.Progress != e.Progress:
		w.breach(final, v.Run, "its progress at the end was %d of %d, and then %d of %d", e.Progress.Completed, e.Progress.Total, v.Progress.Completed, v.Progress.Total)
	case !none(e.Result) && !bytes.Equal(e.Result, v.Result):
		w.breach(final, v.Run, "its result changed after the end")
	case e.Late != nil && (v.Late == nil || v.Late.State != e.Late.State || v.Late.Count < e.Late.Count):
		w.breach(final, v.Run, "what was said after the end was kept, and then changed or dropped")
	}
	if none(e.Result) && !none(v.Result) {
		r.end.Result = v.Result // the first one fills in what was missing
	}
	if e.Late == nil {
		r.end.Late = v.Late
	}
	// One that was under way may still be counted.
	if v.Checks.Count > r.looks+1 {
		w.breach(oneChain, v.Run, "%d checks had looked when it ended, and later %d", r.looks, v.Checks.Count)
	}
}

func none(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// streamed takes in an event of the stream. The order of its id is that of the reader's whole life.
func (w *witness) streamed(e streamEvent, before eventID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.run(e.id.run)
	if !before.less(e.id) {
		w.breach(forward, e.id.run, "the stream sent event %s after %s", e.id, before)
	}
	switch e.name {
	case "progress":
		if r.told > 0 {
			w.breach(final, e.id.run, "the stream told the end, and then %d of %d", e.Current, e.Total)
		}
		w.moved(r, "the stream", e.id.run, mark{e.id.version, e.Current, e.Percent})
	case "complete", "error":
		if r.told++; r.told > 1 {
			w.breach(told, e.id.run, "the stream told the end %d times", r.told)
		}
		if state := e.endState(); r.end != nil && state != r.end.State {
			w.breach(final, e.id.run, "the stream told %s, and status %s", state, r.end.State)
		}
	}
}

// closed says that the stream answered that there is nothing more to come.
func (w *witness) closed(run int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run(run).told == 0 {
		w.breach(told, run, "the stream said that nothing more comes, and never told the end")
	}
}

// now returns the newest run as it was last seen, and a channel that is closed when there is news.
func (w *witness) now() (view, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.news
}

// open returns the runs that were not seen to end, and the newest one.
func (w *witness) open() (open []int, newest int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest = w.latest.Run
	for n := 1; n <= newest; n++ {
		if r := w.runs[n]; r == nil || r.end == nil {
			open = append(open, n)
		}
	}
	return open, newest
}
