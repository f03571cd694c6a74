// Package postgres is the driver of [store.Store] for PostgreSQL 12 and later: any server, or Cloud
// SQL.
//
// # The DSN
//
// A URL as PostgreSQL's own clients take it, postgres://USER:PASSWORD@HOST/DATABASE?PARAMETERS
// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS). Beside theirs
// it has those of the pool (https://pkg.go.dev/github.com/jackc/pgx/v5/pgxpool#ParseConfig), of
// which these have another default here: pool_max_conns 4 (not below 2), pool_max_conn_idle_time
// 5m, pool_ping_timeout 2s, and connect_timeout 10 seconds.
//
// host=/cloudsql/PROJECT:REGION:INSTANCE among the parameters names an instance of Cloud SQL, as on
// Cloud Run. It is dialled by Google's connector, over TLS, whether or not there is such a socket:
// no proxy need run, and no network be authorized. The service account needs roles/cloudsql.client.
// Without a password it logs in as itself, with its token: USER is then its e-mail address without
// ".gserviceaccount.com" (@ written as %40), and it also needs roles/cloudsql.instanceUser
// (https://cloud.google.com/sql/docs/postgres/iam-logins). cloudsql_ip=private, psc or auto chooses
// the way; public is the default. The connector renews its certificates when it dials, and sends no
// metrics of its own: nothing of it runs between requests.
//
// # Connections
//
// An instance of a function opens connections as it needs them, up to pool_max_conns, and closes
// those not used for a while. While somebody waits, one of them listens and the others serve. So
// the sum, over all functions that use the store, of their instances at most times pool_max_conns
// must stay below the server's max_connections (less the few that are reserved): 8 functions of at
// most 10 instances with 4 connections each need 320. On Cloud SQL that setting follows the memory,
// and can be set (https://cloud.google.com/sql/docs/postgres/flags#postgres-m). A connection that
// was idle for a second is asked for a sign of life first, which is a round trip more: an instance
// without CPU sleeps past its end.
//
// A proxy that shares connections by transaction (PgBouncer's pool_mode=transaction) does not work:
// migrations hold a lock of the session, waiters listen in it, and statements are prepared in it.
// Sharing by session works.
//
// # Schema
//
// Three tables (heads, runs, run_values) in the first schema of the search_path, and
// casewatch_schema, which says how far they are migrated. [Open] reads that with one query, and
// only if it is behind, migrates: of many instances at once one does, under an advisory lock. The
// user then needs the right to create tables there. Migrations only add, so a database that a newer
// revision migrated serves an older one, as after a rollback.
//
// Runs are listed and counted by two columns and indexes that came with version 2 of the schema. An
// older revision does not write them: a run that it begins on the newer schema is not listed or
// counted by state, and one whose state it changes is found under the state before, until this
// revision writes the run. That it does to every open run and, when the form is dropped, to one
// that ended not long ago. To count by state is to walk through an index, of 100,000 runs in tens
// of milliseconds; where autovacuum has not been, through the table.
//
// A run's wake_at is indexed and changes with nearly every update, so that no update is heap-only
// and a fillfactor would gain nothing: in 24,000 updates of 2,000 runs none was, with 100 as with
// 70; without the index the server did no more of them a second.
//
// # Atomicity
//
// Transactions are read committed, whatever the database's default. That is enough, since every
// write has a condition on the version of one row that it changes or locks, the record for Update
// and the head for Begin and Purge, and PostgreSQL checks it again on the newest version of the row
// when it had to wait for it
// (https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED). Nothing is
// decided by rows that are not locked. Update and Begin take one round trip, Purge and a Begin that also
// ends a run two, and each one more while somebody waits for the case. What the server undoes
// because of another transaction (a deadlock, a serialization failure) is done again; when a
// connection breaks, reads are sent again and writes are not. Of such reads about one in ten is sent
// again in the long run, and 50 that fail together: a slow server sees fewer, not more.
//
// # Waiting
//
// While somebody waits for a case, each write says its id with NOTIFY. The row of the case in heads
// says until when that is: a waiter writes it, for a minute, when it looks and less than half a
// minute is left. A case that nobody waits for costs its writers nothing. A waiter that has just
// written it waits for the writers that could not see it yet, so that it misses nothing.
//
// An instance hears all of it over one connection, however many wait: the first waiter listens, in
// its own request, for all, and when it leaves hands the connection to another; the last one gives
// it back. Under it every waiter looks by itself after 1 s, 2 s, 4 s and then every 5 s, for what is
// lost when a connection breaks or a proxy swallows it; a broken connection that listens is replaced
// after a second, and then all look.
//
// The word goes in a transaction of its own, right behind the commit: transactions that notify
// commit one after the other in the whole cluster, each waiting for the disk
// (https://www.recall.ai/blog/postgres-listen-notify-does-not-scale). With 8 writers on one disk
// that made 140 to 230 updates a second, against 1,500 to 2,000 this way and 1,300 to 1,700 with no
// word at all.
package postgres
