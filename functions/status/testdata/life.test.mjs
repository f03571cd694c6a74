import assert from "node:assert/strict";
import test from "node:test";

import {
  doneView,
  flush,
  follow,
  json,
  never,
  problem,
  seen,
  STATUS,
  torn,
  view,
  watch,
  world,
} from "./world.mjs";

test("a hidden page sends no request, and continues immediately when it is shown", async (t) => {
  await t.test("a stream", async (t) => {
    const w = world(t);
    const h = watch();
    w.stream.opens();
    w.stream.progress(1, 1, 1);
    await w.show(false);
    assert.deepEqual([w.open, w.stream.readyState], [0, 2]);
    await w.pass(600_000, 10_000);
    assert.equal(w.streams.length, 1);
    await w.show(true);
    assert.equal(w.streams.length, 2);
    w.stream.progress(1, 1, 1);
    w.stream.complete(1, 2);
    await flush();
    assert.deepEqual([seen(h.progress), h.ends.length, h.troubles], [["1.1 1/18 5.6"], 1, []]);
    await w.over();
  });
  await t.test("between two polls", async (t) => {
    const w = world(t, {
      stream: false,
      answers: [json(200, view(1, 1), { "Retry-After": "30" }), json(200, doneView(1, 2))],
    });
    const h = watch();
    await flush();
    await w.show(false);
    await w.pass(600_000, 10_000);
    assert.equal(w.requests.length, 1);
    await w.show(true);
    assert.equal(h.result.version, 2);
    await w.over();
  });
  await t.test("in a poll", async (t) => {
    const w = world(t, { stream: false, answers: [never, json(200, doneView(1, 2))] });
    const h = watch();
    await w.show(false);
    assert.deepEqual([w.open, h.troubles], [0, []]);
    await w.pass(60_000);
    await w.show(true);
    assert.equal(h.result.version, 2);
    await w.over();
  });
  await t.test("in a back-off", async (t) => {
    const w = world(t, { stream: false, answers: [problem(503), json(200, doneView(1, 2))] });
    const h = watch();
    await flush();
    await w.show(false);
    await w.pass(60_000);
    assert.equal(w.requests.length, 1);
    await w.show(true);
    assert.equal(h.result.version, 2);
    await w.over();
  });
  await t.test("opened in the background", async (t) => {
    const w = world(t, { visible: false });
    const h = watch();
    await w.pass(60_000);
    assert.equal(w.streams.length, 0);
    await w.show(true);
    w.stream.complete(1, 2);
    await flush();
    assert.equal(h.result.version, 2);
    await w.over();
  });
});

test("it polls immediately when the network is back", async (t) => {
  const w = world(t, {
    stream: false,
    answers: [
      ...Array(6).fill(() => {
        throw new TypeError("fetch failed");
      }),
      json(200, doneView(1, 2)),
    ],
  });
  const h = watch();
  await w.pass(20_000);
  assert.equal(w.requests.length, 6);
  w.window.dispatchEvent(new Event("online"));
  await flush();
  assert.deepEqual([h.result.version, h.troubles.at(-1)], [2, null]);
  await w.over();
});

test("Retry-After is respected although the page is shown again and the network is back", async (t) => {
  const w = world(t, {
    stream: false,
    answers: [problem(503, { "Retry-After": "30" }), json(200, doneView(1, 2))],
  });
  const h = watch();
  await w.pass(1_000);
  await w.show(false);
  await w.pass(10_000);
  await w.show(true);
  w.window.dispatchEvent(new Event("online"));
  await w.pass(18_900);
  assert.equal(w.requests.length, 1);
  await w.pass(200);
  assert.equal(h.result.version, 2);
  await w.over();
});

test("a lost network is reported immediately, and requests are still tried", async (t) => {
  const w = world(t);
  const h = watch();
  w.stream.opens();
  w.stream.progress(1, 1, 1);
  w.window.dispatchEvent(new Event("offline"));
  assert.deepEqual([w.open, h.troubles.map((e) => e.title)], [0, ["The network is offline."]]);
  await w.pass(600); // the service may be on this machine
  w.stream.complete(1, 2);
  await flush();
  assert.deepEqual([h.result.version, h.troubles.at(-1)], [2, null]);
  await w.over();
});

test("a hidden page ignores changes of the network", async (t) => {
  const w = world(t, { visible: false });
  const h = watch();
  for (const type of ["offline", "online"]) w.window.dispatchEvent(new Event(type));
  await w.pass(60_000);
  assert.deepEqual([w.streams.length, h.troubles], [0, []]);
  await w.show(true);
  w.stream.complete(1, 2);
  await flush();
  await w.over();
});

test("an online event changes nothing while the stream works", async (t) => {
  const w = world(t);
  watch();
  w.stream.progress(1, 1, 1);
  w.window.dispatchEvent(new Event("online"));
  assert.equal(w.streams.length, 1);
  w.stream.complete(1, 2);
  await flush();
  await w.over();
});

test("an abort ends it in every phase", async (t) => {
  const lost = (w) => {
    w.stream.opens();
    w.stream.progress(1, 1, 1);
    w.stream.loses();
  };
  for (const [name, options, reach] of [
    ["before it starts", { abort: true }, () => {}],
    ["connecting", {}, () => {}],
    [
      "streaming",
      {},
      (w) => {
        w.stream.opens();
        w.stream.progress(1, 1, 1);
      },
    ],
    ["while the browser reconnects", {}, lost],
    [
      "in the back-off of a stream",
      {},
      (w) => {
        lost(w);
        w.stream.loses();
      },
    ],
    ["while it polls the reason of a closed stream", { answers: [never] }, (w) => w.stream.shut()],
    ["while it polls the details of an end", { answers: [never] }, (w) => w.stream.fails(1, 3)],
    ["in a poll", { stream: false, answers: [never] }, () => {}],
    ["in the body of a poll", { stream: false, answers: [torn] }, () => {}],
    ["between two polls", { stream: false, answers: [json(200, view(1, 1))] }, () => {}],
    ["in a back-off", { stream: false, answers: [problem(503)] }, () => {}],
    ["hidden", {}, (w) => w.show(false)],
  ]) {
    await t.test(name, async (t) => {
      const w = world(t, options);
      const stop = new AbortController();
      const reason = new Error("enough");
      if (options.abort) stop.abort(reason);
      const h = watch({ signal: stop.signal });
      await flush();
      await reach(w);
      await flush();
      stop.abort(reason);
      await flush();
      assert.deepEqual([h.error, h.result, h.ends], [reason, undefined, []]);
      await w.over(stop.signal);
    });
  }
  await t.test("the rejection need not be handled", async (t) => {
    // otherwise Node fails this test
    for (const when of ["before", "after"]) {
      const w = world(t);
      const stop = new AbortController();
      if (when === "before") stop.abort();
      follow(STATUS, { signal: stop.signal });
      stop.abort();
      await flush();
      await w.over(stop.signal);
      t.mock.timers.reset();
    }
  });
  await t.test("by a callback", async (t) => {
    const w = world(t);
    const stop = new AbortController();
    const h = watch({ signal: stop.signal, onProgress: () => stop.abort() });
    w.stream.progress(1, 1, 1);
    await flush();
    assert.equal(h.error.name, "AbortError");
    await w.over(stop.signal);
  });
  await t.test("after the end it changes nothing", async (t) => {
    const w = world(t);
    const stop = new AbortController();
    const h = watch({ signal: stop.signal, onEnd: () => stop.abort() });
    w.stream.complete(1, 1);
    await flush();
    assert.deepEqual([h.result.state, h.error], ["succeeded", undefined]);
    await w.over(stop.signal);
  });
});

test("an error of a callback is reported and changes nothing", async (t) => {
  const w = world(t);
  const reported = t.mock.method(console, "error", () => {});
  const bad = (text) => () => {
    throw new Error(text);
  };
  const h = watch({ onProgress: bad("progress"), onEnd: bad("end"), onTrouble: bad("trouble") });
  w.stream.loses();
  await w.pass(600);
  w.stream.progress(1, 1, 1);
  w.stream.complete(1, 2);
  await flush();
  assert.equal(h.result.version, 2);
  assert.deepEqual(
    reported.mock.calls.map((c) => c.arguments[0].message),
    ["trouble", "trouble", "progress", "end"],
  );
  await w.over();
});

test("iteration", async (t) => {
  const iterate = (following, each = () => {}) =>
    (async () => {
      const versions = [];
      for await (const state of following) {
        versions.push(state.version);
        if (await each(state)) break;
      }
      return versions;
    })();

  await t.test("it yields every state and the end last", async (t) => {
    const w = world(t);
    const versions = iterate(follow(STATUS));
    await flush();
    for (const v of [1, 2, 3]) {
      w.stream.progress(1, v, v);
      await flush();
    }
    w.stream.complete(1, 4);
    assert.deepEqual(await versions, [1, 2, 3, 4]);
    await w.over();
  });
  await t.test("a slow consumer gets the newest state and the end", async (t) => {
    const w = world(t);
    let go;
    const versions = iterate(
      follow(STATUS),
      () =>
        new Promise((resolve) => {
          go = resolve;
        }),
    );
    await flush();
    for (const v of [1, 2, 3]) {
      w.stream.progress(1, v, v);
      await flush();
    }
    go();
    await flush();
    w.stream.complete(1, 4);
    go();
    await flush();
    go();
    assert.deepEqual(await versions, [1, 3, 4]);
    await w.over();
  });
  await t.test("started after the end", async (t) => {
    const w = world(t);
    const following = follow(STATUS);
    w.stream.complete(1, 4);
    await following;
    assert.deepEqual([await iterate(following), await iterate(following)], [[4], [4]]);
    await w.over();
  });
  await t.test("ended early", async (t) => {
    const w = world(t);
    const following = follow(STATUS);
    const versions = iterate(following, () => true);
    await flush();
    w.stream.progress(1, 1, 1);
    assert.deepEqual(await versions, [1]);
    await assert.rejects(following, { name: "AbortError" });
    await w.over();
  });
  await t.test("it throws the rejection, which need not be handled again", async (t) => {
    const w = world(t, { stream: false, answers: [json(200, view(1, 1)), problem(404)] });
    const states = iterate(follow(STATUS));
    const thrown = assert.rejects(states, { status: 404 });
    await w.pass(3_000);
    await thrown;
    await w.over();
  });
});

test("an invalid address is rejected", async (t) => {
  const w = world(t);
  await assert.rejects(follow("http://["), TypeError);
  await w.over();
});
