// Package samplepipeline is a document pipeline for trying Casewatch. It turns a form into legal
// documents in HTML: one for each plaintiff, defendant and document type. Each document takes about
// a second. The pipeline speaks the protocol that Casewatch expects of a pipeline:
//
//	POST /api/normalize                     starts the job of a form; answers the result, or 202
//	GET  /api/progress/{case_id}            the progress of the newest job; 404 for an unknown case
//	GET  /api/record/{case_id}              the requests that the pipeline got about a case
//	GET  /documents/{case_id}/{run}/        the index of a finished run: its output_url
//	GET  /documents/{case_id}/{run}/{file}  one document
//	     /apis/{name}/                      the same work behind another protocol: see package apis
//
// The progress and the record are
//
//	{"case_id", "completed", "total", "current_doc", "progress_percent"}
//	{"case_id", "requests": [{"at", "run", "idempotency_key", "did"}], "looks": [time, …]}
//
// The pipeline behaves like a real one. It reports progress by case, not by run. It keeps jobs in
// memory, and forgets them when its process ends. A job continues when its caller disconnects. The
// documents are files, which stay. Only the record is an addition for tests and demonstrations: it
// shows that Casewatch starts each case once, and does not poll it after its end. "looks" lists the
// times of the polls.
//
// # The form
//
// All fields are optional, and a field of the wrong type counts as missing. Numbers are accepted
// for strings, and an object for a list of one. A form without parties gets one plaintiff and one
// defendant with placeholders for their names. A form without document_types gets all three types.
// A document of any type other than srogs, pods and admissions fails.
//
// The form frontend sends:
//
//	{"case_id", "run", "Form": {"Id", "InternalName", "Name"},
//	 "PlaintiffDetails": [{"Id", "ItemNumber", "HeadOfHousehold",
//	   "PlaintiffItemNumberName": {"First", "Last", "FirstAndLast"},
//	   "PlaintiffItemNumberType", "PlaintiffItemNumberAgeCategory": [],
//	   "PlaintiffItemNumberDiscovery": {"VerminIssue": true, "Vermin": ["Rats/Mice"]}}],
//	 "DefendantDetails2": [{"Id", "ItemNumber",
//	   "DefendantItemNumberName": {"First", "Last", "FirstAndLast"},
//	   "DefendantItemNumberType", "DefendantItemNumberManagerOwner"}],
//	 "Full_Address": {"StreetAddress", "Line1", "City", "State", "PostalCode"},
//	 "Filing city", "Filing county",
//	 "document_types": ["srogs", "pods", "admissions"],
//	 "sample": {"mode": "sync", "fault": "", "at": 9}}
//
// Each non-empty list in PlaintiffItemNumberDiscovery is an issue. An issue adds one request to
// each document of that plaintiff.
//
// An older shape of the form is also read: "FirstName", "LastName" and "EntityType" of a party,
// "Street" of the address, "FilingCity" and "FilingCounty". If a form has both, the fields of the
// frontend are used.
//
// # Behaviour
//
// The form's "sample" chooses how the pipeline behaves. "mode" says how it reports the end:
//
//	sync    (default) the request stays open until the job has ended; the answer is the result
//	async   202; the progress and the end are published as events
//	silent  202; only the progress endpoint reports anything
//
// "fault" says what goes wrong. "Midway" means after "at" documents, or after half of them without
// "at":
//
//	fail           the job fails midway with success:false (in mode silent: with status failed)
//	fail_event     the job fails midway and reports it by an event; the mode is async
//	hang           the job stops midway for ever; a waiting request stays open
//	forget         the job is forgotten midway: its case is unknown, and a waiting request is reset
//	stop_short     progress never reaches the total; the job ends, and its last document fails
//	some_fail      every third document fails; the job succeeds
//	none_succeed   every document fails; the job succeeds
//	reset          the connection is reset, in mode sync midway; the job continues
//	refuse         422 in FastAPI's format; no job is started
//	busy           503 with Retry-After for the first two requests of a key
//	error500       500 without a report; no job is started
//	not_json       the job succeeds, but the answer is a proxy's web page
//	slow_progress  the progress endpoint takes three seconds
//	down           the progress endpoint resets every connection; the job continues
//
// Behind another protocol there is no mode, and of the faults only fail, hang, forget, stop_short,
// some_fail, none_succeed and busy have an effect. A webhook is called if it is on the pipeline's
// own machine. A cancelled job stops.
//
// # Idempotency
//
// A request with the Idempotency-Key of a known job starts no job. It gets the answer of that job,
// when there is one. A request without a key always starts a job.
package samplepipeline
