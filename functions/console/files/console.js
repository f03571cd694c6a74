// Keeps the page up to date. While the page is visible, the script requests its address every few
// seconds and replaces the parts that changed. It stops at the end of a run and at any error.

const seconds = () => Number(document.body.dataset.refresh);
const live = document.getElementById("live");
let timer;
let reading;

function schedule() {
  clearTimeout(timer);
  if (seconds() > 0 && !document.hidden) timer = setTimeout(read, seconds() * 1000);
}

async function read() {
  reading?.abort();
  reading = new AbortController();
  const { signal } = reading;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" },
      cache: "no-store",
      redirect: "error",
      signal,
    });
    if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    schedule();
  } catch (error) {
    if (signal.aborted) return; // the page was hidden or left
    delete document.body.dataset.refresh;
    live.textContent = `The page is no longer updated: ${error.message}. Reload it to continue.`;
  }
}

function show(fresh) {
  const state = document.getElementById("now")?.dataset.state;
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const here = document.getElementById(part.id);
    if (!here) document.getElementById("main").append(document.adoptNode(part));
    else if (here.innerHTML !== part.innerHTML) replace(here, part);
  }
  document.querySelector("footer p")?.replaceWith(document.adoptNode(fresh.querySelector("footer p")));
  const now = fresh.body.dataset.refresh;
  if (now) document.body.dataset.refresh = now;
  else delete document.body.dataset.refresh;
  const next = document.getElementById("now")?.dataset.state;
  if (next !== state) live.textContent = `The run is now ${next.replace("_", " ")}.`;
}

// replace replaces a part. It keeps open details open and the focus where it was.
function replace(here, part) {
  for (const open of here.querySelectorAll("details[open][id]")) {
    part.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
  if (here.innerHTML === part.innerHTML) return;
  const focused = here.contains(document.activeElement) ? document.activeElement : null;
  const same = (e) =>
    e.tagName === focused.tagName &&
    e.getAttribute("href") === focused.getAttribute("href") &&
    e.textContent === focused.textContent;
  const fresh = document.adoptNode(part);
  here.replaceWith(fresh);
  if (focused)
    [...fresh.querySelectorAll("a, button, summary, pre")].find(same)?.focus({ preventScroll: true });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    reading?.abort();
  } else if (seconds() > 0) {
    read();
  }
});
addEventListener("pagehide", () => {
  clearTimeout(timer);
  reading?.abort();
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) schedule();
});
schedule();
