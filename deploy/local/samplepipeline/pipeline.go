package samplepipeline

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// maxForm is the largest form, in bytes: Casewatch's own limit and room for what it adds.
	maxForm = 1 << 20
	// maxJobs is how many ended jobs are remembered; the oldest are forgotten.
	maxJobs = 5_000
	// maxEvent is the largest event, in bytes; the list of documents is left out of a larger one.
	maxEvent = 350 << 10
)

// Options say what a [Pipeline] is.
type Options struct {
	// Publish publishes the data of one event to the pipeline's topic. It must be safe for concurrent use. nil: events fail, and that is logged.
	Publish func(ctx context.Context, data []byte) error
	// BaseURL returns the scheme, host and prefix under which the handler is reached, for output_url; without a slash at the end.
	BaseURL func() string
	// Dir is where documents are written: Dir/case_id/run/. It is created.
	Dir string
	// DocumentTime is about how long a document takes; 1 s if zero.
	DocumentTime time.Duration
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Stats counts what a pipeline did since it began.
type Stats struct {
	Started int // jobs started
	Joined  int // requests that found the job of their Idempotency-Key
	Running int // jobs under way, hanging ones included
}

// Pipeline is a sample pipeline. Its methods are safe for concurrent use.
type Pipeline struct {
	opts   Options
	ctx    context.Context // of all jobs
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	stats  Stats
	byKey  map[string]*job // by Idempotency-Key
	byCase map[string]*job // the newest of a case
	busy   map[string]int  // 503s answered, by key
	// records are what was asked, by case; recorded are their cases, oldest first.
	records  map[string]*record
	recorded []string
	ended    []*job // oldest first
	root     *os.Root
}

// New makes a pipeline. It works until [Pipeline.Close].
func New(o Options) *Pipeline {
	o.DocumentTime = cmp.Or(o.DocumentTime, time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	p := &Pipeline{opts: o, byKey: map[string]*job{}, byCase: map[string]*job{}, busy: map[string]int{}, records: map[string]*record{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends every job where it stands, as the end of a process would, cuts the requests that wait for one, and returns when no job is left.
// Requests that come later are cut too.
func (p *Pipeline) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.root != nil {
		_ = p.root.Close() // nothing was buffered
		p.root = nil
	}
}

// Stats returns the counts so far.
func (p *Pipeline) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Handler returns the pipeline's HTTP interface, which the package's comment describes.
func (p *Pipeline) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/normalize", p.normalize)
	mux.HandleFunc("GET /api/progress/{case_id}", p.progress)
	mux.HandleFunc("GET /api/record/{case_id}", p.record)
	mux.HandleFunc("GET /documents/{case_id}/{run}/{file...}", p.document)
	// A web page of another origin must not be able to start jobs here.
	return http.NewCrossOriginProtection().Handler(mux)
}

// dir returns the folder of all documents, below which nothing leads out.
func (p *Pipeline) dir() (*os.Root, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, os.ErrClosed
	}
	if p.root != nil {
		return p.root, nil
	}
	if err := os.MkdirAll(p.opts.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	root, err := os.OpenRoot(p.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	p.root = root
	return root, nil
}

// join returns the job of a key, if it is still known.
func (p *Pipeline) join(key string) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.byKey[key]
	if key == "" || j == nil {
		return nil
	}
	p.stats.Joined++
	return j
}

// begin starts the job of a form, or returns the one that its key has meanwhile got, and whether it did. nil: the pipeline is closed.
func (p *Pipeline) begin(f *form, key, traceParent string) (_ *job, joined bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false
	}
	if j := p.byKey[key]; key != "" && j != nil {
		p.stats.Joined++
		return j, true
	}
	j := newJob(f, key, traceParent, time.Now())
	p.stats.Started++
	p.stats.Running++
	if key != "" {
		p.byKey[key] = j
	}
	p.byCase[string(f.CaseID)] = j
	p.wg.Go(func() { p.run(j) })
	return j, false
}

// end marks a job as ended and forgets the oldest when there are too many.
func (p *Pipeline) end(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Running--
	p.ended = append(p.ended, j)
	if len(p.ended) > maxJobs {
		p.forget(p.ended[0])
		p.ended[0] = nil
		p.ended = p.ended[1:]
	}
}

// forget makes a job unknown. It is called with the lock held.
func (p *Pipeline) forget(j *job) {
	if p.byKey[j.key] == j {
		delete(p.byKey, j.key)
	}
	if id := string(j.form.CaseID); p.byCase[id] == j {
		delete(p.byCase, id)
	}
}

// refusals counts the 503s of a busy pipeline, and reports whether another is due.
func (p *Pipeline) refusals(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[key] == 2 {
		delete(p.busy, key)
		return false
	}
	if len(p.busy) >= maxJobs {
		clear(p.busy) // callers that never came back
	}
	p.busy[key]++
	return true
}
