package firestore

import (
	"sync"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// memoSize is how many documents a Store remembers the state of. It is what a few hundred requests
// at once work on, in some 100 kB.
const memoSize = 256

// place is a run of a case; run 0 is its head.
type place struct {
	caseID string
	run    int
}

// stamp is the state in which a document was last seen.
type stamp struct {
	version int64
	run     int // that a head names
	updated *timestamppb.Timestamp
	trail   []string // that its writers left; not changed
}

// memo remembers the stamps of the documents seen last. It may be behind: a commit with an old stamp is refused.
type memo struct {
	mu   sync.Mutex
	seen map[place]stamp
	ring [memoSize]place // what is in seen, in order of arrival; some may have been forgotten
	next int
}

func (m *memo) get(caseID string, run int) (stamp, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.seen[place{caseID, run}]
	return s, ok
}

// put remembers s, unless something newer is.
func (m *memo) put(caseID string, run int, s stamp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := place{caseID, run}
	if m.seen == nil {
		m.seen = make(map[place]stamp, memoSize)
	}
	was, ok := m.seen[p]
	switch {
	case ok && was.updated.AsTime().After(s.updated.AsTime()):
		return
	case !ok:
		delete(m.seen, m.ring[m.next])
		m.ring[m.next] = p
		m.next = (m.next + 1) % memoSize
	}
	m.seen[p] = s
}

func (m *memo) forget(caseID string, run int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.seen, place{caseID, run})
}

// putDocument remembers a document that was read; nil: that there is none.
func (m *memo) putDocument(caseID string, run int, d *pb.Document) {
	if d == nil {
		m.forget(caseID, run)
		return
	}
	m.put(caseID, run, stampOf(d))
}

func stampOf(d *pb.Document) stamp {
	return stamp{version: versionOf(d), run: runOf(d), updated: d.GetUpdateTime(), trail: trailOf(d)}
}
