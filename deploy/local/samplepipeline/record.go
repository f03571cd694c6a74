package samplepipeline

import (
	"net/http"
	"slices"
	"time"
)

const (
	// maxRecords is of how many cases it is remembered what was asked; the oldest are forgotten.
	maxRecords = 2_000
	// maxAsked bounds what is remembered of one case: the last requests, the last looks.
	maxAsked = 1_000
)

// record is what a case's pipeline was asked, whether or not it knew the case: evidence for who wants to see that it is started once and
// asked no more after the end.
type record struct {
	CaseID   string      `json:"case_id"`
	Requests []request   `json:"requests"` // for work, oldest first
	Looks    []time.Time `json:"looks"`    // at the progress, oldest first
}

// request is one POST /api/normalize.
type request struct {
	At  time.Time `json:"at"`
	Run string    `json:"run"`
	Key string    `json:"idempotency_key"`
	Did string    `json:"did"` // started, joined the job of its key, busy, or refused: these two began nothing
}

// of returns the record of a case. It is called with the lock held.
func (p *Pipeline) of(caseID string) *record {
	r := p.records[caseID]
	if r == nil {
		if len(p.recorded) == maxRecords {
			delete(p.records, p.recorded[0])
			p.recorded = p.recorded[1:]
		}
		r = &record{CaseID: caseID, Requests: []request{}, Looks: []time.Time{}}
		p.records[caseID] = r
		p.recorded = append(p.recorded, caseID)
	}
	return r
}

// requested notes a request for work, and what came of it.
func (p *Pipeline) requested(f *form, key, did string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(string(f.CaseID))
	r.Requests = last(append(r.Requests, request{at.UTC(), f.runFolder(), key, did}))
}

// looked notes a look at the progress.
func (p *Pipeline) looked(caseID string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(caseID)
	r.Looks = last(append(r.Looks, at.UTC()))
}

func last[T any](all []T) []T {
	if len(all) > maxAsked {
		return slices.Delete(all, 0, len(all)-maxAsked)
	}
	return all
}

// record answers what was asked about a case: an empty record if nothing was.
func (p *Pipeline) record(w http.ResponseWriter, r *http.Request) {
	caseID := r.PathValue("case_id")
	out := record{CaseID: caseID, Requests: []request{}, Looks: []time.Time{}}
	p.mu.Lock()
	if found := p.records[caseID]; found != nil {
		out.Requests, out.Looks = slices.Clone(found.Requests), slices.Clone(found.Looks)
	}
	p.mu.Unlock()
	reply(w, http.StatusOK, out)
}
