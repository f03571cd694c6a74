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

func TestDocumentsAreThereAndStay(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	form := `{"case_id":"doc:1",` + people + `,"Full_Address":{"Street":"12 <b>Oak</b> St","City":"Oakland","State":"CA","PostalCode":94607},
		"FilingCity":"Oakland","FilingCounty":"Alameda County","document_types":["srogs","pods","admissions"],"Form":{"Name":"Ruiz & others"}}`
	if code, _, body := r.post(t, form, ""); code != 200 {
		t.Fatalf("%d %v", code, body)
	}
	files, err := filepath.Glob(filepath.Join(dir, "doc:1", "1", "*"))
	if err != nil || len(files) != 19 {
		t.Fatalf("%d files: %v %v", len(files), files, err)
	}
	// A new process serves them, and knows nothing of the job.
	r = newRig(t, dir)
	if code, _ := r.progressOf(t, "doc:1"); code != 404 {
		t.Errorf("progress after a restart: %d", code)
	}
	code, header, page := r.get(t, "/documents/doc:1/1/")
	if code != 200 || strings.Count(page, "<a href=") != 18 || !strings.Contains(page, "<h1>Ruiz &amp; others</h1>") {
		t.Errorf("index: %d %s", code, page)
	}
	want := "default-src 'none'; style-src 'sha256-" + styleHash() + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := header.Get("Content-Security-Policy"); got != want {
		t.Errorf("policy %q", got)
	}
	if _, rest, _ := strings.Cut(page, "<style>"); !strings.HasPrefix(rest, string(style)+"</style>") {
		t.Error("the style is not the one that the policy allows")
	}
	for file, parts := range map[string][]string{ // in the order of the form: plaintiff, defendant, type
		"001-srogs.html": {
			"Ana Ruiz’s Special Interrogatories, Set One, to Harbor Homes", "12 &lt;b&gt;Oak&lt;/b&gt; St, Oakland, CA 94607", "County of ALAMEDA<",
			"<strong>Harbor Homes, an LLC</strong>; <strong>Dan Dole</strong>; and DOES 1", "Special Interrogatory No. 12:", "head of household", "Plaintiffs,",
		},
		"011-pods.html":       {"Bo Li’s Requests for Production of Documents, Set One, to Dan Dole", "Request for Production No. 12:"},
		"015-admissions.html": {"Cole’s Requests for Admission, Set One, to Harbor Homes", "during the tenancy of Cole"},
	} {
		code, header, page := r.get(t, "/documents/doc:1/1/"+file)
		if code != 200 || header.Get("Content-Type") != "text/html; charset=utf-8" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", file, code, header)
		}
		for _, part := range parts {
			if !strings.Contains(page, part) {
				t.Errorf("%s does not contain %q", file, part)
			}
		}
	}
}

// The issues of a plaintiff become requests of their own in each of that plaintiff's documents, and in no other's.
func TestDocumentsOfTheFrontendsForm(t *testing.T) {
	r := newRig(t, t.TempDir())
	code, _, body := r.post(t, frontend, "")
	if code != 200 || body["webhook_summary"].(map[string]any)["succeeded"] != 6.0 {
		t.Fatalf("%d %v", code, body)
	}
	for file, parts := range map[string][]string{
		"001-srogs.html": {
			"Ana Ruiz’s Special Interrogatories, Set One, to Harbor Homes", "12 Oak St, Oakland, CA 94607", "County of ALAMEDA<", "Berkeley</p>", "head of household",
			"<strong>Harbor Homes, a corporation</strong>", "Defendant Harbor Homes (manager)", "Special Interrogatory No. 14:", "Vermin (Rats/Mice, Skunks)", "Insects (Roaches)",
		},
		"002-pods.html":       {"Request for Production No. 14:", "Vermin (Rats/Mice, Skunks)"},
		"003-admissions.html": {"Request for Admission No. 14:", "Insects (Roaches)"},
		"004-srogs.html":      {"Bo Li’s Special Interrogatories", "Special Interrogatory No. 12:"},
	} {
		code, _, page := r.get(t, "/documents/doc:2/1/"+file)
		if code != 200 {
			t.Errorf("%s: %d", file, code)
		}
		for _, part := range parts {
			if !strings.Contains(page, part) {
				t.Errorf("%s does not contain %q", file, part)
			}
		}
		if of := strings.Contains(page, "No. 13:"); of != (file < "004") || strings.Contains(page, "No. 15:") {
			t.Errorf("%s has requests about issues: %v", file, of)
		}
	}
}

func TestSensibleWithoutAnything(t *testing.T) {
	r := newRig(t, t.TempDir())
	_, _, body := r.post(t, `{"document_types":["srogs","subpoena"]}`, "")
	s := body["webhook_summary"].(map[string]any)
	if s["succeeded"] != 1.0 || s["failed"] != 1.0 {
		t.Fatalf("%v", s)
	}
	path := strings.TrimPrefix(body["output_url"].(string), r.url)
	_, _, index := r.get(t, path)
	if !strings.Contains(index, "subpoena") || !strings.Contains(index, "failed: unknown document type") {
		t.Error(index)
	}
	_, _, page := r.get(t, path+"001-srogs.html")
	for _, part := range []string{"[Plaintiff]", "[Defendant]", "County of [COUNTY]", "[address of the premises]", "[city]"} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s", part)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, filepath.Join(dir, "documents"))
	r.post(t, `{"case_id":"a"}`, "")
	if err := os.WriteFile(filepath.Join(dir, "secret.html"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "secret.html"), filepath.Join(dir, "documents", "a", "1", "009-pods.html")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/documents/a/1/":                      200,
		"/documents/a/1":                       200, // by redirect
		"/documents/a/2/":                      404,
		"/documents/a/1/099-pods.html":         404,
		"/documents/a/1/other.html":            404,
		"/documents/a/1/../../../secret.html":  404,
		"/documents/a/%2e%2e/%2e%2e/secret":    404,
		"/documents/..%2f/1/":                  404,
		"/documents/a/1/..%2f..%2fsecret.html": 404,
		"/documents/a/1/009-pods.html":         500, // a link out of the folder
		"/documents/":                          404,
		"/":                                    404,
	} {
		if code, _, page := r.get(t, path); code != want || strings.Contains(page, "secret") {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestFailureToWriteIsADocumentThatFailed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "documents")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder is to be
		t.Fatal(err)
	}
	r := newRig(t, dir)
	_, _, body := r.post(t, `{}`, "")
	if s := body["webhook_summary"].(map[string]any); s["failed"] != 3.0 {
		t.Errorf("%v", s)
	}
}

func TestLargestResultFitsIntoAnEvent(t *testing.T) {
	name := text(strings.Repeat("ü", maxText))
	f := &form{CaseID: text(strings.Repeat("c", 128)), Run: "99999", DocumentTypes: list[text]{"admissions"}, Defendants: list[party]{{LastName: name}}}
	for range maxDocuments {
		f.Plaintiffs = append(f.Plaintiffs, party{LastName: name})
	}
	p := New(Options{Dir: t.TempDir(), BaseURL: func() string { return "https://documents.example.com/with/a/prefix" }})
	defer p.Close()
	w := newWork(p, newJob(f, "", "", time.Now()))
	for i := range w.sets {
		w.write(i, false)
	}
	data, err := json.Marshal(event{Result: w.result(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	var published []byte
	p.opts.Publish = func(_ context.Context, d []byte) error { published = d; return nil }
	if err := p.publish(event{Result: w.result(time.Now())}); err != nil {
		t.Fatal(err)
	}
	if len(published) > maxEvent {
		t.Errorf("%d bytes, of %d whole", len(published), len(data))
	}
	var e event
	if err := json.Unmarshal(published, &e); err != nil || e.Result.WebhookSummary.Succeeded != maxDocuments {
		t.Errorf("%v %+v", err, e)
	}
}
