// The console, with and without JavaScript.

import assert from "node:assert/strict";
import test from "node:test";

import { accessible, base, launch, noSideways, open, post, shot, until } from "./lib.mjs";

const running = () => post({ PlaintiffDetails: [{ LastName: "A" }, { LastName: "B" }, { LastName: "C" }], sample: { mode: "async", fault: "hang", at: 1 } });
const stateOf = async (url) => (await (await fetch(url)).json()).state;

test("it finds a case, shows it and cancels it", async (t) => {
  const { case_id: id, status_url } = await running();
  const page = await open(t, await launch(t), `${base}/console`);
  await page.getByLabel("Case id").fill(id);
  await page.getByRole("button", { name: "Find" }).click();
  await page.getByRole("heading", { name: id, level: 1 }).waitFor();
  await until("it refreshes itself", async () => /the pipeline works on it/i.test(await page.locator("#timeline").textContent()));
  await accessible(page, "a running case");

  await page.getByText("Cancel this run…").click();
  await page.getByRole("button", { name: "Cancel run 1" }).click();
  await until("it says that it is cancelled", async () => (await page.locator("#now").getAttribute("data-state")) === "cancelled");
  assert.equal(await stateOf(status_url), "cancelled");
  await accessible(page, "a cancelled case");

  await page.getByRole("button", { name: "Run again" }).click();
  await page.getByRole("heading", { name: /^Run 2/ }).waitFor();
  await page.getByText("Cancel this run…").click();
  await page.getByRole("button", { name: "Cancel run 2" }).click();
  await until("run 2 is cancelled", async () => (await page.locator("#now").getAttribute("data-state")) === "cancelled");
  assert.deepEqual(page.complaints, []);

  const before = page.requests.length;
  await page.waitForTimeout(12_000);
  assert.deepEqual(page.requests.slice(before), [], "it asks on after the end");
});

test("the picture of a run tells the detail of a mark, by keyboard and without JavaScript", async (t) => {
  const { case_id: id } = await running();
  await until("a mark says that it runs", async () => /The pipeline works on it/.test(await (await fetch(`${base}/console/${id}`)).text()));
  const page = await open(t, await launch(t), `${base}/console/${id}`, { javaScriptEnabled: false });
  const picture = page.getByRole("group", { name: "Picture of run 1" });
  const said = () => picture.evaluate((svg) => [...svg.querySelectorAll(".mark .says")].filter((p) => getComputedStyle(p).visibility === "visible").map((p) => p.textContent));
  assert.deepEqual(await said(), []);
  const mark = picture.getByRole("link", { name: /Sent to the pipeline/ });
  await mark.locator(".ring").hover();
  assert.match((await said()).join(), /^[\d:.]+\. Sent to the pipeline, by the request to the pipeline\. attempt 1$/);
  await page.mouse.move(0, 0);

  await picture.getByRole("link", { name: /^Deadline in/ }).focus();
  assert.match((await said()).join(), /^Deadline in .*An open run ends then\.$/);
  await until("the tab key reaches the mark", async () => { await page.keyboard.press("Tab"); return /Sent to the pipeline/.test((await said()).join()); }, 10);
  await page.keyboard.press("Enter");
  await until("its row is the target", async () => /Sent to the pipeline/.test(await page.locator("tr:target").textContent()), 5);
  assert.match((await picture.getByRole("link", { name: /^Next poll/ }).getAttribute("aria-label")), /, at .* UTC: .+\.$/);
});

test("it works without JavaScript", async (t) => {
  const { case_id: id, status_url } = await running();
  const page = await open(t, await launch(t), `${base}/console/`, { javaScriptEnabled: false });
  await page.getByRole("link", { name: `${id}, run 1` }).click();
  await page.getByRole("heading", { name: id, level: 1 }).waitFor();
  await page.getByText("Cancel this run…").click();
  await page.getByRole("button", { name: "Cancel run 1" }).click();
  await page.getByRole("button", { name: "Run again" }).waitFor();
  assert.equal(await stateOf(status_url), "cancelled");
  await page.getByRole("link", { name: "Cases", exact: true }).click();
  await page.getByLabel("State", { exact: true }).selectOption("cancelled");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByRole("link", { name: `${id}, run 1` }).waitFor();
  await page.getByLabel("Case id").fill("nobody");
  await page.getByRole("button", { name: "Find" }).click();
  assert.match(await page.textContent("main"), /there is no case nobody/);
});

test("in health there is nothing to repair", async (t) => {
  const page = await open(t, await launch(t), `${base}/console/-/health`);
  assert.match(await page.textContent("main"), /All is well/);
  for (const finding of ["Overdue", "Leaked", "Unpublished"]) assert.equal(await page.getByRole("row", { name: new RegExp(`^${finding}`) }).locator("strong").textContent(), "0");
  await accessible(page, "health");
});

test("a case says what it will say, whatever is in it", async (t) => {
  const { case_id: id } = await post({ Form: { Name: "<img src=x onerror=alert(1)>" }, PlaintiffDetails: [{ LastName: "<script>document.title='in'</script>" }], document_types: ["srogs"] });
  const page = await open(t, await launch(t), `${base}/console/${id}`);
  await until("it ends", async () => (await page.locator("#now").getAttribute("data-state")) === "succeeded");
  await page.getByText("The pipeline's result").click();
  assert.match(await page.locator("#result-text pre").textContent(), /u003cscript/);
  assert.match(await page.title(), /console/);
  assert.deepEqual(page.complaints, []);
});

test("how it looks", async (t) => {
  const browser = await launch(t);
  const { case_id: id, status_url } = await post({ document_types: ["srogs"], sample: { fault: "some_fail" } });
  await until("it ends", async () => (await stateOf(status_url)) === "succeeded");
  const { case_id: failed } = await post({ sample: { fault: "refuse" } });
  await running();
  for (const [size, viewport] of [["desktop", { width: 1280, height: 1000 }], ["phone", { width: 360, height: 740 }]]) {
    for (const colorScheme of ["light", "dark"]) {
      for (const [name, path] of [["list", ""], ["case", id], ["failed", failed], ["health", "-/health"], ["error", "nobody"]]) {
        const where = `console-${name}-${size}-${colorScheme}`;
        const page = await open(t, browser, `${base}/console/${path}`, { viewport, colorScheme });
        await accessible(page, where);
        await noSideways(page, where);
        await shot(page, where);
        await page.context().close();
      }
    }
  }
});
