import assert from "node:assert/strict";
import test from "node:test";

import { doneView, failedView, flush, json, never, problem, seen, STATUS, view, watch, world } from "./world.mjs";

test("a stream to its end", async (t) => {
  const w = world(t);
  const h = watch();
  assert.equal(w.stream.url, STATUS);
  w.stream.opens();
  w.stream.progress(1, 2, 0, { state: "pending", eta_seconds: null, message: "waiting for the pipeline to begin", total: 0, percent: 0 });
  w.stream.progress(1, 3, 4, { stalled: true });
  w.stream.complete(1, 7);
  await flush();
  assert.deepEqual(h.progress, [
    { case_id: "c", run: 1, version: 2, state: "pending", completed: 0, total: 0, percent: 0, eta_seconds: null, stalled: false, ended: false, reason: null, message: "waiting for the pipeline to begin", documents: null, output_url: null, result: null },
    { case_id: "c", run: 1, version: 3, state: "running", completed: 4, total: 18, percent: 22.2, eta_seconds: 14, stalled: true, ended: false, reason: null, message: "SROGs", documents: null, output_url: null, result: null },
  ]);
  assert.deepEqual(h.result, {
    case_id: "c", run: 1, version: 7, state: "succeeded", completed: 18, total: 18, percent: 100, eta_seconds: null, stalled: false, ended: true, reason: "completed", message: "",
    documents: { total: 18, succeeded: 17, failed: 1 }, output_url: "https://documents.example/c/", result: { success: true },
  });
  assert.deepEqual(h.ends, [h.result]);
  assert.ok(Object.isFrozen(h.result));
  await w.over();
});

test("the percent is read by either name", async (t) => {
  const w = world(t, { answers: [] });
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 2, 3, { progress: undefined }); // as before there was progress
  w.stream.progress(1, 3, 6, { percent: undefined });
  w.stream.complete(1, 4);
  await flush();
  assert.deepEqual(seen(h.progress), ["1.2 3/18 16.7", "1.3 6/18 33.3"]);
  await w.over();
});

test("it is closed when the end is told, before the browser could come back", async (t) => {
  for (const tell of ["complete", "fails"]) {
    await t.test(tell, async (t) => {
      const w = world(t, { answers: [json(200, failedView(1, 7))] });
      let state;
      watch({ onEnd: () => { state = w.stream.readyState; } });
      w.stream.opens();
      w.stream[tell](1, 7);
      assert.equal(w.stream.readyState, 2);
      await flush();
      assert.equal(state, 2);
      await w.over();
    });
  }
});

test("a bad end is filled in by one look", async (t) => {
  for (const [name, answer, want] of [
    ["answered", json(200, failedView(1, 8)), { version: 8, completed: 5, documents: { total: 18, succeeded: 0, failed: 18 }, output_url: "https://documents.example/c/" }],
    ["refused", problem(503, { "Retry-After": "1" }), { version: 7, completed: 5, documents: null, output_url: null }],
    ["stale", json(200, view(1, 6)), { version: 7, completed: 5, documents: null, output_url: null }],
    ["no case", json(200, {}), { version: 7, completed: 5, documents: null, output_url: null }],
    ["not answered", never, { version: 7, completed: 5, documents: null, output_url: null }],
  ]) {
    await t.test(name, async (t) => {
      const w = world(t, { answers: [answer] });
      const h = watch();
      w.stream.opens();
      w.stream.progress(1, 6, 5);
      w.stream.fails(1, 7);
      await w.pass(10_000);
      const { version, completed, documents, output_url } = h.result;
      assert.deepEqual({ version, completed, documents, output_url }, want);
      assert.deepEqual([h.result.state, h.result.reason, h.result.message, h.result.ended, h.ends.length], ["failed", "no_documents", "None.", true, 1]);
      await w.over();
    });
  }
  await t.test("while the page is hidden", async (t) => {
    const w = world(t, { answers: [never] });
    const h = watch();
    w.stream.fails(1, 7);
    await w.show(false);
    assert.equal(h.result.reason, "no_documents");
    await w.over();
  });
  await t.test("run again by then: the new run is followed", async (t) => {
    const w = world(t, { answers: [json(200, view(2, 1))] });
    const h = watch();
    w.stream.fails(1, 7);
    await w.pass(2_500);
    assert.deepEqual([h.result, seen(h.progress)], [undefined, ["2.1 4/18 22.2"]]);
    w.stream.complete(2, 5);
    await flush();
    assert.equal(h.result.run, 2);
    await w.over();
  });
});

test("older and repeated ids are not reported, and progress does not fall", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 5, 6);
  w.stream.progress(1, 5, 7);
  w.stream.progress(1, 4, 8);
  w.stream.progress(1, 6, 3);
  w.stream.progress(1, 10, 9);
  assert.deepEqual(seen(h.progress), ["1.5 6/18 33.3", "1.6 6/18 33.3", "1.10 9/18 50"]);
  w.stream.complete(1, 11);
  await flush();
  assert.equal(h.ends.length, 1);
  await w.over();
});

test("a success is whole, though fewer documents were made than there seemed to be", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.progress(1, 1, 4, { total: 30 });
  w.stream.complete(1, 2);
  await flush();
  assert.deepEqual([h.result.completed, h.result.total, h.result.percent], [30, 30, 100]);
  await w.over();
});

test("a case superseded goes on with its new run, from its beginning", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 30, 9);
  w.stream.progress(2, 1, 0);
  w.stream.progress(1, 31, 10);
  w.stream.fails(1, 32); // an end of the run before is none of this one
  w.stream.progress(2, 2, 1);
  assert.deepEqual(seen(h.progress), ["1.30 9/18 50", "2.1 0/18 0", "2.2 1/18 5.6"]);
  w.stream.complete(2, 3);
  await flush();
  assert.equal(h.result.run, 2);
  await w.over();
});

test("a planned end: the browser comes back, nothing is opened and nothing is said", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 1, 1);
  for (let i = 0; i < 5; i++) { // each time after a hold without news
    await w.pass(10_000);
    w.stream.loses();
    await w.pass(2_000);
    w.stream.opens();
  }
  w.stream.progress(1, 2, 2);
  assert.deepEqual([w.streams.length, h.troubles, seen(h.progress)], [1, [], ["1.1 1/18 5.6", "1.2 2/18 11.1"]]);
  w.stream.complete(1, 3);
  await flush();
  await w.over();
});

test("a stream that fails again is closed, and opened anew with a back-off", async (t) => {
  for (const [random, waits] of [[0, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]], [0.999999, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]]]) {
    await t.test(`random ${random}`, async (t) => {
      const w = world(t);
      w.random = random;
      const h = watch();
      w.stream.opens();
      w.stream.progress(1, 1, 1);
      w.stream.loses();
      assert.deepEqual([w.stream.readyState, h.troubles], [0, []]);
      await w.pass(2_000);
      const found = [];
      for (const wait of waits) {
        const lostAt = w.now;
        w.stream.loses();
        assert.equal(w.open, 0);
        assert.equal(h.troubles.at(-1).status, 0);
        await w.pass(wait + 100);
        found.push(w.stream.at - lostAt);
      }
      found.forEach((ms, i) => assert.ok(ms >= waits[i] - 1 && ms <= waits[i] + 100, `${i}: ${ms}, not ${waits[i]}`));
      // The state that is known already is no news, but the end of the trouble.
      w.stream.opens();
      w.stream.progress(1, 1, 1);
      assert.equal(h.troubles.at(-1), null);
      assert.equal(h.progress.length, 1);
      w.stream.loses();
      await w.pass(2_000);
      w.stream.loses();
      await w.pass(1_100);
      assert.equal(w.stream.at, w.streams.at(-1).at);
      assert.equal(w.streams.length, 2 + waits.length, "the back-off begins anew");
      w.stream.complete(1, 2);
      await flush();
      await w.over();
    });
  }
});

test("a stream that closes as soon as it opens does not loop", async (t) => {
  const closes = (w) => { // a transient problem of the service, or too many viewers: 200, and closed
    w.stream.opens();
    w.stream.progress(1, 1, 1);
    w.stream.loses();
    w.stream.opens();
    w.stream.loses();
    assert.equal(w.stream.readyState, 2);
  };
  await t.test("in trouble", async (t) => {
    const w = world(t, { answers: [problem(503)] });
    const h = watch();
    closes(w);
    await flush();
    assert.equal(h.troubles.length, 1);
    await w.pass(600);
    w.stream.complete(1, 2);
    await flush();
    assert.deepEqual([h.result.version, h.troubles.at(-1)], [2, null]);
    await w.over();
  });
  await t.test("crowded", async (t) => {
    const w = world(t, { answers: [json(200, view(1, 2), { "Retry-After": "2" }), json(200, view(1, 3), { "Retry-After": "2" }), json(200, doneView(1, 4))] });
    const h = watch();
    closes(w);
    await w.pass(10_000);
    assert.deepEqual([w.streams.length, w.requests.length, h.troubles, h.result.version], [1, 3, [], 4]);
    await w.over();
  });
});

test("a browser that does not come back is helped", async (t) => {
  const w = world(t);
  watch();
  w.stream.opens();
  w.stream.progress(1, 1, 1);
  w.stream.loses();
  await w.pass(15_600);
  assert.equal(w.streams.length, 2);
  w.stream.complete(1, 2);
  await flush();
  await w.over();
});

test("a stream without a word is opened anew after a while", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 1, 1);
  await w.pass(89_000);
  assert.equal(w.streams.length, 1);
  await w.pass(1_100);
  assert.deepEqual([w.streams.length, h.troubles], [2, []]);
  w.stream.complete(1, 2);
  await flush();
  await w.over();
});

test("what is no event is trouble, not an end", async (t) => {
  for (const data of ["<html>", "{}", "null"]) {
    await t.test(data, async (t) => {
      const w = world(t);
      const h = watch();
      w.stream.opens();
      w.stream.sends("complete", "1.1", data);
      assert.equal(h.troubles[0].title, "The stream cannot be read.");
      await w.pass(600);
      w.stream.complete(1, 1);
      await flush();
      assert.equal(h.result.state, "succeeded");
      await w.over();
    });
  }
});

test("closed by a status: one look says why", async (t) => {
  for (const status of [400, 401, 403, 404, 410]) {
    await t.test(`${status} is for good`, async (t) => {
      const w = world(t, { answers: [problem(status)] });
      const h = watch();
      w.stream.shut();
      await flush();
      assert.deepEqual([h.error.name, h.error.status, h.error.title, h.error.detail, h.error.errors], ["CasewatchError", status, `Title ${status}`, `Detail ${status}.`, [{ pointer: "/a", detail: "is bad" }]]);
      assert.equal(h.error.message, `Detail ${status}. /a: is bad`);
      assert.deepEqual([h.progress, h.ends, h.troubles], [[], [], []]);
      await w.over();
    });
  }
  await t.test("204 after the end: it is that end", async (t) => {
    const w = world(t, { answers: [json(200, doneView(1, 9))] });
    const h = watch();
    w.stream.opens();
    w.stream.progress(1, 8, 17);
    w.stream.shut();
    await flush();
    assert.equal(h.result.state, "succeeded");
    await w.over();
  });
  for (const status of [429, 500, 502, 503, 504]) {
    await t.test(`${status} passes`, async (t) => {
      const w = world(t, { answers: [problem(status, { "Retry-After": "7" })] });
      const h = watch();
      w.stream.shut();
      await w.pass(6_900);
      assert.deepEqual([w.streams.length, h.troubles[0].status], [1, status]);
      await w.pass(200);
      assert.equal(w.streams.length, 2);
      w.stream.complete(1, 2);
      await flush();
      assert.deepEqual([h.result.state, h.troubles.length], ["succeeded", 2]);
      await w.over();
    });
  }
  await t.test("refused again where JSON is not: JSON then", async (t) => {
    const w = world(t, { answers: [json(200, view(1, 1), { "Retry-After": "3" }), json(200, view(1, 2), { "Retry-After": "3" }), json(200, doneView(1, 3))] });
    const h = watch();
    w.stream.shut();
    await w.pass(3_100);
    w.stream.shut();
    await w.pass(3_100);
    assert.deepEqual([w.streams.length, w.requests.length, h.result.state], [2, 3, "succeeded"]);
    await w.over();
  });
});
