// Package store is where runs are kept: a thin interface, with one driver per folder and one
// conformance suite, storetest, that every driver passes.
//
// The store keeps, per case, a [Head] that names the current run, and per run a record
// ([cases.Case]) with up to three opaque values beside it: the form, the result and the late
// result. It decides nothing; it promises only that what it says was written is durable, and that
// of two writers who read the same version at most one succeeds.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
)

var (
	// ErrNotFound is returned when there is no such case, run or value.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict is returned when the record or head is not at the version that the writer read.
	// The writer reads again.
	ErrConflict = errors.New("store: conflict")
	// ErrInvalid is returned for a change that no store takes, as its Validate says. Nothing was
	// written, and the same call never succeeds.
	ErrInvalid = errors.New("store: invalid")
)

const (
	// MaxForm is the largest form, in bytes.
	MaxForm = 900 << 10
	// MaxValue is the largest form, result or late result that a driver must keep, in bytes.
	MaxValue = max(MaxForm, cases.MaxResult)
)

// Value names an opaque value beside a record.
type Value string

// The values of a run.
const (
	Form       Value = "form"
	Result     Value = "result"
	LateResult Value = "late_result"
)

// Head is what a case knows of its runs.
type Head struct {
	CaseID string
	Run    int // the current run: the one begun last
	// Owner names the caller to whom the case belongs, as a hash in hex that tells nothing of the
	// account; "" if it belongs to no account. Every later head of the case has that of the first.
	Owner string
	// Keys maps the hash of an Idempotency-Key to the run it began, for the runs still kept.
	Keys map[string]int
	// Version is 1 when the head is created; each write adds one. Zero: there is no head yet.
	Version int64
}

// Write is one change of a record, with the values that change with it, atomically.
type Write struct {
	// Case is the record to save. It replaces the one whose version is Case.Version - 1.
	Case cases.Case
	// Put are values to set, nil being an empty one, Drop values to delete. A value may not be in
	// both.
	Put  map[Value][]byte
	Drop []Value
}

// Begin is the beginning of a run.
type Begin struct {
	// Head is the new head. It replaces the one whose version is Head.Version - 1; at version 1
	// there must be none.
	Head Head
	// Case is the first record of the new run, at version 1. The run must not exist.
	Case cases.Case
	// Form is the form of the new run; nil is an empty one.
	Form []byte
	// End, if not nil, ends the run before in the same atomic write.
	End *Write
}

// Validate returns an error that wraps [ErrInvalid] if w makes no sense: it names no run, or a
// value that there is not, or puts and drops the same value. Every driver calls it before it
// writes.
func (w Write) Validate() error {
	if w.Case.CaseID == "" || w.Case.Run < 1 {
		return fmt.Errorf("%w: it names no run", ErrInvalid)
	}
	for v := range w.Put {
		if !v.known() {
			return fmt.Errorf("%w: it puts a value %q that there is not", ErrInvalid, v)
		}
	}
	for _, v := range w.Drop {
		if !v.known() {
			return fmt.Errorf("%w: it drops a value %q that there is not", ErrInvalid, v)
		}
		if _, both := w.Put[v]; both {
			return fmt.Errorf("%w: it puts and drops the %s", ErrInvalid, v)
		}
	}
	return nil
}

func (v Value) known() bool { return v == Form || v == Result || v == LateResult }

// Validate returns an error that wraps [ErrInvalid] if b makes no sense: its record is not the
// first of the run that its head names, or its end is of another case, or that makes no sense.
// Every driver calls it before it writes.
func (b Begin) Validate() error {
	switch {
	case b.Case.CaseID == "" || b.Case.Run < 1:
		return fmt.Errorf("%w: it names no run", ErrInvalid)
	case b.Head.CaseID != b.Case.CaseID || b.Head.Run != b.Case.Run || b.Head.Version < 1 || b.Case.Version != 1:
		return fmt.Errorf("%w: the head does not name the first record of the run", ErrInvalid)
	case b.End == nil:
		return nil
	case b.End.Case.CaseID != b.Case.CaseID:
		return fmt.Errorf("%w: it would end a run of another case", ErrInvalid)
	}
	return b.End.Validate()
}

// Cursor is a place in the order of overdue records: (OverdueAt, CaseID byte by byte, Run). The zero
// Cursor is the beginning.
type Cursor struct {
	OverdueAt time.Time
	CaseID    string
	Run       int
}

// Filter says which records List returns. The zero Filter is all of them.
type Filter struct {
	State  cases.State // "" for any
	Since  time.Time   // created at or after this; zero for any
	Before time.Time   // created before this; zero for any
}

// Place is a place in the order of List: newest first, that is by (CreatedAt, CaseID byte by byte,
// Run), each descending. The zero Place is the beginning.
type Place struct {
	CreatedAt time.Time
	CaseID    string
	Run       int
}

// PlaceOf is the place of a record.
func PlaceOf(c cases.Case) Place { return Place{CreatedAt: c.CreatedAt, CaseID: c.CaseID, Run: c.Run} }

// IsZero reports whether p is the beginning.
func (p Place) IsZero() bool { return p.CreatedAt.IsZero() && p.CaseID == "" && p.Run == 0 }

// Start is the place after which a page that is to begin after the given one begins: that one, or
// the one from which on f.Before holds, if that comes later. So a driver need not ask for f.Before
// besides.
func (f Filter) Start(after Place) Place {
	if f.Before.IsZero() || !after.IsZero() && after.CreatedAt.Before(f.Before) {
		return after
	}
	return Place{CreatedAt: f.Before}
}

// Options say which store a driver opens. A driver uses those that concern it.
type Options struct {
	// Location is the place, as [github.com/casewatch/casewatch/shared/store/drivers.Parse] returns
	// it. It may hold a password: do not log it.
	Location string
	// Project is the Google Cloud project of a database.
	Project string
	// EmulatorHost is the host:port of an emulator of the database, spoken to in plain text and
	// without credentials; "" for the real one.
	EmulatorHost string
	// Retention is how long an ended run is kept before it is purged.
	Retention time.Duration
}

// Opener opens a store. The Store does not depend on ctx, which bounds the opening. The caller
// closes the Store.
type Opener func(ctx context.Context, o Options) (Store, error)

// OpenerOf returns the Open of a driver as an Opener.
func OpenerOf[S Store](open func(context.Context, Options) (S, error)) Opener {
	return func(ctx context.Context, o Options) (Store, error) {
		s, err := open(ctx, o)
		if err != nil {
			return nil, err // not a nil S, which is no nil Store
		}
		return s, nil
	}
}

// Store keeps the records. Its methods are safe for concurrent use, by many processes too. Times
// are kept to the microsecond. Every method ends with its context, with the context's error; any
// other error than those named means that the store could not be used, and that the same call may
// succeed later (a write may have taken effect).
type Store interface {
	// Get returns the record of a run, or ErrNotFound. A record read after a write returned is at
	// least that write's.
	Get(ctx context.Context, caseID string, run int) (cases.Case, error)

	// Current returns the head of a case and the record of its current run, read together, or
	// ErrNotFound.
	Current(ctx context.Context, caseID string) (Head, cases.Case, error)

	// Begin begins a run: all of b or nothing. ErrConflict if any of its conditions does not hold,
	// ErrInvalid as [Begin.Validate] says.
	Begin(ctx context.Context, b Begin) error

	// Update saves one change of a run: all of w or nothing. ErrConflict if the record is not at
	// version w.Case.Version - 1; ErrNotFound if the run does not exist.
	Update(ctx context.Context, w Write) error

	// Value returns an opaque value of a run exactly as it was put, or ErrNotFound.
	Value(ctx context.Context, caseID string, run int, v Value) ([]byte, error)

	// Overdue returns at most limit records whose OverdueAt is before the given time, in the order of
	// Cursor, beginning after the given one. Pages may miss or repeat records that change
	// meanwhile. It costs what it returns, not what is stored.
	Overdue(ctx context.Context, before time.Time, after Cursor, limit int) ([]cases.Case, error)

	// CountOpen returns the number of runs that have not ended.
	CountOpen(ctx context.Context) (int, error)

	// CountByState returns the number of runs in each state, all at one moment; a state without
	// runs may be missing. It reads no record, but costs what it counts.
	CountByState(ctx context.Context) (map[cases.State]int, error)

	// List returns the first records that the filter admits, in the order of Place, beginning after
	// the given one: limit of them, or all there are if they are fewer. Pages may miss or repeat
	// records that begin, change state or are purged meanwhile; the others are in exactly one. It
	// costs what it returns, not what is stored. A run that an older revision of this program
	// began, before runs were listed, may be missing from it and from CountByState, and one whose
	// state that changed may be found under the state before, until the run is next written.
	List(ctx context.Context, f Filter, after Place, limit int) ([]cases.Case, error)

	// Wait returns nil once the record of the run is newer than version, or the case has a newer
	// run, and at once if that is so already. It may return early; the caller looks again.
	// ErrNotFound if there is no such run, or no longer. It holds nothing after it returned.
	Wait(ctx context.Context, caseID string, run int, version int64) error

	// Purge deletes a run with its values if its record is at the given version, and its
	// idempotency keys from the head, which then has a new version too. The head goes with the last
	// run kept. It is no error if the run does not exist; ErrConflict if it is at another version.
	// Purging the current run while earlier ones are kept is not done: it returns ErrConflict.
	Purge(ctx context.Context, caseID string, run int, version int64) error

	// DurationStats returns what was learned of earlier runs, as it was last saved; zero if it never
	// was. What is stored and cannot be read is dropped, see schedule.DecodeDurationStats: the
	// version is still its own.
	DurationStats(ctx context.Context) (schedule.DurationStats, error)

	// SaveDurationStats replaces it, all cases having one. ErrConflict if what is saved is not at
	// version p.Version - 1.
	SaveDurationStats(ctx context.Context, p schedule.DurationStats) error

	// Close releases what the store holds. No other method may be called after or during it.
	Close() error
}
