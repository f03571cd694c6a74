-- +goose Up
-- What callers give as bytes is kept as bytea. Ids are compared byte by byte, whatever the collation of the database.
CREATE TABLE heads (
	case_id text COLLATE "C" PRIMARY KEY,
	run     integer NOT NULL,
	version bigint NOT NULL,
	keys    bytea NOT NULL -- a JSON object: hash of an idempotency key -> run
);

CREATE TABLE runs (
	case_id text COLLATE "C" NOT NULL,
	run     integer NOT NULL,
	version bigint NOT NULL,
	wake_at timestamptz NOT NULL,
	open    boolean NOT NULL,
	record  bytea NOT NULL, -- the case as JSON
	PRIMARY KEY (case_id, run)
);
CREATE INDEX runs_wake ON runs (wake_at, case_id, run);
CREATE INDEX runs_open ON runs (run) WHERE open; -- to count them; run, for there must be a column, and it is nearly always 1

CREATE TABLE run_values (
	case_id text COLLATE "C" NOT NULL,
	run     integer NOT NULL,
	name    text COLLATE "C" NOT NULL,
	data    bytea NOT NULL,
	PRIMARY KEY (case_id, run, name),
	FOREIGN KEY (case_id, run) REFERENCES runs ON DELETE CASCADE
);
