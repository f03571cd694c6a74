-- +goose NO TRANSACTION
-- +goose Up
-- What runs are listed and counted by, as the record says it; NULL in a row that a revision before this one inserted. What fails on
-- the way is begun again, so each step finds what it may have done before.
ALTER TABLE runs
	ADD COLUMN IF NOT EXISTS state      text COLLATE "C",
	ADD COLUMN IF NOT EXISTS created_at timestamptz;

-- The rows that are there, a thousand at a time, so that no writer waits for long. The columns are made of the row as it is when it is
-- locked. PostgreSQL reads no JSON that has \u0000 in it: the record is read with \u0001 in its place, which keeps every escape whole.
-- +goose StatementBegin
DO $$
DECLARE
	last_id  text := '';
	last_run integer := 0;
BEGIN
	LOOP
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED; -- whatever the database's default
		WITH page AS MATERIALIZED (
			SELECT case_id, run FROM runs WHERE (case_id, run) > (last_id, last_run) ORDER BY case_id, run LIMIT 1000
		), filled AS (
			UPDATE runs r SET
				state = replace(convert_from(r.record, 'UTF8'), '\u0000', '\u0001')::json ->> 'state',
				created_at = (replace(convert_from(r.record, 'UTF8'), '\u0000', '\u0001')::json ->> 'created_at')::timestamptz
			FROM page WHERE r.case_id = page.case_id AND r.run = page.run AND r.state IS NULL
		)
		SELECT case_id, run INTO last_id, last_run FROM page ORDER BY case_id DESC, run DESC LIMIT 1;
		EXIT WHEN NOT FOUND;
	END LOOP;
END $$;
-- +goose StatementEnd

DROP INDEX CONCURRENTLY IF EXISTS runs_created;
CREATE INDEX CONCURRENTLY runs_created ON runs (created_at, case_id, run);
DROP INDEX CONCURRENTLY IF EXISTS runs_state;
CREATE INDEX CONCURRENTLY runs_state ON runs (state, created_at, case_id, run);
