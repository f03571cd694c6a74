package samplepipeline

import (
	"bytes"
	"fmt"
	"html/template"
	"path"
	"time"

	"github.com/casewatch/casewatch/shared/gcplog"
)

// set is one document to generate.
type set struct {
	number       int   // from 1
	kind         *kind // nil for an unknown document type
	documentType string
	plaintiff    party
	defendant    party
}

func (s set) title() string {
	name := s.documentType
	if s.kind != nil {
		name = s.kind.Short
	}
	return fmt.Sprintf("%s: %s v. %s", name, short(plaintiffName(s.plaintiff)), short(defendantName(s.defendant)))
}

func (s set) file() string { return fmt.Sprintf("%03d-%s.html", s.number, s.documentType) }

// work writes the documents of a job and collects their results.
type work struct {
	p       *Pipeline
	j       *job
	sets    []set
	results []setResult
	failed  int
	url     string // output_url
}

func newWork(p *Pipeline, j *job) *work {
	w := &work{p: p, j: j}
	for _, plaintiff := range j.form.Plaintiffs {
		for _, defendant := range j.form.Defendants {
			for _, t := range j.form.DocumentTypes {
				w.sets = append(w.sets, set{
					number:       len(w.sets) + 1,
					kind:         kinds[string(t)],
					documentType: string(t),
					plaintiff:    plaintiff,
					defendant:    defendant,
				})
			}
		}
	}
	base := ""
	if p.opts.BaseURL != nil {
		base = p.opts.BaseURL()
	}
	w.url = base + "/documents/" + string(j.form.CaseID) + "/" + j.form.runFolder() + "/"
	return w
}

// folder returns the path of the job's documents in the directory of all documents.
func (w *work) folder() string { return path.Join(string(w.j.form.CaseID), w.j.form.runFolder()) }

// write writes document i, which counts from 0. With fail, it records a failure instead.
func (w *work) write(i int, fail bool) {
	s := w.sets[i]
	r := setResult{
		Set:          s.number,
		DocumentType: short(s.documentType),
		Plaintiff:    short(plaintiffName(s.plaintiff)),
		Defendant:    short(defendantName(s.defendant)),
	}
	switch {
	case s.kind == nil:
		r.Error = "unknown document type"
	case fail:
		r.Error = "template rendering failed"
	default:
		if err := w.save(s.file(), documentPage, newDocument(w.j.form, s, w.j.started)); err != nil {
			w.p.opts.Logger.ErrorContext(gcplog.WithTrace(w.p.ctx, w.j.trace),
				"sample pipeline: document not written", "case_id", string(w.j.form.CaseID), "error", err)
			r.Error = "the document could not be written"
			break
		}
		r.Success, r.URL = true, w.url+s.file()
	}
	if !r.Success {
		w.failed++
	}
	w.results = append(w.results, r)
}

// finish writes the index. It is called last, so that an index links only to existing documents.
func (w *work) finish() error {
	return w.save("index.html", indexPage, newIndex(w))
}

// save writes a page to a temporary file and then renames it, so that no partial page is served.
func (w *work) save(name string, page *template.Template, data any) error {
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return err
	}
	root, err := w.p.openDir()
	if err != nil {
		return err
	}
	if err := root.MkdirAll(w.folder(), 0o750); err != nil {
		return err
	}
	target := path.Join(w.folder(), name)
	// The name is unique, because requests without a key can start two jobs for the same run.
	part := fmt.Sprintf("%s.%p.part", target, w)
	if err := root.WriteFile(part, b.Bytes(), 0o640); err != nil {
		return err
	}
	return root.Rename(part, target)
}

// reached returns the number of completed documents that a finished job reports.
func (w *work) reached(fault string) int {
	if fault == "stop_short" {
		return len(w.sets) - 1
	}
	return len(w.sets)
}

// result returns the job's result. normalized is the time when its first phase ended.
func (w *work) result(normalized time.Time) *result {
	total := time.Since(w.j.started).Milliseconds()
	first := normalized.Sub(w.j.started).Milliseconds()
	return &result{
		Success:         true,
		CaseID:          string(w.j.form.CaseID),
		ExecutionTimeMS: total,
		OutputURL:       w.url,
		PhaseResults: map[string]phase{
			"normalize": {true, first, len(w.j.form.Plaintiffs) + len(w.j.form.Defendants)},
			"documents": {w.failed < len(w.sets), total - first, len(w.sets)},
		},
		WebhookSummary: summary{
			TotalSets: len(w.sets),
			Succeeded: len(w.sets) - w.failed,
			Failed:    w.failed,
			OutputURL: w.url,
			Results:   w.results,
		},
	}
}

// short cuts a name to 40 characters, so that the result of a large case fits into an event.
func short(s string) string {
	const limit = 40
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}
