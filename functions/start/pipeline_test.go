package start_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/start"
)

const twoPipelines = `
forms: {preset: documents, url: "http://forms.example"}
render: {preset: job, url: "http://render.example", deadline: 7m}
`

func TestTheCallerChoosesThePipeline(t *testing.T) {
	b := functiontest.New(t, map[string]string{"PIPELINES": twoPipelines})
	u := b.Serve(start.New)
	for query, want := range map[string]string{"": "forms", "?pipeline=render": "render", "?pipeline=forms": "forms"} {
		id := "c" + want + strings.TrimLeft(query, "?=")[:min(1, len(query))]
		a := b.Do("POST", u+"/"+query, `{"case_id":"`+id+`"}`, isJSON, key)
		if a.Status != 202 || b.Case(id, 1).Pipeline != want {
			t.Errorf("%q: %d %s", query, a.Status, a.Body)
		}
	}
	a := b.Do("POST", u+"/?pipeline=other", `{}`, isJSON, key)
	b.Problem(a, 400)
	if !strings.Contains(a.Body, "must be one of forms, render") {
		t.Error(a.Body)
	}
	b.Problem(b.Do("POST", u+"/?pipeline=forms&pipeline=render", `{}`, isJSON, key), 400)
}

func TestAdoptingAJobByItsName(t *testing.T) {
	b := functiontest.New(t, map[string]string{"PIPELINES": twoPipelines})
	u := b.Serve(start.New)
	job := "operations/run-1?x=ü"
	a := b.Do("POST", u+"/?adopt=true&pipeline=render&job="+url.QueryEscape(job), `{"case_id":"c"}`, isJSON, key)
	if c := b.Case("c", 1); a.Status != 202 || c.Job.ID != job || !c.Adopted || c.Pipeline != "render" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	for name, query := range map[string]string{
		"without adopt":       "job=x",
		"empty":               "adopt=true&job=",
		"a control character": "adopt=true&job=a%0Ab",
		"not UTF-8":           "adopt=true&job=%ff",
		"too long":            "adopt=true&job=" + strings.Repeat("x", 2049),
		"twice":               "adopt=true&job=a&job=b",
	} {
		if a := b.Do("POST", u+"/?"+query, `{"case_id":"d"}`, isJSON, key); a.Status != 400 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}
