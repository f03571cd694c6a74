// Package taskserver is a Cloud Tasks server for one machine: google.cloud.tasks.v2.CloudTasks over gRPC on loopback, spoken to
// by Google's own client, with its queues and tasks in a SQLite file that survives the death of the process.
//
// # What is as in Cloud Tasks
//
// Queues with rate and concurrency limits, pause, resume and purge; named tasks whose names stay taken for a day after they were
// executed or deleted; schedule times; delivery by HTTP, at least once, with the documented headers; success is 200 to 299, all
// else is repeated with the back-off of the queue's (or the task's) retry configuration; an attempt ends at the task's dispatch
// deadline. The bounds on names, times, deadlines and sizes are checked, and errors have the codes of the real service. See
// https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2.
//
// # Where it differs
//
//   - HTTP targets only, and on this machine only unless Options.AnyTarget is set. App Engine targets, OAuth tokens, queue-level HTTP
//     targets, batches, IAM, CMEK, list filters, operations and locations are Unimplemented. There is no authentication of callers.
//   - OIDC tokens come from Options.Signer; without it requests carry no Authorization header of the task's token.
//   - Nothing is slow or late on purpose: no ramp-up of new or resumed queues, no throttling of a queue whose targets answer 429 or
//     503, no delayed purge. A Retry-After with 429 or 503 delays the next attempt of that task only, by at most an hour.
//   - Redirects are not followed; Cloud Tasks may follow them. A 3xx is a failed attempt.
//   - A name stays taken for exactly Options.NamesTaken; the real service says "up to 24 hours". The names of a deleted queue, and its own, are free at once.
//   - Defaults of a queue: 500 dispatches a second, 1000 at once, 100 attempts, back-off from 0.1s to 1h with 16 doublings; zero means the default, also in an update; the burst is the rate,
//     rounded up. In Options.Queues, not over gRPC, a queue may have a higher rate or concurrency than Google allows, and a max_burst_size.
//   - Back-off is not rounded to whole seconds. Fields left out of a task's own retry configuration are the queue's.
//   - X-CloudTasks-TaskRetryReason is the name of the last attempt's status code; the real values are not documented.
//   - An attempt that was cut by the end of the process is delivered again at once, even if it was the last one allowed.
//   - A task may be 1 MiB in all, as the quotas page says; the API's own text says 100 KB.
//   - Writes are in the hands of the operating system when a call returns (WAL, synchronous=NORMAL): they survive the death of the process, by
//     kill -9 too, but the last moments may be lost when the machine itself goes down. Flushing every write would cost a disk sync each.
//   - The journal is all or nothing: when a write fails (disk full), nothing more is delivered and every call fails with Internal until the server is opened again.
package taskserver
