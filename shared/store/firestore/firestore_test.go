package firestore

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/api/option"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/firestore/firestoretest"
	"github.com/casewatch/casewatch/shared/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		o := options(t)
		open := func(t *testing.T) store.Store {
			s := openStore(t, o)
			// The emulator tells a stream nothing of a write that comes just as the stream begins;
			// the next stream sees it.
			s.listening.atMost = time.Second
			return s
		}
		return storetest.Harness{
			Store:  open(t),
			Second: open,
			// Those of its connections, which are opened when there are enough waiters to need them.
			Goroutines: []goleak.Option{
				goleak.IgnoreTopFunction("google.golang.org/grpc/internal/transport.(*controlBuffer).get"),
				goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*http2Client).reader"),
				goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
			},
		}
	})
}

// options are of an empty database in the emulator.
func options(t testing.TB) store.Options {
	t.Helper()
	return store.Options{
		Project:      firestoretest.Project(),
		EmulatorHost: firestoretest.Start(t),
		Retention:    720 * time.Hour,
	}
}

// openStore opens a store that the caller closes.
func openStore(t testing.TB, o store.Options, more ...option.ClientOption) *Store {
	t.Helper()
	s, err := open(t.Context(), o, more...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opened is a store over an empty database, closed when the test ends.
func opened(t testing.TB, o store.Options, more ...option.ClientOption) *Store {
	t.Helper()
	s := openStore(t, o, more...)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := len(s.listening.places); n != 0 {
			t.Errorf("%d streams are still open", n)
		}
	})
	return s
}

// begin is the first run of a case.
func begin(id string) store.Begin {
	at := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	return store.Begin{
		Head: store.Head{CaseID: id, Run: 1, Version: 1},
		Case: cases.Case{
			Origin:      cases.Origin{CaseID: id, Run: 1, CreatedAt: at, DeadlineAt: at.Add(time.Hour)},
			Version:     1,
			State:       cases.Pending,
			UpdatedAt:   at,
			Bookkeeping: cases.Bookkeeping{OverdueAt: at.Add(time.Hour)},
		},
		Form: []byte(`{"case_id":"` + id + `"}`),
	}
}

// after is c one version later.
func after(c cases.Case) store.Write {
	c.Version++
	c.Checks.Polls++
	return store.Write{Case: c}
}

// next is the beginning of run 2, which ends run 1.
func next(c cases.Case) store.Begin {
	b := begin(c.CaseID)
	end := ended(c)
	b.Head.Run, b.Case.Run, b.Head.Version, b.End = c.Run+1, c.Run+1, int64(c.Run)+1, &end
	return b
}

// ended is c ended, one version later.
func ended(c cases.Case) store.Write {
	w := after(c)
	w.Case.State = cases.Succeeded
	return w
}

// save begins a case.
func save(t testing.TB, s *Store, id string) cases.Case {
	t.Helper()
	b := begin(id)
	if err := s.Begin(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b.Case
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
