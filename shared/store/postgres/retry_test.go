package postgres

import (
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestRepeatsHaveABudget: reads over connections that break are sent again only as far as the
// budget for that goes; what met a transaction of another is sent again whatever is left of it.
func TestRepeatsHaveABudget(t *testing.T) {
	s := &Store{}
	sent := 0
	fails := func(err error) func() error {
		return func() error { sent++; return err }
	}
	const calls = 500
	for range calls {
		if err := repeat(t.Context(), &s.retries, transient, fails(io.ErrUnexpectedEOF)); !errors.Is(
			err,
			io.ErrUnexpectedEOF,
		) {
			t.Fatal(err)
		}
	}
	if sent > calls+50 {
		t.Errorf("%d reads were sent %d times", calls, sent)
	}
	sent = 0
	if err := repeat(t.Context(), &s.retries, undone, fails(&pgconn.PgError{Code: "40001"})); err == nil ||
		sent != tries {
		t.Errorf("a serialization failure: sent %d times, %v", sent, err)
	}
	for range 2 * calls {
		if err := repeat(t.Context(), &s.retries, transient, fails(nil)); err != nil {
			t.Fatal(err)
		}
	}
	sent = 0
	if err := repeat(t.Context(), &s.retries, transient, fails(io.EOF)); err == nil || sent != tries {
		t.Errorf("when all is well again: sent %d times, %v", sent, err)
	}
}
