// Package stub is the document pipeline of the benchmark. The length of each case is known before
// it begins, and every request is recorded.
package stub

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// The lengths of cases are lognormal around a median, and limited at both ends. Their mean is about
// 22.9 s.
const (
	median   = 20 * time.Second
	spread   = 0.54 // the standard deviation of the logarithm
	shortest = 5 * time.Second
	longest  = 60 * time.Second
)

// Documents is the number of documents of a case. They finish at even intervals.
const Documents = 30

// Length returns the time that a case takes. It depends only on the seed and the case, so all
// systems get the same cases.
func Length(seed uint64, caseID string) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(caseID)) // a hash never returns an error
	dice := rand.New(rand.NewPCG(seed, h.Sum64()))
	length := time.Duration(float64(median) * math.Exp(spread*dice.NormFloat64()))
	return min(max(length, shortest), longest)
}

// completed returns the number of finished documents after a part of the length of a case.
func completed(elapsed, length time.Duration) int {
	return min(max(int(int64(Documents)*int64(elapsed)/int64(length)), 0), Documents)
}
