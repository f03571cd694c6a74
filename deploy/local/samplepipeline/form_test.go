package samplepipeline

import (
	"fmt"
	"slices"
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
		{"as the form frontend sends it", frontend, 6, ""},
		{"wrong types in its members", `{"PlaintiffDetails":[{"PlaintiffItemNumberName":"Jane","PlaintiffItemNumberDiscovery":["Vermin"]},{"PlaintiffItemNumberName":{"First":{}},
			"PlaintiffItemNumberDiscovery":{"Vermin":{"a":1},"Insects":[[1],null]}}],"DefendantDetails2":{"DefendantItemNumberName":[]},"Full_Address":{"StreetAddress":[]}}`, 6, ""},
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

// frontend is a form as the form frontend sends it: two plaintiffs, one defendant, three types.
const frontend = `{"case_id":"doc:2","Form":{"Id":"1","InternalName":"AutoPopulationForm","Name":"Ruiz v. Harbor Homes"},
	"PlaintiffDetails":[
		{"Id":"p1","ItemNumber":1,"HeadOfHousehold":true,"PlaintiffItemNumberName":{"First":"Ana","Last":"Ruiz","FirstAndLast":"Ana Ruiz"},
			"PlaintiffItemNumberType":"Individual","PlaintiffItemNumberAgeCategory":["Adult"],
			"PlaintiffItemNumberDiscovery":{"VerminIssue":true,"Vermin":["Rats/Mice","Skunks"],"InsectIssues":true,"Insects":["Roaches"],"Plumbing":[],"HVACIssues":false,"Unit":"5"}},
		{"Id":"p2","ItemNumber":2,"HeadOfHousehold":false,"PlaintiffItemNumberName":{"First":"Bo","Last":"Li","FirstAndLast":null}}],
	"DefendantDetails2":[{"Id":"d1","ItemNumber":1,"DefendantItemNumberName":{"First":null,"Last":null,"FirstAndLast":"Harbor Homes"},
		"DefendantItemNumberType":"a corporation","DefendantItemNumberManagerOwner":"Manager"}],
	"Full_Address":{"StreetAddress":"12 Oak St","Line1":"12 Oak St","City":"Oakland","State":"CA","PostalCode":"94607"},
	"Filing city":"Berkeley","Filing county":"Alameda County","document_types":["srogs","pods","admissions"],"serverTimestamp":"2026-11-30T17:00:00Z"}`

// The members of both shapes of a form mean the same.
func TestBothShapes(t *testing.T) {
	for _, form := range []string{
		frontend,
		`{"PlaintiffDetails":[{"FirstName":"Ana","LastName":"Ruiz","HeadOfHousehold":true},{"FirstName":"Bo","LastName":"Li"}],
			"DefendantDetails2":[{"LastName":"Harbor Homes","EntityType":"Corporation"}],"Full_Address":{"Street":"12 Oak St","City":"Oakland","State":"CA","PostalCode":94607},
			"FilingCity":"Berkeley","FilingCounty":"Alameda"}`,
		`{"PlaintiffDetails":[{"PlaintiffItemNumberName":{"First":"Ana","Last":"Ruiz"},"HeadOfHousehold":"yes"},{"PlaintiffItemNumberName":{"FirstAndLast":"Bo Li"}}],
			"DefendantDetails2":[{"DefendantItemNumberName":{"Last":"Harbor Homes"},"DefendantItemNumberType":"Corporation"}],
			"Full_Address":{"Line1":"12 Oak St","City":"Oakland","State":"CA","PostalCode":"94607"},"Filing city":"Berkeley","Filing county":"alameda county"}`,
	} {
		f, err := parseForm([]byte(form))
		if err != nil {
			t.Fatal(err)
		}
		got := []string{
			plaintiffName(f.Plaintiffs[0]), plaintiffName(f.Plaintiffs[1]), fmt.Sprint(f.Plaintiffs[0].HeadOfHousehold, f.Plaintiffs[1].HeadOfHousehold),
			describe(f.Defendants[0]), f.Address.v.String(), f.filingCity(), strings.ToUpper(county(f)),
		}
		want := []string{"Ana Ruiz", "Bo Li", "true false", "Harbor Homes, a corporation", "12 Oak St, Oakland, CA 94607", "Berkeley", "ALAMEDA"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q, of %s", got, want, form)
		}
	}
}

func TestIssuesAreBounded(t *testing.T) {
	var lists strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lists, `,"k%03d":["%s"]`, i, strings.Repeat("x", 400))
	}
	f, err := parseForm([]byte(`{"PlaintiffDetails":[{"PlaintiffItemNumberDiscovery":{"a":1` + lists.String() + `}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Plaintiffs[0].Issues; len(got) != maxIssues || len([]rune(got[0])) > maxText || !strings.HasPrefix(got[0], "k000 (xx") {
		t.Errorf("%d issues, the first %q", len(got), got[0])
	}
}

func TestTextIsCleaned(t *testing.T) {
	f, err := parseForm([]byte(`{"PlaintiffDetails":[{"Id":9007199254740993,"FirstName":" A\u0000na\n\u001bx ","LastName":"` + strings.Repeat("ü", 400) + `","HeadOfHousehold":"Yes"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p := f.Plaintiffs[0]
	if p.ID != "9007199254740993" || p.FirstName != "A na x" || len([]rune(p.LastName)) != maxText || !p.HeadOfHousehold {
		t.Errorf("%+v", p)
	}
}

func FuzzParseForm(f *testing.F) {
	f.Add([]byte(eighteen("x", `{"mode":"async","at":3}`)))
	f.Add([]byte(frontend))
	f.Add([]byte(`{"PlaintiffDetails":[{"PlaintiffItemNumberDiscovery":{"Vermin":["",null,7],"":["x"]}}]}`))
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
