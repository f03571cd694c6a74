package samplepipeline

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"regexp"
	"strings"
	"time"
	"unicode"
)

//go:embed templates
var templates embed.FS

// kind is a type of document. In requests and Issue, {address}, {plaintiff}, {defendant} and
// {issue} are placeholders.
type kind struct {
	Short    string // the title in lists
	Title    string
	Request  string // the heading of a request, before its number
	Preamble string
	Rule     string // the law that allows the requests
	Issue    string // the text of a request about an issue of the plaintiff
	requests []string
}

// document is the data for the template of a document.
type document struct {
	Style      template.CSS
	Kind       *kind
	County     string
	Plaintiffs []string
	Defendants []string
	Plaintiff  string // the propounding party
	Head       bool   // the plaintiff is the head of household
	Defendant  string // the responding party
	Role       string // of the defendant; may be ""
	Address    string
	City       string
	Date       string
	Matter     string
	Requests   []string
}

// index is the data for the template of the list of documents.
type index struct {
	Style     template.CSS
	Matter    string
	Address   string
	Date      string
	Succeeded int
	Failed    int
	Documents []indexEntry
}

type indexEntry struct {
	Number                                   int
	File, Title, Plaintiff, Defendant, Error string
}

var (
	style        = readStyle()
	documentPage = parsePage("document.html")
	indexPage    = parsePage("index.html")

	// contentPolicy allows a page to load nothing but its own style.
	contentPolicy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func parsePage(name string) *template.Template {
	functions := template.FuncMap{"inc": func(i int) int { return i + 1 }}
	return template.Must(template.New(name).Funcs(functions).ParseFS(templates, "templates/"+name))
}

func readStyle() template.CSS {
	css, err := templates.ReadFile("templates/document.css")
	if err != nil {
		panic(err) // impossible: the file is embedded
	}
	return template.CSS("\n" + string(css))
}

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func newDocument(f *form, s set, at time.Time) document {
	d := document{
		Style:     style,
		Kind:      s.kind,
		County:    strings.ToUpper(county(f)),
		Plaintiff: plaintiffName(s.plaintiff),
		Head:      bool(s.plaintiff.HeadOfHousehold),
		Defendant: defendantName(s.defendant),
		Role:      strings.ToLower(string(s.defendant.DefendantRole)),
		Address:   cmp.Or(f.Address.v.String(), "[address of the premises]"),
		City:      cmp.Or(f.filingCity(), "[city]"),
		Date:      at.Format("January 2, 2006"),
		Matter:    matter(f),
	}
	for _, p := range f.Plaintiffs {
		d.Plaintiffs = append(d.Plaintiffs, plaintiffName(p))
	}
	for _, p := range f.Defendants {
		d.Defendants = append(d.Defendants, describe(p))
	}
	fill := strings.NewReplacer("{address}", d.Address, "{plaintiff}", d.Plaintiff, "{defendant}", d.Defendant)
	for _, r := range s.kind.requests {
		d.Requests = append(d.Requests, fill.Replace(r))
	}
	for _, issue := range s.plaintiff.Issues {
		fillIssue := strings.NewReplacer("{plaintiff}", d.Plaintiff, "{issue}", issue)
		d.Requests = append(d.Requests, fillIssue.Replace(s.kind.Issue))
	}
	return d
}

func newIndex(w *work) index {
	f := w.j.form
	x := index{
		Style:     style,
		Matter:    matter(f),
		Address:   f.Address.v.String(),
		Date:      w.j.started.Format("January 2, 2006"),
		Succeeded: len(w.sets) - w.failed,
		Failed:    w.failed,
	}
	for i, r := range w.results {
		entry := indexEntry{
			Number:    r.Set,
			Title:     r.DocumentType,
			Plaintiff: r.Plaintiff,
			Defendant: r.Defendant,
			Error:     r.Error,
		}
		if k := w.sets[i].kind; k != nil {
			entry.Title = k.Title
		}
		if r.Success {
			entry.File = w.sets[i].file()
		}
		x.Documents = append(x.Documents, entry)
	}
	return x
}

func plaintiffName(p party) string { return cmp.Or(p.name(), "[Plaintiff]") }
func defendantName(p party) string { return cmp.Or(p.name(), "[Defendant]") }

// leadingArticle matches the article of "an individual" or "a corporation".
var leadingArticle = regexp.MustCompile(`(?i)^an?\s+`)

// describe returns a defendant for a caption: the name and, unless it is an individual, the type of
// the entity.
func describe(p party) string {
	entity := leadingArticle.ReplaceAllString(cmp.Or(string(p.DefendantType), string(p.EntityType)), "")
	if entity == "" || strings.EqualFold(entity, "individual") {
		return defendantName(p)
	}
	if entity != strings.ToUpper(entity) { // an abbreviation such as LLC keeps its capitals
		entity = strings.ToLower(entity)
	}
	return defendantName(p) + ", " + article(entity) + " " + entity
}

// article returns "a" or "an", as in "an LLC", "an individual" and "a corporation".
func article(entity string) string {
	first := unicode.ToUpper([]rune(entity)[0])
	vowels := "AEIO"
	if entity == strings.ToUpper(entity) {
		vowels = "AEFHILMNORSX" // letters whose names begin with a vowel sound
	}
	if strings.ContainsRune(vowels, first) {
		return "an"
	}
	return "a"
}

// trailingCounty matches the word "county" at the end, because the caption already contains it.
var trailingCounty = regexp.MustCompile(`(?i)\s+county$`)

func county(f *form) string {
	name := cmp.Or(string(f.FilingCounty), string(f.OlderFilingCounty))
	return cmp.Or(trailingCounty.ReplaceAllString(name, ""), "[county]")
}

func matter(f *form) string {
	parties := plaintiffName(f.Plaintiffs[0]) + " v. " + defendantName(f.Defendants[0])
	return cmp.Or(string(f.Form.v.Name), string(f.Form.v.InternalName), parties)
}
