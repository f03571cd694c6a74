// The page that functions/README.md shows, served at an origin of its own.

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import test from "node:test";

import { base, launch, open } from "./lib.mjs";

const origin = process.env.ORIGIN; // one of ALLOWED_ORIGINS

test("the page of the reference starts a case and follows it to its end", async (t) => {
  const reference = fs.readFileSync(new URL("../../../functions/README.md", import.meta.url), "utf8");
  const [, html] = reference.match(/```html\n([^]*?)```/);
  const server = http.createServer((request, answer) => {
    answer.writeHead(200, { "Content-Type": "text/html" }).end(html.replaceAll("http://localhost:8080", base));
  });
  t.after(() => { server.closeAllConnections(); server.close(); });
  await new Promise((listening) => server.listen(new URL(origin).port, "127.0.0.1", listening));

  const page = await open(t, await launch(t), origin);
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByText(/^Ready: http/).waitFor();
  assert.equal(await page.locator("#bar").evaluate((bar) => bar.value), 100);
  assert.deepEqual(page.complaints, []);
});
