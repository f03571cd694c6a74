package samplepipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseForm(t *testing.T) {
	parties := func(n int) string {
		list := strings.Repeat("{},", n-1) + "{}"
		return `{"PlaintiffDetails":[` + list + `],"document_types":["pods"]}`
	}
	for _, test := range []struct {
		name, form string
		documents  int
		wantErr    string // part of the error
	}{
		{"empty", `{}`, 3, ""},
		{
			"nulls", `{
				"case_id": null, "PlaintiffDetails": null, "DefendantDetails2": null,
				"Full_Address": null, "document_types": null, "sample": null
			}`, 3, "",
		},
		{
			"wrong types of top-level fields", `{
				"case_id": 7, "run": "2", "Form": [],
				"PlaintiffDetails": {"Id": 12345678901234567890},
				"DefendantDetails2": ["x", 3, {"LastName": false}],
				"Full_Address": "here", "FilingCity": {}, "document_types": "pods"
			}`, 3, "",
		},
		{"empty lists", `{"PlaintiffDetails":[],"DefendantDetails2":[],"document_types":[]}`, 3, ""},
		{"three by two by three", eighteen("x", `{}`), 18, ""},
		{"form of the frontend", frontend, 6, ""},
		{
			"wrong types of inner fields", `{
				"PlaintiffDetails": [
					{"PlaintiffItemNumberName": "Jane", "PlaintiffItemNumberDiscovery": ["Vermin"]},
					{"PlaintiffItemNumberName": {"First": {}},
						"PlaintiffItemNumberDiscovery": {"Vermin": {"a": 1}, "Insects": [[1], null]}}
				],
				"DefendantDetails2": {"DefendantItemNumberName": []},
				"Full_Address": {"StreetAddress": []}
			}`, 6, "",
		},
		{"most documents", parties(500), 500, ""},
		{"too many documents", parties(501), 0, "501 documents"},
		{"a list", `[]`, 0, "valid JSON object"},
		{"null", `null`, 0, "valid JSON object"},
		{"invalid JSON", `{`, 0, "valid JSON object"},
		{"case id that leads out of the directory", `{"case_id":"../x"}`, 0, "case_id and run"},
		{"case id of a hidden directory", `{"case_id":".x"}`, 0, "case_id and run"},
		{"run with a slash", `{"run":"1/2"}`, 0, "case_id and run"},
		{"unknown mode", `{"sample":{"mode":"loud"}}`, 0, "sample.mode must be one of sync, async, silent"},
		{"unknown fault", `{"sample":{"fault":"flood"}}`, 0, "sample.fault must be one of fail,"},
		{"sample of the wrong type", `{"sample":{"at":"four"}}`, 0, `the number "at"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := parseForm([]byte(test.form))
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("the error is %v, want one with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.total() != test.documents || f.CaseID == "" || f.sample.Mode != "sync" {
				t.Errorf("the form has %d documents, want %d, a case id and mode sync: %+v",
					f.total(), test.documents, f)
			}
		})
	}
}

// frontend is a form as the form frontend sends it: two plaintiffs, one defendant, three types.
const frontend = `{
	"case_id": "doc:2",
	"Form": {"Id": "1", "InternalName": "AutoPopulationForm", "Name": "Ruiz v. Harbor Homes"},
	"PlaintiffDetails": [
		{
			"Id": "p1", "ItemNumber": 1, "HeadOfHousehold": true,
			"PlaintiffItemNumberName": {"First": "Ana", "Last": "Ruiz", "FirstAndLast": "Ana Ruiz"},
			"PlaintiffItemNumberType": "Individual", "PlaintiffItemNumberAgeCategory": ["Adult"],
			"PlaintiffItemNumberDiscovery": {
				"VerminIssue": true, "Vermin": ["Rats/Mice", "Skunks"],
				"InsectIssues": true, "Insects": ["Roaches"],
				"Plumbing": [], "HVACIssues": false, "Unit": "5"
			}
		},
		{
			"Id": "p2", "ItemNumber": 2, "HeadOfHousehold": false,
			"PlaintiffItemNumberName": {"First": "Bo", "Last": "Li", "FirstAndLast": null}
		}
	],
	"DefendantDetails2": [{
		"Id": "d1", "ItemNumber": 1,
		"DefendantItemNumberName": {"First": null, "Last": null, "FirstAndLast": "Harbor Homes"},
		"DefendantItemNumberType": "a corporation", "DefendantItemNumberManagerOwner": "Manager"
	}],
	"Full_Address": {
		"StreetAddress": "12 Oak St", "Line1": "12 Oak St", "City": "Oakland", "State": "CA", "PostalCode": "94607"
	},
	"Filing city": "Berkeley", "Filing county": "Alameda County",
	"document_types": ["srogs", "pods", "admissions"], "serverTimestamp": "2026-11-30T17:00:00Z"
}`

func TestAllShapesOfTheFormMeanTheSame(t *testing.T) {
	for _, test := range []struct{ name, form string }{
		{"frontend", frontend},
		{"older shape", `{
			"PlaintiffDetails": [
				{"FirstName": "Ana", "LastName": "Ruiz", "HeadOfHousehold": true},
				{"FirstName": "Bo", "LastName": "Li"}
			],
			"DefendantDetails2": [{"LastName": "Harbor Homes", "EntityType": "Corporation"}],
			"Full_Address": {"Street": "12 Oak St", "City": "Oakland", "State": "CA", "PostalCode": 94607},
			"FilingCity": "Berkeley", "FilingCounty": "Alameda"
		}`},
		{"other fields of the frontend", `{
			"PlaintiffDetails": [
				{"PlaintiffItemNumberName": {"First": "Ana", "Last": "Ruiz"}, "HeadOfHousehold": "yes"},
				{"PlaintiffItemNumberName": {"FirstAndLast": "Bo Li"}}
			],
			"DefendantDetails2": [
				{"DefendantItemNumberName": {"Last": "Harbor Homes"}, "DefendantItemNumberType": "Corporation"}
			],
			"Full_Address": {"Line1": "12 Oak St", "City": "Oakland", "State": "CA", "PostalCode": "94607"},
			"Filing city": "Berkeley", "Filing county": "alameda county"
		}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := parseForm([]byte(test.form))
			if err != nil {
				t.Fatal(err)
			}
			first, second := f.Plaintiffs[0], f.Plaintiffs[1]
			got := []string{
				plaintiffName(first), fmt.Sprint(first.HeadOfHousehold),
				plaintiffName(second), fmt.Sprint(second.HeadOfHousehold),
				describe(f.Defendants[0]), f.Address.v.String(), f.filingCity(), strings.ToUpper(county(f)),
			}
			want := []string{
				"Ana Ruiz", "true",
				"Bo Li", "false",
				"Harbor Homes, a corporation", "12 Oak St, Oakland, CA 94607", "Berkeley", "ALAMEDA",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the form (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIssuesAreLimited(t *testing.T) {
	var lists strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lists, `,"k%03d":["%s"]`, i, strings.Repeat("x", 400))
	}
	f, err := parseForm([]byte(`{"PlaintiffDetails":[{"PlaintiffItemNumberDiscovery":{"a":1` + lists.String() + `}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := f.Plaintiffs[0].Issues
	if len(got) != maxIssues || len([]rune(got[0])) > maxText || !strings.HasPrefix(got[0], "k000 (xx") {
		t.Errorf("there are %d issues, and the first is %q; want %d of at most %d characters",
			len(got), got[0], maxIssues, maxText)
	}
}

func TestTextsAreCleaned(t *testing.T) {
	long := strings.Repeat("ü", 400)
	f, err := parseForm([]byte(`{"PlaintiffDetails":[{
		"Id": 9007199254740993, "FirstName": " A\u0000na\n\u001bx ", "LastName": "` + long + `",
		"HeadOfHousehold": "Yes"
	}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := party{
		ID:              "9007199254740993",
		FirstName:       "A na x",
		LastName:        text(strings.Repeat("ü", maxText-1) + "…"),
		HeadOfHousehold: true,
	}
	if diff := cmp.Diff(want, f.Plaintiffs[0], cmp.AllowUnexported(lenient[name]{})); diff != "" {
		t.Errorf("the plaintiff (-want +got):\n%s", diff)
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
		n := form.total()
		if n < 1 || n > maxDocuments {
			t.Errorf("the form has %d documents, want 1 to %d", n, maxDocuments)
		}
		if form.sample.At < 1 || form.sample.At > n {
			t.Errorf("sample.at is %d, want 1 to %d", form.sample.At, n)
		}
		if !validID.MatchString(form.runFolder()) {
			t.Errorf("the directory of the run is %q, want a valid name", form.runFolder())
		}
	})
}
