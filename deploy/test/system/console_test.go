package system_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// listing and detail are the console's JSON, as far as it is looked at here.
type (
	listing struct {
		Runs   []listed            `json:"runs"`
		Counts map[cases.State]int `json:"counts"`
	}
	listed struct {
		CaseID string      `json:"case_id"`
		Run    int         `json:"run"`
		State  cases.State `json:"state"`
	}
	detail struct {
		Case     cases.View        `json:"case"`
		Timeline []json.RawMessage `json:"timeline"`
		Leaked   int               `json:"leaked"`
	}
)

// console asks the console as an operator does, and again while an instance that died is replaced.
func (s *system) console(method, path, body string, answer any) int {
	s.t.Helper()
	to := s.routers["console"].url
	code, data := s.persist(method, to+path, body, "Authorization", s.tokens.bearer(operator, to),
		"Accept", "application/json",
		"Content-Type", "application/x-www-form-urlencoded")
	if code < 300 {
		if err := json.Unmarshal(data, answer); err != nil {
			s.giveUp("%s %s of the console: %v: %.500s", method, path, err, data)
		}
	}
	return code
}

// operate takes two cases through the console: one is found in the list, looked at and cancelled,
// one that failed is run again.
func (s *system) operate(t *testing.T) {
	s.pipe.Script("operated", pipelinetest.Async(4))
	r := s.begin(`{"case_id":"operated"}`, "")
	s.watch(r)
	s.until(r, "it runs", running)
	var list listing
	if code := s.console(http.MethodGet, "/?state=running", "", &list); code != http.StatusOK ||
		list.Counts[cases.Running] == 0 ||
		!slices.Contains(list.Runs, listed{"operated", 1, cases.Running}) {
		t.Errorf("the list: %d %+v", code, list)
	}
	var d detail
	if code := s.console(http.MethodGet, "/operated", "", &d); code != http.StatusOK ||
		d.Case.State != cases.Running || len(d.Timeline) == 0 {
		t.Errorf("the case: %d %+v", code, d)
	}
	if code := s.console(http.MethodPost, "/operated?run=1", "action=cancel", &d); code != http.StatusOK ||
		d.Case.State != cases.Cancelled || d.Case.End.Source != cases.SourceCancel {
		t.Errorf("after it was cancelled: %d %+v", code, d.Case)
	}

	s.pipe.Script("rerun", pipelinetest.Failed(500, "jammed"))
	first := s.begin(`{"case_id":"rerun"}`, "")
	s.until(first, "it fails", ended)
	s.pipe.Script("rerun", pipelinetest.Work(2, 0, 0))
	for range 2 { // the second finds what the first began
		code := s.console(http.MethodPost, "/rerun?run=1", "action=rerun", &d)
		if code != http.StatusAccepted && code != http.StatusOK || d.Case.Run != 2 {
			t.Errorf("after it was to be run again: %d %+v", code, d.Case)
		}
	}
	second := first
	second.Run = 2
	if v := s.until(second, "it ends", ended); v.State != cases.Succeeded {
		t.Errorf("run again, it is %s", v.State)
	}
	if got := len(s.pipe.PostsOfRun("rerun", 2)); got != 1 {
		t.Errorf("run again, it was sent %d times", got)
	}
}

// unwell is what the console finds wrong; "" if nothing.
func (s *system) unwell() string {
	var health struct {
		Healthy                            bool
		Open, Overdue, Leaked, Unpublished int
	}
	code := s.console(http.MethodGet, "/-/health", "", &health)
	if code != http.StatusOK || !health.Healthy || health.Open+health.Overdue+health.Leaked+health.Unpublished != 0 {
		return fmt.Sprintf("%d %+v", code, health)
	}
	return ""
}

// healthy wants the console to find nothing wrong, and every run to have ended.
func (s *system) healthy(t *testing.T) {
	if found := s.unwell(); found != "" {
		t.Errorf("the console says %s", found)
	}
	var list listing
	s.console(http.MethodGet, "/", "", &list)
	all := 0
	for _, n := range list.Counts {
		all += n
	}
	// of again three, of rerun two, of operated and of crowd one
	want := len(stories) + 7
	if all != want || len(list.Runs) != want || list.Counts[cases.Pending]+list.Counts[cases.Running] != 0 {
		t.Errorf("the console counts %v and lists %d runs, want %d that have ended", list.Counts, len(list.Runs), want)
	}
	var page strings.Builder
	for _, path := range []string{"/", "/operated", "/-/health"} {
		to := s.routers["console"].url
		code, body := s.persist(http.MethodGet, to+path, "",
			"Authorization", s.tokens.bearer(operator, to), "Accept", "text/html")
		if page.Write(body); code != http.StatusOK || !strings.Contains(string(body), "</html>") {
			t.Errorf("the page %s: %d %.300s", path, code, body)
		}
	}
	if strings.Contains(page.String(), "xxxxxxxxxxxxxxxx") {
		t.Error("a form is on a page")
	}
}
