package schedule

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBuckets(t *testing.T) {
	for d, want := range map[time.Duration]int{
		-time.Second: 0, 0: 0, time.Second: 0, 2 * time.Second: 8, 4 * time.Second: 16, time.Minute: 47, time.Hour: 94,
		36 * time.Hour: 135, 48 * time.Hour: 139, 29 * 24 * time.Hour: 170, 10000 * time.Hour: 175,
	} {
		if got := bucket(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestHistogram(t *testing.T) {
	a, b := Histogram{3, []int{1, 2}}, Histogram{6, []int{4}}
	impossible := Histogram{buckets, []int{1}}
	for name, test := range map[string]struct{ got, want Histogram }{
		"two":                     {a.Merge(b), Histogram{3, []int{1, 2, 0, 4}}},
		"the other way round":     {b.Merge(a), Histogram{3, []int{1, 2, 0, 4}}},
		"with nothing":            {a.Merge(Histogram{}), a},
		"of nothing":              {Histogram{}.Merge(a), a},
		"two that are impossible": {impossible.Merge(Histogram{-1, []int{1}}), Histogram{}},
		"halved":                  {Histogram{3, []int{1, 2, 0, 4, 1}}.halved(), Histogram{4, []int{1, 0, 2}}},
		"halved to nothing":       {Histogram{3, []int{1, 1}}.halved(), Histogram{3, []int{}}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// The third bucket from 2 s on begins at 2.38 s.
	if n := (Histogram{8, []int{3, 4, 5}}).endedWithin(2400 * time.Millisecond); n != 7 {
		t.Errorf("got %d that had ended, want 7", n)
	}
}

// What is stored is small, however many runs were learned from and however they differ, and old
// runs fade.
func TestDurationStatsAreSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var s DurationStats
	now := epoch
	for range 20000 {
		now = now.Add(48 * time.Hour)
		took := seconds(math.Exp(r.NormFloat64()*0.8 + 3))
		s, _ = s.With(Sample{
			Documents: 1 << r.IntN(12), StartedAt: now.Add(-took), First: now.Add(-took / 4), Last: now,
			FoundByPoll: true, Estimate: Estimate{EndAt: now.Add(-time.Second), Deviation: time.Second},
		}, now, r.Float64())
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.BySize) != maxSizeClass || len(data) > 2500 {
		t.Errorf("got %d size classes in %d bytes, want %d in at most 2500", len(s.BySize), len(data), maxSizeClass)
	}
	for class, h := range s.BySize {
		if n := h.Runs(); n > maxRuns || n < maxRuns/4 {
			t.Errorf("size class %d has %d runs, want %d to %d", class, n, maxRuns/4, maxRuns)
		}
	}
	one, err := json.Marshal(s.ForDocuments(52))
	if err != nil || len(one) > 400 {
		t.Errorf("a run keeps %d bytes of it, want at most 400: %s, %v", len(one), one, err)
	}
	if s.FoundByPoll > maxRuns || s.ErrorCount > maxRuns {
		t.Errorf("got counts beyond %d: %+v", maxRuns, s)
	}
}

func TestForDocuments(t *testing.T) {
	s := statsOf(20, 30, func() time.Duration { return 20 * time.Second })
	s.BySize[sizeClass(3)] = Histogram{bucket(3 * time.Second), []int{enoughRuns - 1}}
	s.BySize[sizeClass(200)] = Histogram{bucket(200 * time.Second), []int{enoughRuns}}
	all := 20 + 2*enoughRuns - 1
	for documents, want := range map[int]int{30: 20, 16: 20, 31: 20, 3: all, 200: enoughRuns, 1000: all, -1: all} {
		of := s.ForDocuments(documents)
		if got := of.all().Runs(); got != want || len(of.BySize) != 1 {
			t.Errorf("%d documents go by %d runs of %d classes, want %d of 1", documents, got, len(of.BySize), want)
		}
	}
	if len(s.BySize) != 3 {
		t.Errorf("the statistics have %d classes after that, want 3", len(s.BySize))
	}
}

func TestWhatASampleAdds(t *testing.T) {
	found := Sample{Documents: 4, StartedAt: epoch, First: at(32), Last: at(64), FoundByPoll: true}
	reported := Sample{Documents: 4, StartedAt: epoch, First: at(64), Last: at(64)}
	for name, test := range map[string]struct {
		run             Sample
		jitter          float64
		found, reported int
		bucket          int
	}{
		"found by a poll, early in its interval": {found, 0, 1, 0, bucket(32 * time.Second)},
		"found by a poll, late in it":            {found, 0.999, 1, 0, bucket(63 * time.Second)},
		"reported":                               {reported, 0, 0, 1, bucket(64 * time.Second)},
	} {
		got, ok := DurationStats{}.With(test.run, at(65), test.jitter)
		want := DurationStats{
			Version: 1, At: at(65), FoundByPoll: test.found, Reported: test.reported,
			BySize: map[int]Histogram{3: {test.bucket, []int{1}}},
		}
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, ok, diff)
		}
	}
	t.Run("not twice in a second, whatever the clocks say", func(t *testing.T) {
		s, _ := DurationStats{}.With(found, at(65), 0)
		for _, now := range []time.Time{at(65), at(65).
			Add(999 * time.Millisecond), at(65).Add(-999 * time.Millisecond)} {
			if _, ok := s.With(found, now, 0); ok {
				t.Errorf("it changed again at %v", now)
			}
		}
	})
}

// The more runs are known, the fewer are learned from: after 256 a quarter.
func TestWants(t *testing.T) {
	s := statsOf(256, 4, func() time.Duration { return 20 * time.Second })
	var nothing *DurationStats
	if !s.Wants(0.249) || s.Wants(0.251) || !nothing.Wants(0.999) || !new(DurationStats).Wants(0.999) {
		t.Errorf("got %v %v %v %v, want true false true true",
			s.Wants(0.249), s.Wants(0.251), nothing.Wants(0.999), new(DurationStats).Wants(0.999))
	}
}

// What is stored and no runs can have made is left out, and what is learned next replaces it.
func TestDecodeDurationStats(t *testing.T) {
	good := `{"version":3,"by_size":{"5":{"from":34,"n":[20]}},"found_by_poll":20}`
	huge := append([]byte(good), make([]byte, maxStored)...)
	for i := len(good); i < len(huge); i++ {
		huge[i] = ' '
	}
	for name, test := range map[string]struct {
		data    string
		classes int
		found   int
	}{
		"good":      {good, 1, 20},
		"cut":       {good[:20], 0, 0},
		"nothing":   {"", 0, 0},
		"too large": {string(huge), 0, 0},
		"other classes": {
			`{"by_size":{"-1":{"from":0,"n":[1]},"11":{"from":0,"n":[1]},"4":{"from":0,"n":[1]}},"found_by_poll":1}`,
			1, 1,
		},
		"impossible counts": {
			`{"by_size":{"1":{"from":-1,"n":[1]},"2":{"from":176,"n":[1]},"3":{"from":0,"n":[-1]},
				"4":{"from":0,"n":[9223372036854775807]},"5":{"from":0}}}`, 0, 0,
		},
		"another layout": {`{"by_size":[1,2]}`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := DecodeDurationStats(7, []byte(test.data))
			if s.Version != 7 || len(s.BySize) != test.classes || s.FoundByPoll != test.found {
				t.Errorf("got %+v, want %d classes and %d found at version 7", s, test.classes, test.found)
			}
			next, ok := s.With(Sample{StartedAt: epoch, First: at(20), Last: at(20)}, at(21), 0.5)
			if !ok || next.Version != 8 || len(next.BySize) == 0 {
				t.Errorf("what is learned next is %+v, %v", next, ok)
			}
		})
	}
}

func TestEstimateEnd(t *testing.T) {
	for _, test := range []struct {
		completed, total int
		percent          float64
		after, want      float64 // in seconds; 0: no estimate
	}{
		{0, 30, 0, 5, 0},
		{5, 0, 0, 5, 0},
		{5, 30, 0, 0, 0},
		{10, 20, 50, 21, 40}, // 10½ of 20 are done
		{0, 1, 25, 10, 20},   // the document being worked on counts as half done
		{1, 10, 80, 8, 10},   // the percentage says more than the counts
		{0, 1, 0.1, 1e6, 2e6},
	} {
		e, ok := EstimateEnd(epoch, at(test.after), test.completed, test.total, test.percent)
		if ok != (test.want > 0) || ok != e.Known() {
			t.Errorf("%+v: got %v, %v", test, e, ok)
		}
		if ok && (!e.EndAt.Equal(at(test.want)) || e.Deviation <= 0) {
			t.Errorf("%+v: got an end at %v ± %v", test, e.EndAt.Sub(epoch), e.Deviation)
		}
	}
	if e, ok := EstimateEnd(time.Time{}, at(10), 1, 2, 0); ok {
		t.Errorf("of a run that has not started: got %v", e)
	}
}

func TestErrorOfAnEstimate(t *testing.T) {
	e := Estimate{EndAt: at(100), Deviation: 10 * time.Second}
	unit := math.Sqrt(math.Pi / 2)
	for _, test := range []struct{ first, last, want float64 }{
		{100, 100, 0}, {110, 110, unit}, {90, 90, unit}, // the moment is known
		{95, 105, 0}, {110, 120, 2 * unit}, {70, 90, 2 * unit}, // it lies between two polls
		{1e4, 1e4, maxError},
	} {
		if got := e.errorFor(at(test.first), at(test.last)); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("an end between %v and %v s: got %v, want %v", test.first, test.last, got, test.want)
		}
	}
	if got := (Estimate{EndAt: at(100)}).errorFor(at(200), at(200)); got != maxError {
		t.Errorf("an estimate that claims to be exact: got %v, want %v", got, maxError)
	}
}

// A run's own earlier estimate shows how far its progress may be trusted.
func TestMeanErrorGoesByTheEstimateBefore(t *testing.T) {
	var s DurationStats
	e := func(end float64) Estimate { return Estimate{at(end), 2 * time.Second} }
	steady, first, jumped := s.meanError(e(20), e(20.1)), s.meanError(e(20), e(20)), s.meanError(e(20), e(30))
	if !(steady < first && first < jumped) {
		t.Errorf("got %v after a steady estimate, %v for the first, %v after a jump; want them to grow", steady, first,
			jumped)
	}
}

// Statistics of which only a part can be read are dropped whole.
func TestDecodePartOfDurationStats(t *testing.T) {
	got := DecodeDurationStats(3, []byte(`{"reported":5,"error_count":2,"by_size":7}`))
	if diff := cmp.Diff(DurationStats{Version: 3}, got); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
}

// A sample changes neither the statistics that it is added to, nor a copy of them.
func TestSamplesLeaveTheStatisticsBefore(t *testing.T) {
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	end := start.Add(time.Minute)
	first, ok := DurationStats{}.With(Sample{Documents: 1, StartedAt: start, First: end, Last: end}, end, 0)
	if !ok {
		t.Fatal("the first sample was not added")
	}
	before := first.BySize[1].Runs()
	end = start.Add(time.Hour)
	second, ok := first.With(Sample{Documents: 1, StartedAt: start, First: end, Last: end}, end, 0)
	if !ok || first.BySize[1].Runs() != before || second.BySize[1].Runs() != before+1 {
		t.Errorf("after a second sample the statistics before it have %d runs, and those with it %d; want %d and %d",
			first.BySize[1].Runs(), second.BySize[1].Runs(), before, before+1)
	}
}

// The error of an estimate is added up and counted.
func TestSamplesAddTheErrorOfTheirEstimate(t *testing.T) {
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	end := start.Add(time.Minute)
	estimate := Estimate{EndAt: end.Add(-20 * time.Second), Deviation: 10 * time.Second}
	run := Sample{Documents: 1, StartedAt: start, First: end, Last: end, Estimate: estimate}
	got, ok := DurationStats{ErrorSum: 4, ErrorCount: 7}.With(run, end, 0)
	want := 4 + estimate.errorFor(end, end)
	if !ok || got.ErrorSum != want || want <= 4 || got.ErrorCount != 8 {
		t.Errorf("the errors are %g of %d estimates, want %g of 8", got.ErrorSum, got.ErrorCount, want)
	}
}
