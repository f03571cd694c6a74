package samplepipeline

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseForm(t *testing.T) {
	for _, tc := range []struct {
		name, form string
		documents  int
		fault      string // part of the error
	}{
		{"empty", `{}`, 3, ""},
		{"nulls", `{"case_id":null,"PlaintiffDetails":null,"DefendantDetails2":null,"Full_Address":null,"document_types":null,"sample":null}`, 3, ""},
		{"wrong types everywhere", `{"case_id":7,"run":"2","Form":[],"PlaintiffDetails":{"Id":12345678901234567890},"DefendantDetails2":["x",3,{"LastName":false}],
			"Full_Address":"here","FilingCity":{},"document_types":"pods"}`, 3, ""},
		{"lists of nothing", `{"PlaintiffDetails":[],"DefendantDetails2":[],"document_types":[]}`, 3, ""},
		{"three by two by three", eighteen("x", `{}`), 18, ""},
		{"the most", fmt.Sprintf(`{"PlaintiffDetails":[%s{}],"document_types":["pods"]}`, strings.Repeat("{},", 499)), 500, ""},
		{"one more", fmt.Sprintf(`{"PlaintiffDetails":[%s{}],"document_types":["pods"]}`, strings.Repeat("{},", 500)), 0, "501 documents"},
		{"a list", `[]`, 0, "valid JSON object"},
		{"null", `null`, 0, "valid JSON object"},
		{"not JSON", `{`, 0, "valid JSON object"},
		{"case id that climbs", `{"case_id":"../x"}`, 0, "case_id and run"},
		{"case id that hides", `{"case_id":".x"}`, 0, "case_id and run"},
		{"run with a slash", `{"run":"1/2"}`, 0, "case_id and run"},
		{"unknown mode", `{"sample":{"mode":"loud"}}`, 0, "sample.mode is one of sync, async, silent"},
		{"unknown fault", `{"sample":{"fault":"flood"}}`, 0, "sample.fault is one of fail,"},
		{"sample of another type", `{"sample":{"at":"four"}}`, 0, `the number "at"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseForm([]byte(tc.form))
			if tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("error %v, want %q", err, tc.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.total() != tc.documents || f.CaseID == "" || f.sample.Mode != "sync" {
				t.Errorf("%d documents, %+v", f.total(), f)
			}
		})
	}
}

func TestTextIsCleaned(t *testing.T) {
	f, err := parseForm([]byte(`{"PlaintiffDetails":[{"Id":9007199254740993,"FirstName":" A\u0000na\n\u001bx ","LastName":"` + strings.Repeat("ü", 400) + `","HeadOfHousehold":"Yes"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p := f.Plaintiffs[0]
	if p.ID != "9007199254740993" || p.FirstName != "Ana x" || len([]rune(p.LastName)) != maxText || !p.HeadOfHousehold {
		t.Errorf("%+v", p)
	}
}

func FuzzParseForm(f *testing.F) {
	f.Add([]byte(eighteen("x", `{"mode":"async","at":3}`)))
	f.Add([]byte(`{"Full_Address":{"Street":1},"document_types":[null,{},"pods"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		form, err := parseForm(data)
		if err != nil {
			return
		}
		if n := form.total(); n < 1 || n > maxDocuments || form.sample.At < 1 || form.sample.At > n || !validID.MatchString(form.runFolder()) {
			t.Errorf("%d documents, %+v", n, form)
		}
	})
}
