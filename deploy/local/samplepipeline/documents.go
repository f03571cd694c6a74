package samplepipeline

import (
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

// kind is a type of document.
type kind struct {
	Short    string // in lists
	Title    string
	Request  string // what one request is called, before its number
	Preamble string
	Rule     string // the section it is served under
	Issue    string // the request about one issue; {issue} is filled in
	requests []string
}

// document is what a page is made of.
type document struct {
	Style      template.CSS
	Kind       *kind
	County     string
	Plaintiffs []string
	Defendants []string
	Plaintiff  string // the propounding party
	Head       bool   // of the household
	Defendant  string // the responding party
	Role       string // of the responding party; "" if not given
	Address    string
	City       string
	Date       string
	Matter     string
	Requests   []string
}

// index is what the list of documents is made of.
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

	// contentPolicy allows a page nothing but its own style.
	contentPolicy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func parsePage(name string) *template.Template {
	functions := template.FuncMap{"inc": func(i int) int { return i + 1 }}
	return template.Must(template.New(name).Funcs(functions).ParseFS(templates, "templates/"+name))
}

func readStyle() template.CSS {
	css, err := templates.ReadFile("templates/document.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return template.CSS("\n" + string(css))
}

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func newDocument(f *form, s set, at time.Time) document {
	d := document{
		Style: style, Kind: s.kind, County: strings.ToUpper(county(f)), Plaintiff: plaintiffName(s.plaintiff), Head: bool(s.plaintiff.HeadOfHousehold),
		Defendant: defendantName(s.defendant), Role: strings.ToLower(string(s.defendant.DefendantRole)),
		Address: or(f.Address.v.String(), "[address of the premises]"), City: or(f.filingCity(), "[city]"), Date: at.Format("January 2, 2006"), Matter: matter(f),
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
		d.Requests = append(d.Requests, strings.NewReplacer("{plaintiff}", d.Plaintiff, "{issue}", issue).Replace(s.kind.Issue))
	}
	return d
}

func newIndex(w *work) index {
	f := w.j.form
	x := index{
		Style: style, Matter: matter(f), Address: f.Address.v.String(), Date: w.j.started.Format("January 2, 2006"),
		Succeeded: len(w.sets) - w.failed, Failed: w.failed,
	}
	for i, r := range w.results {
		entry := indexEntry{Number: r.Set, Title: r.DocumentType, Plaintiff: r.Plaintiff, Defendant: r.Defendant, Error: r.Error}
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

func or(choices ...string) string {
	for _, c := range choices {
		if c != "" {
			return c
		}
	}
	return ""
}

func plaintiffName(p party) string { return or(p.name(), "[Plaintiff]") }
func defendantName(p party) string { return or(p.name(), "[Defendant]") }

// leadingArticle finds the article of "an individual" or "a corporation".
var leadingArticle = regexp.MustCompile(`(?i)^an?\s+`)

// describe is a defendant as a caption names it: with what kind of entity it is, if that is more than a person.
func describe(p party) string {
	entity := leadingArticle.ReplaceAllString(or(string(p.DefendantType), string(p.EntityType)), "")
	if entity == "" || strings.EqualFold(entity, "individual") {
		return defendantName(p)
	}
	if entity != strings.ToUpper(entity) { // LLC stays
		entity = strings.ToLower(entity)
	}
	return defendantName(p) + ", " + article(entity) + " " + entity
}

// article is right for "an LLC" and "an individual", "a corporation" and "a trust".
func article(entity string) string {
	first := unicode.ToUpper([]rune(entity)[0])
	vowels := "AEIO"
	if entity == strings.ToUpper(entity) {
		vowels = "AEFHILMNORSX" // spelt out
	}
	if strings.ContainsRune(vowels, first) {
		return "an"
	}
	return "a"
}

// endsInCounty finds the word that the caption has of its own.
var endsInCounty = regexp.MustCompile(`(?i)\s+county$`)

func county(f *form) string {
	return or(endsInCounty.ReplaceAllString(or(string(f.FilingCounty), string(f.FilingCountyBefore)), ""), "[county]")
}

func matter(f *form) string {
	v := f.Form.v
	return or(string(v.Name), string(v.InternalName), plaintiffName(f.Plaintiffs[0])+" v. "+defendantName(f.Defendants[0]))
}
