// Each fault of the sample pipeline ends in words that a person understands. All are watched at once, on one page.

import assert from "node:assert/strict";
import test from "node:test";

import { accessible, base, launch, open, shot, unfold, until } from "./lib.mjs";

const FAULTS = [
  // mode, fault, state at the end, text at the end
  ["sync", "", "succeeded", /3 of 3 documents are ready\./],
  ["sync", "fail", "failed", /The pipeline gave up\. “document generation failed after 1 of 3 documents\.”/i],
  ["async", "fail_event", "failed", /The pipeline gave up\./],
  ["sync", "some_fail", "succeeded", /2 of 3 documents are ready; 1 failed\./],
  ["sync", "none_succeed", "failed", /The pipeline finished, but made no document\./],
  ["sync", "hang", "timed_out", /The deadline passed before it was done\./],
  ["sync", "forget", "failed", /The pipeline no longer knows the case\./],
  ["silent", "stop_short", "timed_out", /The deadline passed before it was done\./],
  ["sync", "reset", "succeeded", /Done, according to its progress\. The pipeline sent no result\./],
  ["sync", "refuse", "failed", /The pipeline did not accept the form\./],
  ["sync", "busy", "succeeded", /3 of 3 documents are ready\./],
  ["sync", "error500", "failed", /It is not known whether the pipeline started\. It has not reported anything\./],
  ["sync", "not_json", "succeeded", /Done, according to its progress\. The pipeline sent no result\./],
  ["async", "slow_progress", "succeeded", /3 of 3 documents are ready\./],
  ["async", "down", "succeeded", /3 of 3 documents are ready\./],
  ["silent", "", "succeeded", /Done, according to its progress\. The pipeline sent no result\./],
];

test("every fault ends in words", async (t) => {
  const page = await open(t, await launch(t), base);
  const chosen = await page.getByLabel("What goes wrong").locator("option").evaluateAll((all) => all.map((o) => o.value));
  assert.deepEqual(chosen.filter((fault) => !FAULTS.some(([, f]) => f === fault)), [], "a fault of the page is not tried");

  await unfold(page);
  for (const [kind, n] of [["plaintiff", 3], ["plaintiff", 2], ["defendant", 2]]) await page.getByRole("button", { name: `Remove ${kind} ${n}`, exact: true }).click();
  const articles = [];
  for (const [mode, fault] of FAULTS) {
    await page.getByLabel("It reports the end").selectOption(mode);
    await page.getByLabel("What goes wrong").selectOption(fault);
    await page.getByLabel("After how many documents").fill("1");
    await page.getByRole("button", { name: "Submit the case" }).click();
    await until(`${fault} is on the page`, async () => (await page.getByRole("article").count()) === articles.length + 1);
    const id = await page.getByRole("article").first().getAttribute("aria-labelledby");
    articles.push(page.locator(`article[aria-labelledby="${id}"]`));
  }
  let stalled = false;
  await until("all have ended", async () => {
    stalled ||= /Stalled: its progress has not moved for a while/.test(await page.textContent("#cases"));
    return (await page.locator("article[data-state=pending], article[data-state=running]").count()) === 0;
  }, 90);
  assert.ok(stalled, "no stall was shown");
  for (const [n, [mode, fault, state, says]] of FAULTS.entries()) {
    await t.test(`${mode} ${fault || "well"}`, async () => {
      assert.equal(await articles[n].getAttribute("data-state"), state);
      assert.match(await articles[n].textContent(), says);
      assert.equal(await articles[n].getByRole("button", { name: "Run again" }).isVisible(), true);
    });
  }
  await accessible(page, "many cases");
  await shot(page, "faults");
  const before = page.requests.length;
  await page.waitForTimeout(15_000);
  assert.deepEqual(page.requests.slice(before), [], "it asks on after the end");
});
