package console

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

const (
	// maxMarks bounds how many lines of a timeline a picture shows. A record keeps fewer; one that
	// has more was not written by this revision.
	maxMarks = 60
	// lanes is in how many rows marks are drawn, so that they do not hide each other.
	lanes = 4
	// laneGap is how far apart two marks of one row are at least, in percent of the width.
	laneGap = 2.5
	// scaledWidth is how much of the width, in percent, the life of an ended run takes. What came
	// after the end follows at equal distances, since it may be a day later.
	scaledWidth = 84
	// minAhead is how far ahead of now a picture of an open run may show, at least.
	minAhead = 30 * time.Second
	maxTicks = 6

	// Pixels from the top of the picture.
	firstLane, laneHeight      = 158, 18
	zeroPercent, percentHeight = 140, 0.56
)

// picture is a run drawn from left to right. All positions are percent of the width, so that the
// page can draw it at any width without a script. Its size has a limit that no record exceeds.
type picture struct {
	Summary  string // the picture in words
	Open     bool
	Phases   []phaseBar
	Troubles []phaseBar // when the run stalled, or could not be polled
	Progress []segment
	Percent  float64 // that the progress line ends with
	Marks    []mark
	Omitted  int // lines of the timeline without a mark
	Others   others
	Ahead    []ahead
	Axis     []axisTick
	EndX     float64 // of the end, or of now
	After    *after
}

// after is where the picture shows what came after the end, at equal distances.
type after struct{ X, Width float64 }

// others are the polls without a mark: of these only the number is kept.
type others struct {
	Count         int
	From, To, Mid float64
	Text, Says    string
}

// phaseBar is a part of the run's life.
type phaseBar struct {
	X, Width float64
	Kind     string // for the style sheet
	Text     string // "" if it does not fit
	Says     string
}

// segment is a piece of the progress line. Y is in pixels.
type segment struct{ X1, Y1, X2, Y2 float64 }

// mark is a line of the timeline.
type mark struct {
	X     float64
	Y     int    // pixels
	Row   int    // of the table of the timeline
	Shape string // check, dispatch, report, control or own: where the cause came from
	Tone  string // good, bad or plain
	Says  string
}

// ahead is something that is still to come, or the deadline.
type ahead struct {
	X, From, Width float64 // From and Width are the range of an estimate; Width is 0 if there is none
	Y              int     // pixels
	Kind           string  // next, expected or deadline
	Text           string
	Anchor         string // of Text
	Dx             int    // pixels between X and Text
	Link           string // the part of the page that tells more
	Says           string
}

// axisTick is a time since the run was recorded.
type axisTick struct {
	X      float64
	Text   string
	Anchor string
	Minor  bool // left out where the page is narrow
}

// scale turns times into positions.
type scale struct {
	from  time.Time
	span  time.Duration // above 0
	width float64       // percent for span
}

// x returns the position of t. Times outside of the scale are at its edges: the clocks of two
// instances may differ.
func (s scale) x(t time.Time) float64 {
	return hundredths(s.width * min(1, max(0, float64(t.Sub(s.from))/float64(s.span))))
}

func hundredths(f float64) float64 { return math.Round(f*100) / 100 }

// draw draws a run at now. why is [cases.Rules.Why] of the run.
func draw(c cases.Case, why *cases.Why, now time.Time) picture {
	p := picture{Open: !c.State.Ended()}
	end := now
	if !p.Open {
		end = c.Outcome.EndedAt
	}
	end = later(end, c.CreatedAt)
	to := scale{from: c.CreatedAt, span: max(time.Millisecond, end.Sub(c.CreatedAt)), width: 100}

	notes, rows := drawnNotes(c.Timeline)
	p.Omitted = len(c.Timeline) - len(notes)
	ended := slices.IndexFunc(notes, func(n cases.Note) bool { return n.What == cases.NoteEnded })
	following := 0 // how many notes follow the end
	switch {
	case p.Open:
		to.span = horizon(c, why, end).Sub(c.CreatedAt)
	case ended >= 0:
		following = len(notes) - ended - 1
	}
	if following > 0 {
		to.width = scaledWidth
		p.After = &after{scaledWidth + laneGap/2, 100 - scaledWidth - laneGap/2}
	}
	p.EndX = to.x(end)

	phases := phasesOf(c, end)
	p.Phases = bars(phases, to)
	p.Troubles = bars(troublesOf(c.Timeline, end), to)
	p.Progress, p.Percent = progressLine(c, end, to)
	p.Marks = marks(notes, rows, c.State, to, len(notes)-following)
	p.Others = otherPolls(c, end, to)
	p.Axis = axis(to)
	if p.Open {
		p.Ahead = comes(c, why, now, to)
	} else if !c.DeadlineAt.IsZero() && !c.DeadlineAt.After(end) {
		p.Ahead = []ahead{deadline(c, now, to)}
	}
	p.Summary = inWords(c, phases, end)
	return p
}

// drawnNotes returns the lines of a timeline that get a mark, and which rows these are.
func drawnNotes(timeline []cases.Note) (notes []cases.Note, rows []int) {
	for i, n := range timeline {
		if i < maxMarks/2 || i >= len(timeline)-maxMarks/2 {
			notes, rows = append(notes, n), append(rows, i)
		}
	}
	return notes, rows
}

// horizon returns until when the picture of an open run shows. What comes much later than the run
// has lasted is drawn at the edge, or it would leave no room for what happened.
func horizon(c cases.Case, why *cases.Why, now time.Time) time.Time {
	limit := now.Add(max(minAhead, 2*now.Sub(c.CreatedAt)))
	until, beyond := now.Add(time.Second), false
	times := []time.Time{c.Checks.NextAt, c.DeadlineAt}
	if why != nil && why.EndAt != nil {
		times = append(times, why.EndAt.Add(seconds(why.GiveOrTake)))
	}
	for _, t := range times {
		if t.After(limit) {
			beyond = true
		} else {
			until = later(until, t)
		}
	}
	if beyond { // room between the edge and what is not at it
		until = until.Add(until.Sub(c.CreatedAt) / 10)
	}
	return until
}

// phase is a part of the run's life that begins at From.
type phase struct {
	From, To time.Time
	Kind     string
	Text     string
}

// phasesOf returns the parts of the run's life in order. Those of an earlier version have no
// timeline; then the record's times have to do.
func phasesOf(c cases.Case, end time.Time) []phase {
	first := phase{From: c.CreatedAt, Kind: "queued", Text: "Queued"}
	if c.Adopted {
		first = phase{From: c.CreatedAt, Kind: "sent", Text: "Adopted"}
	}
	begins := []phase{}
	sent := false
	for _, n := range c.Timeline {
		switch n.What {
		case cases.NoteSent:
			begins = append(begins, phase{From: n.At, Kind: "sent", Text: "Sent"})
			sent = true
		case cases.NoteNotStarted, cases.NoteRepeated:
			begins = append(begins, phase{From: n.At, Kind: "queued", Text: "Queued"})
		}
	}
	if !sent && !c.Dispatch.SentAt.IsZero() {
		begins = append(begins, phase{From: c.Dispatch.SentAt, Kind: "sent", Text: "Sent"})
	}
	started := c.Job.StartedAt
	slices.SortStableFunc(begins, func(a, b phase) int { return a.From.Compare(b.From) })
	if !started.IsZero() { // a run that the pipeline works on is never queued again
		begins = slices.DeleteFunc(begins, func(b phase) bool { return !b.From.Before(started) })
		begins = append(begins, phase{From: started, Kind: "running", Text: "Running"})
	}
	phases := []phase{first}
	for _, b := range begins {
		b.From = earlier(later(b.From, c.CreatedAt), end)
		if last := &phases[len(phases)-1]; last.Kind != b.Kind {
			last.To = b.From
			phases = append(phases, b)
		}
	}
	phases[len(phases)-1].To = end
	return phases
}

// troublesOf returns when the run had stalled, and when the pipeline could not be polled.
func troublesOf(timeline []cases.Note, end time.Time) []phase {
	ends := map[cases.What][]cases.What{ // what ends which trouble
		cases.NoteMoved:     {cases.NoteStalled},
		cases.NoteReachable: {cases.NoteUnreachable, cases.NoteBusy},
		cases.NoteKnown:     {cases.NoteUnknown},
		cases.NoteRepeated:  {cases.NoteUnreachable, cases.NoteBusy, cases.NoteUnknown, cases.NoteStalled},
		cases.NoteEnded:     {cases.NoteUnreachable, cases.NoteBusy, cases.NoteUnknown, cases.NoteStalled},
	}
	text := map[cases.What]string{
		cases.NoteStalled: "Progress stalled", cases.NoteUnreachable: "Polls failed",
		cases.NoteBusy: "The pipeline was busy", cases.NoteUnknown: "The pipeline did not know the case",
	}
	var all []phase
	open := map[cases.What]int{} // in all
	for _, n := range timeline {
		if _, isOpen := open[n.What]; text[n.What] != "" && !isOpen && len(all) < maxMarks {
			open[n.What] = len(all)
			all = append(all, phase{From: n.At, To: end, Kind: string(n.What), Text: text[n.What]})
		}
		for _, what := range ends[n.What] {
			if i, isOpen := open[what]; isOpen {
				all[i].To = later(n.At, all[i].From)
				delete(open, what)
			}
		}
	}
	return all
}

// bars returns phases to be drawn. Many short ones are drawn as one.
func bars(phases []phase, to scale) []phaseBar {
	var out []phaseBar
	for i, ph := range phases {
		if i >= maxMarks && i < len(phases)-1 {
			continue
		}
		x := to.x(ph.From)
		bar := phaseBar{X: x, Width: hundredths(max(0.2, to.x(ph.To)-x)), Kind: ph.Kind}
		bar.Says = ph.Text + " for " + durationWord(max(0, ph.To.Sub(ph.From)))
		if bar.Width >= 12 { // where the page is narrow, 12 % are about as wide as a word
			bar.Text = ph.Text
		}
		out = append(out, bar)
	}
	return out
}

// progressLine returns the progress and the percent that it ends with. A record has only the last
// progress and when it moved; the line before that is straight.
func progressLine(c cases.Case, end time.Time, to scale) ([]segment, float64) {
	start, moved := c.Job.StartedAt, c.Job.MovedAt
	if start.IsZero() {
		return nil, 0
	}
	last := within(c.Job.Progress.Percent)
	read := last
	if r := c.Job.Reading; c.State == cases.Succeeded && r != nil { // the end made it 100
		read = within(r.Percent)
		if r.Total > 0 {
			read = within(100 * float64(r.Completed) / float64(r.Total))
		}
	}
	start = earlier(later(start, c.CreatedAt), end)
	if moved.IsZero() || moved.After(end) {
		moved = end
	}
	moved = later(moved, start)
	x0, x1, x2 := to.x(start), to.x(moved), to.x(end)
	y := func(percent float64) float64 { return hundredths(zeroPercent - percentHeight*percent) }
	return []segment{{x0, y(0), x1, y(read)}, {x1, y(read), x2, y(last)}}, last
}

// within returns a percent as a picture can show it.
func within(percent float64) float64 {
	if math.IsNaN(percent) {
		return 0
	}
	return hundredths(min(100, max(0, percent)))
}

// marks returns the marks of notes. Those after the first inLife ones came after the end.
func marks(notes []cases.Note, rows []int, state cases.State, to scale, inLife int) []mark {
	var out []mark
	var last [lanes]float64
	for i := range last {
		last[i] = -laneGap
	}
	step := (100 - scaledWidth - laneGap) / float64(max(1, len(notes)-inLife))
	for i, n := range notes {
		m := mark{X: to.x(n.At), Row: rows[i], Shape: shapeOf(n.Source), Tone: toneOf(n.What, state)}
		if i >= inLife {
			m.X = hundredths(scaledWidth + laneGap + step*float64(i-inLife))
		}
		row := lane(last[:], m.X)
		last[row] = m.X
		m.Y = firstLane + row*laneHeight
		m.Says = noteSays(n)
		out = append(out, m)
	}
	return out
}

// lane returns the first row with room at x, else the one whose last mark is the farthest.
func lane(last []float64, x float64) int {
	farthest := 0
	for i, l := range last {
		if x-l >= laneGap {
			return i
		}
		if l < last[farthest] {
			farthest = i
		}
	}
	return farthest
}

func noteSays(n cases.Note) string {
	says := fmt.Sprintf("%s. %s, by %s.", n.At.UTC().Format("15:04:05.000"), whatWord(n.What), sourceWord(n.Source))
	if n.Detail != "" {
		says += " " + n.Detail
	}
	return says
}

// shapeOf returns the shape of a mark by its cause. A source that this revision does not know is
// taken to be a report of the pipeline.
func shapeOf(s cases.Source) string {
	switch s {
	case cases.SourceCheck:
		return "check"
	case cases.SourceDispatch:
		return "dispatch"
	case cases.SourceCancel, cases.SourceDeadline, cases.SourceSweep:
		return "control"
	case "":
		return "own"
	}
	return "report"
}

func toneOf(w cases.What, state cases.State) string {
	switch w {
	case cases.NoteEnded:
		if state == cases.Succeeded {
			return "good"
		}
		if state == cases.Cancelled {
			return "plain"
		}
		return "bad"
	case cases.NoteNotStarted, cases.NoteUncertain, cases.NoteStalled, cases.NoteUnreachable, cases.NoteBusy,
		cases.NoteUnknown, cases.NoteNoResult, cases.NoteUnmapped, cases.NoteRescheduled, cases.NoteLate,
		cases.NoteLeaked, cases.NoteStopAgain, cases.NoteStopFailed:
		return "bad"
	}
	return "plain"
}

// otherPolls counts the polls that have no mark. A poll that found nothing but progress is counted,
// and its time is not kept.
func otherPolls(c cases.Case, end time.Time, to scale) others {
	noted := map[time.Time]bool{} // one poll may add two lines
	for _, n := range c.Timeline {
		if n.Source == cases.SourceCheck && n.What != cases.NoteLate && n.What != cases.NoteLeaked {
			noted[n.At] = true
		}
	}
	last := end
	if !c.Checks.LastAt.IsZero() {
		last = earlier(c.Checks.LastAt, end)
	}
	o := others{Count: max(0, c.Checks.Polls-len(noted)), To: to.x(last)}
	if !c.Dispatch.SentAt.IsZero() {
		o.From = min(o.To, to.x(c.Dispatch.SentAt))
	}
	o.Mid = hundredths((o.From + o.To) / 2)
	o.Text = fmt.Sprintf("%d more polls", o.Count)
	switch {
	case c.Checks.Polls == 0:
		o.Says = "The pipeline was not polled."
	case o.Count == 0:
		o.Says = "Every poll has a mark."
	case o.Count == 1:
		o.Text = "1 more poll"
		fallthrough
	default:
		o.Says = o.Text + " found nothing but progress, or failed like the one before. Their times are not kept."
	}
	return o
}

// comes returns what an open run waits for.
func comes(c cases.Case, why *cases.Why, now time.Time, to scale) []ahead {
	out := []ahead{deadline(c, now, to)}
	if why != nil && why.EndAt != nil {
		a := aheadAt(*why.EndAt, now, to, 22, "expected", "end expected")
		around := seconds(why.GiveOrTake)
		a.From = to.x(why.EndAt.Add(-around))
		a.Width = hundredths(to.x(why.EndAt.Add(around)) - a.From)
		a.Link = "#checks"
		a.Says += ", give or take " + durationWord(around) + ", by its progress."
		out = append(out, a)
	}
	if !c.Checks.NextAt.IsZero() {
		a := aheadAt(c.Checks.NextAt, now, to, 37, "next", "next poll")
		a.Link = "#checks"
		a.Says += ": " + whyNext(c, why) + "."
		out = append(out, a)
	}
	return out
}

func deadline(c cases.Case, now time.Time, to scale) ahead {
	a := aheadAt(c.DeadlineAt, now, to, 7, "deadline", "deadline")
	a.Link = "#now"
	a.Says += ". An open run ends then."
	return a
}

func aheadAt(t, now time.Time, to scale, y int, kind, name string) ahead {
	a := ahead{X: to.x(t), Y: y, Kind: kind, Text: name, Anchor: "start", Dx: 10}
	if a.X > 50 {
		a.Anchor, a.Dx = "end", -10
	}
	says := name + " was due " + durationWord(now.Sub(t)) + " ago"
	if t.After(now) {
		a.Text += " in " + durationWord(t.Sub(now))
		says = a.Text
	}
	if t.Sub(to.from) > to.span {
		a.Text += " →" // it is beyond the edge
	}
	// The text is part of the name of the mark, so that people can call it by what they see.
	a.Says = strings.ToUpper(says[:1]) + says[1:] + ", at " + t.UTC().Format("15:04:05") + " UTC"
	return a
}

// whyNext returns why the next check is when it is, in a few words.
func whyNext(c cases.Case, why *cases.Why) string {
	awaits := ""
	if why != nil {
		awaits = string(why.Awaits)
	}
	switch failures := c.Checks.ConsecutiveFailures; {
	case awaits == "busy":
		return "the pipeline asked not to be polled before"
	case failures == 1:
		return "the last poll failed"
	case failures > 1:
		return fmt.Sprintf("the last %d polls failed, and each failure doubles the wait", failures)
	case !c.Checks.UnknownSince.IsZero():
		return "the pipeline does not know the case"
	case awaits == "dispatch":
		return "nothing was sent yet"
	case awaits == "result":
		return "all documents are counted, and the result is awaited"
	case awaits == "report":
		return "all documents are counted, but the pipeline reports that the run goes on"
	case awaits == "progress":
		return "the run has viewers"
	}
	return "planned to find the end soon at a low cost"
}

// axis returns the ticks of the time axis, at round times.
func axis(to scale) []axisTick {
	step := to.span
	for _, s := range []time.Duration{
		time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
	} {
		if to.span/s < maxTicks {
			step = s
			break
		}
	}
	ticks := []axisTick{{X: 0, Text: "0", Anchor: "start"}}
	for t := step; t > 0 && t <= to.span && len(ticks) <= maxTicks; t += step {
		x := to.x(to.from.Add(t))
		ticks = append(ticks, axisTick{X: x, Text: durationWord(t), Anchor: anchor(x), Minor: len(ticks)%2 == 1})
	}
	return ticks
}

// shapes are the shapes of the marks, and what they mean.
func shapes() []struct{ Shape, Text string } {
	return []struct{ Shape, Text string }{
		{"check", "check"},
		{"report", "report of the pipeline"},
		{"dispatch", "request to the pipeline"},
		{"control", "cancel, deadline or sweep"},
		{"own", "Casewatch"},
	}
}

// anchor returns on which side of x a text is, so that it stays inside of the picture.
func anchor(x float64) string {
	switch {
	case x < 15:
		return "start"
	case x > 85:
		return "end"
	}
	return "middle"
}

// inWords says in words what a picture shows.
func inWords(c cases.Case, phases []phase, end time.Time) string {
	total := map[string]time.Duration{}
	names := []string{}
	for _, ph := range phases {
		if total[ph.Text] += max(0, ph.To.Sub(ph.From)); !slices.Contains(names, ph.Text) {
			names = append(names, ph.Text)
		}
	}
	for i, name := range names {
		names[i] = name + " for " + durationWord(total[name])
	}
	text := strings.Join(names, ", ") + "."
	if c.State.Ended() {
		text += " " + stateWord(c.State) + " after " + durationWord(end.Sub(c.CreatedAt)) + "."
	}
	return text + fmt.Sprintf(" %d polls, %d of them failed.", c.Checks.Polls, c.Checks.FailedPolls)
}

func seconds(s float64) time.Duration {
	const most = 365 * 24 * time.Hour // more than a run may take, and less than a duration can hold
	if math.IsNaN(s) {
		return 0
	}
	return time.Duration(min(most.Seconds(), max(0, s)) * float64(time.Second))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
