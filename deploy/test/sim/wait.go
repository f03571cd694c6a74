package sim

import (
	"cmp"
	"context"
	"slices"

	"github.com/casewatch/casewatch/shared/store"
)

func (s *fakeStore) Wait(ctx context.Context, id string, run int, version int64) error {
	key := runKey{id, run}
	c := &call{inv: invocationOf(ctx), what: "store: wait", about: key, down: s.down}
	c.effect = func() (any, error) {
		if s.runs[key] == nil {
			return nil, store.ErrNotFound
		}
		return nil, nil
	}
	c.wait = func(c *call, err error) {
		if err != nil || s.isNews(key, version) {
			s.w.reply(c, err, c.inv.rnd.latency(0))
			return
		}
		s.waiting[c] = waiting{key, version}
	}
	return c.do(ctx, s.w)
}

func (s *fakeStore) isNews(key runKey, version int64) bool {
	k := s.runs[key]
	return k == nil || k.rec.Version > version || s.heads[key.id].Run > key.run
}

// changed wakes the calls that wait for a change of a case.
func (s *fakeStore) changed(key runKey) {
	if len(s.waiting) == 0 {
		return
	}
	var told []*call
	for c, x := range s.waiting {
		if c.gone || c.inv.dead.Load() {
			delete(s.waiting, c)
		} else if x.key.id == key.id && s.isNews(x.key, x.version) {
			told = append(told, c)
		}
	}
	slices.SortFunc(told, func(a, b *call) int { return cmp.Compare(a.inv.id, b.inv.id) })
	for _, c := range told {
		delete(s.waiting, c)
		s.w.reply(c, nil, c.inv.rnd.latency(0))
	}
}
