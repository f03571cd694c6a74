// The form, and its submission.

import { start } from "/status/-/casewatch.js";

import { add, news, restore } from "./list.js";
import { sentence } from "./words.js";

const $ = (id) => document.getElementById(id);
const form = $("form");

// --- parties ---

const PARTIES = {
  plaintiff: [
    { first: "Maria", last: "Alvarez", head: true },
    { first: "Daniel", last: "Alvarez" },
    { first: "Grace", last: "Okafor", head: true },
  ],
  defendant: [
    { last: "Linden Street Properties", type: "LLC", role: "Owner" },
    { first: "Harold", last: "Voss", type: "Individual", role: "Manager" },
  ],
};

function addRow(kind, values = {}) {
  const row = $(kind).content.firstElementChild.cloneNode(true);
  for (const field of row.querySelectorAll("[data-field]")) {
    const value = values[field.dataset.field];
    if (field.type === "checkbox") field.checked = Boolean(value);
    else if (value !== undefined) field.value = value;
  }
  $(`${kind}s`).append(row);
  number(kind);
  return row;
}

// number names each row for those who cannot see them side by side.
function number(kind) {
  const rows = [...$(`${kind}s`).children];
  rows.forEach((row, i) => {
    row.setAttribute("aria-label", `${kind} ${i + 1} of ${rows.length}`);
    row.querySelector("[data-remove]").setAttribute("aria-label", `Remove ${kind} ${i + 1}`);
  });
}

// parties are the rows, as their fields name them, each with its number and its name in whole.
function parties(kind) {
  return [...$(`${kind}s`).children].map((row, i) => {
    const party = { number: i + 1 };
    for (const field of row.querySelectorAll("[data-field]")) {
      party[field.dataset.field] = field.type === "checkbox" ? field.checked : field.value.trim();
    }
    return { ...party, name: [party.first, party.last].filter(Boolean).join(" ") };
  });
}

form.addEventListener("click", ({ target }) => {
  if (target.dataset.add) {
    addRow(target.dataset.add).querySelector("input").focus();
  } else if ("remove" in target.dataset) {
    const row = target.closest(".row");
    const kind = row.parentElement.id.slice(0, -1);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    number(kind);
    (next?.querySelector("[data-remove]") ?? form.querySelector(`[data-add=${kind}]`)).focus();
  } else {
    return;
  }
  describe();
});

// --- the form as JSON ---

const name = ({ first, last, name }) => ({ First: first, Last: last, FirstAndLast: name });

// issues are the kinds that are checked, each with a flag and the list of its choices.
function issues() {
  const all = {};
  for (const { dataset: { kind, flag }, value } of form.querySelectorAll("[name=issue]:checked")) {
    all[flag] = true;
    (all[kind] ??= []).push(value);
  }
  return all;
}

// content is the form as the form frontend sends it, but for serverTimestamp: a form that is sent again has to be the same.
function content() {
  const value = (name) => form.elements[name].value.trim();
  const plaintiffs = parties("plaintiff"), defendants = parties("defendant");
  const object = {
    Form: { Id: "1", InternalName: "local-page", Name: title(plaintiffs, defendants) },
    PlaintiffDetails: plaintiffs.map((p) => ({
      Id: `p${p.number}`, ItemNumber: p.number, HeadOfHousehold: p.head, PlaintiffItemNumberName: name(p), PlaintiffItemNumberType: "Individual",
      PlaintiffItemNumberAgeCategory: ["Adult"], PlaintiffItemNumberDiscovery: issues(),
    })),
    DefendantDetails2: defendants.map((d) => ({
      Id: `d${d.number}`, ItemNumber: d.number, DefendantItemNumberName: name(d), DefendantItemNumberType: d.type, DefendantItemNumberManagerOwner: d.role,
    })),
    Full_Address: { StreetAddress: value("street"), Line1: value("street"), City: value("city"), State: value("state"), PostalCode: value("postal") },
    "Filing city": value("filing-city"),
    "Filing county": value("filing-county"),
    document_types: [...form.querySelectorAll("[name=type]:checked")].map((box) => box.value),
  };
  const sample = {};
  if (value("mode") !== "sync") sample.mode = value("mode");
  if (value("fault")) sample.fault = value("fault");
  if (Number(value("at")) > 0) sample.at = Math.floor(Number(value("at")));
  return Object.keys(sample).length > 0 ? { ...object, sample } : object;
}

function title(plaintiffs, defendants) {
  const side = (people, otherwise) => {
    const first = people[0] && (people[0].last || people[0].first);
    return (first || otherwise) + (people.length > 1 ? " et al." : "");
  };
  return `${side(plaintiffs, "Plaintiff")} v. ${side(defendants, "Defendant")}`;
}

// describe says what the choices mean and how much they ask for. The pipeline fills in what is empty.
function describe() {
  for (const name of ["mode", "fault"]) {
    $(`${name}-hint`).textContent = form.elements[name].selectedOptions[0].dataset.hint;
  }
  const counts = [$("plaintiffs").children.length || 1, $("defendants").children.length || 1, form.querySelectorAll("[name=type]:checked").length || 3];
  const total = counts.reduce((a, b) => a * b);
  $("size").textContent = `${counts.join(" × ")} = ${total} documents, about ${total} s`;
}
form.addEventListener("change", describe);

// --- submitting ---

const keys = new Map(); // of what was not answered, by its body: a repeat must not start a second case
const SENDING = "casewatch.sending"; // what the tab keeps while a form is on its way: after a reload it goes on, under the same key

// submit starts a case and returns what the page keeps of it.
async function submit(object) {
  const body = JSON.stringify(object);
  if (!keys.has(body)) keys.set(body, crypto.randomUUID());
  try {
    const { case_id, run, status_url, cancel_url } = await start("/start", body, { idempotencyKey: keys.get(body) });
    keys.delete(body);
    const token = (url) => new URL(url).searchParams.get("token");
    return { case_id, run, token: token(status_url), cancelToken: token(cancel_url) };
  } catch (error) {
    if (error.status >= 400 && error.status < 500) keys.delete(body);
    throw error;
  }
}

async function again(entry) {
  Object.assign(entry, await submit({ ...entry.form, case_id: entry.case_id }));
  news(`${entry.title} was submitted again.`);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send(content(), chosenFault());
});

// send submits a form and shows its case, or what is wrong with it.
async function send(object, note) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  $("problem").hidden = true;
  const slow = setTimeout(() => { $("sending").textContent = "The service does not answer yet. Trying again."; }, 2_000);
  try {
    const sent = submit(object);
    keep({ object, note, key: keys.get(JSON.stringify(object)) });
    const entry = { ...await sent, title: object.Form.Name, note, form: object };
    add(entry, again).focus();
    news(`${entry.title} was submitted.`);
  } catch (error) {
    complain(error);
  } finally {
    keep(null);
    clearTimeout(slow);
    $("sending").textContent = "";
    button.disabled = false;
  }
}

function keep(sending) {
  try {
    if (sending) sessionStorage.setItem(SENDING, JSON.stringify(sending));
    else sessionStorage.removeItem(SENDING);
  } catch {
    // full or forbidden: after a reload the case is only in the console
  }
}

// goOn sends what was on its way when the page was reloaded.
function goOn() {
  let sending = null;
  try {
    sending = JSON.parse(sessionStorage.getItem(SENDING));
  } catch {
    // nothing that was kept
  }
  if (!sending?.object?.Form) return;
  keys.set(JSON.stringify(sending.object), sending.key);
  send(sending.object, sending.note);
}

const chosenFault = () => (form.elements.fault.value ? form.elements.fault.selectedOptions[0].textContent : "");

function complain({ status, title: heading, message, detail, errors = [] }) {
  const box = $("problem");
  const line = document.createElement("p");
  line.textContent = sentence(detail || heading || message) + (status === 0 || status >= 500 ? " Submit again: the case is not started twice." : "");
  const list = document.createElement("ul");
  list.append(...errors.map((e) => Object.assign(document.createElement("li"), { textContent: e.pointer ? `${e.pointer}: ${e.detail}` : e.detail })));
  box.replaceChildren(line, list);
  box.hidden = false;
  box.focus();
}

for (const [kind, people] of Object.entries(PARTIES)) people.forEach((person) => addRow(kind, person));
describe();
restore(again);
goOn();
