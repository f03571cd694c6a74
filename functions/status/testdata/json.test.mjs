import assert from "node:assert/strict";
import test from "node:test";

import {
  doneView,
  failedView,
  flush,
  follow,
  json,
  never,
  problem,
  STATUS,
  view,
  watch,
  world,
} from "./world.mjs";

test("without EventSource it polls JSON at the intervals of Retry-After", async (t) => {
  for (const random of [0, 0.999999]) {
    await t.test(`random ${random}`, async (t) => {
      const w = world(t, {
        stream: false,
        answers: [
          json(200, view(1, 1), { ETag: 'W/"1.1"', "Retry-After": "4" }),
          json(304, null, { ETag: 'W/"1.1"', "Retry-After": "8" }),
          json(200, view(1, 2), { ETag: 'W/"1.2"', "Retry-After": "1" }),
          json(200, view(1, 3), { "Retry-After": "0" }),
          json(200, view(1, 4)),
          json(200, view(1, 5), { "Retry-After": "9999" }),
          json(200, view(1, 6), { "Retry-After": "soon" }),
          json(200, view(1, 7), { "Retry-After": new Date(Date.now() + 30_000).toUTCString() }),
          json(200, failedView(1, 8)),
        ],
      });
      w.random = random;
      const h = watch();
      await w.pass(200_000);
      assert.deepEqual(
        h.progress.map((s) => s.version),
        [1, 2, 3, 4, 5, 6, 7],
      );
      assert.deepEqual(h.result, {
        case_id: "c",
        run: 1,
        version: 8,
        state: "failed",
        completed: 4,
        total: 18,
        percent: 22.2,
        eta_seconds: null,
        stalled: false,
        ended: true,
        reason: "no_documents",
        message: "None.",
        documents: { total: 18, succeeded: 0, failed: 18 },
        output_url: "https://documents.example/c/",
        result: { success: true },
      });
      assert.deepEqual(
        w.requests.map((r) => r.headers["If-None-Match"]),
        [undefined, 'W/"1.1"', 'W/"1.1"', ...Array(6).fill('W/"1.2"')],
      );
      assert.ok(
        w.requests.every(
          (r) => r.url === STATUS && r.cache === "no-store" && r.headers.Accept === "application/json",
        ),
      );
      const waits = [4, 8, 1, 1, 2, 60, 2].map((s) => s * 1_000);
      waits.forEach((wait, i) => {
        const found = w.requests[i + 1].at - w.requests[i].at;
        assert.ok(
          found >= wait && found <= wait * 1.1 + 100,
          `${i}: got ${found}, want ${wait} to 10 % more`,
        );
      });
      await w.over();
    });
  }
});

test("the stream and the JSON give the same state", async (t) => {
  const progress = (completed, total, percent, current) => ({
    progress: { completed, total, percent, current },
  });
  for (const [message, changes] of [
    ["SROGs", {}],
    ["waiting for the pipeline to begin", { state: "pending", eta_seconds: null, ...progress(0, 0, 0, "") }],
    ["the pipeline is working", { eta_seconds: null, ...progress(0, 0, 0, "") }],
    ["4 of 18 documents are done", progress(4, 18, 22.2, "")],
    ["the documents are being finished", progress(18, 18, 100, "")],
  ]) {
    await t.test(message, async (t) => {
      const w = world(t, { answers: [json(200, view(1, 2, changes)), json(200, doneView(1, 9))] });
      const h = watch();
      w.stream.shut();
      await w.pass(2_100);
      const { state, eta_seconds, progress: p } = view(1, 2, changes);
      w.stream.progress(1, 3, p.completed, {
        state,
        eta_seconds,
        total: p.total,
        percent: p.percent,
        message,
      });
      w.stream.shut();
      await flush();
      assert.deepEqual([{ ...h.progress[0], version: 3 }, h.progress[0].message], [h.progress[1], message]);
      const streamed = watch();
      w.stream.complete(1, 9);
      await flush();
      assert.deepEqual(h.result, streamed.result);
      await w.over();
    });
  }
});

test("if a proxy buffers the stream, it polls JSON after 5 s and tries a stream again after 5 min", async (t) => {
  const w = world(t, { answers: Array(40).fill(json(200, view(1, 1), { "Retry-After": "10" })) });
  const h = watch();
  w.stream.opens(); // a proxy may forward the headers
  await w.pass(4_900);
  assert.equal(w.requests.length, 0);
  await w.pass(200);
  assert.deepEqual(
    [w.stream.readyState, w.requests.length, h.progress.length, h.troubles.length],
    [2, 1, 1, 0],
  );
  await w.pass(299_000);
  assert.equal(w.streams.length, 1);
  while (w.streams.length < 2 && w.now < 316_000) await w.pass(100);
  assert.equal(w.streams.length, 2);
  w.stream.complete(1, 2);
  await flush();
  assert.deepEqual([h.result?.state, h.progress.length], ["succeeded", 1]);
  await w.over();
});

test("after the clock is set back it still tries a stream again", async (t) => {
  const w = world(t, { answers: Array(400).fill(json(200, view(1, 1), { "Retry-After": "10" })) });
  const h = watch();
  await w.pass(5_100);
  assert.deepEqual([w.streams.length, w.requests.length], [1, 1]);
  const now = Date.now;
  t.mock.method(Date, "now", () => now() - 3_600_000);
  for (let ms = 0; w.streams.length < 2 && ms < 300_000; ms += 100) await w.pass(100);
  assert.equal(w.streams.length, 2, "it must not poll JSON until the clock has caught up");
  w.stream.complete(1, 2);
  await flush();
  assert.equal(h.result.state, "succeeded");
  await w.over();
});

test("a lost network is not mistaken for a buffering proxy", async (t) => {
  const w = world(t, {
    answers: [
      () => {
        throw new TypeError("fetch failed");
      },
    ],
  });
  const h = watch();
  await w.pass(5_600);
  assert.deepEqual(
    [h.troubles[0].status, h.troubles[0].title, h.troubles[0].cause.message, w.streams.length],
    [0, "The service does not answer.", "fetch failed", 2],
  );
  w.stream.complete(1, 2);
  await flush();
  assert.deepEqual([h.result.state, h.troubles.at(-1)], ["succeeded", null]);
  await w.over();
});

test("transient errors are retried with a back-off that respects Retry-After", async (t) => {
  const html = () => new Response("<html>", { status: 200 });
  const w = world(t, {
    stream: false,
    answers: [
      problem(503),
      html,
      json(200, { hello: 1 }),
      () => {
        throw new TypeError("fetch failed");
      },
      problem(429, { "Retry-After": "20" }),
      problem(500),
      json(200, view(1, 1), { "Retry-After": "1" }),
      problem(502),
      json(200, doneView(1, 2)),
    ],
  });
  w.random = 0.999999;
  const h = watch();
  await w.pass(120_000);
  assert.deepEqual(
    h.troubles.map((e) => e && e.status),
    [503, 0, 0, 0, 429, 500, null, 502, null],
  );
  const waits = [1_000, 2_000, 4_000, 8_000, 20_000, 30_000, 1_100, 1_000];
  waits.forEach((wait, i) => {
    const found = w.requests[i + 1].at - w.requests[i].at;
    assert.ok(found >= wait - 1 && found <= wait + 100, `${i}: got ${found}, want ${wait}`);
  });
  assert.equal(h.result.state, "succeeded");
  await w.over();
});

test("a poll without a response times out", async (t) => {
  const w = world(t, { stream: false, answers: [never, json(200, doneView(1, 2))] });
  const h = watch();
  await w.pass(30_600);
  assert.deepEqual(
    [h.troubles[0].status, h.troubles[0].cause.message, h.result.state],
    [0, "The request timed out.", "succeeded"],
  );
  await w.over();
});

test("a permanent error ends it", async (t) => {
  for (const status of [400, 401, 403, 404, 405, 410]) {
    await t.test(String(status), async (t) => {
      const w = world(t, { stream: false, answers: [json(200, view(1, 1)), problem(status)] });
      const h = watch();
      await w.pass(3_000);
      assert.deepEqual([h.error.status, h.ends], [status, []]);
      await w.over();
    });
  }
});

test("with headers of the caller it polls JSON and sends them", async (t) => {
  const w = world(t, { answers: [json(200, doneView(1, 2))] });
  const h = watch({ headers: { "X-API-Key": "k" } });
  await flush();
  assert.deepEqual(
    [h.result.state, w.streams.length, w.requests[0].headers["X-API-Key"]],
    ["succeeded", 0, "k"],
  );
  await w.over();
});

test("it uses the EventSource of the options", async (t) => {
  const w = world(t);
  const { EventSource } = globalThis;
  globalThis.EventSource = undefined;
  const h = watch({ EventSource });
  w.stream.complete(1, 1);
  await flush();
  assert.equal(h.result.state, "succeeded");
  await w.over();
});

test("a page opens three streams and polls JSON for further cases", async (t) => {
  const w = world(t, {
    answers: [json(200, view(1, 1), { "Retry-After": "2" }), json(200, view(1, 2), { "Retry-After": "2" })],
  });
  const all = [1, 2, 3, 4].map(() => follow(STATUS));
  assert.deepEqual([w.streams.length, w.requests.length], [3, 1]);
  await w.pass(2_100);
  assert.deepEqual([w.streams.length, w.requests.length], [3, 2]);
  w.streams[0].complete(1, 3);
  await w.pass(2_100);
  assert.deepEqual([w.streams.length, w.requests.length], [4, 2]);
  for (const s of w.streams.slice(1)) s.complete(1, 3);
  assert.deepEqual(
    (await Promise.all(all)).map((s) => s.state),
    Array(4).fill("succeeded"),
  );
  w.most = 0; // the four share this counter
  await w.over();
});
