// Casewatch in the browser: start a case, follow it to its end, cancel it.
//
// This is an ES module without dependencies. Its types are in casewatch.d.ts. A classic script can
// load it with import("https://…/-/casewatch.js").then(({ start, follow }) => …). The module also
// works in Node, where it polls JSON unless an EventSource is given.

// All times are in milliseconds.

// A stream begins with the current state. If no event arrives in this time, something on the way
// buffers it.
const FIRST_EVENT_TIMEOUT = 5_000;
// After polling JSON for this long instead of streaming, follow tries a stream again.
const STREAM_RETRY = 300_000;
// The time in which the browser must reconnect by itself.
const RECONNECT_TIMEOUT = 15_000;
// A stream that is quiet for this long is reopened, because a dead connection looks like one
// without news.
const QUIET_TIMEOUT = 90_000;
// A stream that closes sooner than this has failed. A later end may be the planned one.
const MIN_STREAM_TIME = 2_000;
// The timeout of one request.
const REQUEST_TIMEOUT = 30_000;
// The timeout of the request for the details of an end.
const END_TIMEOUT = 10_000;
// How many times start and cancel send their request.
const MAX_TRIES = 6;
// How many streams a page opens at the same time. Over HTTP/1.1 browsers open six connections to an
// origin, and the page needs some of them too.
const MAX_STREAMS = 3;
const ENDS = new Set(["succeeded", "failed", "timed_out", "cancelled"]);

export class CasewatchError extends Error {
  constructor({ status = 0, title = "", detail = "", errors = [], retryAfter = null }, options) {
    const fields = errors.map((e) => (e.pointer ? `${e.pointer}: ${e.detail}` : e.detail));
    super([detail || title, ...fields].join(" "), options);
    Object.assign(this, { name: "CasewatchError", status, title, detail, errors, retryAfter });
  }
}

export async function start(url, form, options = {}) {
  const { idempotencyKey = randomKey(), headers, supersede, adopt, deadline, signal } = options;
  const target = absolute(url);
  for (const [name, value] of Object.entries({ supersede, adopt, deadline })) {
    if (value) target.searchParams.set(name, value);
  }
  const body = typeof form === "string" ? form : JSON.stringify(form);
  const ours = { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey };
  return sendWithRetries(target, { method: "POST", body, headers: { ...headers, ...ours } }, signal);
}

export async function cancel(url, { headers, signal } = {}) {
  const init = { method: "POST", headers: { ...headers, Accept: "application/json" } };
  return sendWithRetries(absolute(url), init, signal);
}

export function follow(statusUrl, options = {}) {
  const { onProgress, onEnd, onTrouble, signal, headers, EventSource = globalThis.EventSource } = options;
  const page = globalThis.document;
  let last; // the newest state that was reported
  let source, request, timer; // at most one connection, and the timer of the next step
  let over = false;
  let troubled = false;
  let failures = 0; // consecutive failures
  let streamFailures = 0; // consecutive failures of streams only
  let etag = "";
  let pollingSince = -Infinity;
  let postponed = { at: -Infinity, wait: 0 }; // the last Retry-After of the service
  let promise, wake;
  let changed = new Promise((resolve) => { wake = resolve; }); // resolves when the iteration can continue
  const end = new Promise((resolve, reject) => { promise = { resolve, reject }; });

  function disconnect() {
    clearTimeout(timer);
    if (source) {
      source.close();
      source = undefined;
      streams--;
    }
    const open = request;
    request = undefined;
    open?.abort();
  }

  function finish(how, value, callback) {
    if (over) return;
    over = true;
    disconnect();
    signal?.removeEventListener("abort", onAbort);
    page?.removeEventListener?.("visibilitychange", onVisibility);
    globalThis.removeEventListener?.("online", onOnline);
    globalThis.removeEventListener?.("offline", onOffline);
    if (signal?.aborted) end.catch(() => {}); // the caller aborted and need not handle the rejection
    call(callback, value);
    how(value);
    wake();
  }

  const onAbort = () => finish(promise.reject, signal.reason);
  const onVisibility = () => (page.hidden ? disconnect() : connect());
  const onOnline = () => { if (failures > 0) connect(); };
  // The lost network may not be the one that leads to the service, so follow goes on trying.
  const onOffline = () => { if (!page?.hidden) fail(new CasewatchError({ title: "The network is offline." })); };

  function schedule(wait) {
    disconnect();
    timer = setTimeout(connect, wait);
  }

  function connect() {
    disconnect();
    if (page?.hidden) return; // onVisibility connects again
    const wait = remaining(postponed.at, postponed.wait); // respected even if the page was shown meanwhile
    const polling = remaining(pollingSince, STREAM_RETRY) > 0;
    if (wait > 0) timer = setTimeout(connect, wait);
    else if (EventSource && !headers && !polling && streams < MAX_STREAMS) stream();
    else poll();
  }

  function recovered() {
    failures = 0;
    if (troubled) {
      troubled = false;
      call(onTrouble, null);
    }
  }

  function fail(error) {
    if (isPermanent(error.status)) return finish(promise.reject, error);
    troubled = true;
    streamFailures = 0; // the problem is not only the stream
    if (error.retryAfter) postponed = { at: Date.now(), wait: error.retryAfter };
    schedule(Math.max(error.retryAfter ?? 0, backoff(failures++)));
    call(onTrouble, error);
  }

  // report passes a state on if it is newer than the last one.
  function report(state) {
    if (over || last && isOlder(state, last)) return;
    if (last?.run === state.run) {
      for (const name of ["completed", "total", "percent"]) state[name] = Math.max(state[name], last[name]);
    }
    last = Object.freeze(completeProgress(state));
    if (state.ended) return finish(promise.resolve, state, onEnd);
    const resolve = wake;
    changed = new Promise((resolve) => { wake = resolve; });
    resolve();
    call(onProgress, state);
  }

  // stream follows the case by server-sent events. An "error" event with data is the service's
  // report of an end. Without data it is the browser's report of a lost or closed connection.
  function stream() {
    const mine = source = new EventSource(String(target));
    streams++;
    let live = false; // an event has arrived
    let lost = false; // the connection was lost and no event has arrived since
    let openedAt = 0;
    const setTimer = (wait, then) => {
      clearTimeout(timer);
      timer = setTimeout(then, wait);
    };
    const on = (type, then) => mine.addEventListener(type, (event) => { if (source === mine) then(event); });
    const pollInstead = () => {
      streamFailures = 2;
      disconnect();
      poll();
    };

    function receive(type, event) {
      let state;
      try {
        state = fromEvent(type, event, last);
      } catch (cause) {
        return fail(new CasewatchError({ title: "The stream cannot be read." }, { cause }));
      }
      live = true;
      lost = false;
      streamFailures = 0;
      setTimer(QUIET_TIMEOUT, connect);
      recovered();
      if (source !== mine || last && state.run < last.run) return;
      if (state.ended) disconnect(); // before the browser reconnects by itself
      if (type === "error") poll(state); // the event has the reason; the JSON has the rest
      else report(state);
    }

    function onLost() {
      const opened = openedAt > 0;
      const held = opened && Date.now() - openedAt >= MIN_STREAM_TIME;
      openedAt = 0;
      if (mine.readyState === 2) {
        // Closed for good. Scripts cannot see the HTTP status, so a poll finds out why.
        streamFailures++;
        disconnect();
        poll();
      } else if (live && (held || !lost)) {
        // Perhaps the planned end of the stream. The browser reconnects and sends the id of its
        // last event.
        lost = true;
        setTimer(RECONNECT_TIMEOUT, onLost);
      } else if (live && opened) {
        // The service closes each stream soon: it has a problem, or the case has too many viewers.
        pollInstead();
      } else {
        fail(new CasewatchError({ title: "The connection was lost." }));
      }
    }

    on("open", () => {
      openedAt = Date.now();
      if (live) setTimer(QUIET_TIMEOUT, connect);
    });
    on("progress", (event) => receive("progress", event));
    on("complete", (event) => receive("complete", event));
    on("error", (event) => (event.data === undefined ? onLost() : receive("error", event)));
    setTimer(FIRST_EVENT_TIMEOUT, pollInstead);
  }

  // poll requests the JSON once. If endState is given, the stream has already reported the end, and
  // the JSON only adds its details.
  async function poll(endState) {
    const mine = request = new AbortController();
    let answer, state;
    try {
      const conditional = etag && !endState ? { "If-None-Match": etag } : {};
      const init = { headers: { ...headers, ...conditional, Accept: "application/json" } };
      answer = await send(target, init, mine.signal, endState ? END_TIMEOUT : REQUEST_TIMEOUT);
      state = answer.body && fromJSON(answer.body);
    } catch (error) {
      if (endState) report(endState);
      else if (request === mine) fail(error);
      return;
    }
    if (endState) {
      const isNewer = state?.run > endState.run || state?.run === endState.run && state.ended;
      report(isNewer ? state : endState);
    } else if (request === mine) {
      etag = answer.etag ?? etag;
      if (streamFailures > 1) {
        // JSON works where streams do not.
        streamFailures = 0;
        pollingSince = Date.now();
      }
      recovered();
      if (state && request === mine) report(state);
    }
    if (request === mine) schedule(withJitter(answer.retryAfter ?? 2_000));
  }

  let target;
  try {
    signal?.throwIfAborted();
    target = absolute(statusUrl);
    signal?.addEventListener("abort", onAbort);
    page?.addEventListener?.("visibilitychange", onVisibility);
    globalThis.addEventListener?.("online", onOnline);
    globalThis.addEventListener?.("offline", onOffline);
    connect();
  } catch (error) {
    finish(promise.reject, error);
  }

  return Object.assign(end, {
    async *[Symbol.asyncIterator]() {
      end.catch(() => {}); // the iteration throws the rejection
      let seen;
      try {
        while (!seen?.ended) {
          if (last !== seen) yield (seen = last);
          else if (over) await end;
          else await changed;
        }
      } finally {
        finish(promise.reject, new DOMException("The iteration ended early.", "AbortError"));
      }
    },
  });
}

let streams = 0; // streams that this page has open

function isOlder(state, last) {
  return state.run < last.run || state.run === last.run && state.version <= last.version && !state.ended;
}

function fromEvent(type, { data, lastEventId }, last) {
  const d = JSON.parse(data);
  const before = last?.run === d.run ? last : undefined;
  const state = {
    case_id: d.case_id,
    run: d.run,
    version: Number(lastEventId.split(".")[1]),
    state: d.state,
    completed: before?.completed ?? 0,
    total: d.total ?? before?.total ?? 0,
    percent: d.percent ?? d.progress ?? before?.percent ?? 0,
    eta_seconds: null,
    stalled: false,
    ended: type !== "progress",
    reason: null,
    message: d.message ?? "",
    documents: null,
    output_url: null,
    result: null,
  };
  if (!Number.isInteger(state.run) || !Number.isInteger(state.version)) {
    throw new TypeError("The event has no run or no version.");
  }
  switch (type) {
    case "progress":
      return Object.assign(state, {
        completed: d.current,
        eta_seconds: d.eta_seconds ?? null,
        stalled: Boolean(d.stalled),
      });
    case "error":
      return Object.assign(state, { reason: d.code });
    default:
      return Object.assign(state, {
        state: "succeeded",
        reason: "completed",
        documents: d.documents ?? null,
        output_url: httpUrl(d.outputUrl),
        result: d.result ?? null,
      });
  }
}

function fromJSON(c) {
  const p = c.progress;
  if (!Number.isInteger(c.run) || !Number.isInteger(c.version) || !p) {
    throw new CasewatchError({ title: "The response is not a case." });
  }
  const ended = ENDS.has(c.state);
  return {
    case_id: c.case_id,
    run: c.run,
    version: c.version,
    state: c.state,
    completed: p.completed,
    total: p.total,
    percent: p.percent,
    eta_seconds: c.eta_seconds ?? null,
    stalled: c.stalled && !ended,
    ended,
    reason: c.end?.reason ?? null,
    message: ended ? (c.end?.message ?? "") : p.current || describe(c.state, p),
    documents: c.documents ?? null,
    output_url: httpUrl(c.output_url),
    result: c.result ?? null,
  };
}

// httpUrl returns null for an address that is not http or https, as the service does, because pages
// link to it.
const httpUrl = (address) => (/^https?:\/\//i.test(address ?? "") ? address : null);

// describe returns the message of an open run, in the same words as the stream.
function describe(state, { completed, total }) {
  if (state === "pending") return "waiting for the pipeline to begin";
  if (!total) return "the pipeline is working";
  return completed < total ? `${completed} of ${total} documents are done` : "the documents are being finished";
}

// completeProgress makes the progress of a success complete, because the last reading may be lower.
function completeProgress(state) {
  return state.state === "succeeded" ? Object.assign(state, { completed: state.total, percent: 100 }) : state;
}

// sendWithRetries sends a request until the response is final, at most MAX_TRIES times.
async function sendWithRetries(url, init, signal) {
  for (let failed = 0; ; ) {
    try {
      return (await send(url, init, signal)).body;
    } catch (error) {
      if (![0, 429, 503].includes(error.status) || ++failed >= MAX_TRIES) throw error;
      await pause(Math.max(error.retryAfter ?? 0, backoff(failed - 1)), signal);
    }
  }
}

// send sends one request. It throws the signal's reason or a CasewatchError.
async function send(url, init, signal, timeout = REQUEST_TIMEOUT) {
  signal?.throwIfAborted();
  const stop = new AbortController();
  const abort = () => stop.abort(signal.reason);
  const timer = setTimeout(() => stop.abort(new Error("The request timed out.")), timeout);
  signal?.addEventListener("abort", abort);
  try {
    const response = await fetch(url, { cache: "no-store", ...init, signal: stop.signal });
    const { status, ok } = response;
    const retryAfter = delay(response.headers.get("Retry-After"));
    const body = status === 304 ? null : await response.json().catch((error) => {
      if (ok || stop.signal.aborted) throw error;
    });
    if (!ok && status !== 304) {
      const { title, detail, errors } = body ?? {};
      throw new CasewatchError({
        status,
        title: title || `The service answered ${status}.`,
        detail,
        errors: Array.isArray(errors) ? errors : [],
        retryAfter,
      });
    }
    return { body, retryAfter, etag: response.headers.get("ETag") };
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof CasewatchError) throw cause;
    throw new CasewatchError({ title: "The service does not answer." }, { cause });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}

const isPermanent = (status) => status >= 400 && status < 500 && ![408, 425, 429].includes(status);
const backoff = (failures) => Math.min(1_000 * 2 ** failures, 30_000) * (0.5 + Math.random() / 2);
// remaining returns how much of a period is left. It is 0 if the clock was set back since the
// period began.
const remaining = (since, ms) => (Date.now() < since ? 0 : Math.max(since + ms - Date.now(), 0));
const withJitter = (ms) => ms * (1 + Math.random() / 10);
const absolute = (url) => new URL(url, globalThis.document?.baseURI);

// delay reads a Retry-After header, in seconds or as a date. It returns milliseconds, bounded to a
// second to a minute, or null if there is no valid header.
function delay(value) {
  const ms = /^\d+$/.test(value ?? "") ? value * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 1_000), 60_000);
}

function randomKey() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only in secure contexts
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

// call calls a callback. An error of the callback is reported as uncaught and does not end the
// caller.
function call(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
