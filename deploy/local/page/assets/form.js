// The form: its rows, its JSON and its submission.

import { start } from "/status/-/casewatch.js";

import { add, announce, restore } from "./list.js";
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

// number labels each row and its button for screen readers.
function number(kind) {
  const rows = [...$(`${kind}s`).children];
  rows.forEach((row, i) => {
    row.setAttribute("aria-label", `${kind} ${i + 1} of ${rows.length}`);
    row.querySelector("[data-remove]").setAttribute("aria-label", `Remove ${kind} ${i + 1}`);
  });
}

// parties returns the rows of a kind: the values of the row's fields, its number from 1, and the
// full name.
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
  describeChoices();
});

// --- the form as JSON ---

const name = ({ first, last, name }) => ({ First: first, Last: last, FirstAndLast: name });

// issues returns the checked issues as PlaintiffItemNumberDiscovery has them: for each kind a flag,
// and a list of choices.
function issues() {
  const all = {};
  for (const { dataset: { kind, flag }, value } of form.querySelectorAll("[name=issue]:checked")) {
    all[flag] = true;
    (all[kind] ??= []).push(value);
  }
  return all;
}

// content returns the form in the shape that the form frontend sends. It leaves out
// serverTimestamp, because a form that is sent again with the same idempotency key must be
// identical.
function content() {
  const value = (name) => form.elements[name].value.trim();
  const plaintiffs = parties("plaintiff"), defendants = parties("defendant");
  const object = {
    Form: { Id: "1", InternalName: "local-page", Name: title(plaintiffs, defendants) },
    PlaintiffDetails: plaintiffs.map((p) => ({
      Id: `p${p.number}`,
      ItemNumber: p.number,
      HeadOfHousehold: p.head,
      PlaintiffItemNumberName: name(p),
      PlaintiffItemNumberType: "Individual",
      PlaintiffItemNumberAgeCategory: ["Adult"],
      PlaintiffItemNumberDiscovery: issues(),
    })),
    DefendantDetails2: defendants.map((d) => ({
      Id: `d${d.number}`,
      ItemNumber: d.number,
      DefendantItemNumberName: name(d),
      DefendantItemNumberType: d.type,
      DefendantItemNumberManagerOwner: d.role,
    })),
    Full_Address: {
      StreetAddress: value("street"),
      Line1: value("street"),
      City: value("city"),
      State: value("state"),
      PostalCode: value("postal"),
    },
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

// describeChoices shows what the chosen behaviour means, and how many documents the form asks for.
// The sample pipeline uses one party for an empty list of parties, and all three types for no type.
function describeChoices() {
  for (const name of ["mode", "fault"]) {
    $(`${name}-hint`).textContent = form.elements[name].selectedOptions[0].dataset.hint;
  }
  const counts = [
    $("plaintiffs").children.length || 1,
    $("defendants").children.length || 1,
    form.querySelectorAll("[name=type]:checked").length || 3,
  ];
  const total = counts.reduce((a, b) => a * b);
  $("size").textContent = `${counts.join(" × ")} = ${total} documents, about ${total} s`;
}
form.addEventListener("change", describeChoices);

// --- submitting ---

// keys holds the idempotency key of each request body that has not been answered. A repeat uses the
// same key, so that it does not start a second case.
const keys = new Map();

// SENDING is the key in session storage of the form that is being sent. After a reload the page
// sends that form again with the same idempotency key.
const SENDING = "casewatch.sending";

// address returns where a case of that pipeline is started; "" is the only pipeline.
const address = (pipeline) => (pipeline ? `/start?pipeline=${encodeURIComponent(pipeline)}` : "/start");

// request names a form and its pipeline: what is sent again with the same idempotency key.
const request = (object, pipeline) => `${address(pipeline)} ${JSON.stringify(object)}`;

// submit starts a case and returns {case_id, run, token, cancelToken}.
async function submit(object, pipeline) {
  const name = request(object, pipeline);
  if (!keys.has(name)) keys.set(name, crypto.randomUUID());
  try {
    const { case_id, run, status_url, cancel_url } =
      await start(address(pipeline), JSON.stringify(object), { idempotencyKey: keys.get(name) });
    keys.delete(name);
    const token = (url) => new URL(url).searchParams.get("token");
    return { case_id, run, token: token(status_url), cancelToken: token(cancel_url) };
  } catch (error) {
    if (error.status >= 400 && error.status < 500) keys.delete(name);
    throw error;
  }
}

async function rerun(entry) {
  Object.assign(entry, await submit({ ...entry.form, case_id: entry.case_id }, entry.pipeline));
  announce(`${entry.title} was submitted again.`);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send(content(), chosenFault(), form.elements.pipeline?.value);
});

// send submits a form and shows its case, or the problem that the service reports.
async function send(object, note, pipeline) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  $("problem").hidden = true;
  const slow = setTimeout(() => {
    $("sending").textContent = "The service has not answered yet. Trying again.";
  }, 2_000);
  try {
    const sent = submit(object, pipeline);
    storeSending({ object, note, pipeline, key: keys.get(request(object, pipeline)) });
    const entry = { ...await sent, title: object.Form.Name, note, form: object, pipeline };
    add(entry, rerun).focus();
    announce(`${entry.title} was submitted.`);
  } catch (error) {
    showProblem(error);
  } finally {
    storeSending(null);
    clearTimeout(slow);
    $("sending").textContent = "";
    button.disabled = false;
  }
}

// storeSending stores the form that is being sent, or removes it if sending is null.
function storeSending(sending) {
  try {
    if (sending) sessionStorage.setItem(SENDING, JSON.stringify(sending));
    else sessionStorage.removeItem(SENDING);
  } catch {
    // The storage is full or forbidden. After a reload the case is shown only in the console.
  }
}

// resumeSending sends the form that was being sent when the page was reloaded.
function resumeSending() {
  let sending = null;
  try {
    sending = JSON.parse(sessionStorage.getItem(SENDING));
  } catch {
    // not valid JSON: there is nothing to send
  }
  if (!sending?.object?.Form) return;
  keys.set(request(sending.object, sending.pipeline), sending.key);
  send(sending.object, sending.note, sending.pipeline);
}

const chosenFault = () =>
  (form.elements.fault.value ? form.elements.fault.selectedOptions[0].textContent : "");

function showProblem({ status, title: heading, message, detail, errors = [] }) {
  const box = $("problem");
  const line = document.createElement("p");
  const mayRepeat = status === 0 || status >= 500;
  line.textContent = sentence(detail || heading || message)
    + (mayRepeat ? " You can submit again: the case is not started twice." : "");
  const list = document.createElement("ul");
  list.append(...errors.map(({ pointer, detail }) => {
    const item = document.createElement("li");
    item.textContent = pointer ? `${pointer}: ${detail}` : detail;
    return item;
  }));
  box.replaceChildren(line, list);
  box.hidden = false;
  box.focus();
}

for (const [kind, people] of Object.entries(PARTIES)) people.forEach((person) => addRow(kind, person));
describeChoices();
restore(rerun);
resumeSending();
