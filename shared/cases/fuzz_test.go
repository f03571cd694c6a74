package cases_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	. "github.com/casewatch/casewatch/shared/cases"
)

// FuzzOutputURL: an address that is shown is of the web, as it was said.
func FuzzOutputURL(f *testing.F) {
	for _, text := range []string{"https://documents.example/c?a=b#c", "javascript:alert(1)", "JaVaScRiPt://x/%0aalert(1)", "data:text/html,x", "//h", "https:h", "http://a\nb", " https://h", "https://h/\"onmouseover=x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := Case{Outcome: Outcome{OutputURL: text}}.View(epoch, nil, nil).OutputURL
		if shown == nil {
			return
		}
		if u, err := url.Parse(*shown); *shown != text || err != nil || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(u.Host, "\"<>") || u.Host == "" {
			t.Errorf("%q is shown as %q", text, *shown)
		}
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// FuzzRecord: a record that can be read is written so that it reads the same, with what is not known of it, and is written the same again.
func FuzzRecord(f *testing.F) {
	for _, c := range []Case{{}, {Origin: Origin{CaseID: "a", Run: 1}, Version: 2, State: Running, Job: Job{Progress: Progress{Completed: 1, Total: 2, Current: "\u2028\x00"}}, Outcome: Outcome{End: &End{Reason: ReasonDeadline}}}} {
		record, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record)
	}
	f.Add([]byte(`{"shape":2,"origin":{"case_id":"a","CASE_ID":"b"},"later":{"x":[1e400]},"VIEWERS":{"LEASE":{"a":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c, again Case
		if json.Unmarshal(data, &c) != nil {
			return
		}
		first, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		if err := json.Unmarshal(first, &again); err != nil || again.CaseID != c.CaseID || again.Run != c.Run || again.Version != c.Version || again.State != c.State {
			t.Fatalf("%q is %+v, then %+v, %v", data, c, again, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%q is written as %s, then %s, %v", data, first, second, err)
		}
	})
}
