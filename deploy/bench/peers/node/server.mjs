// The pattern that Casewatch replaces: a Node server with a setInterval of two seconds for each
// case. It saves each reading as a whole row. The answer to its open request, an event, or the
// progress reports the end. It listens at PORT, and uses the pipeline at PIPELINE_API_URL and
// PostgreSQL at PGHOST.
import http from "node:http";
import pg from "pg";

const { PORT, PIPELINE_API_URL } = process.env;
const pool = new pg.Pool();
await pool.query(`CREATE TABLE cases (
  id text PRIMARY KEY, form jsonb NOT NULL, status text NOT NULL,
  completed integer NOT NULL DEFAULT 0, total integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz)`);

const timers = new Map();

const update = "UPDATE cases SET status = $2, completed = $3, total = $4, ended_at = $5 WHERE id = $1";
const save = (id, status, completed, total, endedAt) => pool.query(update, [id, status, completed, total, endedAt]);

async function end(id) {
  clearInterval(timers.get(id));
  timers.delete(id);
  await save(id, "succeeded", 30, 30, new Date());
}

async function poll(id) {
  const answer = await fetch(`${PIPELINE_API_URL}/api/progress/${id}`);
  if (!answer.ok) return;
  const progress = await answer.json();
  if (progress.status === "succeeded") await end(id);
  else await save(id, "processing", progress.completed, progress.total, null);
}

async function follow(id, form) {
  timers.set(id, setInterval(() => poll(id).catch(console.error), 2000));
  const answer = await fetch(`${PIPELINE_API_URL}/api/normalize`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: form,
  });
  await answer.text();
  if (answer.status === 200) await end(id);
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function handle(request, response) {
  const text = await body(request);
  const { case_id: id } = JSON.parse(text);
  if (request.url === "/start") {
    await pool.query("INSERT INTO cases (id, form, status) VALUES ($1, $2, 'processing')", [id, text]);
    follow(id, text).catch(console.error);
    response.writeHead(202).end();
  } else {
    await end(id);
    response.writeHead(204).end();
  }
}

http
  .createServer((request, response) =>
    handle(request, response).catch((error) => {
      console.error(error);
      response.writeHead(503).end();
    }),
  )
  .listen(Number(PORT), "127.0.0.1");
