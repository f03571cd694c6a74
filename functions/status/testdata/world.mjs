// These helpers replace a browser in the tests: a scripted EventSource, fetch and document, and
// node's mock timers.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readFileSync } from "node:fs";

// The source is imported as data. Node treats a .js file as a module only if a package.json says
// so, and there is none.
const source = readFileSync(new URL("../files/casewatch.js", import.meta.url));
export const { start, follow, cancel, CasewatchError } = await import(
  `data:text/javascript;base64,${source.toString("base64")}`
);

export const STATUS = "https://casewatch.example/status/c?token=t";

// flush runs everything that waits only for its turn in the event loop.
export async function flush() {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
}

// json is a response for the scripted fetch.
export function json(status, body, headers = {}) {
  return () => new Response(status === 304 ? null : JSON.stringify(body), { status, headers });
}

export const problem = (status, headers) =>
  json(
    status,
    {
      status,
      title: `Title ${status}`,
      detail: `Detail ${status}.`,
      errors: [{ pointer: "/a", detail: "is bad" }],
    },
    headers,
  );

// never is a response that does not arrive.
export const never = () => new Promise(() => {});

// torn is a response whose body does not arrive.
export const torn = ({ signal }) =>
  new Response(
    new ReadableStream({ start: (c) => signal.addEventListener("abort", () => c.error(signal.reason)) }),
  );

// view is the JSON of a run.
export function view(run, version, changes = {}) {
  return {
    case_id: "c",
    run,
    version,
    state: "running",
    progress: { completed: 4, total: 18, percent: 22.2, current: "SROGs" },
    eta_seconds: 14,
    stalled: false,
    end: null,
    documents: null,
    result: null,
    output_url: null,
    ...changes,
  };
}

export const failedView = (run, version) =>
  view(run, version, {
    state: "failed",
    eta_seconds: null,
    end: { reason: "no_documents", message: "None.", source: "event" },
    documents: { total: 18, succeeded: 0, failed: 18 },
    output_url: "https://documents.example/c/",
    result: { success: true },
  });

export const doneView = (run, version) =>
  view(run, version, {
    state: "succeeded",
    eta_seconds: null,
    end: { reason: "completed", message: "", source: "event" },
    documents: { total: 18, succeeded: 17, failed: 1 },
    output_url: "https://documents.example/c/",
    result: { success: true },
  });

// world replaces the globals with the scripts for one test. Each fetch gets the next of answers. A
// fetch without an answer fails the test.
export function world(t, { answers = [], stream = true, visible = true } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  const begun = Date.now();
  const w = {
    streams: [],
    requests: [],
    answers,
    open: 0,
    most: 0,
    get now() {
      return Date.now() - begun;
    },
  };
  const opened = () => {
    w.most = Math.max(w.most, ++w.open);
  };

  class Stream extends EventTarget {
    constructor(url) {
      super();
      Object.assign(this, { url, readyState: 0, at: w.now });
      w.streams.push(this);
      opened();
    }
    close() {
      if (this.readyState !== 2) w.open--;
      this.readyState = 2;
    }
    opens() {
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
    }
    // sends delivers an event even to a closed source. No browser does that, but the module must
    // not rely on it.
    sends(type, id, data) {
      this.dispatchEvent(
        new MessageEvent(type, {
          data: typeof data === "string" ? data : JSON.stringify(data),
          lastEventId: id,
        }),
      );
    }
    progress(run, version, current, changes) {
      const percent = Math.round((1000 * current) / 18) / 10;
      this.sends("progress", `${run}.${version}`, {
        jobId: "c",
        case_id: "c",
        run,
        current,
        total: 18,
        message: "SROGs",
        percent,
        progress: percent,
        state: "running",
        eta_seconds: 14,
        stalled: false,
        ...changes,
      });
    }
    complete(run, version) {
      this.sends("complete", `${run}.${version}`, {
        jobId: "c",
        case_id: "c",
        run,
        total: 18,
        outputUrl: "https://documents.example/c/",
        documents: { total: 18, succeeded: 17, failed: 1 },
        result: { success: true },
      });
    }
    fails(run, version) {
      this.sends("error", `${run}.${version}`, {
        jobId: "c",
        case_id: "c",
        run,
        code: "no_documents",
        message: "None.",
        state: "failed",
      });
    }
    // loses is the event of a lost connection or of the planned end of a stream. The browser will
    // reconnect.
    loses() {
      this.readyState = 0;
      this.dispatchEvent(new Event("error"));
    }
    // shut is the effect of an HTTP error or of 204.
    shut() {
      this.close();
      this.dispatchEvent(new Event("error"));
    }
  }

  async function scripted(url, init = {}) {
    const answer = w.answers.shift();
    w.requests.push({ url: String(url), at: w.now, ...init });
    if (!answer) assert.fail(`an unexpected request: ${init.method ?? "GET"} ${url}`);
    opened();
    let aborted;
    try {
      return await Promise.race([
        answer(init),
        new Promise((_, reject) => {
          aborted = () => reject(init.signal.reason);
          if (init.signal?.aborted) aborted();
          init.signal?.addEventListener("abort", aborted);
        }),
      ]);
    } finally {
      init.signal?.removeEventListener("abort", aborted);
      w.open--;
    }
  }

  w.page = Object.assign(new EventTarget(), { hidden: !visible, baseURI: "https://casewatch.example/" });
  w.show = async (shown) => {
    w.page.hidden = !shown;
    w.page.dispatchEvent(new Event("visibilitychange"));
    await flush();
  };
  w.window = new EventTarget();
  const globals = {
    document: w.page,
    fetch: scripted,
    EventSource: stream ? Stream : undefined,
    addEventListener: w.window.addEventListener.bind(w.window),
    removeEventListener: w.window.removeEventListener.bind(w.window),
  };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  t.mock.method(Math, "random", () => w.random);
  w.random = 0;

  // pass advances the clock and runs everything that becomes due.
  w.pass = async (ms, step = 100) => {
    for (let left = ms; left > 0; left -= step) {
      t.mock.timers.tick(Math.min(left, step));
      await flush();
    }
  };
  Object.defineProperty(w, "stream", { get: () => w.streams.at(-1) });

  // over checks that no connection and no listener is left, and that no request follows.
  w.over = async (signal) => {
    const [streams, requests] = [w.streams.length, w.requests.length];
    const left = () => [
      w.open,
      getEventListeners(w.page, "visibilitychange").length,
      getEventListeners(w.window, "online").length,
      getEventListeners(w.window, "offline").length,
      signal ? getEventListeners(signal, "abort").length : 0,
    ];
    assert.deepEqual(left(), [0, 0, 0, 0, 0], "connections and listeners after the end");
    for (const s of w.streams) {
      s.loses();
      s.progress(9, 9, 9);
      s.fails(9, 9);
      s.readyState = 2;
    }
    await w.show(false);
    await w.show(true);
    for (const type of ["offline", "online"]) w.window.dispatchEvent(new Event(type));
    await w.pass(600_000, 10_000);
    assert.deepEqual([w.streams.length, w.requests.length], [streams, requests], "connections after the end");
    assert.ok(w.most <= 1, `${w.most} concurrent connections, want at most 1`);
  };
  return w;
}

// watch follows STATUS and records all states and problems.
export function watch(options = {}) {
  const record = { progress: [], ends: [], troubles: [], result: undefined, error: undefined };
  record.following = follow(STATUS, {
    onProgress: (s) => record.progress.push(s),
    onEnd: (s) => record.ends.push(s),
    onTrouble: (e) => record.troubles.push(e),
    ...options,
  });
  record.following.then(
    (s) => {
      record.result = s;
    },
    (e) => {
      record.error = e;
    },
  );
  return record;
}

export const seen = (states) =>
  states.map((s) => `${s.run}.${s.version} ${s.completed}/${s.total} ${s.percent}`);
