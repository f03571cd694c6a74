// Package googlefake stands in for Google's APIs on loopback: the real gcloud is run against it, and what it asked for can be looked at.
//
// It records each call (Calls, Mutations), in a form that is the same in every run; keeps what the calls make, so that a list or
// describe reads it back; refuses what Google refuses; and lets a test change what exists (Edit, Put, Delete), fail a call (Fail) and have a
// service be somewhere else (SetURL). Nothing leaves the machine: gcloud also has it as its proxy, and a request for any other host is refused and
// reported by Unknown, as are calls that the fake has no answer for. A test of many commands has gcloud loaded once for all of them (Warm).
//
// # What is as at Google
//
//   - A project begins with the APIs that every new one has. Calls of any other are refused, 403 SERVICE_DISABLED, until it is enabled; a
//     service that does not exist cannot be enabled.
//   - What is missing is 404 NOT_FOUND, what is there already is 409 ALREADY_EXISTS. IAM policies have ETags that must be the latest, name service
//     accounts that exist, and keep those that are deleted as deleted:serviceAccount:. A service's agent exists once its API is enabled, those of Pub/Sub
//     and of Identity-Aware Proxy once their identity was asked for.
//   - A revision of Cloud Run is not ready if its image is not in the registry or its account may not read a secret; the service then stays on the last
//     that was. Only a template that differs makes a revision. Traffic must add up, tags have URLs, and what is served cannot be deleted.
//   - The name of a deleted queue cannot be used again. Single-field indexes, TTL policies and composite indexes of Firestore need their database. An alert
//     needs its channels and log-based metrics, the update of a dashboard its ETag.
//   - Bounds that a deployment is likely to break are checked, not all.
//
// # Where it differs
//
//   - Nothing takes time: operations, builds and indexes are done when the call returns, policies and enabled APIs hold at once, and there is no
//     eventual consistency. Lists have one page, and filters are left to gcloud, which applies them again.
//   - The caller may do everything. Who may call a service, and what its account may do there, is not enforced, but for reading secrets.
//   - Images are names and digests; nothing is built or run. A build logs to Cloud Logging only, whatever it was told, or gcloud would read its log by
//     HTTPS from a bucket. Buckets keep what is uploaded (Uploads), not to be downloaded.
//   - A service has its deterministic URL only, not the older one with a hash.
//   - Tasks, messages, documents, time series and log entries are others' matter; entries are read back if a test has put them at
//     logging/projects/PROJECT/entries/ID.
//   - No identity tokens: gcloud auth print-identity-token fails, as it does for any access token from a file.
package googlefake
