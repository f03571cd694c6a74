package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

func TestSplice(t *testing.T) {
	for name, tc := range map[string]struct{ form, want string }{
		"empty":            {`{}`, `{"case_id":"c-1","run":2}`},
		"empty with space": {" {\n} \n", " {\"case_id\":\"c-1\",\"run\":2\n} \n"},
		"added in front":   {`{"b":1.0,"a":1e400}`, `{"case_id":"c-1","run":2,"b":1.0,"a":1e400}`},
		"case_id in place": {`{"a":1, "case_id" : "x" ,"b":2}`, `{"run":2,"a":1, "case_id" : "c-1" ,"b":2}`},
		"run in place":     {`{"run":7}`, `{"case_id":"c-1","run":2}`},
		"both in place":    {`{"run":[1,{"run":1}],"case_id":null}`, `{"run":2,"case_id":"c-1"}`},
		"escaped key":      {`{"case\u005fid":"x","r\u0075n":true}`, `{"case\u005fid":"c-1","r\u0075n":2}`},
		"duplicate":        {`{"case_id":"x","a":1,"case_id":"y"}`, `{"run":2,"case_id":"c-1","a":1}`},
		"many duplicates": {
			`{"run":1 , "run":2 , "case_id":3,"run":4,"z":[]}`, `{"run":2  , "case_id":"c-1","z":[]}`,
		},
		"other case of key": {`{"Case_ID":1,"RUN":2}`, `{"case_id":"c-1","run":2,"Case_ID":1,"RUN":2}`},
		"nested are not top": {
			`{"a":{"case_id":"x","run":[1]},"b":[{"run":1}]}`,
			`{"case_id":"c-1","run":2,"a":{"case_id":"x","run":[1]},"b":[{"run":1}]}`,
		},
		"brackets in text": {`{"a":"}],\"{","run":"}\\"}`, `{"case_id":"c-1","a":"}],\"{","run":2}`},
		"big numbers": {
			`{"n":12345678901234567890.10,"e":1E+2,"z":-0}`,
			`{"case_id":"c-1","run":2,"n":12345678901234567890.10,"e":1E+2,"z":-0}`,
		},
		"spelling of text":   {`{"a":"\u00e9\/<é>","a":2}`, `{"case_id":"c-1","run":2,"a":"\u00e9\/<é>","a":2}`},
		"key with no letter": {`{"":1,"case_id":2}`, `{"run":2,"":1,"case_id":"c-1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := splice([]byte(tc.form), "c-1", 2)
			if err != nil || string(got) != tc.want {
				t.Fatalf("splice(%s)\n got %s, %v\nwant %s", tc.form, got, err, tc.want)
			}
		})
	}
}

func TestSpliceRefuses(t *testing.T) {
	for _, form := range []string{"", " ", "null", "[]", `"{}"`, "1", "{", `{"a":}`, `{"a":1,}`, `{}{}`, `{} x`} {
		if got, err := splice([]byte(form), "c", 1); !errors.Is(err, errNotAnObject) {
			t.Errorf("splice(%q) = %s, %v", form, got, err)
		}
	}
}

type member struct{ name, value string }

// members reads the top-level members with the standard decoder, independently of splice. Values
// keep their bytes.
func members(t *testing.T, object []byte) (all []member) {
	t.Helper()
	offsets := json.NewDecoder(bytes.NewReader(object))
	if _, err := offsets.Token(); err != nil {
		t.Fatalf("%q: %v", object, err)
	}
	for offsets.More() {
		name, err := offsets.Token()
		if err != nil {
			t.Fatalf("%q: %v", object, err)
		}
		var value json.RawMessage
		if err := offsets.Decode(&value); err != nil {
			t.Fatalf("%q: %v", object, err)
		}
		all = append(all, member{name.(string), string(value)})
	}
	return all
}

func FuzzSplice(f *testing.F) {
	for _, form := range []string{
		`{}`, ` { "run" : 1 , "case_id" : "x" } `, `{"case\u005fid":"x","case_id":[{}],"a":"\\\""}`,
		`{"a":1,"run":2,"run":3,"b":{"run":1}}`,
		`[]`, `{"a":-1.5e-7,"":null,"case_id":{"a":[1,2,"]"]},"z":true}`, "{\"\xff\":1}",
	} {
		f.Add([]byte(form), "c-1", 1)
	}
	f.Fuzz(func(t *testing.T, form []byte, caseID string, run int) {
		got, err := splice(form, caseID, run)
		var object map[string]json.RawMessage
		if isObject := json.Unmarshal(form, &object) == nil && object != nil; isObject != (err == nil) {
			t.Fatalf("%q is an object: %v, splice: %v", form, isObject, err)
		}
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("splice(%q) = %q: not JSON", form, got)
		}
		ours := func(m member) bool { return m.name == "case_id" || m.name == "run" }
		var ids, runs []string
		for _, m := range members(t, got) {
			switch m.name {
			case "case_id":
				ids = append(ids, m.value)
			case "run":
				runs = append(runs, m.value)
			}
		}
		wantID, _ := json.Marshal(caseID)
		wantRun, _ := json.Marshal(run)
		if !slices.Equal(ids, []string{string(wantID)}) || !slices.Equal(runs, []string{string(wantRun)}) {
			t.Fatalf("splice(%q) = %q: case_id %q, run %q", form, got, ids, runs)
		}
		want := slices.DeleteFunc(members(t, form), ours)
		if others := slices.DeleteFunc(members(t, got), ours); !slices.Equal(others, want) {
			t.Fatalf("splice(%q) = %q: other members %q, want %q", form, got, others, want)
		}
	})
}
