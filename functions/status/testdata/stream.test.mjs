import assert from "node:assert/strict";
import test from "node:test";

import {
  doneView,
  failedView,
  flush,
  json,
  never,
  problem,
  seen,
  STATUS,
  view,
  watch,
  world,
} from "./world.mjs";

test("a stream is followed to the end", async (t) => {
  const w = world(t);
  const h = watch();
  assert.equal(w.stream.url, STATUS);
  w.stream.opens();
  w.stream.progress(1, 2, 0, {
    state: "pending",
    eta_seconds: null,
    message: "waiting for the pipeline to begin",
    total: 0,
    percent: 0,
  });
  w.stream.progress(1, 3, 4, { stalled: true });
  w.stream.complete(1, 7);
  await flush();
  assert.deepEqual(h.progress, [
    {
      case_id: "c",
      run: 1,
      version: 2,
      state: "pending",
      completed: 0,
      total: 0,
      percent: 0,
      eta_seconds: null,
      stalled: false,
      ended: false,
      reason: null,
      message: "waiting for the pipeline to begin",
      documents: null,
      output_url: null,
      result: null,
    },
    {
      case_id: "c",
      run: 1,
      version: 3,
      state: "running",
      completed: 4,
      total: 18,
      percent: 22.2,
      eta_seconds: 14,
      stalled: true,
      ended: false,
      reason: null,
      message: "SROGs",
      documents: null,
      output_url: null,
      result: null,
    },
  ]);
  assert.deepEqual(h.result, {
    case_id: "c",
    run: 1,
    version: 7,
    state: "succeeded",
    completed: 18,
    total: 18,
    percent: 100,
    eta_seconds: null,
    stalled: false,
    ended: true,
    reason: "completed",
    message: "",
    documents: { total: 18, succeeded: 17, failed: 1 },
    output_url: "https://documents.example/c/",
    result: { success: true },
  });
  assert.deepEqual(h.ends, [h.result]);
  assert.ok(Object.isFrozen(h.result));
  await w.over();
});

test("the percent is read by either name", async (t) => {
  const w = world(t, { answers: [] });
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 2, 3, { progress: undefined }); // as in older revisions
  w.stream.progress(1, 3, 6, { percent: undefined });
  w.stream.complete(1, 4);
  await flush();
  assert.deepEqual(seen(h.progress), ["1.2 3/18 16.7", "1.3 6/18 33.3"]);
  await w.over();
});

test("the stream is closed at the end, before the browser can reconnect", async (t) => {
  for (const tell of ["complete", "fails"]) {
    await t.test(tell, async (t) => {
      const w = world(t, { answers: [json(200, failedView(1, 7))] });
      let state;
      watch({
        onEnd: () => {
          state = w.stream.readyState;
        },
      });
      w.stream.opens();
      w.stream[tell](1, 7);
      assert.equal(w.stream.readyState, 2);
      await flush();
      assert.equal(state, 2);
      await w.over();
    });
  }
});

test("one poll adds the details of a bad end", async (t) => {
  for (const [name, answer, want] of [
    [
      "with a response",
      json(200, failedView(1, 8)),
      {
        version: 8,
        completed: 5,
        documents: { total: 18, succeeded: 0, failed: 18 },
        output_url: "https://documents.example/c/",
      },
    ],
    [
      "with an error",
      problem(503, { "Retry-After": "1" }),
      { version: 7, completed: 5, documents: null, output_url: null },
    ],
    [
      "with an older state",
      json(200, view(1, 6)),
      { version: 7, completed: 5, documents: null, output_url: null },
    ],
    [
      "with a response that is not a case",
      json(200, {}),
      { version: 7, completed: 5, documents: null, output_url: null },
    ],
    ["without a response", never, { version: 7, completed: 5, documents: null, output_url: null }],
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
      assert.deepEqual(
        [h.result.state, h.result.reason, h.result.message, h.result.ended, h.ends.length],
        ["failed", "no_documents", "None.", true, 1],
      );
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
  await t.test("if the case was run again, the new run is followed", async (t) => {
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

test("the progress of a success is complete although total was lower", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.progress(1, 1, 4, { total: 30 });
  w.stream.complete(1, 2);
  await flush();
  assert.deepEqual([h.result.completed, h.result.total, h.result.percent], [30, 30, 100]);
  await w.over();
});

test("a superseded case continues with the new run from its beginning", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 30, 9);
  w.stream.progress(2, 1, 0);
  w.stream.progress(1, 31, 10);
  w.stream.fails(1, 32); // the end of the earlier run
  w.stream.progress(2, 2, 1);
  assert.deepEqual(seen(h.progress), ["1.30 9/18 50", "2.1 0/18 0", "2.2 1/18 5.6"]);
  w.stream.complete(2, 3);
  await flush();
  assert.equal(h.result.run, 2);
  await w.over();
});

test("after a planned end the browser reconnects, and nothing is reported", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 1, 1);
  for (let i = 0; i < 5; i++) {
    // each stream ends without news
    await w.pass(10_000);
    w.stream.loses();
    await w.pass(2_000);
    w.stream.opens();
  }
  w.stream.progress(1, 2, 2);
  assert.deepEqual(
    [w.streams.length, h.troubles, seen(h.progress)],
    [1, [], ["1.1 1/18 5.6", "1.2 2/18 11.1"]],
  );
  w.stream.complete(1, 3);
  await flush();
  await w.over();
});

test("a stream that fails twice is closed and reopened with a back-off", async (t) => {
  for (const [random, waits] of [
    [0, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]],
    [0.999999, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]],
  ]) {
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
      found.forEach((ms, i) =>
        assert.ok(ms >= waits[i] - 1 && ms <= waits[i] + 100, `${i}: got ${ms}, want ${waits[i]}`),
      );
      // The known state is not reported again, but the end of the trouble is.
      w.stream.opens();
      w.stream.progress(1, 1, 1);
      assert.equal(h.troubles.at(-1), null);
      assert.equal(h.progress.length, 1);
      w.stream.loses();
      await w.pass(2_000);
      w.stream.loses();
      await w.pass(1_100);
      assert.equal(w.stream.at, w.streams.at(-1).at);
      assert.equal(w.streams.length, 2 + waits.length, "the back-off starts again");
      w.stream.complete(1, 2);
      await flush();
      await w.over();
    });
  }
});

test("a stream that closes as soon as it opens does not loop", async (t) => {
  const closes = (w) => {
    // a transient problem of the service, or too many viewers: 200, and closed
    w.stream.opens();
    w.stream.progress(1, 1, 1);
    w.stream.loses();
    w.stream.opens();
    w.stream.loses();
    assert.equal(w.stream.readyState, 2);
  };
  await t.test("while the service has a problem", async (t) => {
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
  await t.test("while the case has too many viewers", async (t) => {
    const w = world(t, {
      answers: [
        json(200, view(1, 2), { "Retry-After": "2" }),
        json(200, view(1, 3), { "Retry-After": "2" }),
        json(200, doneView(1, 4)),
      ],
    });
    const h = watch();
    closes(w);
    await w.pass(10_000);
    assert.deepEqual([w.streams.length, w.requests.length, h.troubles, h.result.version], [1, 3, [], 4]);
    await w.over();
  });
});

test("if the browser does not reconnect, the module does", async (t) => {
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

test("a quiet stream is reopened after a while", async (t) => {
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

test("invalid data is reported as trouble, not as an end", async (t) => {
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

test("if a status closes the stream, one poll finds out why", async (t) => {
  for (const status of [400, 401, 403, 404, 410]) {
    await t.test(`${status} is permanent`, async (t) => {
      const w = world(t, { answers: [problem(status)] });
      const h = watch();
      w.stream.shut();
      await flush();
      assert.deepEqual(
        [h.error.name, h.error.status, h.error.title, h.error.detail, h.error.errors],
        [
          "CasewatchError",
          status,
          `Title ${status}`,
          `Detail ${status}.`,
          [{ pointer: "/a", detail: "is bad" }],
        ],
      );
      assert.equal(h.error.message, `Detail ${status}. /a: is bad`);
      assert.deepEqual([h.progress, h.ends, h.troubles], [[], [], []]);
      await w.over();
    });
  }
  await t.test("204 after the end: the poll reports the end", async (t) => {
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
    await t.test(`${status} is transient`, async (t) => {
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
  await t.test("if only streams fail, it polls JSON", async (t) => {
    const w = world(t, {
      answers: [
        json(200, view(1, 1), { "Retry-After": "3" }),
        json(200, view(1, 2), { "Retry-After": "3" }),
        json(200, doneView(1, 3)),
      ],
    });
    const h = watch();
    w.stream.shut();
    await w.pass(3_100);
    w.stream.shut();
    await w.pass(3_100);
    assert.deepEqual([w.streams.length, w.requests.length, h.result.state], [2, 3, "succeeded"]);
    await w.over();
  });
});
