package stub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Mode is how a case's end can be learned.
type Mode string

// The modes. Progress can be asked for in all of them.
const (
	Sync    Mode = "sync"    // POST is answered at the end
	Events  Mode = "events"  // POST is answered at once, and an event tells of the end
	Polling Mode = "polling" // POST is answered at once, and only the progress tells of the end, by a status of its own
)

// Modes are all of them.
func Modes() []Mode { return []Mode{Sync, Events, Polling} }

// Record is what happened to one case.
type Record struct {
	Posts int         // requests to start it; every one after the first is one too many
	Ends  time.Time   // its true end: the first POST and its length
	Polls []time.Time // when its progress was asked for, also before it was started
}

// Pipeline serves POST /api/normalize and GET /api/progress/{case_id}. It is safe for concurrent use.
type Pipeline struct {
	mode    Mode
	seed    uint64
	publish func(caseID string)
	http.Handler

	mu      sync.Mutex
	records map[string]*Record
	started int
	last    time.Time
}

// New returns a pipeline. Publish tells of a case's end; it is called in [Events] only, each time on a goroutine of its own.
func New(mode Mode, seed uint64, publish func(caseID string)) *Pipeline {
	p := &Pipeline{mode: mode, seed: seed, publish: publish, records: map[string]*Record{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/normalize", p.normalize)
	mux.HandleFunc("GET /api/progress/{case_id}", p.progress)
	p.Handler = mux
	return p
}

// Started returns how many cases were started, and when the last of them ends.
func (p *Pipeline) Started() (n int, lastEnd time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started, p.last
}

// Records returns what happened to each case until now.
func (p *Pipeline) Records() map[string]Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]Record, len(p.records))
	for id, r := range p.records {
		all[id] = Record{Posts: r.Posts, Ends: r.Ends, Polls: slices.Clone(r.Polls)}
	}
	return all
}

// record returns a case's record. The caller holds the lock.
func (p *Pipeline) record(caseID string) *Record {
	if p.records[caseID] == nil {
		p.records[caseID] = &Record{}
	}
	return p.records[caseID]
}

// result is what the pipeline says of every case in the end.
var result = fmt.Sprintf(`{"success":true,"webhook_summary":{"total_sets":%d,"succeeded":%d,"failed":0}}`, Documents, Documents)

// Event is the event of a case's end.
func Event(caseID string) []byte {
	return fmt.Appendf(nil, `{"case_id":%q,"status":"succeeded","result":%s}`, caseID, result)
}

func (p *Pipeline) normalize(w http.ResponseWriter, r *http.Request) {
	var form struct {
		CaseID string `json:"case_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil || form.CaseID == "" {
		http.Error(w, "no case_id", http.StatusBadRequest)
		return
	}
	ends := p.start(form.CaseID)
	w.Header().Set("Content-Type", "application/json")
	if p.mode != Sync {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"status":"accepted"}`))
		return
	}
	select {
	case <-time.After(time.Until(ends)):
		_, _ = w.Write([]byte(result))
	case <-r.Context().Done(): // the work goes on
	}
}

// start starts a case, if nobody has, and returns its end.
func (p *Pipeline) start(caseID string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	record := p.record(caseID)
	record.Posts++
	if record.Posts > 1 {
		return record.Ends
	}
	length := Length(p.seed, caseID)
	record.Ends = time.Now().Add(length)
	p.started++
	if record.Ends.After(p.last) {
		p.last = record.Ends
	}
	if p.mode == Events {
		time.AfterFunc(length, func() { p.publish(caseID) })
	}
	return record.Ends
}

func (p *Pipeline) progress(w http.ResponseWriter, r *http.Request) {
	id, now := r.PathValue("case_id"), time.Now()
	p.mu.Lock()
	record := p.record(id)
	record.Polls = append(record.Polls, now)
	posts, ends := record.Posts, record.Ends
	p.mu.Unlock()
	if posts == 0 {
		http.NotFound(w, r)
		return
	}
	length := Length(p.seed, id)
	n := completed(length-ends.Sub(now), length)
	status := ""
	if p.mode == Polling {
		status = `,"status":"running"`
		if !now.Before(ends) {
			status = `,"status":"succeeded","result":` + result
		}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"completed":%d,"total":%d,"progress_percent":%.1f,"current_doc":"Document %d"%s}`,
		n, Documents, float64(n)*100/Documents, min(n+1, Documents), status)
}
