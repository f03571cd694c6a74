package samplepipeline

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"regexp"
)

// documentFile matches the names of documents. Only these and index.html are served.
var documentFile = regexp.MustCompile(`^\d{3}-[a-z]+\.html$`)

// document serves the pages that jobs wrote, including jobs of earlier processes.
func (p *Pipeline) document(w http.ResponseWriter, r *http.Request) {
	caseID, run, file := r.PathValue("case_id"), r.PathValue("run"), r.PathValue("file")
	if file == "" {
		file = "index.html"
	}
	if !validID.MatchString(caseID) || !validID.MatchString(run) ||
		(file != "index.html" && !documentFile.MatchString(file)) {
		http.NotFound(w, r)
		return
	}
	root, err := p.openDir()
	if err != nil {
		p.opts.Logger.ErrorContext(r.Context(), "sample pipeline: documents not readable", "error", err)
		http.Error(w, "The documents cannot be read.", http.StatusInternalServerError)
		return
	}
	name := path.Join(caseID, run, file)
	page, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		p.opts.Logger.ErrorContext(r.Context(), "sample pipeline: document not readable",
			"file", name, "error", err)
		http.Error(w, "The document cannot be read.", http.StatusInternalServerError)
		return
	}
	info, err := root.Stat(name)
	if err != nil {
		http.NotFound(w, r) // it was removed after the read
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // a later job of the same run overwrites the documents
	http.ServeContent(w, r, "", info.ModTime(), bytes.NewReader(page))
}
