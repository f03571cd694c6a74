// What the tests of the pages share: a browser, ways between it and the program that can be broken, and axe.

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { chromium } from "playwright-core";

export const base = process.env.CASEWATCH;
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** launch starts Chromium, which ends with the test. Nothing of it asks the network for anything but the pages. */
export async function launch(t) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
  t.after(() => browser.close());
  return browser;
}

/** open opens a page and records what it asks for, and what it complains of. */
export async function open(t, browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.requests = [];
  page.complaints = [];
  // The icon is the browser's own wish, whenever it has time.
  page.on("request", (r) => { if (!r.url().endsWith("/icon.svg")) page.requests.push(`${r.method()} ${r.url()}`); });
  page.on("pageerror", (e) => page.complaints.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error") page.complaints.push(m.text()); });
  await page.goto(url);
  return page;
}

/** unfold opens the parts of the form that are folded. */
export async function unfold(page) {
  await page.evaluate(() => document.querySelectorAll("#form details").forEach((fold) => { fold.open = true; }));
}

/** until waits for a condition, at most that many seconds. */
export async function until(what, holds, seconds = 30) {
  for (const end = Date.now() + seconds * 1000; ;) {
    const is = await holds();
    if (is) return is;
    assert.ok(Date.now() < end, `${what}: not within ${seconds} s`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** accessible wants axe to find nothing, by the rules of WCAG 2.1 AA and its best practices. */
export async function accessible(page, where) {
  // The page's policy allows no script of ours: axe comes in by the debugger, as a reader's own tool does.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`), [], where);
}

/** noSideways wants nothing to be wider than the window. */
export async function noSideways(page, where) {
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= width, `${where}: ${content} px wide in a window of ${width}`);
}

/** shot keeps a picture for people, if SCREENSHOTS names a folder. */
export async function shot(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}

/** post starts a case as a form frontend does. */
export async function post(form, query = "") {
  const response = await fetch(`${base}/start${query}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(form) });
  assert.ok(response.ok, `start: ${response.status}`);
  return response.json();
}

async function listen(t, server) {
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => { server.closeAllConnections?.(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

/** wire is a way to the program that can be cut: every connection breaks, and none is made until it is mended. */
export async function wire(t) {
  const to = new URL(base);
  const sockets = new Set();
  let cut = false;
  const server = net.createServer((near) => {
    if (cut) return near.destroy();
    const far = net.connect(to.port, to.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on("error", () => {}).on("close", () => { sockets.delete(one); other.destroy(); }).pipe(other);
    }
  });
  t.after(() => sockets.forEach((s) => s.destroy()));
  const url = await listen(t, server);
  return { url, cut: () => { cut = true; sockets.forEach((s) => s.destroy()); }, mend: () => { cut = false; } };
}

/** buffering is a proxy as there are: it passes an answer on when it is whole. */
export async function buffering(t) {
  const to = new URL(base);
  let held = 0;
  const server = http.createServer((request, answer) => {
    const onward = http.request({ host: to.hostname, port: to.port, method: request.method, path: request.url, headers: request.headers }, (response) => {
      const parts = [];
      const stream = (response.headers["content-type"] ?? "").startsWith("text/event-stream");
      if (stream) held++;
      response.on("data", (part) => parts.push(part));
      response.on("end", () => answer.writeHead(response.statusCode, response.headers).end(Buffer.concat(parts)));
      response.on("error", () => answer.destroy());
      response.on("close", () => { if (stream) held--; });
    });
    onward.on("error", () => answer.destroy());
    answer.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  return { url: await listen(t, server), held: () => held };
}
