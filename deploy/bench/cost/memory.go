package cost

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// memory is a store of one run in memory, on the virtual clock. What no single run asks for it does not have.
type memory struct {
	store.Store // nil: the rest

	mu      sync.Mutex
	head    store.Head
	c       cases.Case
	values  map[store.Value][]byte
	changed chan struct{} // closed at the next change
}

func newMemory() *memory {
	return &memory{values: map[store.Value][]byte{}, changed: make(chan struct{})}
}

func (m *memory) change() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) Get(context.Context, string, int) (cases.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.c.Version == 0 {
		return cases.Case{}, store.ErrNotFound
	}
	return m.c, nil
}

func (m *memory) Current(ctx context.Context, id string) (store.Head, cases.Case, error) {
	c, err := m.Get(ctx, id, 0)
	return m.head, c, err
}

func (m *memory) Begin(_ context.Context, b store.Begin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head, m.c, m.values[store.Form] = b.Head, b.Case, b.Form
	m.change()
	return nil
}

func (m *memory) Update(_ context.Context, w store.Write) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.c.Version != w.Case.Version-1 {
		return store.ErrConflict
	}
	m.c = w.Case
	for v, data := range w.Put {
		m.values[v] = data
	}
	for _, v := range w.Drop {
		delete(m.values, v)
	}
	m.change()
	return nil
}

func (m *memory) Value(_ context.Context, _ string, _ int, v store.Value) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.values[v]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(data), nil
}

func (m *memory) Wait(ctx context.Context, _ string, _ int, version int64) error {
	for {
		m.mu.Lock()
		newer, changed := m.c.Version > version, m.changed
		m.mu.Unlock()
		if newer {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memory) Overdue(_ context.Context, before time.Time, after store.Cursor, _ int) ([]cases.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.c.Version == 0 || !m.c.Bookkeeping.OverdueAt.Before(before) || after != (store.Cursor{}) {
		return nil, nil
	}
	return []cases.Case{m.c}, nil
}

// CountOpen is the sweep's, which counts the runs of all cases at once.
func (m *memory) CountOpen(context.Context) (int, error) { return 0, nil }

func (m *memory) Purge(context.Context, string, int, int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.c = cases.Case{}
	clear(m.values)
	m.change()
	return nil
}

// stored is how many bytes are kept.
func (m *memory) stored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := size(m.c) + size(m.head)
	for _, data := range m.values {
		n += len(data)
	}
	return n
}
