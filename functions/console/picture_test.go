package console_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/shared/cases"
)

var began = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func after(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }

func note(s float64, what cases.What, source cases.Source) cases.Note {
	return cases.Note{At: after(s), What: what, Source: source}
}

// lived returns a run that was queued for 10 s, sent for 10 s and running for 80 s.
func lived() cases.Case {
	c := cases.Case{State: cases.Running}
	c.CaseID, c.Run, c.CreatedAt, c.DeadlineAt = "c", 1, began, after(3600)
	c.Dispatch.SentAt, c.Job.StartedAt = after(10), after(20)
	c.Checks.Polls, c.Checks.LastAt, c.Checks.NextAt = 9, after(95), after(110)
	c.Job.Progress, c.Job.MovedAt = cases.Progress{Completed: 1, Total: 2, Percent: 50}, after(60)
	c.Timeline = []cases.Note{
		note(0, cases.NoteBegan, ""),
		note(10, cases.NoteSent, cases.SourceDispatch),
		note(20, cases.NoteAnswered, cases.SourceDispatch),
		note(20, cases.NoteRunning, cases.SourceDispatch),
		note(40, cases.NoteUnreachable, cases.SourceCheck),
		note(50, cases.NoteReachable, cases.SourceCheck),
	}
	return c
}

// ended returns the run of lived after it ended at 100 s.
func ended(state cases.State, following ...cases.Note) cases.Case {
	c := lived()
	c.State, c.Outcome.EndedAt, c.Checks.NextAt = state, after(100), time.Time{}
	c.Timeline = append(c.Timeline, note(100, cases.NoteEnded, cases.SourceEvent))
	c.Timeline = append(c.Timeline, following...)
	return c
}

func TestPictureOfAnEndedRun(t *testing.T) {
	c := ended(cases.Succeeded, note(100, cases.NotePublished, ""), note(90000, cases.NoteLate, cases.SourceEvent))
	c.Job.Progress.Percent = 100
	c.Job.Reading = &cases.Reading{Completed: 3, Total: 4}
	p := console.Draw(c, nil, after(95000))

	var phases []string
	for _, b := range p.Phases {
		phases = append(phases, fmt.Sprintf("%s %v+%v", b.Kind, b.X, b.Width))
	}
	// The life of the run takes 84 % of the width.
	if want := []string{"queued 0+8.4", "sent 8.4+8.4", "running 16.8+67.2"}; !slices.Equal(phases, want) {
		t.Errorf("phases: got %q, want %q", phases, want)
	}
	if len(p.Troubles) != 1 || p.Troubles[0].X != 33.6 || p.Troubles[0].Says != "Polls failed for 10 s" {
		t.Errorf("troubles: got %+v, want one from 33.6 %%", p.Troubles)
	}
	var marks []string
	for _, m := range p.Marks {
		marks = append(marks, fmt.Sprintf("%d %v %s %s", m.Row, m.X, m.Shape, m.Tone))
	}
	want := []string{
		"0 0 own plain", "1 8.4 dispatch plain", "2 16.8 dispatch plain", "3 16.8 dispatch plain",
		"4 33.6 check bad", "5 42 check plain", "6 84 report good",
		"7 86.5 own plain", "8 93.25 report bad", // at equal distances, though a day lies between
	}
	if !slices.Equal(marks, want) {
		t.Errorf("marks:\ngot  %q\nwant %q", marks, want)
	}
	if p.Marks[2].Y == p.Marks[3].Y {
		t.Error("two marks of the same time hide each other")
	}
	if n := len(p.Progress); n != 2 || p.Progress[0].Y1 != 140 || p.Progress[0].Y2 != 98 || p.Progress[1].Y2 != 84 ||
		p.Percent != 100 {
		t.Errorf("progress: got %+v, want from 140 by 98 (75 %%) to 84 (100 %%)", p.Progress)
	}
	if p.Others.Count != 7 || p.Others.Text != "7 more polls" || p.Others.From != 8.4 || p.Others.To != 79.8 {
		t.Errorf("others: got %+v, want 7 of the 9 polls, from 8.4 to 79.8", p.Others)
	}
	if p.EndX != 84 || p.After == nil || len(p.Ahead) != 0 || p.Open {
		t.Errorf("got the end at %v, after %v, %d still to come", p.EndX, p.After, len(p.Ahead))
	}
	const words = "Queued for 10 s, Sent for 10 s, Running for 1 min 20 s. Succeeded after 1 min 40 s. " +
		"9 polls, 0 of them failed."
	if p.Summary != words {
		t.Errorf("summary: got %q, want %q", p.Summary, words)
	}
}

func TestPictureOfWhatIsStillToCome(t *testing.T) {
	at := after(120)
	for name, test := range map[string]struct {
		change func(*cases.Case)
		why    *cases.Why
		want   []string // each is contained in what one of them says
	}{
		"the deadline is beyond the edge": {func(*cases.Case) {}, nil, []string{
			"deadline in 58 min 20 s → | Deadline in 58 min 20 s, at 11:00:00 UTC. An open run ends then.",
		}},
		"an estimate has a range": {func(*cases.Case) {}, &cases.Why{
			Awaits: "end", EndAt: &at, GiveOrTake: 5,
		}, []string{
			"end expected in 20 s | End expected in 20 s, at 10:02:00 UTC, give or take 5 s, by its progress.",
			"next poll in 10 s | Next poll in 10 s, at 10:01:50 UTC: planned to find the end soon at a low cost.",
		}},
		"busy": {func(*cases.Case) {}, &cases.Why{Awaits: "busy"}, []string{"asked not to be polled before."}},
		"one failure": {func(c *cases.Case) { c.Checks.ConsecutiveFailures = 1 }, nil,
			[]string{"UTC: the last poll failed."}},
		"failures": {func(c *cases.Case) { c.Checks.ConsecutiveFailures = 3 }, nil,
			[]string{"the last 3 polls failed, and each failure doubles the wait."}},
		"unknown": {func(c *cases.Case) { c.Checks.UnknownSince = after(1) }, nil,
			[]string{"the pipeline does not know the case."}},
		"nothing sent": {func(*cases.Case) {}, &cases.Why{Awaits: "dispatch"}, []string{"nothing was sent yet."}},
		"result":       {func(*cases.Case) {}, &cases.Why{Awaits: "result"}, []string{"the result is awaited."}},
		"it goes on": {func(*cases.Case) {}, &cases.Why{Awaits: "report"},
			[]string{"reports that the run goes on."}},
		"viewers":       {func(*cases.Case) {}, &cases.Why{Awaits: "progress"}, []string{"the run has viewers."}},
		"overdue":       {func(c *cases.Case) { c.Checks.NextAt = after(93) }, nil, []string{"was due 7 s ago"}},
		"no next check": {func(c *cases.Case) { c.Checks.NextAt = time.Time{} }, nil, []string{"Deadline"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := lived()
			test.change(&c)
			p := console.Draw(c, test.why, after(100))
			var all []string
			for _, a := range p.Ahead {
				all = append(all, a.Text+" | "+a.Says)
			}
			for _, want := range test.want {
				if !strings.Contains(strings.Join(all, "\n"), want) {
					t.Errorf("got %q, want it to contain %q", all, want)
				}
			}
		})
	}
	p := console.Draw(lived(), &cases.Why{Awaits: "end", EndAt: &at, GiveOrTake: 5}, after(100))
	// The picture ends at 137.5 s: a tenth later than the estimate. The deadline is at its edge.
	if len(p.Ahead) != 3 || p.Ahead[0].X != 100 || p.Ahead[1].X != 87.27 || p.Ahead[1].From != 83.64 ||
		p.Ahead[1].Width != 7.27 || p.Ahead[2].X != 80 || p.EndX != 72.73 {
		t.Errorf("got %+v and now at %v", p.Ahead, p.EndX)
	}
}

// A record may be of another revision, or of instances whose clocks differ.
func TestPictureOfOddRecords(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	many := func(n int) (notes []cases.Note) {
		for i := range n {
			what := cases.NoteUnreachable
			if i%2 == 1 {
				what = cases.NoteReachable
			}
			n := note(float64(i), what, cases.SourceCheck)
			n.Detail = strings.Repeat("<&é", 67)
			notes = append(notes, n)
		}
		return notes
	}
	far := began.Add(200 * 365 * 24 * time.Hour)
	for name, c := range map[string]cases.Case{
		"nothing at all":     {},
		"only a state":       {State: cases.Failed},
		"no notes":           func() cases.Case { c := ended(cases.Succeeded); c.Timeline = nil; return c }(),
		"one note":           func() cases.Case { c := lived(); c.Timeline = c.Timeline[:1]; return c }(),
		"only the end":       func() cases.Case { c := ended(cases.Failed); c.Timeline = c.Timeline[6:]; return c }(),
		"end before sent":    func() cases.Case { c := ended(cases.Failed); c.Outcome.EndedAt = after(5); return c }(),
		"end before created": func() cases.Case { c := ended(cases.Failed); c.Outcome.EndedAt = after(-5); return c }(),
		"end without a time": func() cases.Case {
			c := ended(cases.Failed)
			c.Outcome.EndedAt = time.Time{}
			return c
		}(),
		"10,000 polls":  func() cases.Case { c := lived(); c.Checks.Polls = 10_000; return c }(),
		"50 long notes": func() cases.Case { c := lived(); c.Timeline = many(50); return c }(),
		"10,000 notes":  func() cases.Case { c := lived(); c.Timeline = many(10_000); return c }(),
		"10,000 attempts": func() cases.Case {
			c := cases.Case{State: cases.Pending}
			c.CreatedAt, c.DeadlineAt = began, after(20000)
			for i := range 10_000 {
				c.Timeline = append(c.Timeline, note(float64(i), cases.NoteSent, cases.SourceDispatch),
					note(float64(i)+0.5, cases.NoteNotStarted, cases.SourceDispatch))
			}
			return c
		}(),
		"times far apart": func() cases.Case { c := lived(); c.Checks.NextAt, c.DeadlineAt = far, far; return c }(),
		"unknown words": func() cases.Case {
			c := ended("a_state_of_tomorrow", note(200, "a_note_of_tomorrow", "a_source_of_tomorrow"))
			return c
		}(),
		"no number": func() cases.Case {
			c := ended(cases.Succeeded)
			c.Job.Progress.Percent = math.NaN()
			c.Job.Reading = &cases.Reading{Percent: math.Inf(1), Completed: -4, Total: -1}
			return c
		}(),
		"more than all": func() cases.Case { c := lived(); c.Job.Progress.Percent = 1e300; return c }(),
	} {
		t.Run(name, func(t *testing.T) {
			for _, give := range []float64{0, -3, math.Inf(1), math.NaN()} {
				why := &cases.Why{Awaits: "end", EndAt: &far, GiveOrTake: give}
				html := console.PictureHTML(t, console.Draw(c, why, after(100)))
				wellFormed(t, html)
				if len(html) > 128<<10 {
					t.Errorf("%d bytes, want at most 128 KiB", len(html))
				}
				if strings.Contains(html, "NaN") || strings.Contains(html, "Inf") ||
					strings.Contains(html, "ZgotmplZ") {
					t.Errorf("a value cannot be drawn: %s", html)
				}
				for _, m := range regexp.MustCompile(`"([-+.e\d]+)%"`).FindAllStringSubmatch(html, -1) {
					if x, err := strconv.ParseFloat(m[1], 64); err != nil || x < 0 || x > 100.2 {
						t.Errorf("a position of %s %% is outside of the picture", m[1])
					}
				}
				for _, forbidden := range []string{" style=", "<style", "<script"} {
					if strings.Contains(html, forbidden) {
						t.Errorf("the policy of the page blocks %s", forbidden)
					}
				}
			}
		})
	}
	page := b.Do("GET", u+"/c", "").Body
	for _, want := range []string{
		`<section id="picture" data-part aria-labelledby="picture-title">`, `<desc id="picture-desc">Queued for`,
		`href="#note-0"`, `<tr role="row" id="note-0"`, "The pipeline was not polled.", "nothing was sent yet.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing in\n%s", want, page)
		}
	}
}

// wellFormed wants every element of the picture to be closed. As in XML, since SVG is.
func wellFormed(t *testing.T, html string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader([]byte("<x>" + html + "</x>")))
	d.Strict = false // data-low has no value
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, html)
		}
	}
}

func BenchmarkPicture(b *testing.B) {
	c := ended(cases.Succeeded)
	for len(c.Timeline) < 50 {
		c.Timeline = append(c.Timeline, note(200, cases.NoteLate, cases.SourceEvent))
	}
	b.ReportAllocs()
	for b.Loop() {
		console.PictureHTML(b, console.Draw(c, nil, after(300)))
	}
}
