package schedule

import (
	"encoding/json"
	"maps"
	"time"
)

const (
	// enoughRuns is how many runs of a size class are enough to go by that class alone.
	enoughRuns = 8
	// fewRuns is up to how many runs each ended run is learned from. Of later ones only some are.
	fewRuns = maxRuns / 8
	// learnEvery is the shortest time between two changes of the statistics: all runs share one
	// record.
	learnEvery = time.Second
	// maxStored bounds the JSON of the statistics, in bytes. What With returns is a tenth of it at
	// most.
	maxStored = 64 << 10

	// How far estimates are off before any run has shown it, in expected deviations, and how many
	// runs that guess weighs.
	firstError, firstErrorRuns = 0.5, 2
	// ownErrorRuns is how many runs a run's own earlier estimate weighs.
	ownErrorRuns = 4
	// minPollShare is the smallest share of ends that is taken to need a poll.
	minPollShare = 0.05
)

// DurationStats is what earlier runs of a deployment tell of how long one takes. There is one for
// all of them, of a few hundred bytes to 3 KB. What is lost of it is learned again. The zero value
// knows nothing.
//
// It is a value: what its map holds is never changed, only replaced.
type DurationStats struct {
	Version int64     `json:"version,omitempty"` // 1 when first saved; each write adds one
	At      time.Time `json:"at,omitzero"`       // when it last changed
	// BySize has a histogram for each size class: the number of binary digits of the number of
	// documents. Class 0 has the runs whose number of documents is not known.
	BySize map[int]Histogram `json:"by_size,omitempty"`
	// FoundByPoll counts the ends that a poll found, Reported those that the pipeline reported by
	// an answer or event.
	FoundByPoll int `json:"found_by_poll,omitempty"`
	Reported    int `json:"reported,omitempty"`
	// ErrorSum adds up by how much estimates from progress were off, in their expected deviations.
	// ErrorCount is how many estimates these were.
	ErrorSum   float64 `json:"error_sum,omitempty"`
	ErrorCount int     `json:"error_count,omitempty"`
}

// DecodeDurationStats returns the statistics that are stored as JSON at a version. It leaves out
// what no runs can have made, and all of it if it cannot be read: then nothing is known, and what
// is learned next replaces it.
func DecodeDurationStats(version int64, data []byte) DurationStats {
	var s DurationStats
	if len(data) > maxStored || json.Unmarshal(data, &s) != nil {
		s = DurationStats{}
	}
	maps.DeleteFunc(s.BySize, func(class int, h Histogram) bool {
		return class < 0 || class > maxSizeClass || !h.valid()
	})
	s.Version = version
	return s
}

// all merges the size classes.
func (s DurationStats) all() (sum Histogram) {
	for _, h := range s.BySize {
		sum = sum.Merge(h)
	}
	return sum
}

// ForDocuments returns the statistics for a run with so many documents: only the durations of its
// size class if enough runs of it are known, else of all runs.
func (s DurationStats) ForDocuments(documents int) *DurationStats {
	class := sizeClass(documents)
	h := s.BySize[class]
	if h.Runs() < enoughRuns {
		h = s.all()
	}
	s.BySize = map[int]Histogram{class: h}
	return &s
}

// Wants reports whether an ended run is to be learned from, given what was known when it began
// (nil: nothing). Each of the first runs is. Later runs are by chance, decided by jitter, and fewer
// as more runs are known.
func (s *DurationStats) Wants(jitter float64) bool {
	runs := 0
	if s != nil {
		runs = s.all().Runs()
	}
	return jitter*float64(max(runs, fewRuns)) < fewRuns
}

// Sample is what an ended run tells of how long runs take.
type Sample struct {
	Documents int       // 0: not known
	StartedAt time.Time // when the pipeline began to work on it
	// First and Last are between which times it ended: between two polls, or both the same if the
	// pipeline reported the end.
	First, Last time.Time
	FoundByPoll bool     // else the pipeline reported the end
	Estimate    Estimate // from about half of it; zero if there was none
}

// With returns s with a sample added. False if s has changed just now: of runs that end at the same
// time not all are learned from, since all write one record.
//
// An end that a poll found came at some time since the poll before. Jitter chooses that time:
// always the later one would put the next polls off, and they would find ends later still.
func (s DurationStats) With(run Sample, now time.Time, jitter float64) (DurationStats, bool) {
	if now.Sub(s.At).Abs() < learnEvery {
		return s, false
	}
	if run.FoundByPoll {
		s.FoundByPoll++
	} else {
		s.Reported++
	}
	if s.FoundByPoll+s.Reported > maxRuns {
		s.FoundByPoll, s.Reported = s.FoundByPoll/2, s.Reported/2
	}
	if run.Estimate.Known() {
		s.ErrorSum += run.Estimate.errorFor(run.First, run.Last)
		if s.ErrorCount++; s.ErrorCount > maxRuns {
			s.ErrorSum, s.ErrorCount = s.ErrorSum/2, s.ErrorCount/2
		}
	}
	took := run.First.Sub(run.StartedAt) + time.Duration(jitter*float64(run.Last.Sub(run.First)))
	class := sizeClass(run.Documents)
	h := s.BySize[class].Merge(Histogram{From: bucket(took), Counts: []int{1}})
	if h.Runs() > maxRuns {
		h = h.halved()
	}
	s.BySize = maps.Clone(s.BySize)
	if s.BySize == nil {
		s.BySize = map[int]Histogram{}
	}
	s.BySize[class] = h
	s.Version, s.At = s.Version+1, now.Truncate(time.Microsecond)
	return s, true
}

// meanError is by how much estimates from progress are off, in their expected deviations. The run's
// own earlier estimate counts as ownErrorRuns estimates would, had the run ended when it is now
// expected to.
func (s DurationStats) meanError(before, now Estimate) float64 {
	sum, n := firstError*firstErrorRuns+s.ErrorSum, firstErrorRuns+s.ErrorCount
	if before.Known() && before != now {
		sum, n = sum+ownErrorRuns*before.errorFor(now.EndAt, now.EndAt), n+ownErrorRuns
	}
	return sum / float64(n)
}

// pollShare is the share of ends that only a poll finds: the pipeline reports the others.
func (s DurationStats) pollShare() float64 {
	return max(minPollShare, float64(s.FoundByPoll+1)/float64(s.FoundByPoll+s.Reported+1))
}
