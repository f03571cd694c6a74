package samplepipeline

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func (r *rig) get(t *testing.T, path string) (int, http.Header, string) {
	t.Helper()
	response, err := r.client.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

// wantParts fetches a page and fails the test if one of the parts is not in it.
func (r *rig) wantParts(t *testing.T, path string, parts ...string) {
	t.Helper()
	code, header, page := r.get(t, path)
	if code != 200 || header.Get("Content-Type") != "text/html; charset=utf-8" ||
		header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: %d %v, want 200 with a page", path, code, header)
	}
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("%s does not contain %q", path, part)
		}
	}
}

func TestDocumentsAreServedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	form := `{
		"case_id": "doc:1", "Form": {"Name": "Ruiz & others"}, ` + people + `,
		"Full_Address": {"Street": "12 <b>Oak</b> St", "City": "Oakland", "State": "CA", "PostalCode": 94607},
		"FilingCity": "Oakland", "FilingCounty": "Alameda County",
		"document_types": ["srogs", "pods", "admissions"]
	}`
	if code, _, body := r.post(t, form, ""); code != 200 {
		t.Fatalf("the answer is %d %v, want 200", code, body)
	}
	files, err := filepath.Glob(filepath.Join(dir, "doc:1", "1", "*"))
	if err != nil || len(files) != 19 {
		t.Fatalf("the directory has the files %v (%v), want 18 documents and the index", files, err)
	}
	r = newRig(t, dir) // as a new process: it has the documents, but not the job
	if code, _ := r.progressOf(t, "doc:1"); code != 404 {
		t.Errorf("the progress after a restart is %d, want 404", code)
	}
	code, header, page := r.get(t, "/documents/doc:1/1/")
	if code != 200 || strings.Count(page, "<a href=") != 18 ||
		!strings.Contains(page, "<h1>Ruiz &amp; others</h1>") {
		t.Errorf("the index is %d %s, want 200 with 18 links and the title", code, page)
	}
	want := "default-src 'none'; style-src 'sha256-" + styleHash() + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := header.Get("Content-Security-Policy"); got != want {
		t.Errorf("the policy is %q, want %q", got, want)
	}
	if _, rest, _ := strings.Cut(page, "<style>"); !strings.HasPrefix(rest, string(style)+"</style>") {
		t.Error("the style of the page is not the one that its policy allows")
	}
	// The documents have the order of the form: by plaintiff, defendant and type.
	r.wantParts(t, "/documents/doc:1/1/001-srogs.html",
		"Ana Ruiz’s Special Interrogatories, Set One, to Harbor Homes",
		"12 &lt;b&gt;Oak&lt;/b&gt; St, Oakland, CA 94607",
		"County of ALAMEDA<",
		"<strong>Harbor Homes, an LLC</strong>; <strong>Dan Dole</strong>; and DOES 1",
		"Special Interrogatory No. 12:",
		"head of household",
		"Plaintiffs,",
	)
	r.wantParts(t, "/documents/doc:1/1/011-pods.html",
		"Bo Li’s Requests for Production of Documents, Set One, to Dan Dole",
		"Request for Production No. 12:",
	)
	r.wantParts(t, "/documents/doc:1/1/015-admissions.html",
		"Cole’s Requests for Admission, Set One, to Harbor Homes",
		"during the tenancy of Cole",
	)
}

// Each issue of a plaintiff adds a request to the documents of that plaintiff only.
func TestDocumentsOfTheFrontendsForm(t *testing.T) {
	r := newRig(t, t.TempDir())
	code, _, body := r.post(t, frontend, "")
	if code != 200 || body["webhook_summary"].(map[string]any)["succeeded"] != 6.0 {
		t.Fatalf("the answer is %d %v, want 200 with 6 documents", code, body)
	}
	r.wantParts(t, "/documents/doc:2/1/001-srogs.html",
		"Ana Ruiz’s Special Interrogatories, Set One, to Harbor Homes",
		"12 Oak St, Oakland, CA 94607",
		"County of ALAMEDA<",
		"Berkeley</p>",
		"head of household",
		"<strong>Harbor Homes, a corporation</strong>",
		"Defendant Harbor Homes (manager)",
		"Special Interrogatory No. 14:",
		"Vermin (Rats/Mice, Skunks)",
		"Insects (Roaches)",
	)
	r.wantParts(t, "/documents/doc:2/1/002-pods.html",
		"Request for Production No. 14:", "Vermin (Rats/Mice, Skunks)")
	r.wantParts(t, "/documents/doc:2/1/003-admissions.html",
		"Request for Admission No. 14:", "Insects (Roaches)")
	r.wantParts(t, "/documents/doc:2/1/004-srogs.html",
		"Bo Li’s Special Interrogatories", "Special Interrogatory No. 12:")
	for file, unwanted := range map[string]string{
		"001-srogs.html":      "No. 15:",
		"002-pods.html":       "No. 15:",
		"003-admissions.html": "No. 15:",
		"004-srogs.html":      "No. 13:", // this plaintiff has no issues
	} {
		if _, _, page := r.get(t, "/documents/doc:2/1/"+file); strings.Contains(page, unwanted) {
			t.Errorf("%s has a request %s want no request about issues of another plaintiff", file, unwanted)
		}
	}
}

func TestMissingFieldsBecomePlaceholders(t *testing.T) {
	r := newRig(t, t.TempDir())
	_, _, body := r.post(t, `{"document_types":["srogs","subpoena"]}`, "")
	s := body["webhook_summary"].(map[string]any)
	if s["succeeded"] != 1.0 || s["failed"] != 1.0 {
		t.Fatalf("the summary is %v, want one success and one failure", s)
	}
	path := strings.TrimPrefix(body["output_url"].(string), r.url)
	_, _, index := r.get(t, path)
	if !strings.Contains(index, "subpoena") || !strings.Contains(index, "failed: unknown document type") {
		t.Errorf("the index does not say that the type is unknown:\n%s", index)
	}
	r.wantParts(t, path+"001-srogs.html",
		"[Plaintiff]", "[Defendant]", "County of [COUNTY]", "[address of the premises]", "[city]")
}

func TestOnlyDocumentsAreServed(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, filepath.Join(dir, "documents"))
	r.post(t, `{"case_id":"a"}`, "")
	secret := filepath.Join(dir, "secret.html")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "documents", "a", "1", "009-pods.html")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/documents/a/1/":                      200,
		"/documents/a/1":                       200, // after a redirect
		"/documents/a/2/":                      404,
		"/documents/a/1/099-pods.html":         404,
		"/documents/a/1/other.html":            404,
		"/documents/a/1/../../../secret.html":  404,
		"/documents/a/%2e%2e/%2e%2e/secret":    404,
		"/documents/..%2f/1/":                  404,
		"/documents/a/1/..%2f..%2fsecret.html": 404,
		"/documents/a/1/009-pods.html":         500, // a symbolic link out of the directory
		"/documents/":                          404,
		"/":                                    404,
	} {
		if code, _, page := r.get(t, path); code != want || strings.Contains(page, "secret") {
			t.Errorf("%s: %d %s, want %d without the secret", path, code, page, want)
		}
	}
}

func TestDocumentThatCannotBeWrittenFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "documents")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in the place of the directory
		t.Fatal(err)
	}
	r := newRig(t, dir)
	_, _, body := r.post(t, `{}`, "")
	if s := body["webhook_summary"].(map[string]any); s["failed"] != 3.0 {
		t.Errorf("the summary is %v, want 3 failures", s)
	}
}

func TestLargestResultFitsIntoAnEvent(t *testing.T) {
	name := text(strings.Repeat("ü", maxText))
	f := &form{
		CaseID:        text(strings.Repeat("c", 128)),
		Run:           "99999",
		DocumentTypes: list[text]{"admissions"},
		Defendants:    list[party]{{LastName: name}},
	}
	for range maxDocuments {
		f.Plaintiffs = append(f.Plaintiffs, party{LastName: name})
	}
	p := New(Options{Dir: t.TempDir(), BaseURL: func() string { return "https://documents.example.com/with/a/prefix" }})
	defer p.Close()
	w := newWork(p, newJob(t.Context(), f, "", "", time.Now()))
	for i := range w.sets {
		w.write(i, false)
	}
	var published []byte
	p.opts.Publish = func(_ context.Context, d []byte) error { published = d; return nil }
	if err := p.publish(event{Result: w.result(time.Now())}); err != nil {
		t.Fatal(err)
	}
	if len(published) > maxEvent {
		t.Errorf("the event has %d bytes, want at most %d", len(published), maxEvent)
	}
	var e event
	if err := json.Unmarshal(published, &e); err != nil || e.Result.WebhookSummary.Succeeded != maxDocuments {
		t.Errorf("the event is %+v (%v), want one with %d successes", e, err, maxDocuments)
	}
}
