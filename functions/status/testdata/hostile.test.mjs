import assert from "node:assert/strict";
import test from "node:test";

import { doneView, flush, json, view, watch, world } from "./world.mjs";

// Invalid events, each as [description, event type, event id, data].
const junk = [
  ["not JSON", "progress", "1.3", "{"],
  ["empty", "progress", "1.3", ""],
  ["null", "progress", "1.3", "null"],
  ["a text", "complete", "1.3", '"done"'],
  ["a list", "complete", "1.3", "[]"],
  ["an empty object", "complete", "1.3", "{}"],
  ["a run that is a string", "progress", "1.3", '{"run":"1","current":1,"total":2,"percent":50}'],
  ["a run that is a fraction", "complete", "1.3", '{"run":1.5}'],
  ["no id", "progress", "", '{"run":1,"current":1,"total":2,"percent":50}'],
  ["an id without version", "complete", "1", '{"run":1,"total":2}'],
  ["an id of letters", "complete", "one.two", '{"run":1,"total":2}'],
  ["a prototype", "progress", "1.x", '{"__proto__":{"run":1},"constructor":{"prototype":{"polluted":true}}}'],
  ["deep", "complete", "1.3", "[".repeat(50_000)],
  ["an end without data", "error", "1.3", "null"],
];

for (const [name, type, id, data] of junk) {
  test(`an invalid event is ignored: ${name}`, async (t) => {
    const w = world(t, {
      answers: [json(200, view(1, 4)), json(200, doneView(1, 7)), json(200, doneView(1, 7))],
    });
    const h = watch();
    w.stream.opens();
    w.stream.progress(1, 2, 1);
    const before = h.progress.length;
    w.stream.sends(type, id, data);
    await flush();
    assert.equal(h.progress.length, before, "no state is reported");
    assert.deepEqual(h.ends, [], "no end is reported");
    assert.equal(h.result, undefined);
    assert.equal({}.polluted, undefined);
    // The stream is reopened, and the next one has the end.
    await w.pass(2_000);
    w.stream.opens();
    w.stream.complete(1, 7);
    await flush();
    assert.equal(h.result.state, "succeeded");
    assert.equal(h.result.version, 7);
    await w.over();
  });
}

// Invalid JSON responses are reported as trouble and retried. Then the valid end is reported.
for (const [name, body] of [
  ["null", null],
  ["a text", "done"],
  ["a list", []],
  ["an empty object", {}],
  ["no progress", { run: 1, version: 3, state: "succeeded" }],
  ["a run that is a string", { ...view(1, 3), run: "1" }],
  ["a version that is a string", { ...doneView(1, 3), version: "x" }],
]) {
  test(`an invalid response is retried: ${name}`, async (t) => {
    const w = world(t, { stream: false, answers: [json(200, body), json(200, doneView(1, 7))] });
    const h = watch();
    await flush();
    assert.deepEqual(h.ends, []);
    await w.pass(60_000);
    assert.equal(h.result?.version, 7);
    await w.over();
  });
}

test("an address that is not http or https is null", async (t) => {
  for (const [address, want] of [
    ["javascript:alert(1)", null],
    ["data:text/html,x", null],
    [7, null],
    [" https://x", null],
    ["HTTPS://documents.example/c", "HTTPS://documents.example/c"],
  ]) {
    await t.test(String(address), async (t) => {
      const w = world(t, { answers: [json(200, { ...doneView(1, 7), output_url: address })] });
      const streamed = watch();
      w.stream.sends("complete", "1.7", { run: 1, total: 1, outputUrl: address });
      const asked = watch();
      w.stream.shut();
      await flush();
      assert.deepEqual([streamed.result.output_url, asked.result.output_url], [want, want]);
      await w.over();
    });
  }
});
