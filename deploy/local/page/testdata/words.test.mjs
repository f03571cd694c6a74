import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const source = readFileSync(new URL("../assets/words.js", import.meta.url)).toString("base64");
const words = await import(`data:text/javascript;base64,${source}`);
const { dispatchLine, documents, duration, endLine, link, nextStep, progressLine } = words;

const running = { state: "running", ended: false, completed: 4, total: 18, message: "SROGs" };

test("progressLine describes the progress", () => {
  for (const [state, left, want] of [
    [running, 14, "4 of 18 documents, about 14 s left. Now: SROGs"],
    [running, 0, "4 of 18 documents, a moment left. Now: SROGs"],
    [running, null, "4 of 18 documents. Now: SROGs"],
    [{ ...running, message: "4 of 18 documents are done" }, 90, "4 of 18 documents, about 1 min 30 s left."],
    [{ ...running, completed: 18 }, null, "All 18 documents are done. The result has not arrived yet."],
    [{ ...running, total: 0 }, null, "The pipeline has not reported how many documents it makes."],
    [{ ...running, state: "pending", total: 0 }, null, "The case is sent as soon as the pipeline can accept it."],
    [{ ...running, state: "failed", ended: true }, null, "Last seen at 4 of 18 documents."],
    [{ ...running, state: "failed", ended: true, total: 0 }, null, ""],
    [{ ...running, state: "succeeded", ended: true }, null, ""],
  ]) assert.equal(progressLine(state, left), want);
  assert.deepEqual([59.6, 3_599, 3_660, -1].map(duration), ["1 min 0 s", "59 min 59 s", "1 h 1 min", "0 s"]);
});

test("dispatchLine describes failed dispatches", () => {
  for (const [dispatch, want] of [
    [
      { attempts: 1, failures: 1, last_error: "the pipeline refused the connection" },
      "Sending the case to the pipeline has failed once: “The pipeline refused the connection.” It is tried again.",
    ],
    [
      { attempts: 4, failures: 3, last_error: null },
      "Sending the case to the pipeline has failed 3 times. It is tried again.",
    ],
    [{ attempts: 1, failures: 0, last_error: null }, ""],
    [{ attempts: 0, failures: 0, last_error: "old" }, ""],
    [undefined, ""], [null, ""], [{}, ""], [{ failures: "many", last_error: {} }, ""],
  ]) assert.equal(dispatchLine(dispatch), want);
});

test("endLine has a text for each reason", () => {
  for (const reason of process.env.REASONS.split(" ").filter((r) => r !== "completed")) {
    const line = endLine({ state: "failed", reason, message: "", documents: null });
    assert.match(line, /^[A-Z][^_]+\.$/, `${reason}: ${line}`);
  }
});

test("nextStep says what to do about each end that nobody asked for", () => {
  for (const reason of process.env.REASONS.split(" ")) {
    const asked = ["completed", "cancelled", "superseded"].includes(reason);
    assert.equal(nextStep({ reason }) === "", asked, reason);
  }
  assert.equal(nextStep({ reason: "a_reason_of_tomorrow" }), "");
});

test("endLine counts the documents of a success as far as they are counted", () => {
  for (const [total, succeeded, failed, want] of [
    [18, 12, 6, "12 of 18 documents are ready; 6 failed."],
    [18, null, null, "The documents are ready."],
    [null, null, 2, "The documents are ready; 2 failed."],
    [null, 3, null, "3 documents are ready."],
  ]) assert.equal(endLine({ state: "succeeded", reason: "completed", documents: { total, succeeded, failed } }), want);
});

test("endLine describes a success without counts", () => {
  const end = { state: "succeeded", reason: "completed", documents: null, output_url: null };
  assert.equal(endLine(end), "Done, according to its progress. The pipeline sent no result.");
  assert.equal(endLine({ ...end, output_url: "https://x.example/" }), "The documents are ready.");
});

test("endLine describes each other end", () => {
  for (const [reason, message, documents, want] of [
    [
      "no_documents", "no ink", { total: 18, succeeded: 0, failed: null },
      "The pipeline finished, but made no document. “no ink.” 0 of 18 documents.",
    ],
    [
      "no_documents", "no ink", { total: null, succeeded: null, failed: 3 },
      "The pipeline finished, but made no document. “no ink.”",
    ],
    ["pipeline_failed", "out of paper", null, "The pipeline gave up. “out of paper.”"],
    ["deadline", "", { total: 3, succeeded: null, failed: null }, "The deadline passed before it was done."],
    ["another", "", null, "Another."],
  ]) assert.equal(endLine({ state: "failed", reason, message, documents }), want);
});

test("link accepts only http and https addresses", () => {
  for (const address of ["http://x.example/1", "HTTPS://x.example/1"]) assert.equal(link(address), address);
  for (const address of [
    "javascript:alert(1)", "data:text/html,x", "//x.example/", "/1", " https://x.example", "https://", "",
    null, undefined, 1, {},
  ]) assert.equal(link(address), "");
});

test("documents lists the documents of a result of any shape", () => {
  const result = { webhook_summary: { results: [
    { document_type: "srogs", plaintiff: "A", defendant: "B", success: true, url: "https://x.example/1" },
    { document_type: "other", error: "no template" },
    { url: "javascript:alert(1)" },
    null,
  ] } };
  assert.deepEqual(documents(result), [
    { name: "Special interrogatories: A v. B", url: "https://x.example/1", error: "" },
    { name: "other", url: "", error: "no template" },
    { name: "Document 3", url: "", error: "" },
  ]);
  for (const empty of [
    null, undefined, 1, "x", {}, { webhook_summary: null }, { webhook_summary: { results: {} } },
  ]) assert.deepEqual(documents(empty), []);
});
