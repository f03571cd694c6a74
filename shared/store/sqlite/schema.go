package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// firstVersion is the version of the schema that the first migration makes. The versions before it
// held records of another shape.
const firstVersion = 5

// migrations lead from one version of the schema (PRAGMA user_version) to the next. The first makes
// firstVersion of an empty file. They are only ever added to. Times are microseconds since 1970, UTC.
// Bytes that callers give are stored as BLOB.
var migrations = []string{`
	CREATE TABLE heads (
		case_id TEXT PRIMARY KEY,
		run     INTEGER NOT NULL,
		version INTEGER NOT NULL,
		keys    BLOB NOT NULL, -- a JSON object: hash of an idempotency key -> run
		owner   TEXT NOT NULL  -- to whom the case belongs: a hash, or nothing
	) STRICT, WITHOUT ROWID;

	CREATE TABLE runs (
		case_id    TEXT NOT NULL,
		run        INTEGER NOT NULL,
		version    INTEGER NOT NULL,
		wake_at    INTEGER NOT NULL,
		open       INTEGER NOT NULL CHECK (open IN (0, 1)),
		record     BLOB NOT NULL, -- the case as JSON
		state      TEXT NOT NULL,
		created_at INTEGER NOT NULL,
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

	CREATE TABLE past (
		id      INTEGER PRIMARY KEY CHECK (id = 1), -- there is one
		version INTEGER NOT NULL,
		data    BLOB NOT NULL -- as JSON
	) STRICT;

	CREATE INDEX runs_wake ON runs (wake_at, case_id, run);
	CREATE INDEX runs_open ON runs (open) WHERE open = 1;
	CREATE INDEX runs_created ON runs (created_at, case_id, run);
	CREATE INDEX runs_state ON runs (state, created_at, case_id, run);
`}

// newestVersion is the version that the last migration makes.
func newestVersion() int { return firstVersion + len(migrations) - 1 }

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
	case version > newestVersion():
		return fmt.Errorf("the file has schema version %d and this program knows up to %d: a newer program wrote it",
			version, newestVersion())
	case id == applicationID && version < firstVersion:
		return fmt.Errorf("the file has schema version %d: an earlier program wrote it, and its records have another shape; "+
			"move the file away or delete it, and start again", version)
	}
	for _, migration := range migrations[max(0, version-firstVersion+1):] {
		if _, err := conn.ExecContext(ctx, migration); err != nil {
			return fmt.Errorf("migrating the schema from version %d: %w", version, err)
		}
	}
	// A PRAGMA takes no parameters; these are constants of this program.
	marks := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, newestVersion())
	if _, err := conn.ExecContext(ctx, marks); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}
