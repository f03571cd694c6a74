package taskserver

import (
	"crypto/sha256"
	"time"
)

// nameHash stands for a task's full name. Millions of names may be taken: 16 bytes each are enough to tell them apart.
type nameHash [16]byte

func hashName(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:])
}

// names are the names that stay taken after their tasks have gone, by the hour in which they become free, so that
// forgetting them is dropping whole maps.
type names map[int64]map[nameHash]int64

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// add takes a name until the given time.
func (n names) add(h nameHash, until time.Time) {
	hour := n[hourOf(until)]
	if hour == nil {
		hour = map[nameHash]int64{}
		n[hourOf(until)] = hour
	}
	hour[h] = until.UnixMicro()
}

// has reports whether a name is taken.
func (n names) has(h nameHash, now time.Time) bool {
	for hour, taken := range n {
		if hour < hourOf(now) {
			continue
		}
		if until, ok := taken[h]; ok && until > now.UnixMicro() {
			return true
		}
	}
	return false
}

// forget drops what has become free.
func (n names) forget(now time.Time) {
	for hour := range n {
		if hour < hourOf(now) {
			delete(n, hour)
		}
	}
}
