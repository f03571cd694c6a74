-- +goose Up
-- To whom a case belongs: a hash, or nothing.
ALTER TABLE heads ADD COLUMN IF NOT EXISTS owner text COLLATE "C" NOT NULL DEFAULT '';
