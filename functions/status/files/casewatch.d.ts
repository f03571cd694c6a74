// Types of casewatch.js. Names that the service gives are as it gives them: snake_case.

/** Where a run stands. The last four are ends, and final. */
export type State = "pending" | "running" | "succeeded" | "failed" | "timed_out" | "cancelled";

/** Why a run ended. */
export type Reason =
  | "completed" | "pipeline_failed" | "pipeline_refused" | "pipeline_unreachable" | "pipeline_lost" | "no_documents" | "start_unknown"
  | "deadline" | "cancelled" | "superseded";

/** How many documents a run was to make, and how many it did. Null is a count that the pipeline does not give. */
export interface Documents {
  total: number | null;
  succeeded: number | null;
  failed: number | null;
}

/** A run as it was last heard of: the same whether it came by stream or as JSON. It is frozen. */
export interface CaseState {
  readonly case_id: string;
  /** The number of the run, from 1. A case that is superseded or run again while it is followed goes on with a higher one. */
  readonly run: number;
  /** Grows with every change of the run. */
  readonly version: number;
  readonly state: State;
  /**
   * Documents done. Like `total` and `percent` it never falls within a run. Once a run has succeeded it is `total`: `documents` says how
   * many were made.
   */
  readonly completed: number;
  /** Documents to do; 0 while the pipeline has not said. */
  readonly total: number;
  /** From 0 to 100, with a decimal; 100 once the run has succeeded. */
  readonly percent: number;
  /** Seconds that it will still take, estimated when this was sent; null if nobody can say. */
  readonly eta_seconds: number | null;
  /** Its progress has not moved for a while. It may yet. */
  readonly stalled: boolean;
  /** This is the end: no further state comes. */
  readonly ended: boolean;
  /** Why it ended; null before that. */
  readonly reason: Reason | null;
  /**
   * What is going on: the document being worked on, or where the pipeline does not say that, how far it is in words. After the end why it
   * ended, in the pipeline's own words where it has some; "" if there is no more to say than the reason.
   */
  readonly message: string;
  /** null before the end, and if the pipeline did not say. */
  readonly documents: Documents | null;
  /** Where the documents are, as the pipeline says: an address of http or https; null if it gave no such address. */
  readonly output_url: string | null;
  /** The pipeline's result as it sent it; null before the end, if it sent none, or if that was too large. */
  readonly result: unknown;
}

/** The answer to a start. */
export interface StartAnswer {
  case_id: string;
  run: number;
  state: State;
  /** For `follow`. It carries a token: whoever has it can see and cancel the case. */
  status_url: string;
  /** For `cancel`. It carries the same token. */
  cancel_url: string;
  /** RFC 3339, UTC. */
  created_at: string;
  /** When the run is ended at the latest. RFC 3339, UTC. */
  deadline_at: string;
}

/** The case as `status` and `cancel` answer it. */
export interface Case {
  case_id: string;
  run: number;
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
  end: { reason: Reason; message: string; source: "event" | "dispatch" | "check" | "cancel" | "deadline" | "sweep" } | null;
  documents: Documents | null;
  result: unknown;
  output_url: string | null;
  late: { state: "succeeded" | "failed"; result: unknown; message: string; source: string; at: string; count: number } | null;
  /** Requests to the pipeline that were begun, those that started nothing, and what the last of these said until the run is taken. */
  dispatch: { attempts: number; failures: number; last_error: string | null };
  checks?: { count: number; failures: number; next_at: string | null };
  version: number;
}

/** One fault of a request. */
export interface Fault {
  /** A JSON Pointer into the body (RFC 6901), or the name of a parameter or header. */
  pointer?: string;
  detail: string;
}

/** What the service answered instead, from its `application/problem+json` (RFC 9457); or that it did not answer. */
export class CasewatchError extends Error {
  /** The HTTP status; 0 if there was no answer that could be used. `cause` then says why. */
  readonly status: number;
  /** The kind of problem, in words. */
  readonly title: string;
  /** This problem, in words; "" if the service said no more than the title. */
  readonly detail: string;
  /** Each fault of the request; empty if they are not named. */
  readonly errors: Fault[];
  /** How long the service asks to wait, in milliseconds, from 1,000 to 60,000; null if it did not. */
  readonly retryAfter: number | null;
  constructor(problem: { status?: number; title?: string; detail?: string; errors?: Fault[]; retryAfter?: number | null }, options?: ErrorOptions);
}

export interface RequestOptions {
  /** Sent with each request: an API key, an ID token. */
  headers?: Record<string, string>;
  /** Ends the work; the promise then rejects with its reason. */
  signal?: AbortSignal;
}

export interface StartOptions extends RequestOptions {
  /** The key under which a repeat of this start finds the same run; 1 to 255 bytes, a random one unless given. */
  idempotencyKey?: string;
  /** End the case's open run, and begin a new one. */
  supersede?: boolean;
  /** The pipeline already works on this case: follow it, start nothing. The form names its `case_id`. */
  adopt?: boolean;
  /** When the run is ended at the latest, from now, as a Go duration: "30m", "1h30m". */
  deadline?: string;
}

export interface FollowOptions extends RequestOptions {
  /** Gets each state before the end, newer ones only. What it throws is reported as uncaught, and changes nothing. */
  onProgress?(state: CaseState): void;
  /** Gets the end, once. By then nothing is open any more. */
  onEnd?(state: CaseState): void;
  /** Gets what keeps the state from being known, each time that is tried in vain; and null as soon as it is known again. */
  onTrouble?(trouble: CasewatchError | null): void;
  /** For where there is none, such as Node: without, JSON is asked for. It is not used with `headers`, which it cannot send. */
  EventSource?: typeof EventSource;
}

/** A promise of the end, and the states up to it: `for await (const state of follow(url)) …`. */
export interface Following extends Promise<CaseState> {
  /**
   * Yields the newest state whenever it has changed since the last one taken; the end is the last. It throws what the promise rejects
   * with. Leaving the loop early ends the following, and the promise rejects with an `AbortError`.
   */
  [Symbol.asyncIterator](): AsyncGenerator<CaseState, void, undefined>;
}

/**
 * Starts a case.
 *
 * What may pass (no answer, 429, 503) is tried up to six times under the same `Idempotency-Key`, with a back-off that has jitter and
 * respects `Retry-After`: the case is started once.
 *
 * @param url of `start`.
 * @param form a value for `JSON.stringify`, or a string that is JSON and is sent as it is.
 * @throws {CasewatchError} of any other answer, or of the last try; the signal's reason.
 */
export function start(url: string | URL, form: object | string, options?: StartOptions): Promise<StartAnswer>;

/**
 * Follows a case to the end of its current run.
 *
 * It listens to the service's stream. Where that does not get through (nothing in five seconds, refused twice, or closed as soon as
 * it is opened: an instance holds 32 viewers of a case), where there is no
 * `EventSource`, or where three streams of the page are open already, it asks for JSON as often as the service says. It never holds two
 * connections, and none while the page is hidden; it looks as soon as the page is shown again, unless the
 * service just asked it to wait. What may pass (no answer, 5xx, 408, 425,
 * 429) is tried for ever, with a back-off that has jitter, from half a second to half a minute or the `Retry-After`.
 *
 * It stops for good at the end, at any other 4xx, and with the signal: nothing of it is left then.
 *
 * @param statusUrl `status_url` of a start.
 * @returns a promise that rejects with a CasewatchError at such a 4xx, and with the signal's reason. Handle it even if you use the callbacks
 *   only: nothing else tells of a 4xx, and browsers report, Node stops at, a rejection that nobody handles. One by your own signal need not be.
 */
export function follow(statusUrl: string | URL, options?: FollowOptions): Following;

/**
 * Cancels a run. One that is cancelled already is answered as it is. What may pass is tried as by `start`.
 *
 * @param cancelUrl `cancel_url` of a start.
 * @throws {CasewatchError} with status 409 if the run has ended otherwise or is not the current one; of any other answer, or of the last
 *   try; the signal's reason.
 */
export function cancel(cancelUrl: string | URL, options?: RequestOptions): Promise<Case>;
