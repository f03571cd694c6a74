// Package page serves the form page of `make run`.
//
// The page submits a case, shows its progress until it ends, cancels it and runs it again. It uses
// the browser module that status serves (/status/-/casewatch.js) and calls the functions at /start,
// /status and /cancel of the same origin. It has no build step: the browser gets the files in
// assets unchanged.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var assets embed.FS

// contentPolicy allows the page to load and call only its own origin.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is a file of the page with its headers.
type file struct {
	contentType string
	etag        string
	content     []byte
}

// Handler serves the page at "/", and its scripts, page.css and icon.svg at the same level. Any
// other path is answered 404, and any method other than GET and HEAD 405. The browser revalidates
// each file by its ETag, so that a new version of the program is seen immediately. The handler is
// safe for concurrent use.
//
// Of several pipelines, the page lets its user choose one. Their names are letters, digits and
// hyphens.
func Handler(pipelines []string) http.Handler {
	files := map[string]file{}
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // impossible: the folder is embedded
	}
	for _, e := range entries {
		content, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err) // impossible: the file is embedded
		}
		content = bytes.Replace(content, []byte("<!-- pipelines -->\n"), choice(pipelines), 1)
		sum := sha256.Sum256(content)
		files["/"+e.Name()] = file{contentType(e.Name()), `"` + hex.EncodeToString(sum[:8]) + `"`, content}
	}
	files["/"] = files["/index.html"]
	delete(files, "/index.html") // the page has one address only
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "This page supports only GET and HEAD.", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

// choice returns the part of the page that lets its user choose a pipeline; nil if there is no choice.
func choice(pipelines []string) []byte {
	if len(pipelines) < 2 {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("<fieldset>\n<legend>Pipeline</legend>\n<label>The case is for\n<select name=\"pipeline\">\n")
	for _, name := range pipelines {
		b.WriteString("<option>" + name + "</option>\n")
	}
	b.WriteString("</select></label>\n</fieldset>\n\n")
	return b.Bytes()
}

// contentType returns the media type of a file by its extension. The types of scripts and icons are
// fixed, because the operating system's list may map .js to text/plain.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}
