// A client library follows a case, as its documentation shows it: each message is JSON, the end comes once, and no request follows it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";

import { post } from "./lib.mjs";

// It is made for pages: this is what it takes from theirs.
Object.assign(globalThis, { window: globalThis, document: { hidden: false, addEventListener() {}, removeEventListener() {} } });
const { fetchEventSource } = createRequire(import.meta.url)("@microsoft/fetch-event-source");

for (const [name, stops] of [["a client that stops at the end", true], ["one that does not", false]]) {
  test(name, async () => {
    const { status_url: url } = await post({ document_types: ["srogs", "pods", "admissions"] });
    const stop = new AbortController();
    const seen = [];
    let requests = 0;
    const following = fetchEventSource(url, {
      signal: stop.signal,
      fetch: (...request) => { requests++; return fetch(...request); },
      onmessage({ event, data }) {
        seen.push([event, JSON.parse(data)]);
        if (stops && event !== "progress") stop.abort();
      },
      onclose() { // it takes each close for the end, unless this throws
        if (seen.at(-1)[0] === "progress") throw new Error("a planned end");
      },
      onerror(error) {
        if (error.message !== "a planned end") throw error;
      },
    });
    await following;
    const [events, asked] = [seen.length, requests];
    await new Promise((done) => setTimeout(done, 6_000)); // longer than it is told to wait before it reconnects
    assert.deepEqual([seen.length, requests], [events, asked], "something came after the end");

    const percents = seen.filter(([event]) => event === "progress").map(([, data]) => data.progress);
    assert.deepEqual(seen.map(([event]) => event), [...percents.map(() => "progress"), "complete"]);
    assert.ok(percents.some((percent) => percent > 0 && percent < 100), `progress ${percents}`);
    assert.deepEqual(percents, percents.toSorted((a, b) => a - b));
    assert.equal(new Set(seen.map(([, data]) => JSON.stringify(data))).size, seen.length, "an event came again");
  });
}
