package schedule

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

const (
	// perOctave is how many buckets a histogram has for each doubling of the duration. A bucket is
	// 9 % wide.
	perOctave = 8
	// octaves is how many doublings of a second there are: to 48 days. The longest deadline that
	// the settings allow is 29 days.
	octaves = 22
	buckets = perOctave * octaves

	// maxRuns bounds how many runs of one size class weigh. Beyond it all counts are halved, so
	// that what was long ago fades.
	maxRuns = 512
	// maxSizeClass is the class of all runs with 512 documents or more.
	maxSizeClass = 10
)

// Histogram counts runs by how long they took. Two are merged by adding their counts. Only the
// buckets from the first to the last that has a count are kept.
type Histogram struct {
	From   int   `json:"from"` // the bucket of the first count
	Counts []int `json:"n"`
}

// bucket is where a duration is counted: the first bucket has all below 1.09 s, the last all from
// 44 days.
func bucket(d time.Duration) int {
	octave := math.Log2(max(d.Seconds(), 1))
	return min(int(math.Floor(perOctave*octave)), buckets-1)
}

// at is the count of bucket i.
func (h Histogram) at(i int) int {
	if i -= h.From; i >= 0 && i < len(h.Counts) {
		return h.Counts[i]
	}
	return 0
}

// valid reports whether runs can have made these counts.
func (h Histogram) valid() bool {
	return len(h.Counts) > 0 && h.From >= 0 && h.From <= buckets-len(h.Counts) &&
		slices.Min(h.Counts) >= 0 && slices.Max(h.Counts) <= 2*maxRuns
}

// Runs is how many runs are counted.
func (h Histogram) Runs() (n int) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}

// Merge returns the counts of both. A histogram that no runs can have made is left out.
func (h Histogram) Merge(other Histogram) Histogram {
	switch {
	case !h.valid() && !other.valid():
		return Histogram{}
	case !h.valid():
		return other
	case !other.valid():
		return h
	}
	from := min(h.From, other.From)
	to := max(h.From+len(h.Counts), other.From+len(other.Counts))
	sum := Histogram{From: from, Counts: make([]int, to-from)}
	for i := range sum.Counts {
		sum.Counts[i] = h.at(from+i) + other.at(from+i)
	}
	return sum
}

// halved returns half of all counts, without the empty buckets at either end.
func (h Histogram) halved() Histogram {
	half := make([]int, len(h.Counts))
	for i, count := range h.Counts {
		half[i] = count / 2
	}
	for len(half) > 0 && half[len(half)-1] == 0 {
		half = half[:len(half)-1]
	}
	from := h.From
	for len(half) > 0 && half[0] == 0 {
		half, from = half[1:], from+1
	}
	return Histogram{From: from, Counts: half}
}

// endedWithin is how many of the runs took less than d.
func (h Histogram) endedWithin(d time.Duration) (n int) {
	for i := h.From; i < bucket(d); i++ {
		n += h.at(i)
	}
	return n
}

// sizeClass is the number of binary digits of the number of documents; 0 if that is not known.
func sizeClass(documents int) int { return min(bits.Len(uint(max(0, documents))), maxSizeClass) }
