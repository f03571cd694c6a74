// Package firestore is the driver of [store.Store] on Cloud Firestore in native mode: for functions
// of which many instances run.
//
// # Documents
//
// Four collections. K is the first 8 hexadecimal digits of the SHA-256 of the case id, "-" and the
// case id: ids in the order of time would all be written at one end of the key space.
//
//	heads/K         run, version, owner, keys, expire_at
//	runs/K~RUN      case_id, case_key (K), run, version, wake_at, shard (0 to 15, by the hash),
//	                open, state, created_at, record (the case as JSON), trail, expire_at
//	values/K~RUN~V  data, expire_at
//	learned/{pipeline}  version, data (what was learned of earlier runs, as JSON): one document a
//	                pipeline
//
// Four indexes: runs(shard, wake_at, case_id, run) for what is overdue, runs(case_key, run) for who
// purges, and to list runs(shard, created_at, case_id, run) and runs(shard, state, created_at,
// case_id, run), descending but for the shard and the state. An index whose first field grows with
// time takes about 500 writes a second
// (https://firebase.google.com/docs/firestore/best-practices#hotspots); none of these does: a time
// comes behind one of 16 shards. But for the automatic indexes of runs.open and runs.state, which
// counting needs, and which lie in the order of K for each of their few values, every field is
// exempt from automatic indexes. deploy/gcp/firestore.indexes.json declares all of it, and the TTL
// policies.
//
// A revision of before state and created_at writes documents without them. List and CountByState do
// not find such a run until this revision writes it, which it does to every open run and, when the
// form is dropped, to one that ended not long ago. All else finds them, CountOpen too, which asks
// for open.
//
// # Writes
//
// A write is one commit, of one document or of many, atomic, with preconditions, and no
// transaction: nobody holds or waits for a lock. The precondition is the time at which the document
// was last updated, as the writer read it. A [Store] remembers that for the last 256 records and
// heads that it read or wrote, whatever their number, so that load and save cost one read and one
// write; what it does not remember it reads first. A commit that is refused, or that this store
// must repeat because its answer was lost, is followed by a read that tells why: a record carries
// the nonces of its last 16 writers, and who finds its own there was successful.
//
// The client is the one generated from the API (cloud.google.com/go/firestore/apiv1), for that
// commit: the hand-written client beside it has a transaction, which is one call more, and a
// WriteBatch, which is deprecated; and it asks the environment for an emulator.
//
// # Costs
//
// In calls to Firestore, and documents read (R), written (W) and deleted (D), which is what Google
// bills (https://cloud.google.com/firestore/pricing). "+" is what a conflict, or a record that is
// not remembered, adds once.
//
//	Get, Value        1 call   1 R
//	Current           1 call   2 R           + 1 call, 2 R if the current run is neither the first nor remembered
//	Begin             1 call   3 W, 2 D      and 1 W with End, and its values; + 1 call, 2 or 3 R
//	Update            1 call   1 W           and its values; + 1 call, 1 R
//	Overdue, List     1 call   as many R as it returns, at least 1
//	CountOpen         1 call   1 R for 1000 counted, at least 1
//	CountByState      6 calls  1 R for 1000 counted, at least 6, as of the moment of the first
//	Wait              1 stream 2 R           and 1 R for each change, and 2 R each 10 s
//	DurationStats     1 call   1 R
//	SaveDurationStats 2 calls  1 R, 1 W
//	Purge             2 calls  2 R, 2 or 1 W, 4 or 5 D; + 1 call, 1 R for the current run unless it is the first
//
// # A slow database
//
// A database that is slow sees fewer calls, not more. Of the calls under way in one Store each that
// fails halves how many there may be, and each that succeeds adds one, up to 100; the others wait
// for their turn, at most 2 s, a write that carries an end first. About one call in ten is repeated
// in the long run, and 50 that fail together. A refusal is an answer: a change that met another one
// is looked at and made again, without that budget. Who waits opens at most 16 streams at the same
// time, and none for 30 s after one could not be opened; meanwhile it reads, as one of at most 4.
//
// # What expires
//
// The sweep purges in order. Should it not run, expire_at, 30 days later, is the net below:
// Firestore deletes the documents by itself, usually within a day of that time, one by one and in
// no order (https://firebase.google.com/docs/firestore/ttl). It goes by the retention in force at
// the last write of a document: to lengthen that by more than 30 days does not help what has ended.
// No reader looks at expire_at, and none relies on a document being there because another is:
//
//   - A head without its run counts as none: Current does not find the case, and its next first run
//     takes the head's place.
//   - A run without a head, or numbered above the run that its head names, is found by Get, Overdue
//     and List and can be purged. When a run of that number begins, it takes the place of one that
//     has ended, and conflicts with one that is open, which ends at its deadline. Wait does not
//     take it for a newer run.
//   - A value without its run can be read until Firestore deletes it. A run that begins finds no
//     value of one before it.
package firestore
