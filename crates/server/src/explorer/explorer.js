// Searches the routes of the page, and sends requests to the server that it came from. The page is whole without it.

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** Most of an answer that is shown. */
const MOST = 256 * 1024;

// Searching.

const filter = one("#filter");
filter.hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const section of all("main section")) {
    const routes = all(".route", section);
    for (const route of routes) {
      const text = one("summary", route).textContent.toLowerCase();
      route.hidden = !words.every((word) => text.includes(word));
    }
    section.hidden = routes.every((route) => route.hidden);
  }
});

// A link to a route opens it.

function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.matches("details")) target.open = true;
}
addEventListener("hashchange", open);
open();

// Trying.

const shared = one("#with");
shared.hidden = false;
shared.addEventListener("submit", (event) => event.preventDefault());

for (const form of all("form.try")) {
  form.hidden = false;
  let sent = new AbortController();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // An answer that has no end is over with the next request.
    sent.abort();
    sent = new AbortController();
    send(form, sent.signal);
  });
}

function request(form, signal) {
  let path = form.dataset.path.replace("{project_id}", encodeURIComponent(shared.project_id.value.trim()));
  const query = new URLSearchParams();
  for (const input of all("input", form)) {
    const value = input.value.trim();
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(value));
    else if (value) query.set(input.name, value);
  }
  const headers = {};
  const token = shared.token.value.trim();
  if (token) headers.Authorization = `OAuth ${token}`;
  const area = one("textarea", form);
  if (area && area.dataset.type !== "*/*") headers["Content-Type"] = area.dataset.type;
  const { method } = form.dataset;
  const options = { method, headers, signal, body: area?.value, credentials: "omit" };
  return [query.size ? `${path}?${query}` : path, options];
}

async function send(form, signal) {
  const output = one("output", form);
  const [head, body] = [one("strong", output), one("pre", output)];
  output.hidden = false;
  const say = (text, failed) => {
    head.textContent = text;
    output.classList.toggle("failed", failed);
  };
  if (form.dataset.path.includes("{project_id}") && !shared.project_id.value.trim()) {
    body.textContent = "";
    say("Name the project at the top of the page.", true);
    shared.project_id.focus();
    return;
  }
  body.textContent = "";
  say("…", false);
  try {
    const answer = await fetch(...request(form, signal));
    say(`${answer.status} ${answer.statusText}`, !answer.ok);
    const decoder = new TextDecoder();
    let text = "";
    for (let reader = answer.body.getReader(); text.length < MOST; ) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      body.textContent = text;
    }
    if (answer.headers.get("content-type")?.includes("json")) body.textContent = indented(text);
  } catch (error) {
    if (error.name !== "AbortError") say(`no answer: ${error.message}`, true);
  }
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
