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
	// maxForm is the limit for a form in bytes: Casewatch's own limit, and room for what it adds.
	maxForm = 1 << 20

	// maxJobs is the number of ended jobs that are kept. The oldest are forgotten first.
	maxJobs = 5_000

	// maxEvent is the limit for an event in bytes. A larger event leaves out the list of documents.
	maxEvent = 350 << 10
)

// Options configure a [Pipeline]. Only Dir is required.
type Options struct {
	// Publish publishes the data of an event to the pipeline's topic. It must be safe for
	// concurrent use. Without it, no event is published, and each one is logged as an error.
	Publish func(ctx context.Context, data []byte) error

	// BaseURL returns the scheme, host and path prefix of the handler, without a slash at the end.
	// It is used for output_url.
	BaseURL func() string

	// Dir is the directory for documents, which are written to Dir/case_id/run/. It is created if
	// it does not exist.
	Dir string

	// DocumentTime is the average time for one document. It is 1 s if zero.
	DocumentTime time.Duration

	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Stats counts the jobs of a pipeline since New.
type Stats struct {
	Started int // jobs that were started
	Joined  int // requests that got the existing job of their Idempotency-Key
	Running int // jobs that run now, including those that hang
}

// Pipeline is a sample pipeline. Its methods are safe for concurrent use.
type Pipeline struct {
	opts   Options
	ctx    context.Context // ends all jobs
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	stats  Stats
	byKey  map[string]*job // by Idempotency-Key
	byCase map[string]*job // the newest job of each case
	busy   map[string]int  // number of 503 answers, by key

	records  map[string]*record // by case
	recorded []string           // the cases of records, oldest first
	ended    []*job             // oldest first
	root     *os.Root
}

// New creates a pipeline. It works until [Pipeline.Close].
func New(o Options) *Pipeline {
	o.DocumentTime = cmp.Or(o.DocumentTime, time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	p := &Pipeline{
		opts:    o,
		byKey:   map[string]*job{},
		byCase:  map[string]*job{},
		busy:    map[string]int{},
		records: map[string]*record{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends every job immediately, as the end of a process would. It resets the connections of
// requests that wait for a job, and of all later requests. It returns when no job runs.
func (p *Pipeline) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.root != nil {
		_ = p.root.Close() // loses nothing: it has no buffer
		p.root = nil
	}
}

// Stats returns the counts so far.
func (p *Pipeline) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Handler returns the pipeline's HTTP interface, which the package documentation describes.
func (p *Pipeline) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/normalize", p.normalize)
	mux.HandleFunc("GET /api/progress/{case_id}", p.progress)
	mux.HandleFunc("GET /api/record/{case_id}", p.record)
	mux.Handle("/apis/", p.apiHandler())
	mux.HandleFunc("GET /documents/{case_id}/{run}/{file...}", p.document)
	// A web page of another origin must not be able to start jobs.
	return http.NewCrossOriginProtection().Handler(mux)
}

// openDir returns the directory of all documents. No path or symbolic link leads out of it.
func (p *Pipeline) openDir() (*os.Root, error) {
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

// join returns the job of a key, or nil if there is none.
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

// begin starts the job of a form. If another request has started a job with the same key, begin
// returns that job, and joined is true. After Close it returns nil.
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
	j := newJob(p.ctx, f, key, traceParent, time.Now())
	p.stats.Started++
	p.stats.Running++
	if key != "" {
		p.byKey[key] = j
	}
	p.byCase[string(f.CaseID)] = j
	p.wg.Go(func() { p.run(j) })
	return j, false
}

// end adds a job to the ended ones. If there are more than maxJobs, it forgets the oldest.
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

// forget removes a job. The caller holds p.mu.
func (p *Pipeline) forget(j *job) {
	if p.byKey[j.key] == j {
		delete(p.byKey, j.key)
	}
	if id := string(j.form.CaseID); p.byCase[id] == j {
		delete(p.byCase, id)
	}
}

// answerBusy reports whether a request with a key must be answered 503: true for the first two of
// each three requests.
func (p *Pipeline) answerBusy(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[key] == 2 {
		delete(p.busy, key)
		return false
	}
	if len(p.busy) >= maxJobs {
		clear(p.busy) // limits the memory for keys that are never used again
	}
	p.busy[key]++
	return true
}
