import assert from "node:assert/strict";
import test from "node:test";

import { cancel, CasewatchError, flush, json, never, problem, start, torn, view, world } from "./world.mjs";

const START = "https://casewatch.example/start";
const answer = {
  case_id: "c",
  run: 1,
  state: "pending",
  status_url: "https://casewatch.example/status/c?token=t",
  cancel_url: "https://casewatch.example/cancel/c?run=1&token=t",
};

// settle records the outcome of a promise.
function settle(promise) {
  const s = {};
  promise.then(
    (value) => {
      s.value = value;
    },
    (error) => {
      s.error = error;
    },
  );
  return s;
}

test("a start", async (t) => {
  const w = world(t, { answers: [json(202, answer)] });
  const form = { a: 1 };
  assert.deepEqual(
    await start("/start?x=1", form, {
      headers: { "X-API-Key": "k" },
      supersede: true,
      adopt: true,
      deadline: "30m",
    }),
    answer,
  );
  const [{ url, method, body, headers }] = w.requests;
  assert.deepEqual(
    [url, method, body],
    [`${START}?x=1&supersede=true&adopt=true&deadline=30m`, "POST", '{"a":1}'],
  );
  assert.deepEqual(
    { ...headers, "Idempotency-Key": "" },
    { "X-API-Key": "k", "Content-Type": "application/json", "Idempotency-Key": "" },
  );
  assert.match(headers["Idempotency-Key"], /^[0-9a-f-]{36}$/);
});

test("a JSON string is sent unchanged, with the caller's idempotency key", async (t) => {
  const w = world(t, { answers: [json(200, answer)] });
  await start(START, '{"n":12345678901234567890}', { idempotencyKey: "mine" });
  assert.deepEqual(
    [w.requests[0].url, w.requests[0].body, w.requests[0].headers["Idempotency-Key"]],
    [START, '{"n":12345678901234567890}', "mine"],
  );
});

test("each start has its own key, also without HTTPS", async (t) => {
  const w = world(t, { answers: Array(4).fill(json(202, answer)) });
  await start(START, {});
  await start(START, {});
  t.mock.method(crypto, "randomUUID", undefined);
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  t.after(() => delete crypto.randomUUID);
  await start(START, {});
  await start(START, {});
  const keys = w.requests.map((r) => r.headers["Idempotency-Key"]);
  assert.equal(new Set(keys).size, 4);
  assert.match(keys[3], /^[0-9a-f]{32}$/);
});

test("a transient error is retried with the same key", async (t) => {
  for (const [random, waits] of [
    [0, [500, 1_000, 20_000, 4_000, 8_000]],
    [0.999999, [1_000, 2_000, 20_000, 8_000, 16_000]],
  ]) {
    await t.test(`random ${random}`, async (t) => {
      const w = world(t, {
        answers: [
          () => {
            throw new TypeError("fetch failed");
          },
          problem(429),
          problem(503, { "Retry-After": "20" }),
          problem(503, { "Retry-After": "1" }),
          () => {
            throw new TypeError("fetch failed");
          },
          json(200, answer),
        ],
      });
      w.random = random;
      const s = settle(start(START, {}));
      await w.pass(60_000);
      assert.deepEqual(s.value, answer);
      assert.equal(new Set(w.requests.map((r) => r.headers["Idempotency-Key"])).size, 1);
      waits.forEach((wait, i) => {
        const found = w.requests[i + 1].at - w.requests[i].at;
        assert.ok(found >= wait - 1 && found <= wait + 100, `${i}: got ${found}, want ${wait}`);
      });
    });
  }
});

test("the number of tries is limited", async (t) => {
  for (const [name, each, status] of [
    ["503", problem(503), 503],
    [
      "no network",
      () => {
        throw new TypeError("fetch failed");
      },
      0,
    ],
    ["no answer", never, 0],
  ]) {
    await t.test(name, async (t) => {
      const w = world(t, { answers: Array(6).fill(each) });
      const s = settle(start(START, {}));
      await w.pass(300_000);
      assert.deepEqual(
        [s.error.status, s.error instanceof CasewatchError, w.requests.length, w.open],
        [status, true, 6, 0],
      );
    });
  }
});

test("any other error is thrown immediately", async (t) => {
  for (const status of [400, 401, 403, 409, 413, 415, 422, 500, 502]) {
    await t.test(String(status), async (t) => {
      const w = world(t, { answers: [problem(status)] });
      await assert.rejects(start(START, {}), {
        name: "CasewatchError",
        status,
        title: `Title ${status}`,
        detail: `Detail ${status}.`,
        errors: [{ pointer: "/a", detail: "is bad" }],
        message: `Detail ${status}. /a: is bad`,
      });
      assert.equal(w.requests.length, 1);
    });
  }
  await t.test("a response that is not JSON", async (t) => {
    world(t, { answers: [() => new Response("<html>", { status: 500 })] });
    await assert.rejects(start(START, {}), {
      status: 500,
      title: "The service answered 500.",
      detail: "",
      errors: [],
      message: "The service answered 500.",
    });
  });
});

test("an abort ends a start in every phase", async (t) => {
  for (const [name, answers, first] of [
    ["before", [], true],
    ["asking", [never]],
    ["reading", [torn]],
    ["between", [problem(503)]],
  ]) {
    await t.test(name, async (t) => {
      const w = world(t, { answers });
      const stop = new AbortController();
      const reason = new Error("enough");
      if (first) stop.abort(reason);
      const s = settle(start(START, {}, { signal: stop.signal }));
      await flush();
      stop.abort(reason);
      await flush();
      assert.equal(s.error, reason);
      await w.over(stop.signal);
    });
  }
});

test("a cancel", async (t) => {
  const cancelled = view(1, 5, {
    state: "cancelled",
    end: { reason: "cancelled", message: "", source: "cancel" },
  });
  const w = world(t, { answers: [problem(503), json(200, cancelled), problem(409)] });
  const s = settle(cancel(answer.cancel_url, { headers: { "X-API-Key": "k" } }));
  await w.pass(600);
  assert.deepEqual(s.value, cancelled);
  assert.deepEqual(
    [w.requests[1].url, w.requests[1].method, w.requests[1].headers["X-API-Key"]],
    [answer.cancel_url, "POST", "k"],
  );
  await assert.rejects(cancel(answer.cancel_url), { name: "CasewatchError", status: 409 });
  await w.over();
});
