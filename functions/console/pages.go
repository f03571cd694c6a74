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
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
)

//go:embed files
var files embed.FS

// page is what every page is made of.
type page struct {
	Nav     string // the page's template
	Title   string
	Base    string // from the page to the console's root, with a slash at its end
	User    string
	Now     time.Time
	Refresh int // seconds until the page is worth reading again; 0: it is not
	Data    any
}

// What the templates of that name are given as Data.
type (
	listPage struct {
		listing
		State cases.State // of the filter
		Age   string
		Later bool // not the first page
	}
	runPage struct {
		detail
		Rules config.Rules
		Done  string // what was just done, in words
	}
	errorPage struct {
		Status int
		Name   string
		Detail string
		Faults []fault.Fault
		CaseID string // the address was one of this case; "" if of none
	}
)

// pages are the templates and files, read once.
type pages struct {
	templates map[string]*template.Template
	served    map[string]answer.File
}

// newPages reads what is embedded: when the function is first used, since every function starts with this package.
func newPages() pages {
	p := pages{map[string]*template.Template{}, map[string]answer.File{}}
	for _, name := range []string{"list", "run", "health", "error"} {
		p.templates[name] = template.Must(template.New("layout.html").Funcs(words).ParseFS(files, "files/layout.html", "files/parts.html", "files/"+name+".html"))
	}
	for name, contentType := range map[string]string{"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		content, err := fs.ReadFile(files, "files/"+name)
		if err != nil {
			panic(err) // it is embedded
		}
		p.served[name] = answer.NewFile(contentType+"; charset=utf-8", content)
	}
	return p
}

// show answers with a page.
func (p pages) show(rw http.ResponseWriter, status int, name string, data page) error {
	data.Nav = name
	var body bytes.Buffer
	if err := p.templates[name].Execute(&body, data); err != nil {
		return fault.Wrap(fault.Internal, err, "the page could not be made")
	}
	answer.Page(rw, status, body.Bytes())
	return nil
}

// file answers with a file that the pages need.
func (p pages) file(rw http.ResponseWriter, r *http.Request, name string) error {
	f, ok := p.served[name]
	if !ok {
		return fault.New(fault.NotFound, "there is no such file")
	}
	rw.Header().Set("Cache-Control", "private, no-cache") // it tells of no case
	f.ServeHTTP(rw, r)
	return nil
}

// deepest is how many folders deep an address may be for its page to find its style. None of ours has more than one; the way back stands on the
// page several times, so that it must not be as long as an address can be.
const deepest = 16

// errorPage answers an error with a page.
func (f function) errorPage(rw http.ResponseWriter, r *http.Request, user string, err error) error {
	e := answer.Refuse(rw, r, f.reconciler.Log(), err)
	p := errorPage{Status: e.Kind.Status(), Name: e.Kind.Title(), Detail: e.Detail, Faults: e.Faults}
	if id := path.Base(r.URL.Path); user != "" && r.URL.Path == "/"+id && cases.ValidID(id) && p.Status != http.StatusNotFound {
		p.CaseID = id
	}
	base := "./"
	if deep := strings.Count(r.URL.EscapedPath(), "/") - 1; deep > 0 && deep <= deepest {
		base = strings.Repeat("../", deep)
	}
	return f.pages.show(rw, p.Status, "error", page{Title: p.Name, Base: base, User: user, Now: f.reconciler.Now(), Data: p})
}
