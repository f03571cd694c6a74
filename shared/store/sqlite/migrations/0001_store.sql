-- +goose Up
-- Times are microseconds since 1970, UTC. Bytes that callers give are stored as BLOB.
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
