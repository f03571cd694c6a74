// Package samplepipeline is a document pipeline to try Casewatch with: it turns a form into legal documents that can be read and
// printed, one for each plaintiff, defendant and document type, about a second each, and speaks the protocol that
// Casewatch expects of a pipeline.
//
//	POST /api/normalize            the form as JSON; answers when the documents are there, or 202
//	GET  /api/progress/{case_id}   {"case_id","completed","total","current_doc","progress_percent"}, 404 for a case it does not know
//	GET  /api/record/{case_id}     what was asked about a case: {"case_id","requests":[{"at","run","idempotency_key","did"}],"looks":[time, …]}
//	GET  /documents/{case_id}/{run}/            the finished run's index, which is its output_url
//	GET  /documents/{case_id}/{run}/{file}      one document
//
// It is what such services are: it knows no runs (progress is the newest job's of a case), keeps progress in memory only, goes on
// with a job whose caller has hung up, and forgets all jobs when it ends. Documents are files, and stay. The record is what no real one has:
// it shows whoever doubts it that a case is started once, and asked about no more after its end.
//
// # The form
//
// Every field is optional and lenient: numbers do for strings, one object for a list of one, and what cannot be read is
// taken as absent. Nobody named gives one plaintiff and one defendant with a blank to fill in; no document_types, or none that is a list,
// gives all three. A document of a type that is not srogs, pods or admissions fails; the others do not.
//
// As the form frontend sends it:
//
//	{"case_id","run","Form":{"Id","InternalName","Name"},
//	 "PlaintiffDetails":[{"Id","ItemNumber","HeadOfHousehold","PlaintiffItemNumberName":{"First","Last","FirstAndLast"},
//	   "PlaintiffItemNumberType","PlaintiffItemNumberAgeCategory":[],"PlaintiffItemNumberDiscovery":{"VerminIssue":true,"Vermin":["Rats/Mice"]}}],
//	 "DefendantDetails2":[{"Id","ItemNumber","DefendantItemNumberName":{"First","Last","FirstAndLast"},
//	   "DefendantItemNumberType","DefendantItemNumberManagerOwner"}],
//	 "Full_Address":{"StreetAddress","Line1","City","State","PostalCode"},"Filing city","Filing county",
//	 "document_types":["srogs","pods","admissions"],
//	 "sample":{"mode":"sync","fault":"","at":9}}
//
// Each list in PlaintiffItemNumberDiscovery that is not empty is an issue. In the documents of that plaintiff, and in no others, each
// issue is one request more.
//
// The shape before is read too: "FirstName", "LastName" and "EntityType" of a party, "Street" of the address, "FilingCity" and
// "FilingCounty". Where a form has both, the frontend's counts.
//
// # Behaviour
//
// The form's "sample" chooses how the pipeline behaves. "mode" says how the end is told:
//
//	sync    (default) the request is held until the job is done, and answered with the result
//	async   202; progress now and then, and the end with the result, are published as events
//	silent  202; nothing but the progress endpoint
//
// "fault" says what goes wrong, where it says midway once "at" documents are done (half of them unless given):
//
//	fail           it gives up midway with its own word, success:false (silent: status failed in the progress)
//	fail_event     the same, told by an event: mode is async
//	hang           it stops midway for ever; a held request stays held
//	forget         it drops the job midway: the case is unknown again; a held request is cut
//	stop_short     progress stays one short of the total for ever; the job ends all the same, with one document failed
//	some_fail      every third document fails; the job succeeds
//	none_succeed   every document fails; the job succeeds
//	reset          the connection is cut, at once if mode answers 202, else midway; the job goes on
//	refuse         422, in FastAPI's shape; nothing is started
//	busy           503 with Retry-After, twice for a key; then it works
//	error500       500 without a word of its own; nothing is started
//	not_json       the job is done, but the answer is a proxy's web page
//	slow_progress  the progress endpoint takes three seconds
//	down           the progress endpoint resets every connection; the job goes on
//
// # Idempotency
//
// A request whose Idempotency-Key is that of a job still known starts nothing: it gets that job's answer, when it is there.
// Without a key every request starts a job.
package samplepipeline
