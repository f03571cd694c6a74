// The cases that the page shows. They are in its address, so that a reload, a bookmark or another tab shows the same:
//
//   #case=<case_id>~<status token>.<cancel token>~<title>&case=…   newest first, each part as in a query
//
// Whoever has the address can see and cancel these cases, as with the service's own addresses of them. Forms stay in the tab.

import { card } from "./card.js";

const $ = (id) => document.getElementById(id);
const shown = new Map(); // case_id → {entry, element, end}, newest first

export function news(text) { $("news").textContent = text; }

function fromAddress() {
  const entries = new Map();
  for (const value of new URLSearchParams(location.hash.slice(1)).getAll("case")) {
    const [, case_id, token, cancelToken = "", title] = /^([A-Za-z0-9][\w.:-]{0,127})~([\w-]+)(?:\.([\w-]+))?(?:~(.*))?$/s.exec(value) ?? [];
    if (case_id && !entries.has(case_id)) entries.set(case_id, { case_id, token, cancelToken, title: title || `Case ${case_id}`, ...form(case_id) });
  }
  return entries;
}

function toAddress() {
  const query = new URLSearchParams();
  for (const { entry: { case_id, token, cancelToken, title } } of shown.values()) {
    query.append("case", `${case_id}~${cancelToken ? `${token}.${cancelToken}` : token}~${title}`);
  }
  history.replaceState(null, "", shown.size > 0 ? `#${query}` : location.pathname + location.search);
  $("none").hidden = shown.size > 0;
}

const key = (caseID) => `casewatch.form:${caseID}`;

// form returns what the tab keeps of a case: {form, note}, or nothing.
function form(caseID) {
  try {
    return JSON.parse(sessionStorage.getItem(key(caseID))) ?? {};
  } catch {
    return {};
  }
}

function keepForm({ case_id, form, note }) {
  try {
    sessionStorage.setItem(key(case_id), JSON.stringify({ form, note }));
  } catch {
    // full or forbidden: after a reload the case cannot be run again from here
  }
}

// show puts a case on the page, and returns its element. again is asked when it is to be run again.
function show(entry, again, where) {
  const made = card(entry, {
    news,
    again: async (entry) => { await again(entry); toAddress(); },
    remove: ({ case_id }) => {
      shown.delete(case_id);
      sessionStorage.removeItem(key(case_id));
      toAddress();
      $("cases-title").focus();
    },
  });
  $("cases")[where](made.element);
  return { entry, ...made };
}

// add shows a new case first, and keeps it. A title that is on the page already gets a number.
export function add(entry, again) {
  const titles = new Set([...shown.values()].map((s) => s.entry.title));
  const title = entry.title;
  for (let n = 2; titles.has(entry.title); n++) entry.title = `${title} (${n})`;
  keepForm(entry);
  const before = [...shown];
  shown.clear();
  shown.set(entry.case_id, show(entry, again, "prepend"));
  for (const [id, s] of before) shown.set(id, s);
  toAddress();
  return shown.get(entry.case_id).element;
}

// restore shows the cases of the address, now and whenever it is changed by hand.
export function restore(again) {
  const sync = () => {
    const wanted = fromAddress();
    for (const [id, s] of shown) {
      if (wanted.get(id)?.token === s.entry.token) continue;
      s.end();
      s.element.remove();
      shown.delete(id);
    }
    for (const [id, entry] of wanted) if (!shown.has(id)) shown.set(id, show(entry, again, "append"));
    $("none").hidden = shown.size > 0;
  };
  addEventListener("hashchange", sync);
  sync();
}
