// One case on the page: its progress, its end, and what can be done with it.

import { ended, local, problem, watch } from "./watch.js";

const STATES = {
  pending: "Waiting", running: "Running", succeeded: "Done", failed: "Failed", timed_out: "Timed out", cancelled: "Cancelled", gone: "Gone",
};

const REASONS = {
  completed: "All is done.",
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

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

// progressLine says in words how far it is.
function progressLine({ state, progress, eta_seconds: eta }) {
  if (state === "succeeded") return ""; // the end says it; the progress is only what was read last
  if (ended(state)) return progress.total ? `Last seen at ${progress.completed} of ${progress.total} documents.` : "";
  if (progress.total && progress.completed >= progress.total) return `All ${progress.total} documents are done; the result is still to come.`;
  if (!progress.total) return state === "pending" ? "Handed over as soon as the pipeline can take it." : "The pipeline has not said how much there is to do.";
  const parts = [`${progress.completed} of ${progress.total} documents`];
  if (eta !== null && eta !== undefined) parts.push(`about ${duration(eta)} left`);
  return parts.join(", ") + (progress.current ? `. Now: ${progress.current}` : ".");
}

// endLine says in words how it ended.
function endLine({ state, end, documents, duration_seconds: seconds, output_url: url }) {
  if (!end) return "";
  const parts = [];
  if (state !== "succeeded") parts.push(REASONS[end.reason] ?? end.reason);
  if (QUOTED.has(end.reason) && end.message) parts.push(`“${end.message.replace(/([^.!?…])$/, "$1.")}”`);
  if (state === "succeeded" && documents) {
    parts.push(`${documents.succeeded} of ${documents.total} documents were made${documents.failed ? `, ${documents.failed} failed` : ""}.`);
  } else if (state === "succeeded") {
    parts.push(url ? "Done." : "Done, as the progress says; the pipeline sent no result.");
  } else if (documents) {
    parts.push(`${documents.succeeded} of ${documents.total} documents.`);
  }
  if (typeof seconds === "number") parts.push(`After ${duration(seconds)}.`);
  return parts.join(" ");
}

// card shows a case. entry is {case_id, run, status_url, cancel_url, title, note, form}; it is changed when the case is run again.
//   news(text)         is read out
//   again(entry)       submits the case once more and resolves to the new answer
//   save(), remove(entry)
export function card(entry, { news, again, save, remove }) {
  const element = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const slot = (name) => element.querySelector(`[data-slot=${name}]`);
  const button = (name) => element.querySelector(`[data-action=${name}]`);
  const show = (target, text) => { target.textContent = text; target.hidden = !text; };
  let last = "";
  let stop = () => {};

  slot("title").textContent = entry.title;
  element.setAttribute("aria-label", entry.title);
  button("remove").setAttribute("aria-label", `Remove ${entry.title} from the list`);
  slot("bar").setAttribute("aria-label", `Progress of ${entry.title}`);

  function showState(state) {
    if (state !== last && last) news(`${entry.title}: ${STATES[state]}.`);
    last = state;
    element.dataset.state = state;
    slot("state").textContent = STATES[state] ?? state;
    slot("id").textContent = `${entry.case_id}, run ${entry.run}${entry.note ? `; ${entry.note}` : ""}`;
    const over = ended(state) || state === "gone";
    button("cancel").hidden = over;
    button("again").hidden = !over || !entry.form;
    button("remove").hidden = !over;
  }

  let wasStalled = false;
  function onState(s) {
    if (s.run !== entry.run) { entry.run = s.run; save(); }
    showState(s.state);
    const percent = s.state === "succeeded" ? 100 : Math.floor(s.progress.percent);
    slot("bar").value = percent;
    slot("percent").textContent = `${percent} %`;
    slot("line").textContent = progressLine(s);
    const stalled = s.stalled && !ended(s.state);
    if (stalled && !wasStalled) news(`${entry.title} has stalled.`);
    wasStalled = stalled;
    show(slot("notice"), stalled ? "Stalled: its progress has not moved for a while. It is still watched, until its deadline at the latest." : "");
    show(slot("end"), endLine(s));
    const link = slot("documents");
    link.hidden = !/^https?:\/\//.test(s.output_url ?? "");
    if (!link.hidden) link.href = s.output_url;
    link.textContent = s.documents?.succeeded === 0 ? "See what failed" : "Open the documents";
    button("look").hidden = !(s.state === "succeeded" && link.hidden); // a result may still come
  }

  function begin() {
    stop();
    show(slot("end"), "");
    stop = watch(entry.status_url, {
      onState,
      onTrouble: (text) => show(slot("notice"), text && `${text} Trying again.`),
      onGone: (text) => { showState("gone"); show(slot("end"), `It can no longer be asked for. ${text}`); },
    });
  }

  // act disables a button while its work goes on, and shows what went wrong.
  function act(name, work) {
    button(name).addEventListener("click", async () => {
      button(name).disabled = true;
      try {
        await work();
      } catch (error) {
        show(slot("notice"), error.message);
      } finally {
        button(name).disabled = false;
      }
    });
  }
  act("cancel", async () => {
    const response = await fetch(local(entry.cancel_url), { method: "POST" });
    if (!response.ok && response.status !== 409) throw new Error(await problem(response));
    begin(); // 409: it had ended already, and this shows how
    element.focus();
  });
  act("again", async () => {
    Object.assign(entry, await again(entry));
    save();
    last = "";
    showState("pending");
    slot("documents").hidden = button("look").hidden = true;
    show(slot("notice"), "");
    begin();
    element.focus();
  });
  act("look", async () => begin());
  act("remove", async () => { stop(); remove(entry); element.remove(); });

  showState("pending");
  begin();
  return element;
}
