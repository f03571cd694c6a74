package stub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Mode is the way in which the pipeline reports the end of a case.
type Mode string

// The modes. Progress can be polled in all of them.
const (
	Sync    Mode = "sync"    // POST is answered when the case has ended
	Events  Mode = "events"  // POST is answered immediately, and an event reports the end
	Polling Mode = "polling" // POST is answered immediately, and only the progress reports the end, by its status
)

// Modes returns all modes.
func Modes() []Mode { return []Mode{Sync, Events, Polling} }

// Record holds the requests for one case.
type Record struct {
	Posts int         // the number of starts; only the first has an effect
	Ends  time.Time   // the true end: the first POST plus the length of the case
	Polls []time.Time // the times of all polls, including those before the start
}

// Pipeline serves POST /api/normalize and GET /api/progress/{case_id}. It is safe for concurrent
// use.
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

// New returns a pipeline. It calls publish at the end of each case, in the mode [Events] only, on a
// new goroutine.
func New(mode Mode, seed uint64, publish func(caseID string)) *Pipeline {
	p := &Pipeline{mode: mode, seed: seed, publish: publish, records: map[string]*Record{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/normalize", p.normalize)
	mux.HandleFunc("GET /api/progress/{case_id}", p.progress)
	p.Handler = mux
	return p
}

// Started returns the number of started cases, and the end of the last one.
func (p *Pipeline) Started() (n int, lastEnd time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started, p.last
}

// Records returns a copy of the records by case.
func (p *Pipeline) Records() map[string]Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]Record, len(p.records))
	for id, r := range p.records {
		all[id] = Record{Posts: r.Posts, Ends: r.Ends, Polls: slices.Clone(r.Polls)}
	}
	return all
}

// record returns the record of a case. The caller holds the lock.
func (p *Pipeline) record(caseID string) *Record {
	if p.records[caseID] == nil {
		p.records[caseID] = &Record{}
	}
	return p.records[caseID]
}

// result is the result of every case.
var result = fmt.Sprintf(`{"success":true,"webhook_summary":{"total_sets":%d,"succeeded":%d,"failed":0}}`,
	Documents, Documents)

// Event returns the event of a case's end.
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
	case <-r.Context().Done(): // the work continues
	}
}

// start starts a case, unless it is started already, and returns its end.
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
