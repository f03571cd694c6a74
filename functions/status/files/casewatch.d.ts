// Types of casewatch.js. Names of the service are unchanged: they are in snake_case.

/** The state of a run. The last four are ends, which are final. */
export type State = "pending" | "running" | "succeeded" | "failed" | "timed_out" | "cancelled";

/** Why a run ended. */
export type Reason =
  | "completed"
  | "pipeline_failed"
  | "pipeline_refused"
  | "pipeline_unreachable"
  | "pipeline_lost"
  | "no_documents"
  | "start_unknown"
  | "deadline"
  | "cancelled"
  | "superseded";

/** The numbers of documents of a run. A count is null if the pipeline does not give it. */
export interface Documents {
  total: number | null;
  succeeded: number | null;
  failed: number | null;
}

/** A state of a run. A stream and JSON give the same state. It is frozen. */
export interface CaseState {
  readonly case_id: string;
  /**
   * The number of the run, from 1. If the case is superseded or run again while it is followed, the
   * states of the new run follow, with a higher number.
   */
  readonly run: number;
  /** Grows with every change of the run. */
  readonly version: number;
  readonly state: State;
  /**
   * The number of finished documents. Within a run, `completed`, `total` and `percent` never fall.
   * In a succeeded run, `completed` equals `total`; `documents` has the numbers that were made.
   */
  readonly completed: number;
  /** The number of documents; 0 as long as it is not known. */
  readonly total: number;
  /** From 0 to 100, with one decimal. It is 100 exactly in a succeeded run. */
  readonly percent: number;
  /** The estimated seconds to the end, from the time of sending; null if there is no estimate. */
  readonly eta_seconds: number | null;
  /** True if the progress has not moved for a while. It may still move. */
  readonly stalled: boolean;
  /** True if this is the end. No further state follows. */
  readonly ended: boolean;
  /** Why the run ended; null before the end. */
  readonly reason: Reason | null;
  /**
   * Before the end: the current document, or else a description of the progress. After the end: why
   * the run ended, in the words of the pipeline if it gave any; "" if `reason` says everything.
   */
  readonly message: string;
  /** Null before the end, and if the pipeline gave no counts. */
  readonly documents: Documents | null;
  /** The http or https address of the documents; null if the pipeline gave no such address. */
  readonly output_url: string | null;
  /**
   * The pipeline's result, unchanged; null before the end, without a result or if it was too large.
   */
  readonly result: unknown;
}

/** The response to a start. */
export interface StartAnswer {
  case_id: string;
  run: number;
  state: State;
  /** For `follow`. It contains a token: everybody who has it can read the case. */
  status_url: string;
  /** For `cancel`. It contains a token: everybody who has it can cancel the run. */
  cancel_url: string;
  /** RFC 3339, UTC. */
  created_at: string;
  /** When the run ends at the latest. RFC 3339, UTC. */
  deadline_at: string;
}

/** The case as `status` and `cancel` send it. */
export interface Case {
  case_id: string;
  run: number;
  /** The name of the pipeline that works on the run. */
  pipeline: string;
  state: State;
  progress: { completed: number; total: number; percent: number; current: string };
  eta_seconds: number | null;
  stalled: boolean;
  created_at: string;
  started_at: string | null;
  updated_at: string;
  deadline_at: string;
  ended_at: string | null;
  duration_seconds: number | null;
  end: {
    reason: Reason;
    message: string;
    source: "event" | "callback" | "dispatch" | "check" | "cancel" | "deadline" | "sweep";
  } | null;
  documents: Documents | null;
  result: unknown;
  output_url: string | null;
  late: {
    state: "succeeded" | "failed" | "cancelled";
    result: unknown;
    message: string;
    source: string;
    at: string;
    count: number;
  } | null;
  /**
   * What became of the pipeline's job when the run was cancelled or its deadline passed; null if
   * there was nothing to cancel, or no way to.
   */
  stop: "requested" | "confirmed" | "failed" | null;
  /**
   * `attempts` counts the requests to start the run at the pipeline. `failures` counts those that
   * started nothing. `last_error` is the error of the last of these, until the pipeline has the
   * run.
   */
  dispatch: { attempts: number; failures: number; last_error: string | null };
  checks?: { count: number; failures: number; next_at: string | null };
  version: number;
}

/** One field error of a request. */
export interface Fault {
  /** A JSON Pointer into the body (RFC 6901), or the name of a parameter or header. */
  pointer?: string;
  detail: string;
}

/**
 * An error response of the service (`application/problem+json`, RFC 9457), or a missing response.
 */
export class CasewatchError extends Error {
  /** The HTTP status; 0 if there was no usable response. Then `cause` says why. */
  readonly status: number;
  /** The kind of problem, in words. */
  readonly title: string;
  /** This problem, in words; "" if the service sent only a title. */
  readonly detail: string;
  /** The field errors of the request; empty if the service lists none. */
  readonly errors: Fault[];
  /** How long to wait, in milliseconds, from 1,000 to 60,000; null if the service did not say. */
  readonly retryAfter: number | null;
  constructor(
    problem: {
      status?: number;
      title?: string;
      detail?: string;
      errors?: Fault[];
      retryAfter?: number | null;
    },
    options?: ErrorOptions,
  );
}

export interface RequestOptions {
  /** Headers of every request, such as an API key or an ID token. */
  headers?: Record<string, string>;
  /** Stops the operation. The promise then rejects with the reason of the signal. */
  signal?: AbortSignal;
}

export interface StartOptions extends RequestOptions {
  /**
   * A repeated start with the same key gets the same run. The key has 1 to 255 bytes. By default it
   * is random.
   */
  idempotencyKey?: string;
  /** Cancels the open run of the case and starts a new one. */
  supersede?: boolean;
  /**
   * The pipeline already works on this case. Casewatch follows it and starts nothing. The form must
   * contain the `case_id`.
   */
  adopt?: boolean;
  /** When the run ends at the latest, from now, as a Go duration: "30m", "1h30m". */
  deadline?: string;
}

export interface FollowOptions extends RequestOptions {
  /**
   * Called with each new state before the end. An error that it throws is reported as uncaught and
   * changes nothing else.
   */
  onProgress?(state: CaseState): void;
  /** Called once, with the end. All connections are closed by then. */
  onEnd?(state: CaseState): void;
  /** Called with the error of each failed try to read the state, and with null after a recovery. */
  onTrouble?(trouble: CasewatchError | null): void;
  /**
   * The EventSource to use where there is no global one, such as in Node. Without one, `follow`
   * polls JSON. It is not used together with `headers`, which it cannot send.
   */
  EventSource?: typeof EventSource;
}

/** A promise of the end that also yields the states: `for await (const s of follow(url)) …`. */
export interface Following extends Promise<CaseState> {
  /**
   * Yields the newest state whenever it has changed since the last one yielded. The end is the last
   * one. It throws what the promise rejects with. Leaving the loop early stops following, and the
   * promise rejects with an `AbortError`.
   */
  [Symbol.asyncIterator](): AsyncGenerator<CaseState, void, undefined>;
}

/**
 * Starts a case.
 *
 * Transient errors (no response, 429, 503) are retried, up to six tries. All tries have the same
 * `Idempotency-Key`, so the case is started once. The back-off has jitter and respects
 * `Retry-After`.
 *
 * @param url the address of `start`.
 * @param form a value for `JSON.stringify`, or a string of JSON that is sent unchanged.
 * @throws {CasewatchError} the error of any other response, or of the last try. If the signal
 *   aborts, it throws the reason of the signal.
 */
export function start(url: string | URL, form: object | string, options?: StartOptions): Promise<StartAnswer>;

/**
 * Follows a case to the end of its current run.
 *
 * It reads the service's stream of events. It polls JSON instead, at the intervals of
 * `Retry-After`, in these cases: no event arrives within five seconds; the stream fails twice; the
 * service closes it immediately, because an instance holds at most 32 viewers of a case; there is
 * no `EventSource`; or the page already has three streams open.
 *
 * It never has two connections at the same time, and none while the page is hidden. When the page
 * is shown again it continues immediately, unless a `Retry-After` has not passed yet. Transient
 * errors (no response, 5xx, 408, 425, 429) are retried without limit. The back-off has jitter and
 * is 0.5 s to 30 s, or the `Retry-After`.
 *
 * It stops at the end of the run, at any other 4xx, and with the signal. Then it keeps no
 * resources.
 *
 * @param statusUrl the `status_url` of a start.
 * @returns a promise that rejects with a CasewatchError at such a 4xx, and with the reason of the
 *   signal. Handle the rejection even if you use the callbacks, because they do not report a 4xx.
 *   Browsers report an unhandled rejection, and Node exits. A rejection by your own signal need not
 *   be handled.
 */
export function follow(statusUrl: string | URL, options?: FollowOptions): Following;

/**
 * Cancels a run. If it is cancelled already, the case is returned unchanged. Transient errors are
 * retried as by `start`.
 *
 * @param cancelUrl the `cancel_url` of a start.
 * @throws {CasewatchError} with status 409 if the run has ended in another state or is not the
 *   current one; the error of any other response, or of the last try. If the signal aborts, it
 *   throws the reason of the signal.
 */
export function cancel(cancelUrl: string | URL, options?: RequestOptions): Promise<Case>;
