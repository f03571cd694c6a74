package console_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// put stores a run in the state that was created ago before now.
func put(t *testing.T, b *functiontest.Bench, caseID string, ago time.Duration, state cases.State) {
	t.Helper()
	at := time.Now().UTC().Add(-ago).Truncate(time.Microsecond)
	c := cases.Case{
		Origin:      cases.Origin{CaseID: caseID, Run: 1, CreatedAt: at, DeadlineAt: at.Add(time.Hour)},
		Version:     1,
		State:       state,
		UpdatedAt:   at,
		Bookkeeping: cases.Bookkeeping{OverdueAt: at.Add(100 * time.Hour)},
	}
	if state.Ended() {
		c.Outcome.EndedAt = at
		c.Outcome.End = &cases.End{Reason: cases.ReasonPipelineFailed, Source: cases.SourceEvent}
		c.Bookkeeping.Finalized = true
	}
	begin := store.Begin{Head: store.Head{CaseID: caseID, Run: 1, Version: 1}, Case: c}
	if err := b.Store.Begin(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
}

// The pages list each of a few hundred runs once, newest first, with every filter. Some of the runs
// were created at the same moment.
func TestPages(t *testing.T) {
	b, u := newBench(t)
	var all, failed, recent []string
	for i := range 230 {
		id, state, ago := fmt.Sprintf("c%03d", i), cases.Running, time.Duration(i)*time.Minute
		if i%2 == 0 {
			state = cases.Failed
			failed = append(failed, id+":1")
		}
		if i < 60 {
			recent = append(recent, id+":1")
		}
		all = append(all, id+":1")
		put(t, b, id, ago+time.Second, state)
	}
	for query, want := range map[string][]string{
		"": all, "state=failed": failed, "age=newer-1h": recent, "age=older-60m": all[60:],
		"state=&age=": all, "state=succeeded": {}, "age=older-1d": {}, "age=newer-7d": all,
	} {
		got, pages := listed(t, b, u, query)
		if !slices.Equal(got, want) || pages != max(1, (len(want)+49)/50) {
			t.Errorf("%q: %d runs on %d pages, want %d", query, len(got), pages, len(want))
		}
	}
	counts := b.Do("GET", u+"/?state=failed", "", asJSON).JSON(t)["counts"].(map[string]any)
	if counts["failed"] != 115.0 || counts["running"] != 115.0 || counts["pending"] != 0.0 || len(counts) != 6 {
		t.Errorf("%v", counts)
	}
	// The links lead from page to page without a script.
	page, seen := b.Do("GET", u+"/?state=failed&age=newer-1d", "").Body, 1
	for {
		_, rest, more := strings.Cut(page, `<a class="button" href="./?state=failed&amp;age=newer-1d&amp;after=`)
		if !more {
			break
		}
		cursor, _, _ := strings.Cut(rest, `"`)
		page = b.Do("GET", u+"/?state=failed&age=newer-1d&after="+cursor, "").Body
		seen++
		if !strings.Contains(page, ">First page</a>") {
			t.Error("the link to the first page is missing")
		}
	}
	if seen != 3 || !strings.Contains(page, ">c228</a>") {
		t.Errorf("%d pages:\n%s", seen, page)
	}
}

func TestFind(t *testing.T) {
	b, u := newBench(t)
	b.Begin("case:1")
	for query, want := range map[string]string{"case:1": "./case:1", "%20case:1%20": "./case:1"} {
		if a := b.Do("GET", u+"/?id="+query, ""); a.Status != 303 || a.Header.Get("Location") != want {
			t.Errorf("%s: %d %s", query, a.Status, a.Header.Get("Location"))
		}
	}
	if a := b.Do("GET", u+"/?id=missing", ""); a.Status != 404 ||
		!strings.Contains(a.Body, "there is no case missing") ||
		!strings.Contains(a.Body, `href="./">To all cases`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := b.Do("GET", u+"/?id=", ""); a.Status != 200 {
		t.Errorf("an empty search: got %d, want 200", a.Status)
	}
}

// The list works without scripts. Each form and link has an accessible name.
func TestListPage(t *testing.T) {
	b, u := newBench(t)
	put(t, b, "x", time.Minute, cases.Failed)
	page := b.Do("GET", u+"/?state=failed&age=older-30m", "").Body
	for _, want := range []string{
		`<html lang="en">`,
		`<title>Cases · Casewatch console</title>`,
		`<a class="skip" href="#main">`,
		`<nav aria-label="Console">`,
		`<main id="main"`,
		"<h1>Cases</h1>",
		`<form method="get" action="./" role="search"`,
		`<label for="id">Case id</label>`,
		`<input id="id" name="id"`,
		`<label for="state">`,
		`<option value="failed" selected>Failed</option>`,
		`<option value="older-30m" selected>Created more than 30 min ago</option>`,
		`<a href="./" aria-current="page">Cases</a>`,
		`href="./?state=failed" aria-current="true"`,
		"There are none.",
		`<link rel="stylesheet" href="./-/console.css">`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing in\n%s", want, page)
		}
	}
	page = b.Do("GET", u+"/", "").Body
	for _, want := range []string{
		`<th scope="col"`, `<th scope="row"`, `<caption`, `<a href="./x?run=1" aria-label="x, run 1">x</a>`,
		`data-state="failed">Failed</span>`, "The pipeline said that it failed.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing in\n%s", want, page)
		}
	}
	if strings.Contains(page, "style=") || strings.Contains(page, "onclick") {
		t.Error("the page has inline styles or handlers, which the policy forbids")
	}
	deep := b.Do("GET", u+"/a/b/c", "").Body
	if !strings.Contains(deep, `href="../../-/console.css"`) ||
		!strings.Contains(b.Do("GET", u+"/-/health", "").Body, `href="../-/console.css"`) {
		t.Errorf("the relative address of the root is wrong in\n%s", deep)
	}
}

func FuzzCursor(f *testing.F) {
	place := reconcile.Place{CreatedAt: time.UnixMicro(1764000000000000), CaseID: "a:b.c_d-e", Run: 3}
	f.Add(console.EncodeCursor(place))
	f.Add("")
	f.Add("MS8wLzEvYQ")
	f.Add("MS8wLzEvYQ==")
	f.Add("MS8tMS8wMS8uLg")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := console.DecodeCursor(text)
		if err != nil {
			return
		}
		if console.EncodeCursor(p) != text || !cases.ValidID(p.CaseID) || p.Run < 1 ||
			p.CreatedAt.Location() != time.UTC ||
			p.CreatedAt.Year() > 9999 {
			t.Errorf("%q is %+v", text, p)
		}
	})
}

func TestCursor(t *testing.T) {
	for _, p := range []reconcile.Place{
		{CreatedAt: time.UnixMicro(0).UTC(), CaseID: "a", Run: 1},
		{
			CreatedAt: time.Date(2026, 11, 2, 3, 4, 5, 6000, time.UTC),
			CaseID:    strings.Repeat("x", cases.MaxID),
			Run:       1 << 30,
		},
	} {
		if got, err := console.DecodeCursor(console.EncodeCursor(p)); err != nil || got != p {
			t.Errorf("got %+v, %v; want %+v", got, err, p)
		}
	}
	for _, p := range []reconcile.Place{
		{CaseID: "a", Run: 1}, {CreatedAt: time.UnixMicro(1), CaseID: "/", Run: 1},
		{CreatedAt: time.UnixMicro(1), CaseID: "a", Run: 0},
		{CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), CaseID: "a", Run: 1},
	} {
		if _, err := console.DecodeCursor(console.EncodeCursor(p)); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}
