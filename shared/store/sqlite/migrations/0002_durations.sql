-- +goose Up
-- What was learned of the earlier runs of each pipeline, in place of what was learned of one.
DROP TABLE past;

CREATE TABLE durations (
	pipeline TEXT PRIMARY KEY,
	version  INTEGER NOT NULL,
	data     BLOB NOT NULL -- as JSON
) STRICT;
