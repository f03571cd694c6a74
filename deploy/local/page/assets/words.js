// What the page says about a case, and which documents it links to. No state, no page.

export const STATES = {
  pending: "Waiting", running: "Running", succeeded: "Done", failed: "Failed", timed_out: "Timed out", cancelled: "Cancelled", gone: "Gone",
};

const REASONS = {
  pipeline_failed: "The pipeline gave up.",
  pipeline_refused: "The pipeline did not accept the form.",
  pipeline_unreachable: "The pipeline could not be reached for too long.",
  pipeline_lost: "The pipeline no longer knows the case.",
  no_documents: "The pipeline finished, but made no document.",
  start_unknown: "It is not known whether the pipeline ever began; no sign of it came.",
  deadline: "The deadline passed before it was done.",
  cancelled: "It was cancelled.",
  superseded: "A newer run took its place.",
};

// QUOTED are the reasons whose message is the pipeline's own, or says what it did; the others only say the same again.
const QUOTED = new Set(["pipeline_failed", "pipeline_refused", "pipeline_unreachable", "no_documents"]);

const TYPES = { srogs: "Special interrogatories", pods: "Requests for production", admissions: "Requests for admission" };

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const stopped = (text) => text.replace(/([^.!?…])$/, "$1.");
export const sentence = (text) => stopped(text.charAt(0).toUpperCase() + text.slice(1));

// progressLine says how far a case is. left are the seconds that it will still take, null if nobody knows.
export function progressLine({ ended, state, completed, total, message }, left) {
  if (state === "succeeded") return ""; // the end says it
  if (ended) return total ? `Last seen at ${completed} of ${total} documents.` : "";
  if (!total) return state === "pending" ? "Handed over as soon as the pipeline can take it." : "The pipeline has not said how much there is to do.";
  if (completed >= total) return `All ${total} documents are done; the result is still to come.`;
  const parts = [`${completed} of ${total} documents`];
  if (left !== null) parts.push(left >= 1 ? `about ${duration(left)} left` : "a moment left");
  const line = `${parts.join(", ")}.`;
  return message.startsWith(`${completed} of ${total}`) ? line : `${line} Now: ${message}`;
}

// dispatchLine says that a case cannot be handed to the pipeline, if that is so. dispatch is that member of the status's JSON; an older
// service has none.
export function dispatchLine(dispatch) {
  const { failures, last_error: error } = dispatch ?? {};
  if (!(failures > 0)) return "";
  const times = failures === 1 ? "once" : `${failures} times`;
  const why = typeof error === "string" && error ? `: “${sentence(error)}”` : ".";
  return `Handing the case to the pipeline has failed ${times}${why} It is tried again.`;
}

// made says how many documents there are, as far as the pipeline counts them; null if it does not.
function made({ total, succeeded }) {
  if (succeeded === null) return null;
  return total === null ? `${succeeded} documents` : `${succeeded} of ${total} documents`;
}

// endLine says how a case ended.
export function endLine({ state, reason, message, documents, output_url }) {
  if (state === "succeeded") {
    if (!documents) return output_url ? "The documents are ready." : "Done, as the progress says; the pipeline sent no result.";
    return `${made(documents) ?? "The documents"} are ready${documents.failed ? `; ${documents.failed} failed` : ""}.`;
  }
  const parts = [REASONS[reason] ?? sentence(message || String(reason))];
  if (QUOTED.has(reason) && message) parts.push(`“${stopped(message)}”`);
  if (documents && made(documents)) parts.push(`${made(documents)}.`);
  return parts.join(" ");
}

// link returns an address that may be linked to, else "". The pipeline gives it: it could be a script.
export function link(address) {
  return typeof address === "string" && /^https?:\/\//i.test(address) && URL.canParse(address) ? address : "";
}

// documents lists those that a result names: {name, url, error}.
export function documents(result) {
  const list = result?.webhook_summary?.results;
  return (Array.isArray(list) ? list : []).filter((d) => d && typeof d === "object").map((d, i) => {
    const type = TYPES[d.document_type] ?? d.document_type ?? `Document ${i + 1}`;
    const parties = d.plaintiff && d.defendant ? `: ${d.plaintiff} v. ${d.defendant}` : "";
    return { name: `${type}${parties}`, url: link(d.url), error: d.error ? String(d.error) : "" };
  });
}
