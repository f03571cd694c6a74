// Watching one case: one request at a time, no sooner than the service says, and none after the end.

const ENDED = new Set(["succeeded", "failed", "timed_out", "cancelled"]);
const GONE = new Set([400, 401, 403, 404, 410]);

export const ended = (state) => ENDED.has(state);

// local turns an address of this service into one of this page's origin: the page may have been opened as 127.0.0.1 where
// the service calls itself localhost.
export function local(address) {
  const url = new URL(address, location.href);
  const loopback = ["localhost", "127.0.0.1", "[::1]"];
  if (loopback.includes(url.hostname) && loopback.includes(location.hostname) && url.port === location.port) {
    return url.pathname + url.search;
  }
  return url.href;
}

// retryAfter reads the header in seconds (or as a date), in milliseconds; otherwise that many.
function retryAfter(response, otherwise) {
  const value = response.headers.get("Retry-After");
  if (!value) return otherwise;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? otherwise : Math.min(Math.max(ms, 500), 60_000);
}

// watch asks for a case's state until it has ended or is gone, and returns a function that stops it sooner.
//   onState(state)   each state that is new
//   onTrouble(text)  the service cannot be asked; it goes on trying ("" once it works again)
//   onGone(problem)  there is no such case any more, or not for us; it has stopped
export function watch(address, { onState, onTrouble, onGone }) {
  const stop = new AbortController();
  let etag = "";
  let failures = 0;

  async function look() {
    const headers = { Accept: "application/json" };
    if (etag) headers["If-None-Match"] = etag;
    const timeout = AbortSignal.timeout(30_000);
    const response = await fetch(local(address), { headers, cache: "no-store", signal: AbortSignal.any([stop.signal, timeout]) });
    if (GONE.has(response.status)) {
      onGone(await problem(response));
      return null;
    }
    if (response.status !== 304 && !response.ok) throw Object.assign(new Error(await problem(response)), { response });
    if (failures > 0) onTrouble("");
    failures = 0;
    if (response.status === 304) return retryAfter(response, 2000);
    const state = await response.json();
    etag = response.headers.get("ETag") ?? "";
    onState(state);
    return ended(state.state) ? null : retryAfter(response, 2000);
  }

  async function run() {
    while (!stop.signal.aborted) {
      let wait;
      try {
        wait = await look();
      } catch (error) {
        if (stop.signal.aborted) return;
        failures++;
        const backoff = Math.min(1000 * 2 ** failures, 30_000);
        wait = error.response ? Math.max(retryAfter(error.response, 0), backoff) : backoff;
        onTrouble(error.response ? error.message : "The service does not answer.");
      }
      if (wait === null) return;
      await pause(wait, stop.signal);
    }
  }
  run();
  return () => stop.abort();
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

// problem reads what went wrong from application/problem+json, in one line.
export async function problem(response) {
  const { title, detail, errors } = await faults(response);
  return [detail || title, ...errors].join(" ");
}

// faults reads application/problem+json in parts.
export async function faults(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // not JSON: the status is all there is
  }
  return {
    title: body?.title || `The service answered ${response.status}.`,
    detail: body?.detail || "",
    errors: (Array.isArray(body?.errors) ? body.errors : []).map((e) => (e.pointer ? `${e.pointer}: ${e.detail}` : String(e.detail))),
  };
}
