// Package taskserver is a Cloud Tasks server for one machine. It speaks
// google.cloud.tasks.v2.CloudTasks over gRPC on loopback, so that Google's own client can use it.
// It keeps queues and tasks in a SQLite file, and they survive when the process is killed.
//
// # What works as in Cloud Tasks
//
//   - Queues have limits of rate and concurrency, and can be paused, resumed and purged.
//   - Tasks can have names and schedule times. A name stays taken for a day after its task was
//     executed or deleted.
//   - Tasks are delivered by HTTP at least once, with the documented headers.
//   - An answer from 200 to 299 is a success. After anything else the delivery is repeated, with
//     the back-off of the retry configuration of the task or its queue.
//   - An attempt ends at the dispatch deadline of its task.
//   - The limits of names, times, deadlines and sizes are checked, and errors have the codes of the
//     real service. See https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2.
//
// # What is not supported
//
//   - Targets other than HTTP, and targets on other machines unless Options.AnyTarget is set.
//   - App Engine targets, OAuth tokens, HTTP targets of queues, batches, IAM, CMEK, filters of
//     lists, operations and locations. They are answered Unimplemented.
//   - Authentication of callers.
//
// # What differs
//
//   - OIDC tokens are signed by Options.Signer. Without it, tasks with an OIDC token are sent
//     without an Authorization header.
//   - There are no deliberate delays: no ramp-up of new or resumed queues, no throttling of a queue
//     whose targets answer 429 or 503, and no delayed purge. A Retry-After with 429 or 503 delays
//     the next attempt of that task only, by at most an hour.
//   - Redirects are not followed, and a 3xx is a failed attempt. Cloud Tasks may follow redirects.
//   - A name stays taken for exactly Options.NamesTaken. The real service promises only "up to 24
//     hours". When a queue is deleted, its name and the names of its tasks are free immediately.
//   - The defaults of a queue are 500 dispatches a second, 1000 concurrent dispatches, 100
//     attempts, and a back-off from 0.1 s to 1 h with 16 doublings. Zero means the default, also in
//     an update. The burst is the rate, rounded up.
//   - A queue in Options.Queues may have a higher rate or concurrency than Google allows, and a
//     max_burst_size. Over gRPC this is rejected.
//   - The back-off is not rounded to whole seconds. Fields that a task's own retry configuration
//     leaves out have the values of its queue.
//   - X-CloudTasks-TaskRetryReason is the name of the last attempt's status code. The real values
//     are not documented.
//   - An attempt that the end of the process interrupted is delivered again immediately, even if it
//     was the last one allowed.
//   - A task may have 1 MiB in total, as the quotas page says. The API's own text says 100 KB.
//   - When a call returns, its change is written to the operating system, but not flushed to the
//     disk (WAL, synchronous=NORMAL). It survives kill -9. A crash of the machine can lose the last
//     changes. A flush for each change would be slow.
//   - If a write fails, for example because the disk is full, nothing more is delivered. Every call
//     then fails with Internal until the server is opened again.
package taskserver
