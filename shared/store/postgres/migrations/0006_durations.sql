-- +goose Up
-- What was learned of the earlier runs of each pipeline. The table past, of one pipeline, is not used
-- any more.
CREATE TABLE IF NOT EXISTS durations (
	pipeline text PRIMARY KEY,
	version  bigint NOT NULL,
	data     bytea NOT NULL -- as JSON
);
