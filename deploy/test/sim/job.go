package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	said "github.com/casewatch/casewatch/shared/pipeline/report"
)

// job is the pipeline's work on one request.
type job struct {
	key     runKey
	work    Work
	started time.Duration
	adopted bool
	dead    bool // its process died, or no process works on it
	lost    bool // the pipeline forgot it
}

func (j *job) end() time.Duration { return j.started + j.work.Duration() }

// begin starts the work and schedules its events.
func (p *fakePipeline) begin(j *job) {
	w := p.w
	p.jobs[j.key.id], p.keys[j.key] = j, j
	if f := j.work.Forgets; f > 0 {
		w.after(f, func() { j.lost = true })
	}
	for n, word := range j.work.Events {
		for copied := range word.Copies + 1 {
			at := max(j.end()+word.After+time.Duration(copied)*3*time.Second, j.started)
			p.toCome++
			w.at(at, func() {
				p.toCome--
				if !j.dead {
					p.publish(j, n, word)
				}
			})
		}
	}
}

// adopted is work that began before Casewatch knew of it.
func (p *fakePipeline) adopted(id string) {
	works := p.plans[id]
	if p.jobs[id] == nil {
		p.begin(&job{key: runKey{id, 1}, work: works[0], started: p.w.now(), adopted: true})
	}
}

// stop ends the work because its process died.
func (p *fakePipeline) stop() {
	for _, j := range p.jobs {
		j.dead, j.lost = true, true
	}
}

// reading returns the progress at a time.
func (j *job) reading(now time.Duration) cases.Reading {
	n := j.work.Total
	if j.work.Each > 0 {
		n = min(n, int((now-j.started)/j.work.Each))
	}
	if j.work.Stop > 0 {
		n = min(n, j.work.Stop)
	}
	if j.work.Outcome == OutcomeNowhere {
		n = min(n, max(0, j.work.Total-1))
	}
	if b := j.work.Back; b > 0 && now >= j.started+b && now < j.started+b+time.Minute {
		n = max(0, n-2)
	}
	total := j.work.Total
	if j.work.Grows && n <= total/2 {
		total = max(1, total/2)
	}
	switch j.work.Counts {
	case CountsNone:
		total = 0
	case CountsAll:
		n = total
	}
	return cases.Reading{Completed: n, Total: total, Percent: -1, Current: fmt.Sprint("document ", n)}
}

// word returns a unique result for an event of the pipeline.
func (p *fakePipeline) word(key runKey, outcome string) *cases.Result {
	p.words++
	raw, err := json.Marshal(resultData(key, outcome, p.words, "answer"))
	if err != nil {
		panic(err)
	}
	r, err := said.ParseResult(raw)
	if err != nil {
		panic(err)
	}
	return r.Kept()
}

func resultData(key runKey, outcome string, word int, by string) map[string]any {
	data := map[string]any{
		"success": outcome != "failed" && outcome != OutcomeFailure,
		"case_id": key.id,
		"of_run":  key.run,
		"word":    word,
		"by":      by,
	}
	switch outcome {
	case OutcomeNothing:
		data["webhook_summary"] = map[string]any{"total_sets": 5, "succeeded": 0, "failed": 5}
	case OutcomeSuccess:
		data["webhook_summary"] = map[string]any{"total_sets": 5, "succeeded": 4, "failed": 1}
	}
	return data
}
