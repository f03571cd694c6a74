package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/store/internal/row"
)

// migrations lead from each version of the schema to the next. They are only ever added to, and
// only ever add: an older revision of this program goes on working on what a newer one made. They
// take no lock that stops readers or writers for long.
//
//go:embed migrations/*.sql
var embedded embed.FS

var migrations, _ = fs.Sub(embedded, "migrations") // it fails for a path that is not valid, and this one is

const (
	versionTable = "casewatch_schema"
	migrateLock  = 0x63617377 // "casw": the advisory lock of those who migrate
	lockPause    = 100 * time.Millisecond
)

var errForeign = errors.New("the database holds tables of another program")

// migrate brings the schema to the newest version that the migrations know. A newer one is left as
// it is. Of many who try at once one does it, and the others wait until they see it done; who finds
// it done asks one question and holds no lock.
func migrate(ctx context.Context, pool *pgxpool.Pool, migrations fs.FS) error {
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }() // the pool stays
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	for {
		version, err := schemaVersion(ctx, pool)
		if err != nil || version >= newest {
			return err
		}
		if done, err := migrateAlone(ctx, pool, provider); err != nil {
			return fmt.Errorf("migrating the schema from version %d to %d: %w", version, newest, err)
		} else if done {
			return nil
		}
		if err := ctxtime.Sleep(ctx, lockPause); err != nil {
			return err
		}
	}
}

// readable refuses a database whose records have a shape that this program does not read.
func readable(ctx context.Context, pool *pgxpool.Pool) error {
	var record []byte
	err := repeat(ctx, new(overload.Retries), transient, func() error {
		return pool.QueryRow(ctx, "SELECT record FROM runs LIMIT 1", pgx.QueryExecModeExec).Scan(&record)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = row.Decode(record)
	}
	return err
}

// schemaVersion returns 0 for a database without tables of ours.
func schemaVersion(ctx context.Context, pool *pgxpool.Pool) (version int64, err error) {
	err = repeat(ctx, new(overload.Retries), transient, func() error {
		return pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`).
			Scan(&version)
	})
	switch sqlState(err) {
	case "42P01": // undefined_table
		var taken bool
		err = pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class
			WHERE relnamespace = current_schema()::regnamespace
			AND relname IN ('heads', 'runs', 'run_values'))`).Scan(&taken)
		if taken {
			err = fmt.Errorf("%w: heads, runs or run_values, without %s", errForeign, versionTable)
		}
	case "42703": // undefined_column
		err = fmt.Errorf("%w: %s", errForeign, versionTable)
	}
	return version, err
}

func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// migrateAlone migrates if it gets the lock, and reports whether it did. Waiting for a lock inside
// the database would be simpler, but would hold up a migration that builds an index concurrently:
// that waits for the statements of all others to end.
func migrateAlone(ctx context.Context, pool *pgxpool.Pool, provider *goose.Provider) (done bool, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, migrateLock).Scan(&done); err != nil || !done {
		return false, err
	}
	defer discard(context.WithoutCancel(ctx), conn) // and the lock with it: it cannot be left behind
	_, err = provider.Up(ctx)
	return true, err
}
