// Makes pages live. Each works without it: this follows the page's event stream, fetches the page anew when told to,
// and swaps the parts marked `data-live`; it goes on with the log; and it adds keys, copying and local times.

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const offline = document.querySelector(".offline");
const MOST_LINES = 10000;

// Times: how long ago, kept true; the instant in the reader's zone for whoever points at it.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function words(at) {
  const seconds = Math.trunc((Date.now() - at) / 1000);
  const [size, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size) ?? [1, ""];
  if (!unit) return "just now";
  const span = `${Math.trunc(Math.abs(seconds) / size)} ${unit}`;
  return seconds > 0 ? `${span} ago` : `in ${span}`;
}
function tellTimes(within = document) {
  for (const time of all("time", within)) {
    const at = new Date(time.dateTime);
    const text = words(at);
    if (time.textContent !== text) time.textContent = text;
    time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
}

// Swapping: what is ticked, opened or being typed into stays as it is.
function swap(fresh) {
  for (const part of all("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!other || part.querySelector(":scope input:focus, :scope textarea:focus")) continue;
    const ticked = new Set(all("input[type=checkbox]:checked", part).map((box) => box.name + box.value));
    const open = all("details", part).map((details) => details.open);
    const here = part.querySelector("tr.here")?.dataset.row;
    tellTimes(other);
    if (part.innerHTML === other.innerHTML) continue;
    for (const box of all("input[type=checkbox][name=id]", other)) box.checked = ticked.has(box.name + box.value);
    for (const box of all(".pill input", other)) box.checked = ticked.has(box.name + box.value);
    all("details", other).forEach((details, at) => { details.open = open[at] ?? false; });
    part.replaceChildren(...other.childNodes);
    if (here) part.querySelector(`tr[data-row="${CSS.escape(here)}"]`)?.classList.add("here");
  }
}

let isFetching = false;
let isStale = false;
let beat = "0"; // The number of the last event: pages that were told of the same one share a rendering.
async function refresh() {
  if (isFetching || document.hidden) { isStale = true; return; }
  isFetching = true;
  isStale = false;
  try {
    const answer = await fetch(location.href, { headers: { "x-live": beat } });
    if (answer.status === 401) { location.reload(); return; }
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
  isFetching = false;
  if (isStale) refresh();
}

function follow() {
  const from = document.body.dataset.liveFrom;
  if (!from) return;
  const events = new EventSource(from);
  let wasLost = false;
  events.addEventListener("changed", ({ data }) => { beat = data; refresh(); });
  events.addEventListener("open", () => { offline.hidden = true; if (wasLost) { beat = "0"; refresh(); } wasLost = false; });
  events.addEventListener("error", () => { offline.hidden = false; wasLost = true; });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && isStale) refresh(); });
  addEventListener("pagehide", () => events.close());
}

// The log: what follows the lines that the page came with; a word in it; a line that is pointed at.
function followLog(log) {
  const tools = document.querySelector("[data-log-tools]");
  const tool = (name) => tools.querySelector(`[data-${name}]`);
  const [following, wrapping, find, pause, found] = ["follow", "wrap", "find", "pause", "found"].map(tool);
  tools.hidden = false;
  wrapping.addEventListener("change", () => log.classList.toggle("wrap", wrapping.checked));

  let hits = [];
  let at = -1;
  const showHit = () => {
    log.querySelector(".l.hit")?.classList.remove("hit");
    hits[at]?.classList.add("hit");
    hits[at]?.scrollIntoView({ block: "nearest" });
    found.textContent = find.value === "" ? "" : hits.length === 0 ? "not found" : `${at + 1} of ${hits.length}`;
  };
  const search = () => {
    const text = find.value.toLowerCase();
    hits = [];
    for (const line of log.children) {
      const isFound = text !== "" && line.lastChild.textContent.toLowerCase().includes(text);
      line.classList.toggle("found", isFound);
      if (isFound) hits.push(line);
    }
    at = hits.length > 0 ? 0 : -1;
    if (hits.length > 0) following.checked = false;
    showHit();
  };
  const step = (by) => {
    if (hits.length === 0) return;
    at = (at + by + hits.length) % hits.length;
    showHit();
  };
  find.addEventListener("input", search);
  find.addEventListener("keydown", (event) => { if (event.key === "Enter") step(event.shiftKey ? -1 : 1); });
  for (const button of all("[data-find-step]", tools)) button.addEventListener("click", () => step(Number(button.dataset.findStep)));

  // A line's number is its address: it is put into the address bar without leaving the page.
  log.addEventListener("click", (event) => {
    const number = event.target.closest(".l > a");
    if (!number || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.replaceState(null, "", number.href);
    log.querySelector(".l.here")?.classList.remove("here");
    number.parentElement.classList.add("here");
  });

  const toEnd = () => { if (following.checked) log.scrollTop = log.scrollHeight; };
  following.addEventListener("change", toEnd);
  log.addEventListener("scroll", () => {
    following.checked = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  });
  if (location.hash.startsWith("#L")) following.checked = false; else toEnd();
  if (!log.dataset.logFrom) { pause.hidden = true; return; }

  const add = (piece) => {
    if (piece.on && log.lastElementChild) {
      log.lastElementChild.lastChild.insertAdjacentHTML("beforeend", piece.h);
      return;
    }
    const line = document.createElement("div");
    line.className = `l ${piece.s}`;
    line.id = `L${piece.n}`;
    const href = `${log.dataset.logLine}${piece.n}#L${piece.n}`;
    const number = Object.assign(document.createElement("a"), { href, textContent: piece.n, tabIndex: -1 });
    const text = document.createElement("span");
    text.innerHTML = piece.h;
    line.append(number, text);
    log.append(line);
  };
  const addAll = (pieces) => {
    document.querySelector("[data-log-empty]")?.remove();
    const isFollowing = following.checked;
    pieces.forEach(add);
    while (log.children.length > MOST_LINES) log.firstElementChild.remove();
    following.checked = isFollowing;
    toEnd();
  };
  // While paused, what arrives is kept, the newest of it.
  let kept = [];
  let isPaused = false;
  const tell = () => { pause.textContent = isPaused ? `Resume (${kept.length})` : "Pause"; };
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", isPaused);
    if (!isPaused) addAll(kept.splice(0));
    tell();
  });
  const events = new EventSource(log.dataset.logFrom);
  events.onmessage = ({ data }) => {
    const pieces = JSON.parse(data);
    if (!isPaused) { addAll(pieces); return; }
    kept.push(...pieces);
    if (kept.length > 2 * MOST_LINES) kept = kept.slice(-MOST_LINES);
    tell();
  };
  events.addEventListener("end", () => events.close());
  addEventListener("pagehide", () => events.close());
}

// Uploads: a file that is dropped anywhere, and how much of it is there.
function upload(form) {
  const [file, name, bar, problem, hint] = ["input[type=file]", "[data-name]", "progress", "[data-problem]", "[data-drop-hint]"]
    .map((selector) => form.querySelector(selector));
  const zone = form.querySelector("[data-drop]");
  const button = form.querySelector("button:not([type])");
  hint.hidden = false;
  const chosen = () => {
    const [one] = file.files;
    if (one && name && name.value === "") name.placeholder = one.name.split(".")[0];
  };
  file.addEventListener("change", chosen);
  const hasFiles = (event) => [...event.dataTransfer?.types ?? []].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    zone.classList.remove("over");
    file.files = event.dataTransfer.files;
    chosen();
    zone.scrollIntoView({ block: "nearest" });
    button.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    const fail = (text) => {
      problem.textContent = text;
      problem.hidden = false;
      bar.hidden = true;
      button.disabled = false;
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => { bar.value = total > 0 ? 100 * loaded / total : 0; });
    request.addEventListener("load", () => {
      if (request.status === 201) { location.assign(request.getResponseHeader("location")); return; }
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      fail(page.querySelector(".why")?.textContent ?? `The server answered with ${request.status}.`);
    });
    request.addEventListener("error", () => fail("The upload broke off: nothing was changed."));
    request.open("POST", form.action);
    request.setRequestHeader("x-live", "1");
    problem.hidden = true;
    bar.hidden = false;
    bar.value = 0;
    button.disabled = true;
    request.send(new FormData(form));
  });
}
all("form[data-upload]").forEach(upload);

// Copying.
for (const pre of all("pre[data-copy]")) {
  const button = Object.assign(document.createElement("button"), { className: "copy", type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  pre.append(button);
}

// Filters apply when they are chosen; a text when it is entered.
for (const form of all("form[data-filter]")) {
  form.addEventListener("change", ({ target }) => { if (target.matches("select, [type=checkbox]")) form.requestSubmit(); });
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
}
document.querySelector("[data-all]")?.addEventListener("change", ({ target }) => {
  for (const box of all("input[name=id]")) box.checked = target.checked;
});

// Keys.
let before = "";
function move(step) {
  const rows = all("tr[data-row]");
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rows[at]?.classList.remove("here");
  next.classList.add("here");
  next.scrollIntoView({ block: "nearest" });
}
const here = () => document.querySelector("tr.here");
const KEYS = {
  "/": () => document.querySelector("#search")?.focus(),
  "?": () => location.assign("/help"),
  j: () => move(1),
  k: () => move(-1),
  x: () => here()?.querySelector("input[type=checkbox]")?.click(),
  Enter: () => here()?.querySelector("a[data-open]")?.click(),
};
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && isTyping) event.target.blur();
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.matches("a, button, summary, input")) return;
  const section = before === "g" && document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
  before = event.key;
  if (section) {
    section.click();
  } else if (KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

tellTimes();
setInterval(tellTimes, 1000);
follow();
const log = document.querySelector("[data-log-from]");
if (log) followLog(log);
