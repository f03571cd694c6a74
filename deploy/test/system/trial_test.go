package system_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// plot is how a case of one kind goes, as far as the pipeline and its client have a say.
type plot struct {
	name   string
	weight int
	busy   int // POSTs that are answered so that nothing was started
	// posts is how the pipeline answers: documents, and the time for each.
	posts func(n int, each time.Duration) []pipelinetest.Reaction
	query string
	// then is what the pipeline or the client does with a run that was taken up. It returns when
	// the run has to end, the zero time if what the pipeline answered is the end.
	then  func(c *chaos, tr *trial, r run) time.Time
	state cases.State // how a run that was taken up ends
	// reasons are those for which it may, if not the one that a state usually has: an answer may be
	// lost on its way.
	reasons []cases.Reason
}

// usual is the reason for which a run ends so, unless its plot says otherwise.
var usual = map[cases.State]cases.Reason{
	cases.Succeeded: cases.ReasonCompleted, cases.Failed: cases.ReasonPipelineFailed,
	cases.TimedOut: cases.ReasonDeadline, cases.Cancelled: cases.ReasonCancelled,
}

func async(n int, _ time.Duration) []pipelinetest.Reaction {
	return []pipelinetest.Reaction{pipelinetest.Async(n)}
}

var plots = []plot{
	{name: "answers", weight: 5, posts: func(n int, each time.Duration) []pipelinetest.Reaction {
		return []pipelinetest.Reaction{pipelinetest.Work(n, 0, each)}
	}, state: cases.Succeeded},
	{name: "publishes", weight: 5, posts: async, then: func(c *chaos, tr *trial, r run) time.Time {
		tr.progress(c, 0)
		c.pipe.FinishRun(r.ID, r.Run, nil)
		return time.Now()
	}, state: cases.Succeeded},
	{name: "says-nothing", weight: 3, posts: async, then: func(c *chaos, tr *trial, _ run) time.Time {
		tr.progress(c, 0)
		return time.Now()
	}, state: cases.Succeeded},
	{name: "busy-first", weight: 2, busy: 2, posts: func(n int, each time.Duration) []pipelinetest.Reaction {
		return []pipelinetest.Reaction{
			pipelinetest.Busy(503, "1"), pipelinetest.Busy(429, ""), pipelinetest.Work(n, 0, each)}
	}, state: cases.Succeeded},
	{name: "takes-and-resets", weight: 2, posts: func(n int, _ time.Duration) []pipelinetest.Reaction {
		return []pipelinetest.Reaction{pipelinetest.Reset(true, n)}
	}, then: func(c *chaos, tr *trial, r run) time.Time {
		tr.progress(c, 0)
		c.pipe.FinishRun(r.ID, r.Run, nil)
		return time.Now()
	}, state: cases.Succeeded},
	{name: "publishes-failure", weight: 2, posts: async, then: func(c *chaos, tr *trial, r run) time.Time {
		tr.progress(c, 1)
		c.pipe.Fail(r.ID, "out of ink")
		return time.Now()
	}, state: cases.Failed},
	{name: "status-failed", weight: 2, posts: async, then: func(c *chaos, tr *trial, r run) time.Time {
		tr.progress(c, 1)
		c.pipe.SetStatus(r.ID, "failed", "out of paper", nil)
		return time.Now()
	}, state: cases.Failed},
	{name: "refuses", weight: 1, posts: func(int, time.Duration) []pipelinetest.Reaction {
		return []pipelinetest.Reaction{pipelinetest.RefuseDetail(422, "no such form")}
	}, state: cases.Failed, reasons: []cases.Reason{cases.ReasonPipelineRefused, cases.ReasonStartUnknown}},
	{name: "resets", weight: 1, posts: func(int, time.Duration) []pipelinetest.Reaction {
		return []pipelinetest.Reaction{pipelinetest.Reset(false, 0)}
	}, state: cases.Failed, reasons: []cases.Reason{cases.ReasonStartUnknown}},
	{name: "hangs", weight: 1, query: "?deadline=15s", posts: func(n int, _ time.Duration) []pipelinetest.Reaction {
		return []pipelinetest.Reaction{pipelinetest.Hang(true, n)}
	}, then: func(_ *chaos, tr *trial, r run) time.Time { return tr.w.Run(r.Run).DeadlineAt }, state: cases.TimedOut},
	{name: "cancelled", weight: 2, posts: async, then: func(c *chaos, tr *trial, r run) time.Time {
		time.Sleep(tr.each)
		if code, body := c.persist(http.MethodPost, r.CancelURL, ""); code != http.StatusOK {
			c.t.Errorf("%s: cancel: %d %s", tr.id, code, body)
		}
		return time.Now()
	}, state: cases.Cancelled},
	{name: "superseded", weight: 2, posts: async, then: func(c *chaos, tr *trial, r run) time.Time {
		if r.Run > 1 {
			tr.progress(c, 0)
			c.pipe.FinishRun(r.ID, r.Run, nil)
			return time.Now()
		}
		time.Sleep(tr.each)
		tr.begun(c, c.begin(`{"case_id":"`+r.ID+`"}`, "?supersede=true"))
		return time.Now()
	}, state: cases.Succeeded},
}

// trial is one case of the chaos.
type trial struct {
	plot
	id    string
	shown bool          // somebody reads its stream
	at    time.Duration // when it is started
	n     int           // documents
	each  time.Duration

	w       *witness.Witness // of the case, from its first run on
	mu      sync.Mutex
	runs    []run
	due     map[int]time.Time // when a run had to end
	working sync.WaitGroup
	until   time.Time
}

// draw makes the n-th case.
func (c *chaos) draw(dice *rand.Rand, n int) *trial {
	sum := 0
	for _, p := range plots {
		sum += p.weight
	}
	pick, which := dice.IntN(sum), 0
	for pick >= plots[which].weight {
		pick -= plots[which].weight
		which++
	}
	p := plots[which]
	each := 300 + dice.IntN(1500)
	if c.short {
		each /= 5
		if p.query != "" {
			p.query = "?deadline=6s"
		}
	}
	tr := &trial{
		plot: p, id: fmt.Sprintf("%s-%d", p.name, n), shown: n%viewed == 0,
		at: time.Duration(dice.Int64N(int64(c.lasts * 9 / 10))), n: 1 + dice.IntN(6),
		each: time.Duration(each) * time.Millisecond,
		due:  map[int]time.Time{},
	}
	c.pipe.Script(tr.id, p.posts(tr.n, tr.each)...)
	return tr
}

// live takes the case through, and returns when every run of it was seen to have ended, or the time
// is over.
func (tr *trial) live(c *chaos, until time.Time) {
	tr.until = until
	time.Sleep(time.Until(c.began.Add(tr.at)))
	first := c.begin(`{"case_id":"`+tr.id+`"}`, tr.query)
	o := witness.Options{Client: streaming, Every: 500 * time.Millisecond, Wait: 10 * time.Second}
	tr.w = witness.New(tr.id, first.StatusURL, o)
	if tr.shown {
		c.readers.Go(func() { tr.w.Stream(c.t.Context()) })
	}
	polling, stop := context.WithDeadline(c.t.Context(), until)
	defer stop()
	var reading sync.WaitGroup
	reading.Go(func() { tr.w.Poll(polling) })
	tr.begun(c, first)
	tr.working.Wait() // no more runs begin
	tr.w.Await(polling, func(witness.View) bool {
		return !slices.ContainsFunc(tr.runs, func(r run) bool { return tr.w.Run(r.Run).EndSeen.IsZero() })
	})
	stop()
	reading.Wait()
}

// begun notes a run that was started, and drives it.
func (tr *trial) begun(c *chaos, r run) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if slices.ContainsFunc(tr.runs, func(before run) bool { return before.Run == r.Run }) {
		c.t.Errorf("%s: run %d was begun again", tr.id, r.Run)
		return
	}
	tr.runs = append(tr.runs, r)
	tr.working.Go(func() { tr.drive(c, r) })
}

// taken reports whether the pipeline was sent the run otherwise than in vain.
func (tr *trial) taken(c *chaos, n int) bool { return len(c.pipe.PostsOfRun(tr.id, n)) > tr.busy }

// drive waits until the pipeline has the run, and lets happen what then happens.
func (tr *trial) drive(c *chaos, r run) {
	for !tr.taken(c, r.Run) || tr.w.Run(r.Run).Run == 0 {
		if tr.w.Run(r.Run).Ended() && !tr.taken(c, r.Run) || time.Now().After(tr.until) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	if tr.then == nil {
		return
	}
	due := tr.then(c, tr, r)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.due[r.Run] = due
}

// progress is the work of an asynchronous run, of which so many documents are left undone.
func (tr *trial) progress(c *chaos, left int) {
	for done := 1; done <= tr.n; done++ {
		time.Sleep(tr.each)
		c.pipe.SetProgress(tr.id, done, tr.n+left, fmt.Sprintf("%d.docx", done))
	}
}
