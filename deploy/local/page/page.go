// Package page is the form page of the local setting: it submits a case, shows its progress until the end, cancels it and runs it
// again. It does so by the browser module that status serves (/status/-/casewatch.js), with the functions at /start, /status and
// /cancel beside it. It needs no build; the browser gets the files in assets as they are.
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

// contentPolicy lets the page load and ask only what it needs, and only from where it came from.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is one file as it is served.
type file struct {
	contentType string
	etag        string
	content     []byte
}

// Handler serves the page at "/" and its files beside it: page.css, icon.svg and its scripts. Everything else is 404,
// methods other than GET and HEAD are 405. The files are checked again by ETag on each use, so that a new program is seen at once.
func Handler() http.Handler {
	files := map[string]file{}
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, e := range entries {
		content, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		files["/"+e.Name()] = file{contentType(e.Name()), `"` + hex.EncodeToString(sum[:8]) + `"`, content}
	}
	files["/"] = files["/index.html"]
	delete(files, "/index.html") // one page, one address
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
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

// contentType does not ask the machine's own list, which may call a script text/plain.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}
