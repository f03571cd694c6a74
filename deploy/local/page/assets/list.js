// The list of cases on the page. It is stored in the page's address, so that a reload, a bookmark
// or another tab shows the same cases:
//
//   #case=<case_id>~<status token>.<cancel token>~<title>&case=…
//
// The newest case comes first, and each part is encoded as in a query. Everyone who has the address
// can see and cancel these cases, as with the status and cancel URLs of the service. The forms are
// not in the address: they are kept in the tab's session storage.

import { card } from "./card.js";

const $ = (id) => document.getElementById(id);
const shown = new Map(); // case_id → {entry, element, end}, newest first

// announce has a screen reader read a text.
export function announce(text) { $("news").textContent = text; }

const ENTRY = /^([A-Za-z0-9][\w.:-]{0,127})~([\w-]+)(?:\.([\w-]+))?(?:~(.*))?$/s;

function readAddress() {
  const entries = new Map();
  for (const value of new URLSearchParams(location.hash.slice(1)).getAll("case")) {
    const [, case_id, token, cancelToken = "", title] = ENTRY.exec(value) ?? [];
    if (!case_id || entries.has(case_id)) continue;
    entries.set(case_id, { case_id, token, cancelToken, title: title || `Case ${case_id}`, ...readForm(case_id) });
  }
  return entries;
}

function writeAddress() {
  const query = new URLSearchParams();
  for (const { entry: { case_id, token, cancelToken, title } } of shown.values()) {
    query.append("case", `${case_id}~${cancelToken ? `${token}.${cancelToken}` : token}~${title}`);
  }
  history.replaceState(null, "", shown.size > 0 ? `#${query}` : location.pathname + location.search);
  $("none").hidden = shown.size > 0;
}

const key = (caseID) => `casewatch.form:${caseID}`;

// readForm returns what the tab stored for a case: {form, note}, or {} if there is nothing.
function readForm(caseID) {
  try {
    return JSON.parse(sessionStorage.getItem(key(caseID))) ?? {};
  } catch {
    return {};
  }
}

function storeForm({ case_id, form, note }) {
  try {
    sessionStorage.setItem(key(case_id), JSON.stringify({ form, note }));
  } catch {
    // The storage is full or forbidden. After a reload the case cannot be run again from here.
  }
}

// show puts a case on the page and returns {entry, element, end}. where is "prepend" or "append".
// rerun(entry) is called when the user runs the case again.
function show(entry, rerun, where) {
  const made = card(entry, {
    announce,
    rerun: async (entry) => { await rerun(entry); writeAddress(); },
    remove: ({ case_id }) => {
      shown.delete(case_id);
      sessionStorage.removeItem(key(case_id));
      writeAddress();
      $("cases-title").focus();
    },
  });
  $("cases")[where](made.element);
  return { entry, ...made };
}

// add puts a new case at the top of the list and returns its element. If another case has the same
// title, the title gets a number.
export function add(entry, rerun) {
  const titles = new Set([...shown.values()].map((s) => s.entry.title));
  const title = entry.title;
  for (let n = 2; titles.has(entry.title); n++) entry.title = `${title} (${n})`;
  storeForm(entry);
  const before = [...shown];
  shown.clear();
  shown.set(entry.case_id, show(entry, rerun, "prepend"));
  for (const [id, s] of before) shown.set(id, s);
  writeAddress();
  return shown.get(entry.case_id).element;
}

// restore shows the cases of the address, now and each time that the user changes the address.
export function restore(rerun) {
  const sync = () => {
    const wanted = readAddress();
    for (const [id, s] of shown) {
      if (wanted.get(id)?.token === s.entry.token) continue;
      s.end();
      s.element.remove();
      shown.delete(id);
    }
    for (const [id, entry] of wanted) if (!shown.has(id)) shown.set(id, show(entry, rerun, "append"));
    $("none").hidden = shown.size > 0;
  };
  addEventListener("hashchange", sync);
  sync();
}
