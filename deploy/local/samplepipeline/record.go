package samplepipeline

import (
	"net/http"
	"slices"
	"time"
)

const (
	// maxRecords is the number of cases with a record. The oldest records are dropped first.
	maxRecords = 2_000

	// maxRequests limits each list of a record. It keeps the newest entries.
	maxRequests = 1_000
)

// record lists the requests about a case, whether or not the pipeline knew the case. It shows that
// Casewatch starts a case once, and does not poll it after its end.
type record struct {
	CaseID   string      `json:"case_id"`
	Requests []request   `json:"requests"` // to start a job, oldest first
	Polls    []time.Time `json:"looks"`    // of the progress, oldest first
}

// request is one POST /api/normalize.
type request struct {
	At  time.Time `json:"at"`
	Run string    `json:"run"`
	Key string    `json:"idempotency_key"`
	Did string    `json:"did"` // "started" or "joined" a job; "busy" or "refused" without a job
}

// caseRecord returns the record of a case, and creates it if it does not exist. The caller holds
// p.mu.
func (p *Pipeline) caseRecord(caseID string) *record {
	r := p.records[caseID]
	if r == nil {
		if len(p.recorded) == maxRecords {
			delete(p.records, p.recorded[0])
			p.recorded = p.recorded[1:]
		}
		r = &record{CaseID: caseID, Requests: []request{}, Polls: []time.Time{}}
		p.records[caseID] = r
		p.recorded = append(p.recorded, caseID)
	}
	return r
}

// recordRequest records a request to start a job.
func (p *Pipeline) recordRequest(f *form, key, did string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.caseRecord(string(f.CaseID))
	r.Requests = newest(append(r.Requests, request{at.UTC(), f.runFolder(), key, did}))
}

// recordPoll records a poll of the progress.
func (p *Pipeline) recordPoll(caseID string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.caseRecord(caseID)
	r.Polls = newest(append(r.Polls, at.UTC()))
}

func newest[T any](all []T) []T {
	if len(all) > maxRequests {
		return slices.Delete(all, 0, len(all)-maxRequests)
	}
	return all
}

// record answers with the record of a case. It is empty if there were no requests.
func (p *Pipeline) record(w http.ResponseWriter, r *http.Request) {
	caseID := r.PathValue("case_id")
	out := record{CaseID: caseID, Requests: []request{}, Polls: []time.Time{}}
	p.mu.Lock()
	if found := p.records[caseID]; found != nil {
		out.Requests, out.Polls = slices.Clone(found.Requests), slices.Clone(found.Polls)
	}
	p.mu.Unlock()
	reply(w, http.StatusOK, out)
}
