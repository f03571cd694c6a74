import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const source = readFileSync(new URL("../assets/words.js", import.meta.url));
const { dispatchLine, documents, duration, endLine, link, progressLine } = await import(`data:text/javascript;base64,${source.toString("base64")}`);

const running = { state: "running", ended: false, completed: 4, total: 18, message: "SROGs" };

test("progress in words", () => {
  for (const [state, left, want] of [
    [running, 14, "4 of 18 documents, about 14 s left. Now: SROGs"],
    [running, 0, "4 of 18 documents, a moment left. Now: SROGs"],
    [running, null, "4 of 18 documents. Now: SROGs"],
    [{ ...running, message: "4 of 18 documents are done" }, 90, "4 of 18 documents, about 1 min 30 s left."],
    [{ ...running, completed: 18 }, null, "All 18 documents are done; the result is still to come."],
    [{ ...running, total: 0 }, null, "The pipeline has not said how much there is to do."],
    [{ ...running, state: "pending", total: 0 }, null, "Handed over as soon as the pipeline can take it."],
    [{ ...running, state: "failed", ended: true }, null, "Last seen at 4 of 18 documents."],
    [{ ...running, state: "failed", ended: true, total: 0 }, null, ""],
    [{ ...running, state: "succeeded", ended: true }, null, ""],
  ]) assert.equal(progressLine(state, left), want);
  assert.deepEqual([59.6, 3_599, 3_660, -1].map(duration), ["1 min 0 s", "59 min 59 s", "1 h 1 min", "0 s"]);
});

test("dispatches that fail, in words", () => {
  for (const [dispatch, want] of [
    [{ attempts: 1, failures: 1, last_error: "the pipeline refused the connection" }, "Handing the case to the pipeline has failed once: “The pipeline refused the connection.” It is tried again."],
    [{ attempts: 4, failures: 3, last_error: null }, "Handing the case to the pipeline has failed 3 times. It is tried again."],
    [{ attempts: 1, failures: 0, last_error: null }, ""],
    [{ attempts: 0, failures: 0, last_error: "old" }, ""],
    [undefined, ""], [null, ""], [{}, ""], [{ failures: "many", last_error: {} }, ""],
  ]) assert.equal(dispatchLine(dispatch), want);
});

test("every end in words", () => {
  for (const reason of process.env.REASONS.split(" ").filter((r) => r !== "completed")) {
    const said = endLine({ state: "failed", reason, message: "", documents: null });
    assert.match(said, /^[A-Z][^_]+\.$/, `${reason}: ${said}`);
  }
  const counts = { total: 18, succeeded: 12, failed: 6 };
  for (const [end, want] of [
    [{ state: "succeeded", reason: "completed", documents: counts }, "12 of 18 documents are ready; 6 failed."],
    [{ state: "succeeded", reason: "completed", documents: { total: 18, succeeded: null, failed: null } }, "The documents are ready."],
    [{ state: "succeeded", reason: "completed", documents: { total: null, succeeded: null, failed: 2 } }, "The documents are ready; 2 failed."],
    [{ state: "succeeded", reason: "completed", documents: { total: null, succeeded: 3, failed: null } }, "3 documents are ready."],
    [{ state: "failed", reason: "no_documents", message: "no ink", documents: { total: 18, succeeded: 0, failed: null } }, "The pipeline finished, but made no document. “no ink.” 0 of 18 documents."],
    [{ state: "failed", reason: "no_documents", message: "no ink", documents: { total: null, succeeded: null, failed: 3 } }, "The pipeline finished, but made no document. “no ink.”"],
    [{ state: "succeeded", reason: "completed", documents: null, output_url: null }, "Done, as the progress says; the pipeline sent no result."],
    [{ state: "succeeded", reason: "completed", documents: null, output_url: "https://x.example/" }, "The documents are ready."],
    [{ state: "failed", reason: "pipeline_failed", message: "out of paper", documents: null }, "The pipeline gave up. “out of paper.”"],
    [{ state: "succeeded", reason: "completed", documents: { total: 3, succeeded: null, failed: null } }, "The documents are ready."],
    [{ state: "succeeded", reason: "completed", documents: { total: null, succeeded: 4, failed: null } }, "4 documents are ready."],
    [{ state: "succeeded", reason: "completed", documents: { total: null, succeeded: null, failed: 2 } }, "The documents are ready; 2 failed."],
    [{ state: "failed", reason: "deadline", message: "", documents: { total: 3, succeeded: null, failed: null } }, "The deadline passed before it was done."],
    [{ state: "failed", reason: "another", message: "", documents: null }, "Another."],
  ]) assert.equal(endLine(end), want);
});

test("only documents on the web are linked to", () => {
  for (const address of ["http://x.example/1", "HTTPS://x.example/1"]) assert.equal(link(address), address);
  for (const address of ["javascript:alert(1)", "data:text/html,x", "//x.example/", "/1", " https://x.example", "https://", "", null, undefined, 1, {}]) assert.equal(link(address), "");
});

test("documents of a result, whatever it is", () => {
  const result = { webhook_summary: { results: [
    { document_type: "srogs", plaintiff: "A", defendant: "B", success: true, url: "https://x.example/1" }, { document_type: "other", error: "no template" }, { url: "javascript:alert(1)" }, null,
  ] } };
  assert.deepEqual(documents(result), [
    { name: "Special interrogatories: A v. B", url: "https://x.example/1", error: "" }, { name: "other", url: "", error: "no template" }, { name: "Document 3", url: "", error: "" },
  ]);
  for (const none of [null, undefined, 1, "x", {}, { webhook_summary: null }, { webhook_summary: { results: {} } }]) assert.deepEqual(documents(none), []);
});
