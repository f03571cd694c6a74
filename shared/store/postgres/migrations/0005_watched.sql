-- +goose Up
-- Until when an instance may wait for news of the case: those who write say it with NOTIFY until then.
ALTER TABLE heads ADD COLUMN IF NOT EXISTS watched_until timestamptz NOT NULL DEFAULT '-infinity';
