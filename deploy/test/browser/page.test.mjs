// The form page, and what a page of others would do with the same stream.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { accessible, base, buffering, launch, noSideways, open, post, shot, unfold, until, wire } from "./lib.mjs";

const NAME = /Alvarez .*v\. .*Linden/;

/** submit fills in the form with so many documents at most, and submits it. It returns the case's article. */
async function submit(page, { types = ["srogs", "pods", "admissions"], mode = "sync", fault = "", keep = 1 } = {}) {
  await unfold(page);
  for (const kind of ["plaintiff", "defendant"]) {
    for (let n = await page.getByRole("listitem", { name: new RegExp(`^${kind} `) }).count(); n > keep; n--) {
      await page.getByRole("button", { name: `Remove ${kind} ${n}`, exact: true }).click();
    }
  }
  for (const box of await page.locator("[name=type]").all()) await box.setChecked(types.includes(await box.getAttribute("value")));
  await page.getByLabel("It reports the end").selectOption(mode);
  await page.getByLabel("What goes wrong").selectOption(fault);
  if (fault) await page.getByLabel("After how many documents").fill("1");
  const before = await page.getByRole("article").count();
  await page.getByRole("button", { name: "Submit the case" }).click();
  await until("the case is on the page", async () => (await page.getByRole("article").count()) > before);
  return page.getByRole("article").first();
}

const state = (article) => article.getAttribute("data-state");
const percent = async (article) => Number(await article.getByRole("progressbar").evaluate((bar) => bar.value));
const ends = (article, want, seconds = 40) => until(`it is ${want}`, async () => (await state(article)) === want, seconds);

// They wait more than they work, so some run at the same time. Each has a browser and cases of its own.
describe("the page", { concurrency: 3 }, () => {

test("a form becomes documents", async (t) => {
  const page = await open(t, await launch(t), base);
  await accessible(page, "the empty page");
  const article = await submit(page);
  assert.match(await article.getByRole("heading").textContent(), NAME);
  await until("progress is shown", async () => { const p = await percent(article); return p > 0 && p < 100; });
  await until("the document being made is named", async () => /Now: .+/.test(await article.textContent()));
  await accessible(page, "a running case");
  const address = page.url();

  await page.reload(); // in the middle
  assert.equal(page.url(), address);
  await ends(article, "succeeded");
  assert.match(await article.textContent(), /3 of 3 documents are ready\./);
  await accessible(page, "a case that is done");

  const opened = page.waitForEvent("popup");
  await article.getByRole("link", { name: /^Special interrogatories/ }).click();
  const document = await opened;
  await document.waitForLoadState();
  assert.match(await document.textContent("body"), /interrogator/i);
  await document.close();

  const before = page.requests.length;
  await page.waitForTimeout(15_000);
  assert.deepEqual(page.requests.slice(before), [], "it asks on after the end");
  assert.deepEqual(page.complaints, []);

  // The address alone shows the same, in another browser too, and asks no more than it must.
  const other = await open(t, page.context().browser(), address);
  await ends(other.getByRole("article").first(), "succeeded", 10);
  const settled = other.requests.length;
  await other.waitForTimeout(5_000);
  assert.equal(other.requests.length, settled);
});

test("the form is what the form frontend sends", async (t) => {
  const page = await open(t, await launch(t), base);
  let sent;
  await page.route("**/start", async (route) => { sent = route.request().postDataJSON(); await route.abort(); });
  await unfold(page);
  await page.getByRole("button", { name: "Remove plaintiff 3", exact: true }).click();
  await page.getByRole("button", { name: "Remove defendant 2", exact: true }).click();
  await page.getByLabel("Bedbugs").check();
  await page.getByRole("button", { name: "Submit the case" }).click();
  await until("it is sent", () => sent);
  const issues = { VerminIssue: true, Vermin: ["Rats/Mice"], InsectIssues: true, Insects: ["Roaches", "Bedbugs"] };
  const plaintiff = (n, First, head) => ({
    Id: `p${n}`, ItemNumber: n, HeadOfHousehold: head, PlaintiffItemNumberName: { First, Last: "Alvarez", FirstAndLast: `${First} Alvarez` },
    PlaintiffItemNumberType: "Individual", PlaintiffItemNumberAgeCategory: ["Adult"], PlaintiffItemNumberDiscovery: issues,
  });
  assert.deepEqual(sent, { // without what only the sample pipeline knows
    Form: { Id: "1", InternalName: "local-page", Name: "Alvarez et al. v. Linden Street Properties" },
    PlaintiffDetails: [plaintiff(1, "Maria", true), plaintiff(2, "Daniel", false)],
    DefendantDetails2: [{
      Id: "d1", ItemNumber: 1, DefendantItemNumberName: { First: "", Last: "Linden Street Properties", FirstAndLast: "Linden Street Properties" },
      DefendantItemNumberType: "LLC", DefendantItemNumberManagerOwner: "Owner",
    }],
    Full_Address: { StreetAddress: "1420 Linden Street, Apt. 3", Line1: "1420 Linden Street, Apt. 3", City: "Oakland", State: "CA", PostalCode: "94607" },
    "Filing city": "Oakland", "Filing county": "Alameda", document_types: ["srogs", "pods", "admissions"],
  });
});

test("dispatches that fail are told in words, until one does not", async (t) => {
  const page = await open(t, await launch(t), base);
  let state = "pending", dispatch, version = 1, reads = 0;
  await page.route("**/status/fixture?*", async (route) => {
    const common = { case_id: "fixture", run: 1, state, stalled: false, eta_seconds: null };
    if (route.request().resourceType() === "eventsource") {
      const data = JSON.stringify({ ...common, jobId: "fixture", current: 0, total: 0, percent: 0, message: "waiting for the pipeline to begin" });
      return route.fulfill({ contentType: "text/event-stream", body: `retry: 500\n\nevent: progress\nid: 1.${version}\ndata: ${data}\n\n` });
    }
    reads++;
    const progress = { completed: 0, total: 0, percent: 0, current: "" };
    return route.fulfill({ json: { ...common, progress, version, end: null, documents: null, result: null, output_url: null, dispatch } });
  });
  await page.goto(`${base}/#case=fixture~token~Alvarez`);
  const notice = page.getByRole("article").locator("[data-slot=notice]");
  await until("it is read once", () => reads > 0); // of a service that says nothing of dispatches
  assert.equal(await notice.isVisible(), false);
  dispatch = { attempts: 2, failures: 2, last_error: "connection refused" };
  await until("it says so", async () => await notice.isVisible() && /has failed 2 times: “Connection refused\.” It is tried again\./.test(await notice.textContent()));
  await accessible(page, "a case that cannot be handed over");
  await shot(page, "page-dispatch-fails");
  [state, version] = ["running", 2];
  await until("it no longer says so", async () => !await notice.isVisible());
  assert.equal(await page.getByRole("article").getAttribute("data-state"), "running");
  const before = reads;
  await page.waitForTimeout(10_000);
  assert.equal(reads, before, "it is read on, though it runs");
});

test("a reload while a form is on its way", async (t) => {
  const page = await open(t, await launch(t), base);
  const started = [];
  let answered = false;
  await page.route("**/start", async (route) => {
    const response = await route.fetch();
    started.push((await response.json()).case_id);
    if (answered) await route.fulfill({ response });
    // else the answer never comes
  });
  await page.getByRole("button", { name: "Submit the case" }).click();
  await until("it is started", () => started.length === 1);
  assert.equal(await page.getByRole("article").count(), 0);
  answered = true;
  await page.reload();
  const article = page.getByRole("article");
  await until("it is on the page", async () => (await article.count()) === 1);
  assert.deepEqual(started, [started[0], started[0]], "another case was started");
  await article.getByRole("button", { name: "Cancel" }).click();
  await ends(article, "cancelled", 10);
  await page.reload();
  await ends(article, "cancelled", 10);
  assert.equal(started.length, 2, "it was sent again");
});

test("away to another page, and back", async (t) => {
  const page = await open(t, await launch(t), base);
  const article = await submit(page, { keep: 2, mode: "async" });
  const was = await until("it moves", () => percent(article));
  await page.goto(`${base}/console`);
  await page.goBack();
  await until("it moves on", async () => await state(article) === "succeeded" || await percent(article) > was);
  await ends(article, "succeeded");
});

test("ten seconds without a network", async (t) => {
  const way = await wire(t);
  const page = await open(t, await launch(t), way.url);
  const article = await submit(page, { keep: 2, mode: "async" });
  const was = await until("it moves", () => percent(article));
  way.cut();
  await until("it says so", async () => /Trying again/.test(await article.textContent()));
  assert.equal(await state(article), "running", "no network is no end");
  await page.waitForTimeout(8_000);
  assert.ok(await percent(article) >= was);
  way.mend();
  await ends(article, "succeeded");
  assert.doesNotMatch(await article.textContent(), /Trying again/);
});

test("a proxy that holds everything back", async (t) => {
  const proxy = await buffering(t);
  const page = await open(t, await launch(t), proxy.url);
  const article = await submit(page, { keep: 2, mode: "async" });
  await until("progress comes through", async () => { const p = await percent(article); return p > 0 && p < 100; });
  assert.equal(proxy.held(), 0, "the stream is still open");
  await ends(article, "succeeded");
});

test("a case is begun anew while it is watched", async (t) => {
  const page = await open(t, await launch(t), base);
  const article = await submit(page, { keep: 2, mode: "async" });
  await until("it moves", () => percent(article));
  const [id] = (await article.locator("code").first().textContent()).split(",");
  const seen = new Set();
  const { run } = await post({ case_id: id, document_types: ["srogs"], sample: { mode: "async" } }, "?supersede=true");
  assert.equal(run, 2);
  await until("the page goes on with run 2", async () => { seen.add(await state(article)); return /run 2/.test(await article.textContent()); });
  await until("it ends", async () => { seen.add(await state(article)); return await state(article) === "succeeded"; });
  assert.ok(!seen.has("cancelled") && !seen.has("failed"), `it was ${[...seen]}`);
});

test("a case is cancelled, and run again", async (t) => {
  const page = await open(t, await launch(t), base);
  const article = await submit(page, { keep: 2, mode: "async" });
  await until("it moves", () => percent(article));
  await article.getByRole("button", { name: "Cancel" }).click();
  await ends(article, "cancelled", 10);
  assert.match(await article.textContent(), /It was cancelled\./);
  await article.getByRole("button", { name: "Run again" }).click();
  await until("run 2 is followed", async () => /run 2/.test(await article.textContent()));
  await until("it moves", () => percent(article));
  await article.getByRole("button", { name: "Cancel" }).click();
  await ends(article, "cancelled", 10);
});

test("an EventSource of a finished case stays closed", async (t) => {
  const { status_url: url } = await post({ document_types: ["srogs"] });
  await until("it ends", async () => (await (await fetch(url)).json()).ended_at, 20);
  const page = await open(t, await launch(t), base);
  const seen = await page.evaluate((url) => new Promise((done) => {
    const source = new EventSource(url);
    const events = [];
    for (const type of ["progress", "complete", "error"]) {
      source.addEventListener(type, (e) => events.push([type, e.data === undefined ? "lost" : JSON.parse(e.data).state ?? "end", source.readyState]));
    }
    setTimeout(() => done({ events, state: source.readyState }), 10_000);
  }), url);
  // Ours; the browser's word that the stream was closed, before it comes back; and the one that it is closed for good, by 204.
  assert.deepEqual(seen, { events: [["complete", "end", 1], ["error", "lost", 0], ["error", "lost", 2]], state: 2 });
  assert.equal(page.requests.filter((r) => r.endsWith(url)).length, 2, page.requests.join("\n"));
});

test("an EventSource of a running case comes back after the planned end of a stream, and can tell it from an end", async (t) => {
  const { status_url: url } = await post({ sample: { mode: "async", fault: "hang", at: 1 } });
  const page = await open(t, await launch(t), base);
  const seen = await page.evaluate((url) => new Promise((done) => {
    const source = new EventSource(url);
    const ids = [], errors = [];
    source.addEventListener("progress", (e) => ids.push(e.lastEventId));
    source.addEventListener("error", (e) => {
      errors.push(e.data === undefined ? "lost" : JSON.parse(e.data).code);
      if (e.data !== undefined) { source.close(); done({ ids, errors }); }
    });
  }), url);
  assert.ok(seen.errors.length > 1 && seen.errors.slice(0, -1).every((e) => e === "lost") && seen.errors.at(-1) === "deadline", seen.errors.join());
  const versions = seen.ids.map((id) => Number(id.split(".")[1]));
  assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b), "an id came twice, or an older one");
});

test("how it looks", async (t) => {
  const browser = await launch(t);
  const forms = [{ document_types: ["srogs"] }, { document_types: ["srogs"], sample: { fault: "refuse" } }, { sample: { mode: "async", fault: "hang", at: 1 } }];
  const cases = await Promise.all(forms.map((form) => post({ ...form, PlaintiffDetails: [{ FirstName: "Maria", LastName: "Alvarez" }], DefendantDetails2: [{ LastName: "Linden Street Properties" }] })));
  const fragment = cases.map(({ case_id, status_url }, n) => `case=${encodeURIComponent(`${case_id}~${new URL(status_url).searchParams.get("token")}~Alvarez v. Linden Street Properties (${n + 1})`)}`).join("&");
  for (const [size, viewport] of [["desktop", { width: 1280, height: 1000 }], ["phone", { width: 360, height: 740 }]]) {
    for (const colorScheme of ["light", "dark"]) {
      const where = `page-${size}-${colorScheme}`;
      const page = await open(t, browser, `${base}/#${fragment}`, { viewport, colorScheme });
      await until("all are shown", async () => (await page.locator("article[data-state=succeeded]").count()) === 1 && (await page.locator("article[data-state=failed]").count()) === 1);
      await until("one has stalled or ended", async () => /Stalled|deadline/.test(await page.textContent("#cases")), 15);
      await accessible(page, where);
      await noSideways(page, where);
      await shot(page, where);
      await page.context().close();
    }
  }
});

test("a running case is in view without scrolling, and a failed one says what to do", async (t) => {
  const browser = await launch(t);
  for (const viewport of [{ width: 1280, height: 720 }, { width: 360, height: 740 }]) {
    const page = await open(t, browser, base, { viewport });
    await page.getByRole("button", { name: "Submit the case" }).click();
    const article = page.getByRole("article");
    await article.waitFor();
    await until("it runs", async () => (await state(article)) === "running");
    await page.evaluate(() => scrollTo(0, 0));
    const { y, height } = await article.boundingBox();
    assert.ok(y >= 0 && y + height <= viewport.height, `the case is from ${y} to ${y + height} in a window of ${viewport.height}`);
    await shot(page, `page-running-${viewport.width}`);
    await article.getByRole("button", { name: "Cancel" }).click();
  }
  const page = await open(t, browser, base);
  const article = await submit(page, { fault: "refuse" });
  await ends(article, "failed");
  assert.match(await article.textContent(), /did not accept the form\..*Correct the form and submit it/);
});

test("by keyboard alone", async (t) => {
  const page = await open(t, await launch(t), base);
  const focused = () => page.evaluate(() => [document.activeElement?.tagName, document.activeElement?.textContent?.trim() ?? ""].join(" "));
  await until("the button is reached", async () => { await page.keyboard.press("Tab"); return /^BUTTON Submit the case/.test(await focused()); }, 20);
  await page.keyboard.press("Enter");
  await until("the case has the focus", async () => /^ARTICLE/.test(await focused()));
  await until("its button is reached", async () => { await page.keyboard.press("Tab"); return /^BUTTON Cancel/.test(await focused()); }, 10);
  await page.keyboard.press("Enter");
  await ends(page.getByRole("article").first(), "cancelled", 10);
});

});
