// Takes the pictures of the README from the real pages: `make pictures`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const pictures = path.join(root, "deploy/docs/pictures");
const maxBytes = 100_000; // they are in the repository for ever, and a reader waits for them

/** freePort returns a port on which nothing listens. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** run starts the local program and returns once it answers. */
async function run(port, dataDir) {
  const env = { ...process.env, PORT: String(port), DATA_DIR: dataDir };
  const program = spawn(path.join(root, "bin/local"), { env, stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((ready, failed) => {
    program.once("exit", (code) => failed(new Error(`bin/local ended with ${code}`)));
    program.stdout.on("data", (text) => { if (String(text).includes("ready ")) ready(); });
  });
  return program;
}

/** submit sends the form as it is and returns the article of the new case. */
async function submit(page) {
  const before = await page.getByRole("article").count();
  await page.getByRole("button", { name: "Submit the case" }).click();
  await page.getByRole("article").nth(before).waitFor();
  return page.getByRole("article").first();
}

const state = (article, want) => article.and(article.page().locator(`[data-state=${want}]`)).waitFor({ timeout: 60_000 });

async function take(page, name) {
  const file = path.join(pictures, `${name}.png`);
  await page.screenshot({ path: file, animations: "disabled" });
  const { size } = fs.statSync(file);
  assert.ok(size <= maxBytes, `${file} has ${size} bytes, more than ${maxBytes}`);
  console.log(`${file}: ${size} bytes`);
}

const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), "casewatch-pictures-"));
const port = await freePort();
const program = await run(port, dataDir);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
try {
  fs.mkdirSync(pictures, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 1180, height: 580 }, colorScheme: "light" });
  await page.goto(`http://127.0.0.1:${port}/`);

  await page.getByText("Change the form").click();
  for (const kind of ["plaintiff 3", "plaintiff 2", "defendant 2"]) {
    await page.getByRole("button", { name: `Remove ${kind}`, exact: true }).click();
  }
  await state(await submit(page), "succeeded");

  await page.reload(); // the form is as it was at first, and folded; the case stays
  const running = await submit(page);
  await running.getByText(/^[5-9] of 18 documents/).waitFor({ timeout: 60_000 });
  await page.evaluate(() => scrollTo(0, 0));
  await take(page, "page");

  const id = (await running.textContent()).match(/[0-9a-f-]{32,36}/)[0];
  await state(running, "succeeded");
  await page.setViewportSize({ width: 920, height: 900 });
  await page.goto(`http://127.0.0.1:${port}/console/${id}`);
  await page.locator("#picture").waitFor();
  await take(page, "console");
} finally {
  await browser.close();
  program.removeAllListeners("exit");
  program.kill("SIGTERM");
  fs.rmSync(dataDir, { recursive: true, force: true });
}
