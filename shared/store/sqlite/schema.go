package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// migrations lead from each version of the schema (PRAGMA user_version) to the next: the first makes version 1 of an empty
// file. They are only ever added to. Times are microseconds since 1970, UTC; what callers give as bytes is kept as BLOB.
var migrations = []string{
	`
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
	CREATE INDEX runs_wake ON runs (wake_at, case_id, run);
	CREATE INDEX runs_open ON runs (open) WHERE open = 1;

	CREATE TABLE run_values (
		case_id TEXT NOT NULL,
		run     INTEGER NOT NULL,
		name    TEXT NOT NULL,
		data    BLOB NOT NULL,
		PRIMARY KEY (case_id, run, name),
		FOREIGN KEY (case_id, run) REFERENCES runs ON DELETE CASCADE
	) STRICT;
	`,
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
		if _, err := conn.ExecContext(ctx, migrations[version]); err != nil {
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
