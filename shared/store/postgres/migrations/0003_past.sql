-- +goose Up
-- What was learned of earlier runs, for all of them: one row.
CREATE TABLE IF NOT EXISTS past (
	id      integer PRIMARY KEY CHECK (id = 1),
	version bigint NOT NULL,
	data    bytea NOT NULL -- as JSON
);
