package console

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
)

//go:embed files
var files embed.FS

// page has the data of every page.
type page struct {
	Nav     string // the page's template
	Title   string
	Base    string // relative address of the console's root, with a final slash
	User    string
	Now     time.Time
	Refresh int // seconds until the page reloads itself; 0 for never
	Data    any
}

// These are the Data of the templates with these names.
type (
	listPage struct {
		listing
		State cases.State // the filter
		Age   string
		Later bool // not the first page
	}
	runPage struct {
		detail
		Rules   cases.Rules
		Done    string // the message of the last action
		Picture picture
	}
	errorPage struct {
		Status int
		Name   string
		Detail string
		Faults []fault.Fault
		CaseID string // the case that the address names; "" if none
	}
)

// pages are the parsed templates and the static files. They are safe for concurrent use.
type pages struct {
	templates map[string]*template.Template
	served    map[string]answer.File
}

// newPages parses the embedded files. It is called when the function is first used, because every
// function links this package.
func newPages() pages {
	p := pages{map[string]*template.Template{}, map[string]answer.File{}}
	for _, name := range []string{"list", "run", "health", "error"} {
		p.templates[name] = template.Must(
			template.New("layout.html").
				Funcs(words).
				ParseFS(files, "files/layout.html", "files/parts.html", "files/picture.html", "files/"+name+".html"),
		)
	}
	for name, contentType := range map[string]string{
		"console.css": "text/css",
		"console.js":  "text/javascript",
		"icon.svg":    "image/svg+xml",
	} {
		content, err := fs.ReadFile(files, "files/"+name)
		if err != nil {
			panic(err) // the file is embedded
		}
		p.served[name] = answer.NewFile(contentType+"; charset=utf-8", content)
	}
	return p
}

// show sends a page.
func (p pages) show(rw http.ResponseWriter, status int, name string, data page) error {
	data.Nav = name
	var body bytes.Buffer
	if err := p.templates[name].Execute(&body, data); err != nil {
		return fault.Wrap(fault.Internal, err, "the page could not be made")
	}
	answer.Page(rw, status, body.Bytes())
	return nil
}

// file sends a static file of the pages.
func (p pages) file(rw http.ResponseWriter, r *http.Request, name string) error {
	f, ok := p.served[name]
	if !ok {
		return fault.New(fault.NotFound, "there is no such file")
	}
	rw.Header().Set("Cache-Control", "private, no-cache") // files contain nothing about cases
	f.ServeHTTP(rw, r)
	return nil
}

// maxDepth is how many folders deep an address may be so that its error page still links to its
// style sheet. The console's addresses have at most one folder. The page repeats the relative path
// to the root several times, so its length must be bounded.
const maxDepth = 16

// errorPage sends a page for an error.
func (f function) errorPage(rw http.ResponseWriter, r *http.Request, user string, err error) error {
	e := answer.Refuse(rw, r, f.reconciler.Log(), err)
	p := errorPage{Status: e.Kind.Status(), Name: e.Kind.Title(), Detail: e.Detail, Faults: e.Faults}
	if id := path.Base(r.URL.Path); user != "" && r.URL.Path == "/"+id && cases.ValidID(id) &&
		p.Status != http.StatusNotFound {
		p.CaseID = id
	}
	base := "./"
	if deep := strings.Count(r.URL.EscapedPath(), "/") - 1; deep > 0 && deep <= maxDepth {
		base = strings.Repeat("../", deep)
	}
	return f.pages.show(
		rw,
		p.Status,
		"error",
		page{Title: p.Name, Base: base, User: user, Now: f.reconciler.Now(), Data: p},
	)
}
