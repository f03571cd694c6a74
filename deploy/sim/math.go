package sim

import (
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
)

func pow(x, y float64) float64 { return math.Pow(x, y) }

// stream returns the random numbers of one thing in a run: the same whatever else happens there.
func stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
