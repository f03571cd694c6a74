// Package sqlite is the embedded driver of [store.Store]: one SQLite file, for one machine. It needs no server and no C compiler.
//
// # Durability
//
// What a method says was written survives the end of the process and of the machine: the file is in WAL mode with
// synchronous=FULL, so that each commit waits until the disk has it (https://www.sqlite.org/pragma.html#pragma_synchronous).
// That wait, some milliseconds, is what a write costs. Writers that come while another commits share the next commit: they
// queue up, the first of them writes for all, each write in a savepoint of its own, and hands out the results. No goroutine
// is needed for that, and none of the writers can spoil, or be told the result of, another's write.
//
// # Deletion
//
// What is deleted or replaced, a form above all, is overwritten with zeros in the file (PRAGMA secure_delete,
// https://www.sqlite.org/pragma.html#pragma_secure_delete), freed pages too; so there is no need to vacuum. In the log beside the file it stays until
// the pages there are written over, or [Store.Close] works off the log. That costs writes: a case that begins, has its form dropped and is purged took
// 1.3 times as long as without for a form of 16 KiB (35 ms against 26 ms), and 1.9 times for one of 900 KiB (94 ms against 50 ms), each with three
// commits, on 2 cores shared with other work (go test -run='^$' -bench=SecureDelete -benchtime=60x ./shared/store/sqlite).
//
// # Order
//
// A write that carries an end is written before those that queue up without one.
//
// # Processes
//
// Several processes of one machine may open the same file; they take turns writing, and wait up to 10 s for each other. The file must
// be on a local disk: WAL mode does not work over a network file system (https://www.sqlite.org/wal.html).
//
// # Waiting
//
// [Store.Wait] is woken by writes through the same Store at once. Writes of other processes it finds by reading again, after
// 250 ms, 500 ms and then each second. A Store holds nothing for a case but while somebody waits for it.
package sqlite
