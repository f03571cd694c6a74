package witness

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Options say how a witness reads its case.
type Options struct {
	Client *http.Client  // it has no timeout of its own: a stream lasts
	Every  time.Duration // between two polls of the JSON
	Wait   time.Duration // how long a poll of an open run waits for a change; 0: it does not wait
	Cut    time.Duration // how long a stream is read before the reader cuts it, and reconnects; 0: until it ends
}

// Witness sees everything that readers of one case are shown, and notes what breaks a promise. Its
// methods are safe for concurrent use; but Poll and Read are one reader, which reads one thing at a
// time.
type Witness struct {
	CaseID string
	url    string
	o      Options

	mu       sync.Mutex
	runs     map[int]*seenRun
	newest   int // run
	breaches []Breach
	news     chan struct{} // closed at the next sight

	// Of the stream.
	streams       bool // there is a reader of it
	last          ID   // of the last event
	retry         time.Duration
	events        []Event
	stopped       int // the last run at which it said that nothing more comes
	visits, broke int // connections; those that broke
}

// Seen is what was seen of one run.
type Seen struct {
	View              // as JSON showed it last
	EndSeen time.Time // when JSON showed its end first; zero: it never did
}

type seenRun struct {
	Seen
	checks         int // that had polled when the end was first seen
	status, stream mark
	told           *Event // the first end on the stream
}

// mark is how far a reader was.
type mark struct {
	version   int64
	completed int
	percent   float64
}

// New returns a witness of a case. statusURL is the status_url that start answered, with its token.
func New(caseID, statusURL string, o Options) *Witness {
	return &Witness{CaseID: caseID, url: statusURL, o: o, runs: map[int]*seenRun{}, news: make(chan struct{})}
}

// Accuse notes that a promise was broken. Of a run each promise is noted once: the first time.
func (w *Witness) Accuse(p Promise, run int, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breach(p, run, format, args...)
}

func (w *Witness) breach(p Promise, run int, format string, args ...any) {
	same := func(other Breach) bool { return other.Promise == p && other.Run == run }
	if !slices.ContainsFunc(w.breaches, same) {
		w.breaches = append(w.breaches, Breach{p, w.CaseID, run, fmt.Sprintf(format, args...)})
	}
}

// Breaches returns what was seen broken.
func (w *Witness) Breaches() []Breach {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.breaches)
}

// Events returns what the stream showed.
func (w *Witness) Events() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// Connections returns how many times the stream was opened, and how many of these connections
// broke.
func (w *Witness) Connections() (opened, broke int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.visits, w.broke
}

// Run returns what was seen of a run; the zero value if JSON never showed it.
func (w *Witness) Run(n int) Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.run(n).Seen
}

// Latest returns the newest run as JSON showed it last; the zero value if it never did.
func (w *Witness) Latest() View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.run(w.newest).View
}

// Open returns the runs that were not seen to end, and the number of the newest run, 0 if none was
// seen.
func (w *Witness) Open() (open []int, newest int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := 1; n <= w.newest; n++ {
		if w.run(n).EndSeen.IsZero() {
			open = append(open, n)
		}
	}
	return open, w.newest
}

// Await waits until the newest run is as asked, and reports whether ctx lasted that long. It asks
// after each sight.
func (w *Witness) Await(ctx context.Context, is func(View) bool) bool {
	for {
		w.mu.Lock()
		v, news := w.run(w.newest).View, w.news
		w.mu.Unlock()
		if is(v) {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

func (w *Witness) run(n int) *seenRun {
	if w.runs[n] == nil {
		w.runs[n] = &seenRun{}
	}
	return w.runs[n]
}

// tell lets those who await something look.
func (w *Witness) tell() {
	close(w.news)
	w.news = make(chan struct{})
}

// Saw takes in a run as JSON shows it to one reader.
func (w *Witness) Saw(v View, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.tell()
	w.newest = max(w.newest, v.Run)
	r := w.run(v.Run)
	w.moved("status", &r.status, v.Run, mark{v.Version, v.Progress.Completed, v.Progress.Percent})
	switch {
	case !r.EndSeen.IsZero():
		w.compare(r, v)
	case v.Ended():
		r.Seen, r.checks = Seen{v, at}, v.Checks.Count
		if v.State == "timed_out" && v.EndedAt.Before(v.DeadlineAt) {
			w.breach(Ends, v.Run, "it timed out %s before its deadline", v.DeadlineAt.Sub(*v.EndedAt))
		}
		w.agree(r)
	default:
		r.View = v
		if r.told != nil && v.Version >= r.told.ID.Version {
			w.breach(Final, v.Run, "the stream told %s, and status then showed %s", r.told, v)
		}
	}
}

// moved compares a sight with the one before of the same reader.
func (w *Witness) moved(reader string, before *mark, run int, now mark) {
	switch {
	case now.version < before.version:
		w.breach(Forward, run, "%s showed version %d after %d", reader, now.version, before.version)
	case now.completed < before.completed || now.percent < before.percent:
		w.breach(Forward, run, "%s showed %d documents (%.1f %%) after %d (%.1f %%)",
			reader, now.completed, now.percent, before.completed, before.percent)
	}
	now.completed, now.percent = max(now.completed, before.completed), max(now.percent, before.percent)
	*before = now
}

// compare looks whether an end is as it was. The first result fills in a missing one, with what
// follows from it.
func (w *Witness) compare(r *seenRun, v View) {
	was := r.View
	if !v.Ended() {
		w.breach(Final, v.Run, "it was %s, and then %s again", was, v)
		return
	}
	switch filled := !was.hasResult() && v.hasResult(); {
	case v.State != was.State || v.End.Reason != was.End.Reason:
		w.breach(Final, v.Run, "it was %s, and then %s", was, v)
	case v.End.Source != was.End.Source:
		w.breach(Final, v.Run, "the %s had ended it, and then the %s", was.End.Source, v.End.Source)
	case !v.EndedAt.Equal(*was.EndedAt):
		w.breach(Final, v.Run, "it had ended at %s, and then at %s",
			was.EndedAt.Format(time.RFC3339Nano), v.EndedAt.Format(time.RFC3339Nano))
	case v.Progress != was.Progress:
		w.breach(Final, v.Run, "its progress at the end was %+v, and then %+v", was.Progress, v.Progress)
	case was.hasResult() && !bytes.Equal(v.Result, was.Result):
		w.breach(Final, v.Run, "its result changed after the end")
	case !filled && v.account() != was.account():
		w.breach(Final, v.Run, "its end told %.300s, and then %.300s", was.account(), v.account())
	case was.Late != nil && (v.Late == nil || v.Late.State != was.Late.State || v.Late.Count < was.Late.Count):
		w.breach(Final, v.Run, "what was reported after the end was kept, and then changed or dropped")
	}
	if v.Checks.Count > r.checks+1 { // one that was under way may still be counted
		w.breach(OneChain, v.Run, "%d checks had polled when it ended, and later %d", r.checks, v.Checks.Count)
	}
	r.View = v
}

// streamed takes in an event of the stream. The order of ids is that of the reader's whole life.
func (w *Witness) streamed(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.tell()
	w.events = append(w.events, e)
	r := w.run(e.Run)
	if !w.last.before(e.ID) {
		w.breach(Forward, e.Run, "the stream sent event %s after %s", e.ID, w.last)
	}
	w.last = e.ID
	switch {
	case !e.IsEnd():
		if r.told != nil {
			w.breach(Final, e.Run, "the stream told %s, and then %s", r.told, e)
		}
		w.moved("the stream", &r.stream, e.Run, mark{e.ID.Version, e.Current, e.Percent})
	case e.Code == "superseded":
		w.breach(Told, e.Run, "the stream told that it was superseded, and is to go on with the next run")
	case r.told != nil:
		w.breach(Told, e.Run, "the stream told the end again: %s", e)
	default:
		r.told = &e
		w.agree(r)
	}
}

// agree looks whether stream and status tell the same end, once both have.
func (w *Witness) agree(r *seenRun) {
	if r.told != nil && !r.EndSeen.IsZero() && !r.told.agrees(r.View) {
		w.breach(Final, r.Run, "the stream told %s, and status %s", r.told, r.View)
	}
}

// closed says that the stream answered that there is nothing more to come.
func (w *Witness) closed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.tell()
	w.stopped = max(1, w.last.Run)
	if w.run(w.stopped).told == nil {
		w.breach(Told, w.stopped, "the stream said that nothing more comes, and never told the end")
	}
}

// Judge notes what is missing. Before, it waits until the stream has told the end that status shows
// of the newest run, and that nothing more comes, or until ctx ends; it does not wait for a run to
// end. grace is how late after its deadline a run may end. Reading may go on.
func (w *Witness) Judge(ctx context.Context, grace time.Duration) {
	w.Await(ctx, func(View) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		newest := w.run(w.newest)
		ended, told := !newest.EndSeen.IsZero(), newest.told != nil
		return !w.streams || !ended && !told || ended && told && w.stopped >= w.newest
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.newest == 0 {
		w.breach(Ends, 1, "it was accepted, and its status could never be read")
	}
	newest := w.run(w.newest)
	for n := 1; n <= w.newest; n++ {
		r := w.run(n)
		switch {
		case r.EndSeen.IsZero():
			if due := newest.DeadlineAt; time.Since(due) > grace { // it may never have been read itself
				w.breach(Ends, n, "it has not ended; its deadline was at %s", due.Format(time.TimeOnly))
			}
		case r.EndedAt.Sub(r.DeadlineAt) > grace:
			w.breach(Ends, n, "it ended %s after its deadline", r.EndedAt.Sub(r.DeadlineAt).Round(time.Second))
		}
	}
	for n, r := range w.runs {
		if r.told != nil && r.EndSeen.IsZero() {
			w.breach(Final, n, "the stream told %s, and status never did", r.told)
		}
	}
	// The stream need not tell of an earlier run that was superseded while it was watched.
	switch {
	case !w.streams || newest.EndSeen.IsZero():
	case newest.told == nil:
		w.breach(Told, w.newest, "it has ended (%s), and the stream did not tell", newest.View)
	case w.stopped < w.newest:
		w.breach(Told, w.newest, "the stream told the end, and not that nothing more comes")
	}
}
