package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	goosedb "github.com/pressly/goose/v3/database"

	"github.com/casewatch/casewatch/shared/store/internal/row"
)

// migrations lead from each version of the schema to the next. They are only ever added to.
//
//go:embed migrations/*.sql
var embedded embed.FS

var migrations, _ = fs.Sub(embedded, "migrations") // it fails for a path that is not valid, and this one is

// versionTable holds the versions of the schema that the file has, as goose writes them.
const versionTable = "casewatch_schema"

// applicationID marks the file as ours ("casw"), so that another program's database is not taken
// for an empty one.
const applicationID = 0x63617377

// migrate brings the file to the newest schema that the migrations know. Of several processes that
// try at the same time, each migration is done by one. It refuses a file of another program, of a
// newer one, or with records of another shape.
func migrate(ctx context.Context, db *sql.DB, migrations fs.FS) error {
	versions, err := goosedb.NewStore(goosedb.DialectSQLite3, versionTable)
	if err != nil {
		return err
	}
	if err := claim(ctx, db, versions); err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, migrations,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	for tried := int64(-1); ; {
		version, err := versions.GetLatestVersion(ctx, db)
		switch {
		case err != nil:
			return err
		case version > newest:
			return fmt.Errorf("the file has schema version %d and this program knows up to %d: "+
				"a newer program wrote it", version, newest)
		case version == newest:
			return readable(ctx, db)
		case version == tried:
			return errors.New("the schema stays at the version before the migration")
		}
		tried = version
		if _, err := provider.Up(ctx); err != nil {
			// Another process may have been faster.
			if now, again := versions.GetLatestVersion(ctx, db); again != nil || now == version {
				return fmt.Errorf("migrating the schema from version %d to %d: %w", version, newest, err)
			}
		}
	}
}

// claim marks an empty file as ours, and refuses one that is not.
func claim(ctx context.Context, db *sql.DB, versions goosedb.Store) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, undo := conn.ExecContext(ctx, "ROLLBACK")
			err = errors.Join(err, undo)
		}
	}()
	var id, before, tables int
	err = errors.Join(
		conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id),
		// Before goose kept the versions, they were here.
		conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&before),
		conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables),
	)
	switch {
	case err != nil:
		return err
	case id == applicationID && before != 0:
		return fmt.Errorf("the file has schema version %d of an earlier program, with records of another shape; %s",
			before, startAgain)
	case id == applicationID:
		_, err = conn.ExecContext(ctx, "COMMIT")
		return err
	case id != 0 || before != 0 || tables != 0:
		return errors.New("the file is a database of another program")
	}
	// A PRAGMA takes no parameters; this is a constant of this program.
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return err
	}
	if err := versions.CreateVersionTable(ctx, conn); err != nil {
		return err
	}
	if err := versions.Insert(ctx, conn, goosedb.InsertRequest{Version: 0}); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

const startAgain = "move the file away or delete it, and start again"

// readable refuses a file whose records have a shape that this program does not read.
func readable(ctx context.Context, db *sql.DB) error {
	var record []byte
	err := db.QueryRowContext(ctx, "SELECT record FROM runs LIMIT 1").Scan(&record)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = row.Decode(record)
	}
	if err != nil {
		return fmt.Errorf("%w; or %s", err, startAgain)
	}
	return nil
}
