package cases

import (
	"encoding/json"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"
)

const (
	perOctave  = 8           // buckets of lengths for each doubling: each is 9 % wide
	octaves    = 17          // from 1 s to 36 h, more than the longest deadline
	maxRuns    = 512         // runs that weigh in one kind: then all counts are halved, so that what was long ago fades
	maxKind    = 10          // a kind is a power of two of documents; the last has all above
	enoughRuns = 8           // of a kind, to go by it alone
	maxMissed  = 8.0         // no estimate counts as worse than this many of its deviations
	firstGuess = 0.5         // how far estimates are off before any run has told
	guessRuns  = 2           // and how many runs that guess weighs
	ownRuns    = 4           // and how many the run's own earlier estimate does
	maxStored  = 64 << 10    // bytes of JSON; nothing that With returns is a tenth of it
	learnEvery = time.Second // between two changes of what is kept of the past
	fewRuns    = maxRuns / 8 // up to so many runs each is learned from; then fewer and fewer
)

// Past is what earlier runs of a deployment tell of how long one takes. It is kept once for all of them, is a few hundred bytes, and
// whatever of it is lost is learned again. The zero Past knows nothing.
//
// It is a value: what its map and pointers hold is never changed, only replaced.
type DurationStats struct {
	Version int64     `json:"version,omitempty"` // 1 when first saved; each write adds one
	At      time.Time `json:"at,omitzero"`       // when it last changed
	// Lengths are by kind: the number of binary digits of the number of documents. Kind 0 has the runs whose number nobody told.
	ByKind map[int]Histogram `json:"lengths,omitempty"`
	// Found and Told count the ends that only a look found, and those that the pipeline told by answer or event.
	Found    int `json:"found,omitempty"`
	Reported int `json:"told,omitempty"`
	// Missed sums by how much estimates from progress were off, in expected deviations; Estimates is how many.
	Missed    float64 `json:"missed,omitempty"`
	Estimates int     `json:"estimates,omitempty"`
}

// PastOf returns the past that is kept as JSON at a version. What of it no run can have taught is left out, all of it if it cannot be read: nothing is then
// known, and the next that is learned takes its place.
func DecodeDurationStats(version int64, data []byte) DurationStats {
	var p DurationStats
	if len(data) > maxStored || json.Unmarshal(data, &p) != nil {
		p = DurationStats{}
	}
	maps.DeleteFunc(p.ByKind, func(kind int, l Histogram) bool { return kind < 0 || kind > maxKind || !l.valid() })
	p.Version = version
	return p
}

// Lengths is a histogram of how long runs took. Its buckets are 9 % wide; two are merged by adding them.
type Histogram struct {
	From   int   `json:"from"` // the bucket of the first count
	Counts []int `json:"n"`
}

func bucket(length time.Duration) int {
	return min(max(0, int(math.Floor(perOctave*math.Log2(max(length.Seconds(), 1))))), perOctave*octaves-1)
}

// at is the count of bucket i.
func (l Histogram) at(i int) int {
	if i -= l.From; i >= 0 && i < len(l.Counts) {
		return l.Counts[i]
	}
	return 0
}

func (l Histogram) valid() bool {
	return len(l.Counts) > 0 && l.From >= 0 && l.From <= perOctave*octaves-len(l.Counts) && slices.Min(l.Counts) >= 0 && slices.Max(l.Counts) <= 2*maxRuns
}

// Runs is how many runs are counted.
func (l Histogram) Runs() (n int) {
	for _, count := range l.Counts {
		n += count
	}
	return n
}

// Merge returns the counts of both. Those that no run can have made are left out.
func (l Histogram) Merge(o Histogram) Histogram {
	switch {
	case !l.valid() && !o.valid():
		return Histogram{}
	case !l.valid():
		return o
	case !o.valid():
		return l
	}
	from, to := min(l.From, o.From), max(l.From+len(l.Counts), o.From+len(o.Counts))
	sum := Histogram{From: from, Counts: make([]int, to-from)}
	for i := range sum.Counts {
		sum.Counts[i] = l.at(from+i) + o.at(from+i)
	}
	return sum
}

// halved forgets half of all, and the empty buckets at either end.
func (l Histogram) halved() Histogram {
	half := make([]int, len(l.Counts))
	for i, count := range l.Counts {
		half[i] = count / 2
	}
	for len(half) > 0 && half[len(half)-1] == 0 {
		half = half[:len(half)-1]
	}
	from := l.From
	for len(half) > 0 && half[0] == 0 {
		half, from = half[1:], from+1
	}
	return Histogram{From: from, Counts: half}
}

// ended is how many of the runs had ended after so long.
func (l Histogram) ended(after time.Duration) (n int) {
	for i := l.From; i < bucket(after); i++ {
		n += l.at(i)
	}
	return n
}

func kindOf(documents int) int { return min(bits.Len(uint(max(0, documents))), maxKind) }

// all merges the kinds.
func (p DurationStats) all() (sum Histogram) {
	for _, l := range p.ByKind {
		sum = sum.Merge(l)
	}
	return sum
}

// of is p for a run of so many documents: only the lengths of its kind, if enough runs of it are known, else of all.
func (p DurationStats) of(documents int) *DurationStats {
	l := p.ByKind[kindOf(documents)]
	if l.Runs() < enoughRuns {
		l = p.all()
	}
	p.ByKind = map[int]Histogram{kindOf(documents): l}
	return &p
}

// off is by how much estimates from progress are off: the standard deviation of their error, over that which documents would give that
// take as long as each other give or take all of their length. The run's own estimate from before counts as some runs' would, had the run
// ended when it is now expected to.
func (p DurationStats) off(before, now Estimate) float64 {
	sum, runs := firstGuess*guessRuns+p.Missed, guessRuns+p.Estimates
	if !before.EndAt.IsZero() && before != now {
		sum, runs = sum+ownRuns*before.missed(now.EndAt, now.EndAt), runs+ownRuns
	}
	return sum / float64(runs)
}

// toFind is the share of ends that are there for a look to find: the pipeline tells the others.
func (p DurationStats) toFind() float64 {
	return max(0.05, float64(p.Found+1)/float64(p.Found+p.Reported+1))
}

// Learns reports whether an ended run is to be learned from, given what was known of the past when it began: each of the first runs,
// and by chance fewer as more are known, which do not tell much any more. Runs that did not end by themselves tell nothing.
func (c Case) Learns(jitter float64) bool {
	runs := 0
	if c.Durations.Earlier != nil {
		runs = c.Durations.Earlier.all().Runs()
	}
	return c.tellsLength() && jitter*float64(max(runs, fewRuns)) < fewRuns
}

func (c Case) tellsLength() bool {
	return !c.Adopted && !c.Job.StartedAt.IsZero() && (c.State == Succeeded ||
		c.State == Failed && (c.Outcome.End.Reason == ReasonPipelineFailed || c.Outcome.End.Reason == ReasonNoDocuments))
}

// With returns p with what an ended run tells. False if it tells nothing, or p has changed just now: runs that end at once do not all
// get in, since they would all write one record.
//
// An end that a look found came at some time since the look before. Which is left to chance, by jitter: a time that is always
// the later one would put the next looks off, and they would find ends still later.
func (p DurationStats) With(c Case, now time.Time, jitter float64) (DurationStats, bool) {
	if !c.tellsLength() || now.Sub(p.At).Abs() < learnEvery {
		return p, false
	}
	first, last := c.Outcome.EndedAt, c.Outcome.EndedAt
	if c.Outcome.End.Source == SourceCheck || c.Outcome.End.Source == SourceDeadline || c.Outcome.End.Source == SourceSweep {
		switch {
		case !c.Job.CompleteSince.IsZero():
			last = c.Job.CompleteSince
		case c.Job.Reading != nil && c.Job.Reading.counted():
			last = c.Job.MovedAt // estimates tell when all is counted; what comes then is polled for anew
		}
		first = earlier(later(c.Job.StartedAt, c.Durations.UndoneAt), last)
		p.Found++
	} else {
		p.Reported++
	}
	if p.Found+p.Reported > maxRuns {
		p.Found, p.Reported = p.Found/2, p.Reported/2
	}
	if !c.Durations.Estimate.EndAt.IsZero() {
		p.Missed += c.Durations.Estimate.missed(first, last)
		if p.Estimates++; p.Estimates > maxRuns {
			p.Missed, p.Estimates = p.Missed/2, p.Estimates/2
		}
	}
	length := first.Sub(c.Job.StartedAt) + time.Duration(jitter*float64(last.Sub(first)))
	kind := kindOf(c.Job.Progress.Total)
	l := p.ByKind[kind].Merge(Histogram{From: bucket(length), Counts: []int{1}})
	if l.Runs() > maxRuns {
		l = l.halved()
	}
	p.ByKind = maps.Clone(p.ByKind)
	if p.ByKind == nil {
		p.ByKind = map[int]Histogram{}
	}
	p.ByKind[kind] = l
	p.Version, p.At = p.Version+1, now.Truncate(time.Microsecond)
	return p, true
}

// Pace is an estimate of when a run ends, kept to see by the end how good it was.
type Estimate struct {
	EndAt     time.Time     `json:"end_at"`
	Deviation time.Duration `json:"deviation"` // in nanoseconds, as if documents took as long as each other give or take all of it
}

// missed is by how many deviations the estimate was off, given that the run ended between first and last. Where they are one moment it is the mean
// error, as a standard deviation. Where they are not, only an end outside counts, twice: of the ends that came too early for the estimate
// a look that follows the estimate sees nothing.
func (e Estimate) missed(first, last time.Time) float64 {
	off := max(first.Sub(e.EndAt), e.EndAt.Sub(last), 0)
	scale := math.Sqrt(math.Pi / 2)
	if last.After(first) {
		scale *= 2
	}
	return min(scale*float64(off)/float64(max(e.Deviation, time.Millisecond)), maxMissed)
}
