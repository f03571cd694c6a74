import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";

import { cancel, doneView, follow, start, view } from "./world.mjs";

// serve sends the next of answers, [status, headers, body], to each request, and records the
// requests.
async function serve(t, answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    requests.push({ method: request.method, url: request.url, headers: request.headers, body });
    const [status, headers, answer] = answers.shift();
    if (status === "cut") return response.socket.destroy();
    response.writeHead(status, headers);
    if (answer !== "open") response.end(answer && JSON.stringify(answer));
    else response.write("{"); // and never the rest
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { base: `http://127.0.0.1:${server.address().port}`, requests, server };
}

test("over HTTP: a case is started and followed, and a late cancel gets 409", async (t) => {
  const s = await serve(t, [
    ["cut"],
    [
      503,
      { "Retry-After": "1", "Content-Type": "application/problem+json" },
      { status: 503, title: "unavailable" },
    ],
    [202, {}, { case_id: "c", run: 1 }],
    [200, { ETag: 'W/"1.1"', "Retry-After": "1" }, view(1, 1)],
    [304, { ETag: 'W/"1.1"', "Retry-After": "1" }],
    [200, { ETag: 'W/"1.2"' }, doneView(1, 2)],
    [
      409,
      { "Content-Type": "application/problem+json" },
      { status: 409, title: "conflict", detail: "the run has ended" },
    ],
  ]);
  assert.deepEqual(await start(`${s.base}/start`, { name: "é" }), { case_id: "c", run: 1 });
  const states = [];
  for await (const state of follow(`${s.base}/status/c?token=t`))
    states.push(`${state.version} ${state.state}`);
  assert.deepEqual(states, ["1 running", "2 succeeded"]);
  await assert.rejects(cancel(`${s.base}/cancel/c?run=1&token=t`), {
    status: 409,
    message: "the run has ended",
  });
  const starts = s.requests.slice(0, 3);
  assert.ok(
    starts.every(
      ({ method, body, headers }) =>
        method === "POST" && body === '{"name":"é"}' && headers["content-type"] === "application/json",
    ),
  );
  assert.equal(new Set(starts.map(({ headers }) => headers["idempotency-key"])).size, 1);
  assert.deepEqual(
    s.requests.slice(3).map(({ method, url, headers }) => [method, url, headers["if-none-match"]]),
    [
      ["GET", "/status/c?token=t", undefined],
      ["GET", "/status/c?token=t", 'W/"1.1"'],
      ["GET", "/status/c?token=t", 'W/"1.1"'],
      ["POST", "/cancel/c?run=1&token=t", undefined],
    ],
  );
});

test("over HTTP: an abort closes the connection in the middle of a response", async (t) => {
  const s = await serve(t, [[200, {}, "open"]]);
  const stop = new AbortController();
  const following = follow(`${s.base}/status/c`, { signal: stop.signal });
  const [, response] = await once(s.server, "request");
  stop.abort(new Error("enough"));
  await assert.rejects(following, { message: "enough" });
  if (!response.destroyed) await once(response, "close");
});
