// Package stub is the document pipeline of the benchmark: how long each case takes is settled before it begins, and what was asked of it, and
// when, is written down.
package stub

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// The lengths of cases: lognormal around a median, cut at both ends. With this spread their mean is about 22.9 s.
const (
	median   = 20 * time.Second
	spread   = 0.54 // the standard deviation of the logarithm
	shortest = 5 * time.Second
	longest  = 60 * time.Second
)

// Documents is how many documents a case has. They are done at even times.
const Documents = 30

// Length is how long a case takes. It is a function of the seed and the case alone, so that all systems work on the same cases.
func Length(seed uint64, caseID string) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(caseID)) // never fails
	dice := rand.New(rand.NewPCG(seed, h.Sum64()))
	length := time.Duration(float64(median) * math.Exp(spread*dice.NormFloat64()))
	return min(max(length, shortest), longest)
}

// completed is how many documents are done after a part of a case's length.
func completed(elapsed, length time.Duration) int {
	return min(max(int(int64(Documents)*int64(elapsed)/int64(length)), 0), Documents)
}
