// Casewatch in the browser: start a case, follow it to its end, cancel it. An ES module without dependencies; its types are in
// casewatch.d.ts. A classic script gets it by import("https://…/-/casewatch.js").then(({ start, follow }) => …). It works in Node
// too, where it asks for JSON unless an EventSource is given.

const FIRST_EVENT = 5_000; // a stream begins with the state as it is: where nothing comes, something on the way holds it back
const STREAM_AGAIN = 300_000; // after that long without streams one is tried again
const RECONNECT = 15_000; // for the browser to come back by itself
const QUIET = 90_000; // then the stream is opened anew: a connection that died without a word looks like one without news
const BRIEF = 2_000; // a stream that closes sooner has failed, not come to its planned end
const PATIENCE = 30_000; // for one answer
const END_PATIENCE = 10_000; // for the details of an end
const TRIES = 6; // of start and cancel
const STREAMS = 3; // at once: browsers open six connections to an origin over HTTP/1.1, and the page needs some too
const ENDS = new Set(["succeeded", "failed", "timed_out", "cancelled"]);

export class CasewatchError extends Error {
  constructor({ status = 0, title = "", detail = "", errors = [], retryAfter = null }, options) {
    super([detail || title, ...errors.map((e) => (e.pointer ? `${e.pointer}: ${e.detail}` : e.detail))].join(" "), options);
    Object.assign(this, { name: "CasewatchError", status, title, detail, errors, retryAfter });
  }
}

export async function start(url, form, { idempotencyKey = randomKey(), headers, supersede, adopt, deadline, signal } = {}) {
  const target = absolute(url);
  for (const [name, value] of Object.entries({ supersede, adopt, deadline })) if (value) target.searchParams.set(name, value);
  const body = typeof form === "string" ? form : JSON.stringify(form);
  return repeat(target, { method: "POST", body, headers: { ...headers, "Content-Type": "application/json", "Idempotency-Key": idempotencyKey } }, signal);
}

export async function cancel(url, { headers, signal } = {}) {
  return repeat(absolute(url), { method: "POST", headers: { ...headers, Accept: "application/json" } }, signal);
}

export function follow(statusUrl, { onProgress, onEnd, onTrouble, signal, headers, EventSource = globalThis.EventSource } = {}) {
  const page = globalThis.document;
  let last; // the newest state that was reported
  let source, request, timer; // one connection at most, and what happens next
  let over = false, troubled = false, failures = 0, refused = 0, etag = "", polledSince = -Infinity;
  let asked = { at: -Infinity, wait: 0 }; // when the service last said how long to wait
  let settle, tell;
  let news = new Promise((resolve) => { tell = resolve; }); // resolves when there is more to iterate
  const end = new Promise((resolve, reject) => { settle = { resolve, reject }; });

  function letGo() {
    clearTimeout(timer);
    if (source) { source.close(); source = undefined; streams--; }
    const open = request;
    request = undefined;
    open?.abort();
  }

  function finish(how, value, callback) {
    if (over) return;
    over = true;
    letGo();
    signal?.removeEventListener("abort", aborted);
    page?.removeEventListener?.("visibilitychange", shown);
    globalThis.removeEventListener?.("online", online);
    globalThis.removeEventListener?.("offline", offline);
    if (signal?.aborted) end.catch(() => {}); // whoever aborted knows
    call(callback, value);
    how(value);
    tell();
  }

  const aborted = () => finish(settle.reject, signal.reason);
  const shown = () => (page.hidden ? letGo() : go());
  const online = () => { if (failures > 0) go(); };
  const offline = () => { if (!page?.hidden) fail(new CasewatchError({ title: "The network is away." })); }; // it may be another's: it goes on trying

  function plan(wait) {
    letGo();
    timer = setTimeout(go, wait);
  }

  function go() {
    letGo();
    if (page?.hidden) return; // until it is shown
    const rest = left(asked.at, asked.wait); // though the page was shown, or the network is back
    if (rest > 0) timer = setTimeout(go, rest);
    else if (EventSource && !headers && !left(polledSince, STREAM_AGAIN) && streams < STREAMS) stream();
    else look();
  }

  function well() {
    failures = 0;
    if (troubled) { troubled = false; call(onTrouble, null); }
  }

  function fail(error) {
    if (permanent(error.status)) return finish(settle.reject, error);
    troubled = true;
    refused = 0; // it is not the streams alone
    if (error.retryAfter) asked = { at: Date.now(), wait: error.retryAfter };
    plan(Math.max(error.retryAfter ?? 0, backoff(failures++)));
    call(onTrouble, error);
  }

  // report passes a state on if it is news.
  function report(state) {
    if (over || last && (state.run < last.run || state.run === last.run && state.version <= last.version && !state.ended)) return;
    if (last?.run === state.run) {
      for (const name of ["completed", "total", "percent"]) state[name] = Math.max(state[name], last[name]);
    }
    last = Object.freeze(whole(state));
    if (state.ended) return finish(settle.resolve, state, onEnd);
    const told = tell;
    news = new Promise((resolve) => { tell = resolve; });
    told();
    call(onProgress, state);
  }

  // stream follows by server-sent events. "error" is the service's word of an end where it has data, the browser's of a lost or closed
  // connection where it has none.
  function stream() {
    const mine = source = new EventSource(String(target));
    streams++;
    let live = false, lost = false, openedAt = 0;
    const arm = (wait, then) => { clearTimeout(timer); timer = setTimeout(then, wait); };
    const on = (type, then) => mine.addEventListener(type, (event) => { if (source === mine) then(event); });

    function take(type, event) {
      let state;
      try {
        state = fromEvent(type, event, last);
      } catch (cause) {
        return fail(new CasewatchError({ title: "The stream cannot be read." }, { cause }));
      }
      live = true;
      lost = false;
      refused = 0;
      arm(QUIET, go);
      well();
      if (source !== mine || last && state.run < last.run) return;
      if (state.ended) letGo(); // before the browser comes back by itself
      if (type === "error") look(state); // it says why; the rest is in the JSON
      else report(state);
    }

    function broken() {
      const opened = openedAt > 0;
      const held = opened && Date.now() - openedAt >= BRIEF;
      openedAt = 0;
      if (mine.readyState === 2) { // for good; the status that says why is not shown to scripts
        refused++;
        letGo();
        look();
      } else if (live && (held || !lost)) { // perhaps its planned end: the browser comes back, and says what it saw last
        lost = true;
        arm(RECONNECT, broken);
      } else if (live && opened) { // the service closes what it opens: it is in trouble, or too many watch the case; JSON tells
        refused = 2;
        letGo();
        look();
      } else {
        fail(new CasewatchError({ title: "The connection was lost." }));
      }
    }

    on("open", () => { openedAt = Date.now(); if (live) arm(QUIET, go); });
    on("progress", (event) => take("progress", event));
    on("complete", (event) => take("complete", event));
    on("error", (event) => (event.data === undefined ? broken() : take("error", event)));
    arm(FIRST_EVENT, () => { refused = 2; letGo(); look(); });
  }

  // look asks once for the JSON. With an end that is known from the stream already, it only fills that in.
  async function look(known) {
    const mine = request = new AbortController();
    let answer, state;
    try {
      const conditional = etag && !known ? { "If-None-Match": etag } : {};
      answer = await ask(target, { headers: { ...headers, ...conditional, Accept: "application/json" } }, mine.signal, known ? END_PATIENCE : PATIENCE);
      state = answer.body && fromJSON(answer.body);
    } catch (error) {
      if (known) report(known);
      else if (request === mine) fail(error);
      return;
    }
    if (known) {
      report(state?.run > known.run || state?.run === known.run && state.ended ? state : known);
    } else if (request === mine) {
      etag = answer.etag ?? etag;
      if (refused > 1) { // JSON comes through where streams do not
        refused = 0;
        polledSince = Date.now();
      }
      well();
      if (state && request === mine) report(state);
    }
    if (request === mine) plan(spread(answer.retryAfter ?? 2_000));
  }

  let target;
  try {
    signal?.throwIfAborted();
    target = absolute(statusUrl);
    signal?.addEventListener("abort", aborted);
    page?.addEventListener?.("visibilitychange", shown);
    globalThis.addEventListener?.("online", online);
    globalThis.addEventListener?.("offline", offline);
    go();
  } catch (error) {
    finish(settle.reject, error);
  }

  return Object.assign(end, {
    async *[Symbol.asyncIterator]() {
      end.catch(() => {}); // it is thrown here
      let seen;
      try {
        while (!seen?.ended) {
          if (last !== seen) yield (seen = last);
          else if (over) await end;
          else await news;
        }
      } finally {
        finish(settle.reject, new DOMException("The iteration was left.", "AbortError"));
      }
    },
  });
}

let streams = 0; // open on this page

function fromEvent(type, { data, lastEventId }, last) {
  const d = JSON.parse(data);
  const before = last?.run === d.run ? last : undefined;
  const state = {
    case_id: d.case_id, run: d.run, version: Number(lastEventId.split(".")[1]), state: d.state, completed: before?.completed ?? 0,
    total: d.total ?? before?.total ?? 0, percent: d.percent ?? d.progress ?? before?.percent ?? 0, eta_seconds: null, stalled: false,
    ended: type !== "progress", reason: null, message: d.message ?? "", documents: null, output_url: null, result: null,
  };
  if (!Number.isInteger(state.run) || !Number.isInteger(state.version)) throw new TypeError("The event names no run, or no version of it.");
  if (type === "progress") return Object.assign(state, { completed: d.current, eta_seconds: d.eta_seconds ?? null, stalled: Boolean(d.stalled) });
  if (type === "error") return Object.assign(state, { reason: d.code });
  return Object.assign(state, { state: "succeeded", reason: "completed", documents: d.documents ?? null, output_url: web(d.outputUrl), result: d.result ?? null });
}

function fromJSON({ case_id, run, version, state, progress: p, eta_seconds, stalled, end, documents, output_url, result }) {
  if (!Number.isInteger(run) || !Number.isInteger(version) || !p) throw new CasewatchError({ title: "The answer is not a case." });
  const ended = ENDS.has(state);
  return {
    case_id, run, version, state, completed: p.completed, total: p.total, percent: p.percent, eta_seconds: eta_seconds ?? null,
    stalled: stalled && !ended, ended, reason: end?.reason ?? null, message: ended ? end?.message ?? "" : p.current || doing(state, p), documents: documents ?? null, output_url: web(output_url), result: result ?? null,
  };
}

// web makes null of what is no address of the web, as the service does: pages link to it.
const web = (address) => (/^https?:\/\//i.test(address ?? "") ? address : null);

// doing says where an open run stands, as the stream does.
function doing(state, { completed, total }) {
  if (state === "pending") return "waiting for the pipeline to begin";
  if (!total) return "the pipeline is working";
  return completed < total ? `${completed} of ${total} documents are done` : "the documents are being finished";
}

// whole makes the progress of a success whole, whatever was read last.
const whole = (state) => (state.state === "succeeded" ? Object.assign(state, { completed: state.total, percent: 100 }) : state);

// repeat asks until there is an answer that asking again would not change, at most TRIES times.
async function repeat(url, init, signal) {
  for (let failed = 0; ; ) {
    try {
      return (await ask(url, init, signal)).body;
    } catch (error) {
      if (![0, 429, 503].includes(error.status) || ++failed >= TRIES) throw error;
      await pause(Math.max(error.retryAfter ?? 0, backoff(failed - 1)), signal);
    }
  }
}

// ask sends one request. It throws the signal's reason, or else a CasewatchError.
async function ask(url, init, signal, patience = PATIENCE) {
  signal?.throwIfAborted();
  const stop = new AbortController();
  const abort = () => stop.abort(signal.reason);
  const timer = setTimeout(() => stop.abort(new Error("It took too long.")), patience);
  signal?.addEventListener("abort", abort);
  try {
    const response = await fetch(url, { cache: "no-store", ...init, signal: stop.signal });
    const { status, ok } = response;
    const retryAfter = delay(response.headers.get("Retry-After"));
    const body = status === 304 ? null : await response.json().catch((error) => { if (ok || stop.signal.aborted) throw error; });
    if (!ok && status !== 304) {
      const { title, detail, errors } = body ?? {};
      throw new CasewatchError({ status, title: title || `The service answered ${status}.`, detail, errors: Array.isArray(errors) ? errors : [], retryAfter });
    }
    return { body, retryAfter, etag: response.headers.get("ETag") };
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof CasewatchError ? cause : new CasewatchError({ title: "The service does not answer." }, { cause });
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

const permanent = (status) => status >= 400 && status < 500 && ![408, 425, 429].includes(status);
const backoff = (failures) => Math.min(1_000 * 2 ** failures, 30_000) * (0.5 + Math.random() / 2);
// left is what is left of a time that began then: nothing if the clock was set back since.
const left = (since, ms) => (Date.now() < since ? 0 : Math.max(since + ms - Date.now(), 0));
const spread = (ms) => ms * (1 + Math.random() / 10);
const absolute = (url) => new URL(url, globalThis.document?.baseURI);

// delay reads Retry-After, seconds or a date, as milliseconds from a second to a minute; null if there is none.
function delay(value) {
  const ms = /^\d+$/.test(value ?? "") ? value * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 1_000), 60_000);
}

function randomKey() {
  return crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join(""); // the former only over HTTPS
}

// call keeps an error of a callback from ending what called it, and shows it as any that nobody caught.
function call(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
