package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/casewatch/casewatch/shared/store/internal/row"
)

// migration leads from one version of the schema to the next.
type migration struct {
	columns string
	fill    func(ctx context.Context, conn *sql.Conn) error // what the new columns hold in the rows that are there; nil: nothing to do
	indexes string
}

// migrations lead from each version of the schema (PRAGMA user_version) to the next: the first makes version 1 of an empty
// file. They are only ever added to. Times are microseconds since 1970, UTC; what callers give as bytes is kept as BLOB.
var migrations = []migration{
	{columns: `
	CREATE TABLE heads (
		case_id TEXT PRIMARY KEY,
		run     INTEGER NOT NULL,
		version INTEGER NOT NULL,
		keys    BLOB NOT NULL -- a JSON object: hash of an idempotency key -> run
	) STRICT, WITHOUT ROWID;

	CREATE TABLE runs (
		case_id TEXT NOT NULL,
		run     INTEGER NOT NULL,
		version INTEGER NOT NULL,
		wake_at INTEGER NOT NULL,
		open    INTEGER NOT NULL CHECK (open IN (0, 1)),
		record  BLOB NOT NULL, -- the case as JSON
		PRIMARY KEY (case_id, run)
	) STRICT;

	CREATE TABLE run_values (
		case_id TEXT NOT NULL,
		run     INTEGER NOT NULL,
		name    TEXT NOT NULL,
		data    BLOB NOT NULL,
		PRIMARY KEY (case_id, run, name),
		FOREIGN KEY (case_id, run) REFERENCES runs ON DELETE CASCADE
	) STRICT;
	`, indexes: `
	CREATE INDEX runs_wake ON runs (wake_at, case_id, run);
	CREATE INDEX runs_open ON runs (open) WHERE open = 1;
	`},
	{columns: `
	ALTER TABLE runs ADD COLUMN state TEXT NOT NULL DEFAULT '';
	ALTER TABLE runs ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
	`, fill: fillListed, indexes: `
	CREATE INDEX runs_created ON runs (created_at, case_id, run);
	CREATE INDEX runs_state ON runs (state, created_at, case_id, run);
	`},
	{columns: `
	CREATE TABLE past (
		id      INTEGER PRIMARY KEY CHECK (id = 1), -- there is one
		version INTEGER NOT NULL,
		data    BLOB NOT NULL -- as JSON
	) STRICT;
	`},
	{columns: `
	ALTER TABLE heads ADD COLUMN owner TEXT NOT NULL DEFAULT ''; -- to whom the case belongs: a hash, or nothing
	`},
}

// applicationID marks the file as ours ("casw"), so that another program's database is not taken for an empty one.
const applicationID = 0x63617377

// migrate brings the file to the newest schema, in one transaction. Of several processes that try at once one does it.
func migrate(ctx context.Context, conn *sql.Conn) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, undo := conn.ExecContext(ctx, "ROLLBACK")
			err = errors.Join(err, undo)
		}
	}()
	var id, version, tables int
	err = errors.Join(
		conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id),
		conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version),
		conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables),
	)
	switch {
	case err != nil:
		return err
	case id != applicationID && (id != 0 || version != 0 || tables != 0):
		return errors.New("the file is a database of another program")
	case version > len(migrations):
		return fmt.Errorf("the file has schema version %d and this program knows up to %d: a newer program wrote it", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		if err := migrations[version].apply(ctx, conn); err != nil {
			return fmt.Errorf("migrating the schema from version %d: %w", version, err)
		}
	}
	// A PRAGMA takes no parameters; these are constants of this program.
	marks := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version)
	if _, err := conn.ExecContext(ctx, marks); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

func (m migration) apply(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, m.columns); err != nil {
		return err
	}
	if m.fill != nil {
		if err := m.fill(ctx, conn); err != nil {
			return err
		}
	}
	_, err := conn.ExecContext(ctx, m.indexes)
	return err
}

// fillListed sets what List goes by to what the records say. That is read here, since SQLite's own functions know times to the
// millisecond only.
func fillListed(ctx context.Context, conn *sql.Conn) error {
	const atOnce = 1000
	type saved struct {
		id     int64
		record []byte
	}
	read := func(after int64) (page []saved, err error) {
		rows, err := conn.QueryContext(ctx, `SELECT rowid, record FROM runs WHERE rowid > ? ORDER BY rowid LIMIT ?`, after, atOnce)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			var r saved
			if err := rows.Scan(&r.id, &r.record); err != nil {
				return nil, err
			}
			page = append(page, r)
		}
		return page, rows.Err()
	}
	fill, err := conn.PrepareContext(ctx, `UPDATE runs SET state = ?, created_at = ? WHERE rowid = ?`)
	if err != nil {
		return err
	}
	defer func() { _ = fill.Close() }()
	var last int64
	for {
		page, err := read(last)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			c, err := row.Decode(r.record)
			if err == nil {
				_, err = fill.ExecContext(ctx, string(c.State), c.CreatedAt.UnixMicro(), r.id)
			}
			if err != nil {
				return fmt.Errorf("record %d: %w", r.id, err)
			}
			last = r.id
		}
	}
}
