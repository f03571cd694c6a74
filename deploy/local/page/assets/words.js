// The texts that the page shows about a case, and the documents that it links to. All functions
// here are pure.

export const STATES = {
  pending: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  timed_out: "Timed out",
  cancelled: "Cancelled",
  gone: "Gone",
};

const REASONS = {
  pipeline_failed: "The pipeline gave up.",
  pipeline_refused: "The pipeline did not accept the form.",
  pipeline_unreachable: "The pipeline could not be reached for too long.",
  pipeline_lost: "The pipeline no longer knows the case.",
  no_documents: "The pipeline finished, but made no document.",
  start_unknown: "It is not known whether the pipeline started. It has not reported anything.",
  deadline: "The deadline passed before it was done.",
  cancelled: "It was cancelled.",
  superseded: "A newer run replaced it.",
};

// STEPS are what to do about an end that nobody asked for.
const STEPS = {
  pipeline_failed: "Run it again. If it fails again, the pipeline's log tells more.",
  pipeline_refused: "Correct the form and submit it: the same form would be refused again.",
  pipeline_unreachable: "Check that the pipeline runs at its address. Then run it again.",
  pipeline_lost: "The pipeline was probably restarted. Run it again.",
  no_documents: "Look at what failed. Then run it again, or correct the form and submit it.",
  start_unknown: "Look into the pipeline's log before you run it again: it may have begun.",
  deadline: "Look into the pipeline's log. Run it again if it only needed longer.",
};

// QUOTED are the reasons whose message is quoted, because it comes from the pipeline or says what
// the pipeline did. The messages of the other reasons repeat the text in REASONS.
const QUOTED = new Set(["pipeline_failed", "pipeline_refused", "pipeline_unreachable", "no_documents"]);

const TYPES = {
  srogs: "Special interrogatories",
  pods: "Requests for production",
  admissions: "Requests for admission",
};

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const withFullStop = (text) => text.replace(/([^.!?…])$/, "$1.");
export const sentence = (text) => withFullStop(text.charAt(0).toUpperCase() + text.slice(1));

// progressLine describes the progress of a case. left is the estimated time left in seconds, or
// null if there is no estimate. The line is "" for a case that succeeded: endLine describes it.
export function progressLine({ ended, state, completed, total, message }, left) {
  if (state === "succeeded") return "";
  if (ended) return total ? `Last seen at ${completed} of ${total} documents.` : "";
  if (!total && state === "pending") return "The case is sent as soon as the pipeline can accept it.";
  if (!total) return "The pipeline has not reported how many documents it makes.";
  if (completed >= total) return `All ${total} documents are done. The result has not arrived yet.`;
  const parts = [`${completed} of ${total} documents`];
  if (left !== null) parts.push(left >= 1 ? `about ${duration(left)} left` : "a moment left");
  const line = `${parts.join(", ")}.`;
  return message.startsWith(`${completed} of ${total}`) ? line : `${line} Now: ${message}`;
}

// dispatchLine says how many times a case could not be sent to the pipeline, or returns "" if no
// dispatch failed. dispatch is that member of the status's JSON. It may be missing: older versions
// of the service do not send it.
export function dispatchLine(dispatch) {
  const { failures, last_error: error } = dispatch ?? {};
  if (!(failures > 0)) return "";
  const times = failures === 1 ? "once" : `${failures} times`;
  const why = typeof error === "string" && error ? `: “${sentence(error)}”` : ".";
  return `Sending the case to the pipeline has failed ${times}${why} It is tried again.`;
}

// documentCount says how many documents succeeded, or returns null if the pipeline did not count
// them.
function documentCount({ total, succeeded }) {
  if (succeeded === null) return null;
  return total === null ? `${succeeded} documents` : `${succeeded} of ${total} documents`;
}

// endLine says how a case ended.
export function endLine({ state, reason, message, documents, output_url }) {
  if (state === "succeeded") {
    if (documents) {
      const failed = documents.failed ? `; ${documents.failed} failed` : "";
      return `${documentCount(documents) ?? "The documents"} are ready${failed}.`;
    }
    return output_url ? "The documents are ready." : "Done, according to its progress. The pipeline sent no result.";
  }
  const parts = [REASONS[reason] ?? sentence(message || String(reason))];
  if (QUOTED.has(reason) && message) parts.push(`“${withFullStop(message)}”`);
  if (documents && documentCount(documents)) parts.push(`${documentCount(documents)}.`);
  return parts.join(" ");
}

// nextStep says what to do about an end, or returns "" if nothing went wrong.
export const nextStep = ({ reason }) => STEPS[reason] ?? "";

// link returns an address that is safe to link to, else "". The pipeline chooses the address, so it
// could be a script.
export function link(address) {
  return typeof address === "string" && /^https?:\/\//i.test(address) && URL.canParse(address) ? address : "";
}

// documents lists the documents of a result as {name, url, error}. A result of any other shape has
// none.
export function documents(result) {
  const list = result?.webhook_summary?.results;
  return (Array.isArray(list) ? list : []).filter((d) => d && typeof d === "object").map((d, i) => {
    const type = TYPES[d.document_type] ?? d.document_type ?? `Document ${i + 1}`;
    const parties = d.plaintiff && d.defendant ? `: ${d.plaintiff} v. ${d.defendant}` : "";
    return { name: `${type}${parties}`, url: link(d.url), error: d.error ? String(d.error) : "" };
  });
}
