// Package store keeps the runs. It is a thin interface; each driver has a folder of its own and
// passes the conformance suite storetest.
//
// For each case the store has a [Head], which names the current run. For each run it has a record
// ([cases.Case]) and up to three opaque values beside it: the form, the result and the late result.
// The store decides nothing. It guarantees that a confirmed write is durable, and that of two
// writers that read the same version at most one succeeds.
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
	// ErrNotFound means that there is no such case, run or value.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict means that the record or the head is not at the version that the writer read. The
	// writer must read it again.
	ErrConflict = errors.New("store: conflict")
	// ErrInvalid means that no store accepts the change, as the Validate methods describe. Nothing
	// was written, and the same call never succeeds.
	ErrInvalid = errors.New("store: invalid")
)

const (
	// MaxForm is the largest form, in bytes.
	MaxForm = 900 << 10
	// MaxValue is the largest form, result or late result that a driver must keep, in bytes.
	MaxValue = max(MaxForm, cases.MaxResult)
)

// Value is the name of an opaque value beside a record.
type Value string

// The values of a run.
const (
	Form       Value = "form"
	Result     Value = "result"
	LateResult Value = "late_result"
)

// Head has the runs of a case.
type Head struct {
	CaseID string
	Run    int // the current run, which began last
	// Owner is the name of the caller to whom the case belongs. It is a hash in hex that does not
	// reveal the account. It is "" if the case belongs to no account. Later heads of the case have
	// the same owner as the first.
	Owner string
	// Keys maps the hash of an Idempotency-Key to the run that it began, for the stored runs.
	Keys map[string]int
	// Version is 1 when the head is created. Each write adds one. Zero means that there is no head
	// yet.
	Version int64
}

// Write is an atomic change of a record and its values.
type Write struct {
	// Case is the record to save. It replaces the record whose version is Case.Version - 1.
	Case cases.Case
	// Put has the values to set; nil is an empty value. Drop has the values to delete. No value may
	// be in both.
	Put  map[Value][]byte
	Drop []Value
}

// Begin is the atomic beginning of a run.
type Begin struct {
	// Head is the new head. It replaces the head whose version is Head.Version - 1. At version 1
	// there must be no head.
	Head Head
	// Case is the first record of the new run, at version 1. The run must not exist.
	Case cases.Case
	// Form is the form of the new run; nil is an empty form.
	Form []byte
	// End, if not nil, ends the previous run in the same atomic write.
	End *Write
}

// Validate returns an error that wraps [ErrInvalid] if w names no run or an unknown value, or sets
// and deletes the same value. Every driver calls it before it writes.
func (w Write) Validate() error {
	if w.Case.CaseID == "" || w.Case.Run < 1 {
		return fmt.Errorf("%w: it names no run", ErrInvalid)
	}
	for v := range w.Put {
		if !v.known() {
			return fmt.Errorf("%w: it puts the unknown value %q", ErrInvalid, v)
		}
	}
	for _, v := range w.Drop {
		if !v.known() {
			return fmt.Errorf("%w: it drops the unknown value %q", ErrInvalid, v)
		}
		if _, both := w.Put[v]; both {
			return fmt.Errorf("%w: it puts and drops the %s", ErrInvalid, v)
		}
	}
	return nil
}

func (v Value) known() bool { return v == Form || v == Result || v == LateResult }

// Validate returns an error that wraps [ErrInvalid] if the record of b is not the first one of the
// run that its head names, or if its end is invalid or of another case. Every driver calls it
// before it writes.
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

// Cursor is a place in the order of overdue records: OverdueAt, then CaseID byte by byte, then Run.
// The zero Cursor is the beginning.
type Cursor struct {
	OverdueAt time.Time
	CaseID    string
	Run       int
}

// Filter selects the records that List returns. The zero Filter selects all records.
type Filter struct {
	State  cases.State // "" for every state
	Since  time.Time   // created at or after this time; zero for no bound
	Before time.Time   // created before this time; zero for no bound
}

// Place is a place in the order of List, newest first: CreatedAt, then CaseID byte by byte, then
// Run, each descending. The zero Place is the beginning.
type Place struct {
	CreatedAt time.Time
	CaseID    string
	Run       int
}

// PlaceOf returns the place of a record.
func PlaceOf(c cases.Case) Place { return Place{CreatedAt: c.CreatedAt, CaseID: c.CaseID, Run: c.Run} }

// IsZero reports whether p is the beginning.
func (p Place) IsZero() bool { return p.CreatedAt.IsZero() && p.CaseID == "" && p.Run == 0 }

// Start returns the place after which List begins, given the filter and the end of the previous
// page. It is the later of after and the place where f.Before begins to hold. So a driver need not
// apply f.Before separately.
func (f Filter) Start(after Place) Place {
	if f.Before.IsZero() || !after.IsZero() && after.CreatedAt.Before(f.Before) {
		return after
	}
	return Place{CreatedAt: f.Before}
}

// Options describe the store that a driver opens. A driver uses the options that concern it.
type Options struct {
	// Location is the location of the store, from
	// [github.com/casewatch/casewatch/shared/store/drivers.Parse]. It may contain a password: do
	// not log it.
	Location string
	// Project is the Google Cloud project of a database.
	Project string
	// EmulatorHost is the host:port of an emulator of the database, used in plain text and without
	// credentials. Empty means the real database.
	EmulatorHost string
	// Retention is how long a run is kept after its end before it is purged.
	Retention time.Duration
}

// Opener opens a store. ctx bounds only the opening. The caller must close the Store.
type Opener func(ctx context.Context, o Options) (Store, error)

// OpenerOf returns the Open of a driver as an Opener.
func OpenerOf[S Store](open func(context.Context, Options) (S, error)) Opener {
	return func(ctx context.Context, o Options) (Store, error) {
		s, err := open(ctx, o)
		if err != nil {
			return nil, err // a nil S would not be a nil Store
		}
		return s, nil
	}
}

// Store keeps the records. Its methods are safe for concurrent use, also by many processes. Times
// are stored to the microsecond. Every method ends with its context and then returns the context's
// error. Other errors than those named mean that the store could not be used: a write may have
// taken effect, and the same call may succeed later.
type Store interface {
	// Get returns the record of a run, or ErrNotFound. After a write has returned, Get returns the
	// record of that write or a later one.
	Get(ctx context.Context, caseID string, run int) (cases.Case, error)

	// Current returns the head of a case and the record of its current run, read together, or
	// ErrNotFound.
	Current(ctx context.Context, caseID string) (Head, cases.Case, error)

	// Begin begins a run: it writes all of b or nothing. It returns ErrConflict if one of b's
	// conditions does not hold, and ErrInvalid as [Begin.Validate] does.
	Begin(ctx context.Context, b Begin) error

	// Update saves one change of a run: it writes all of w or nothing. It returns ErrConflict if
	// the record is not at version w.Case.Version - 1, and ErrNotFound if the run does not exist.
	Update(ctx context.Context, w Write) error

	// Value returns an opaque value of a run exactly as it was put, or ErrNotFound.
	Value(ctx context.Context, caseID string, run int, v Value) ([]byte, error)

	// Overdue returns at most limit records whose OverdueAt is before the given time, in the order
	// of Cursor, beginning after the cursor. Pages may miss or repeat records that change
	// meanwhile. The cost depends on what it returns and not on what is stored.
	Overdue(ctx context.Context, before time.Time, after Cursor, limit int) ([]cases.Case, error)

	// CountOpen returns the number of runs that have not ended.
	CountOpen(ctx context.Context) (int, error)

	// CountByState returns the number of runs in each state, all at one moment. A state without
	// runs may be missing. It reads no record, but its cost grows with the number of runs.
	CountByState(ctx context.Context) (map[cases.State]int, error)

	// List returns the first limit records that the filter selects, in the order of Place,
	// beginning after the place. It returns fewer only at the end. Pages may miss or repeat records
	// that begin, change state or are purged meanwhile. Every other record is on exactly one page.
	// The cost depends on what it returns and not on what is stored.
	//
	// Runs that an older revision of this program began, before runs were listed, may be missing
	// here and in CountByState until their next write. A run whose state such a revision changed
	// may be found under its previous state until then.
	List(ctx context.Context, f Filter, after Place, limit int) ([]cases.Case, error)

	// Wait returns nil as soon as the record of the run is newer than version or the case has a
	// newer run. It may return earlier; the caller must check. It returns ErrNotFound if the run
	// does not exist or no longer exists. It holds no resources after it has returned.
	Wait(ctx context.Context, caseID string, run int, version int64) error

	// Purge deletes a run and its values if its record is at the version. It also deletes the run's
	// idempotency keys from the head, which gets a new version then. The head is deleted with the
	// last stored run. It is not an error if the run does not exist. It returns ErrConflict if the
	// run is at another version, or if it is the current run and earlier runs are stored.
	Purge(ctx context.Context, caseID string, run int, version int64) error

	// DurationStats returns the statistics of a pipeline's earlier runs, as they were saved last,
	// or the zero value. The pipeline is a name of a-z, 0-9 and -, of at most 64 bytes. Stored data
	// that cannot be read is dropped, as schedule.DecodeDurationStats describes. The version is the
	// stored one in that case too.
	DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error)

	// SaveDurationStats replaces the statistics, which all runs of the pipeline share. It returns ErrConflict if
	// the stored ones are not at version p.Version - 1.
	SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error

	// Close releases the resources of the store. No other method may be called after or during it.
	Close() error
}
