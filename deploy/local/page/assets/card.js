// One case on the page: its progress, its end, and what can be done with it.

import { cancel, follow } from "/status/-/casewatch.js";

import { dispatchLine, documents, endLine, link, progressLine, sentence, STATES } from "./words.js";

const OPEN_LIST = 30; // longer lists of documents are shown folded
// A case that waits for so long is asked for the reason, which the stream does not tell: then again after twice the time, up to the longest.
const WHY_WAITING = 3_000, WHY_WAITING_LONGEST = 30_000;

let cards = 0;

// card shows a case. entry is {case_id, token, cancelToken, title, run, note, form}, of which run, note and form may be missing; it is changed when the case is run again.
//   news(text)    is read out
//   again(entry)  submits the case once more, and changes the entry
//   remove(entry) takes it off the list
// It returns the element and a function that stops watching.
export function card(entry, { news, again, remove }) {
  const element = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const slot = (name) => element.querySelector(`[data-slot=${name}]`);
  const button = (name) => element.querySelector(`[data-action=${name}]`);
  const show = (target, text) => { target.textContent = text; target.hidden = !text; };
  const address = (kind, token, query) => `/${kind}/${encodeURIComponent(entry.case_id)}?${new URLSearchParams({ ...query, token })}`;

  slot("title").textContent = entry.title;
  slot("title").id = `case-${++cards}`;
  element.setAttribute("aria-labelledby", slot("title").id);
  button("remove").setAttribute("aria-label", `Remove ${entry.title} from the list`);
  slot("bar").setAttribute("aria-label", `Progress of ${entry.title}`);

  let stop = new AbortController();
  let state = null; // the newest
  let doneAt = null; // when it will be done, by the estimate
  let clock;
  let trouble = "", stalled = false;
  let refusals = ""; // why the case still waits
  let asking; // the timer of the next time that this is asked

  function showState(name, over) {
    element.dataset.state = name;
    slot("state").textContent = STATES[name] ?? name;
    slot("id").textContent = [entry.case_id, entry.run && `, run ${entry.run}`, entry.note && `; ${entry.note}`].filter(Boolean).join("");
    button("cancel").hidden = over || !entry.run;
    button("again").hidden = !over || !entry.form;
    button("remove").hidden = !over;
  }

  // showLine says how far it is, and says it again each second while the time left is known.
  function showLine() {
    clearTimeout(clock);
    if (doneAt !== null) clock = setTimeout(showLine, 1_000);
    slot("line").textContent = state ? progressLine(state, doneAt === null ? null : Math.max(0, (doneAt - Date.now()) / 1_000)) : "";
  }

  function showNotice() {
    const text = stalled ? "Stalled: its progress has not moved for a while. It is still watched, until its deadline at the latest." : "";
    show(slot("notice"), trouble || refusals || text);
  }

  // askWhy reads the case after a time, and says if handing it over fails. It goes on until the case no longer waits.
  function askWhy(wait) {
    const { signal } = stop;
    const mine = asking = setTimeout(async () => {
      let answer;
      try {
        if (!document.hidden) answer = await (await fetch(address("status", entry.token), { headers: { Accept: "application/json" }, cache: "no-store", signal })).json();
      } catch {
        // what follows the case says so
      }
      if (asking !== mine) return; // it no longer waits, or waits anew
      if (answer?.state === "pending") {
        const text = dispatchLine(answer.dispatch);
        if (text && !refusals) news(`${entry.title}: ${text}`);
        refusals = text;
        showNotice();
      }
      askWhy(Math.min(2 * wait, WHY_WAITING_LONGEST));
    }, wait);
  }

  function askNoMore() {
    clearTimeout(asking);
    asking = undefined;
    refusals = "";
  }

  function onState(s) {
    const before = element.dataset.state;
    if (s.state !== before && (state || entry.run)) news(`${entry.title}: ${STATES[s.state]}. ${s.ended ? endLine(s) : ""}`);
    entry.run = s.run;
    state = s;
    showState(s.state, s.ended);
    const percent = Math.floor(s.percent);
    slot("bar").value = percent;
    slot("percent").textContent = `${percent} %`;
    doneAt = s.eta_seconds === null || s.stalled ? null : Date.now() + s.eta_seconds * 1_000;
    showLine();
    if (s.stalled && !stalled) news(`${entry.title} has stalled.`);
    stalled = s.stalled;
    if (s.state !== "pending") askNoMore();
    else if (!asking) askWhy(WHY_WAITING);
    showNotice();
  }

  function onTrouble(error) {
    if (error && !trouble) news(`${entry.title}: the service cannot be reached. Trying again.`);
    if (!error) news(`${entry.title}: the service is back.`);
    trouble = error ? `${sentence(error.message)} What is shown may be old. Trying again.` : "";
    showNotice();
  }

  function onEnd(s) {
    onState(s);
    show(slot("end"), endLine(s));
    const all = documents(s.result);
    slot("documents").replaceChildren(...all.map(({ name, url, error }) => {
      const item = document.createElement("li");
      item.append(url ? anchor(name, url) : name, error ? ` (failed: ${error})` : "");
      return item;
    }));
    slot("list").hidden = all.length === 0;
    slot("list").open = all.length <= OPEN_LIST;
    slot("count").textContent = all.length === 1 ? "1 document" : `${all.length} documents`;
    const index = slot("index");
    index.hidden = !link(s.output_url);
    if (!index.hidden) index.href = s.output_url;
    index.textContent = s.documents?.succeeded === 0 ? "See what failed" : "Open the documents";
  }

  function anchor(text, href) {
    return Object.assign(document.createElement("a"), { textContent: text, href, target: "_blank", rel: "noopener noreferrer" });
  }

  function begin() {
    stop.abort();
    askNoMore();
    const { signal } = stop = new AbortController();
    doneAt = null;
    trouble = "";
    stalled = false;
    slot("end").hidden = slot("list").hidden = slot("index").hidden = true;
    showLine();
    showNotice();
    follow(address("status", entry.token), { onProgress: onState, onEnd, onTrouble, signal }).catch((error) => {
      if (signal.aborted) return;
      askNoMore();
      doneAt = null;
      showLine();
      trouble = "";
      showNotice();
      showState("gone", true);
      show(slot("end"), `It can no longer be asked for. ${sentence(error.message)}`);
      news(`${entry.title} can no longer be asked for.`);
    });
  }

  function end() {
    stop.abort();
    askNoMore();
    clearTimeout(clock);
  }

  // act disables a button while its work goes on, and shows what went wrong.
  function act(name, work) {
    button(name).addEventListener("click", async () => {
      button(name).disabled = true;
      try {
        await work();
      } catch (error) {
        show(slot("notice"), sentence(error.message));
        news(error.message);
      } finally {
        button(name).disabled = false;
      }
    });
  }
  act("cancel", async () => {
    try {
      await cancel(address("cancel", entry.cancelToken, { run: entry.run }));
    } catch (error) {
      if (error.status !== 409) throw error; // it had ended already, or runs again: what is followed shows it
    }
    element.focus();
    if (!state?.ended) begin();
  });
  act("again", async () => {
    await again(entry);
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
