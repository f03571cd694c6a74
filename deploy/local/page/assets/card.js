// The card of one case: its progress, its end, and the buttons to cancel it or run it again.

import { cancel, follow } from "/status/-/casewatch.js";

import { dispatchLine, documents, endLine, link, nextStep, progressLine, sentence, STATES } from "./words.js";

const MAX_OPEN_LIST = 30; // a longer list of documents is shown collapsed

// The event stream does not report failed dispatches. While a case is pending, the card therefore
// reads its JSON after FIRST_READ, and then again after intervals that double up to MAX_READ. Both
// are in milliseconds.
const FIRST_READ = 3_000, MAX_READ = 30_000;

const STALLED = "Stalled: its progress has not moved for a while. It is watched until its deadline.";

let cards = 0;

// card creates the card of a case and follows the case until it ends. entry is {case_id, token,
// cancelToken, title, run, note, form}. run, note and form are optional. card updates entry.run,
// and rerun(entry) updates the rest.
//   announce(text)  has a screen reader read the text
//   rerun(entry)    submits the case again
//   remove(entry)   removes the case from the list
// It returns the card's element, and a function end() that stops following the case.
export function card(entry, { announce, rerun, remove }) {
  const element = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const slot = (name) => element.querySelector(`[data-slot=${name}]`);
  const button = (name) => element.querySelector(`[data-action=${name}]`);
  const show = (target, text) => { target.textContent = text; target.hidden = !text; };
  const address = (kind, token, query) =>
    `/${kind}/${encodeURIComponent(entry.case_id)}?${new URLSearchParams({ ...query, token })}`;

  slot("title").textContent = entry.title;
  slot("title").id = `case-${++cards}`;
  element.setAttribute("aria-labelledby", slot("title").id);
  button("remove").setAttribute("aria-label", `Remove ${entry.title} from the list`);
  slot("bar").setAttribute("aria-label", `Progress of ${entry.title}`);

  let stop = new AbortController();
  let state = null; // the newest state that was received
  let estimatedEnd = null; // in milliseconds since 1970, or null without an estimate
  let lineTimer;
  let connectionNotice = "", dispatchNotice = "", stalled = false;
  let readTimer; // of the next read of the case's JSON

  function showState(name, ended) {
    element.dataset.state = name;
    slot("state").textContent = STATES[name] ?? name;
    const id = [entry.case_id, entry.run && `, run ${entry.run}`, entry.note && `; ${entry.note}`];
    slot("id").textContent = id.filter(Boolean).join("");
    button("cancel").hidden = ended || !entry.run;
    button("again").hidden = !ended || !entry.form;
    button("remove").hidden = !ended;
  }

  // showLine shows the progress. While there is an estimate, it updates the time left each second.
  function showLine() {
    clearTimeout(lineTimer);
    if (estimatedEnd !== null) lineTimer = setTimeout(showLine, 1_000);
    const left = estimatedEnd === null ? null : Math.max(0, (estimatedEnd - Date.now()) / 1_000);
    slot("line").textContent = state ? progressLine(state, left) : "";
  }

  function showNotice() {
    show(slot("notice"), connectionNotice || dispatchNotice || (stalled ? STALLED : ""));
  }

  async function readCase(signal) {
    const request = { headers: { Accept: "application/json" }, cache: "no-store", signal };
    return (await fetch(address("status", entry.token), request)).json();
  }

  // readDispatches reads the case after a delay, and shows whether its dispatches failed. It
  // repeats this until stopReading is called.
  function readDispatches(delay) {
    const { signal } = stop;
    const timer = readTimer = setTimeout(async () => {
      let answer;
      try {
        if (!document.hidden) answer = await readCase(signal);
      } catch {
        // onTrouble shows that the service cannot be reached
      }
      if (readTimer !== timer) return; // stopReading was called during the read
      if (answer?.state === "pending") {
        const text = dispatchLine(answer.dispatch);
        if (text && !dispatchNotice) announce(`${entry.title}: ${text}`);
        dispatchNotice = text;
        showNotice();
      }
      readDispatches(Math.min(2 * delay, MAX_READ));
    }, delay);
  }

  function stopReading() {
    clearTimeout(readTimer);
    readTimer = undefined;
    dispatchNotice = "";
  }

  function onState(s) {
    const before = element.dataset.state;
    if (s.state !== before && (state || entry.run)) {
      announce(`${entry.title}: ${STATES[s.state]}. ${s.ended ? endLine(s) : ""}`);
    }
    entry.run = s.run;
    state = s;
    showState(s.state, s.ended);
    const percent = Math.floor(s.percent);
    slot("bar").value = percent;
    slot("percent").textContent = `${percent} %`;
    estimatedEnd = s.eta_seconds === null || s.stalled ? null : Date.now() + s.eta_seconds * 1_000;
    showLine();
    if (s.stalled && !stalled) announce(`${entry.title} has stalled.`);
    stalled = s.stalled;
    if (s.state !== "pending") stopReading();
    else if (!readTimer) readDispatches(FIRST_READ);
    showNotice();
  }

  function onTrouble(error) {
    if (error && !connectionNotice) announce(`${entry.title}: the service cannot be reached. Trying again.`);
    if (!error) announce(`${entry.title}: the service can be reached again.`);
    connectionNotice = error ? `${sentence(error.message)} What is shown may be out of date. Trying again.` : "";
    showNotice();
  }

  function onEnd(s) {
    onState(s);
    show(slot("end"), [endLine(s), nextStep(s)].filter(Boolean).join(" "));
    const all = documents(s.result);
    slot("documents").replaceChildren(...all.map(({ name, url, error }) => {
      const item = document.createElement("li");
      item.append(url ? anchor(name, url) : name, error ? ` (failed: ${error})` : "");
      return item;
    }));
    slot("list").hidden = all.length === 0;
    slot("list").open = all.length <= MAX_OPEN_LIST;
    slot("count").textContent = all.length === 1 ? "1 document" : `${all.length} documents`;
    const index = slot("index");
    index.hidden = !link(s.output_url);
    if (!index.hidden) index.href = s.output_url;
    index.textContent = s.documents?.succeeded === 0 ? "See what failed" : "Open the documents";
  }

  function anchor(text, href) {
    const attributes = { textContent: text, href, target: "_blank", rel: "noopener noreferrer" };
    return Object.assign(document.createElement("a"), attributes);
  }

  function begin() {
    stop.abort();
    stopReading();
    const { signal } = stop = new AbortController();
    estimatedEnd = null;
    connectionNotice = "";
    stalled = false;
    slot("end").hidden = slot("list").hidden = slot("index").hidden = true;
    showLine();
    showNotice();
    follow(address("status", entry.token), { onProgress: onState, onEnd, onTrouble, signal }).catch((error) => {
      if (signal.aborted) return;
      stopReading();
      estimatedEnd = null;
      showLine();
      connectionNotice = "";
      showNotice();
      showState("gone", true);
      show(slot("end"), `It can no longer be read. ${sentence(error.message)}`);
      announce(`${entry.title} can no longer be read.`);
    });
  }

  function end() {
    stop.abort();
    stopReading();
    clearTimeout(lineTimer);
  }

  // act runs work when a button is clicked. The button is disabled until work ends. If work fails,
  // act shows the error.
  function act(name, work) {
    button(name).addEventListener("click", async () => {
      button(name).disabled = true;
      try {
        await work();
      } catch (error) {
        show(slot("notice"), sentence(error.message));
        announce(error.message);
      } finally {
        button(name).disabled = false;
      }
    });
  }
  act("cancel", async () => {
    try {
      await cancel(address("cancel", entry.cancelToken, { run: entry.run }));
    } catch (error) {
      // 409: the run had ended, or a newer run replaced it. The followed status shows which.
      if (error.status !== 409) throw error;
    }
    element.focus();
    if (!state?.ended) begin();
  });
  act("again", async () => {
    await rerun(entry);
    state = null;
    slot("bar").value = 0;
    slot("percent").textContent = "0 %";
    showState("pending", false);
    begin();
    element.focus();
  });
  act("remove", async () => { end(); element.remove(); remove(entry); });

  showState("pending", false);
  begin();
  return { element, end };
}
