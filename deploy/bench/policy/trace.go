package main

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// trace is one run as the pipeline lives it: when each document was done, and when the whole, all
// counted from its beginning.
type trace struct {
	Documents []float64 `json:"documents"` // seconds, ascending
	End       float64   `json:"end"`       // seconds; not before the last document
}

// done is how many documents are done after so long.
func (t trace) done(after time.Duration) int {
	n, _ := slices.BinarySearchFunc(t.Documents, after.Seconds(), func(at, now float64) int {
		if at <= now {
			return -1
		}
		return 1
	})
	return n
}

func (t trace) end() time.Duration { return time.Duration(t.End * float64(time.Second)) }

// workload is a kind of runs.
type workload struct {
	name string
	run  func(*rand.Rand) trace
}

// lengths draw how long a run takes, in seconds.
type lengths func(*rand.Rand) float64

func lognormal(median, sigma, least, most float64) lengths {
	return func(r *rand.Rand) float64 { return min(max(median*math.Exp(sigma*r.NormFloat64()), least), most) }
}

// bimodal is near one length, or for a share of the runs near another.
func bimodal(a, b, share float64) lengths {
	return func(r *rand.Rand) float64 {
		if r.Float64() < share {
			return b * (0.9 + 0.2*r.Float64())
		}
		return a * (0.9 + 0.2*r.Float64())
	}
}

// pareto is heavy-tailed.
func pareto(least, alpha, most float64) lengths {
	return func(r *rand.Rand) float64 { return min(least*math.Pow(1-r.Float64(), -1/alpha), most) }
}

// shape is how n documents share a length of time: the shares at which each is done, ascending, at most 1.
type shape func(r *rand.Rand, n int) []float64

func smooth(_ *rand.Rand, n int) []float64 {
	at := make([]float64, n)
	for i := range at {
		at[i] = float64(i+1) / float64(n)
	}
	return at
}

// uneven documents take exponentially distributed times.
func uneven(r *rand.Rand, n int) []float64 {
	at, sum := make([]float64, n), 0.0
	for i := range at {
		sum += r.ExpFloat64()
		at[i] = sum
	}
	for i := range at {
		at[i] /= sum
	}
	return at
}

// bursty documents come up to eight at a time, after uneven pauses.
func bursty(r *rand.Rand, n int) []float64 {
	var of []int // burst of each document
	bursts := 0
	for len(of) < n {
		for range min(1+r.IntN(8), n-len(of)) {
			of = append(of, bursts)
		}
		bursts++
	}
	ends := uneven(r, bursts)
	at := make([]float64, n)
	for i := range at {
		at[i] = ends[of[i]]
	}
	return at
}

// stuck goes smoothly to somewhere between a third and two thirds, stands still, and does the rest
// in the last tenth of its time.
func stuck(r *rand.Rand, n int) []float64 {
	at := smooth(r, n)
	jump := 0.3 + 0.4*r.Float64()
	for i, share := range at {
		if share > jump {
			at[i] = 0.9 + 0.1*(share-jump)/(1-jump)
		} else {
			at[i] = share * 0.8
		}
	}
	return at
}

// silent shows nothing until all is done.
func silent(_ *rand.Rand, n int) []float64 {
	return slices.Repeat([]float64{1}, n)
}

// synthetic are runs of n documents.
func synthetic(name string, n int, l lengths, s shape) workload {
	return workload{name, func(r *rand.Rand) trace {
		end := l(r)
		at := s(r, n)
		for i := range at {
			at[i] *= end
		}
		return trace{at, end}
	}}
}

//go:embed testdata/*.json
var kept embed.FS

// recording is what the sample pipeline's progress endpoint showed of real runs.
type recording struct {
	About string  `json:"about"`
	Runs  []trace `json:"runs"`
}

// description is what is known of a pipeline of which there is no recording.
type description struct {
	About            string  `json:"about"`
	LeastDocuments   int     `json:"least_documents"`
	MostDocuments    int     `json:"most_documents"`
	SetupSeconds     float64 `json:"setup_seconds"`      // before the first document
	DocumentSeconds  float64 `json:"document_seconds"`   // each, on average
	DocumentSpread   float64 `json:"document_spread"`    // of its logarithm
	AtOnce           int     `json:"at_once"`            // at most so many documents come together
	AtOnceShare      float64 `json:"at_once_share"`      // in so many of all cases
	ResultSeconds    float64 `json:"result_seconds"`     // after the last document
	SlowDocumentOdds float64 `json:"slow_document_odds"` // of one that takes ten times as long
}

func load(name string, into any) error {
	data, err := kept.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// replayed runs are those of a recording, by chance.
func replayed(name string, rec recording) workload {
	return workload{name, func(r *rand.Rand) trace { return rec.Runs[r.IntN(len(rec.Runs))] }}
}

func described(name string, d description) workload {
	return workload{name, func(r *rand.Rand) trace {
		n := d.LeastDocuments + r.IntN(d.MostDocuments-d.LeastDocuments+1)
		at, now := make([]float64, 0, n), d.SetupSeconds*(0.5+r.Float64())
		for len(at) < n {
			together := 1
			if r.Float64() < d.AtOnceShare {
				together += r.IntN(d.AtOnce)
			}
			for range min(together, n-len(at)) {
				took := d.DocumentSeconds * math.Exp(d.DocumentSpread*r.NormFloat64())
				if r.Float64() < d.SlowDocumentOdds {
					took *= 10
				}
				now += took
			}
			for range min(together, n-len(at)) {
				at = append(at, now)
			}
		}
		return trace{at, now + cmp.Or(d.ResultSeconds, 0)}
	}}
}
