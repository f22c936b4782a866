// Changes of the keys that match, as they happen.

import { $, button, make, trouble } from "./dom.js";
import { ask, query } from "./api.js";
import { keyNodes, number, plainly } from "./text.js";
import { go, state } from "./state.js";
import { changedElsewhere } from "./value.js";

const SHOWN = 300;
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];

let watching = null;
let lastId = null;
let isPaused = false;
let held = [];
let fresh = [];
let frame = 0;
let counts = { set: 0, delete: 0, expire: 0 };

const NAMES = { set: "set", delete: "deleted", expire: "ended" };

const row = ({ event, data, at }) => {
  const open = button(make("span", { class: "key" }, keyNodes(data.key, state())), () => go({ key: data.key }), { class: "event-key", title: plainly(data.key) });
  return make(
    "li",
    { class: `event ${event}` },
    make("time", { datetime: at.toISOString() }, at.toLocaleTimeString("en-GB")),
    make("span", { class: "kind" }, NAMES[event]),
    open,
    data.expires_at && make("span", { class: "soft ends", title: data.expires_at }, "ends"),
  );
};

const tally = () => {
  $("live-count").textContent = `${number(counts.set)} set, ${number(counts.delete)} deleted, ${number(counts.expire)} ended`;
  $("live-held").textContent = isPaused && held.length ? `${held.length === SHOWN ? `the last ${SHOWN}` : number(held.length)} held` : "";
};

// Shows what has come since the last frame: never more than what fits the list, however much that was.
const draw = () => {
  frame = 0;
  tally();
  if (!fresh.length) return;
  const list = $("events");
  list.prepend(...fresh.reverse().map(row));
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  fresh = [];
  $("live-empty").hidden = true;
};

const soon = () => {
  frame ||= requestAnimationFrame(draw);
};

const take = (line) => {
  const { event, id, data } = JSON.parse(line);
  if (id) lastId = id;
  if (event === "gone") {
    lastId = null;
    explain({ title: "Changes came faster than they could be shown", detail: "Some are left out; what happens from now on is shown." });
  }
  if (!(event in NAMES)) return;
  counts[event] += 1;
  changedElsewhere(data.key, event);
  const into = isPaused ? held : fresh;
  into.push({ event, data, at: new Date() });
  if (into.length > SHOWN) into.shift();
  soon();
};

const explain = (problem, ...more) => $("live-problem").replaceChildren(trouble(problem, more));

const status = (text, isOn) => {
  $("live-state").textContent = text;
  $("live-state").classList.toggle("on", isOn);
};

// Reads one answer to its end.
const follow = async (filter, signal) => {
  const path = "watch" + query({ prefix: filter.prefix, suffix: filter.suffix, after: lastId });
  const response = await ask("GET", path, { signal, headers: { accept: "application/x-ndjson" } });
  $("live-problem").replaceChildren();
  status("watching", true);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach(take);
  }
};

const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

// Watches, and comes back behind the last event where the answer ends or the server goes away.
const watch = async (filter, signal) => {
  let failures = 0;
  while (!signal.aborted) {
    const before = lastId;
    try {
      await follow(filter, signal);
      failures = 0;
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status === 410) {
        lastId = null;
        explain({ ...problem, title: "Some changes are missing", detail: "What was changed while the page was away is not kept any more. What happens from now on is shown." });
        failures += 1;
      } else if (problem.status >= 400 && ![408, 429, 503, 504].includes(problem.status)) {
        status("not watching", false);
        return void explain(problem, problem.status === 501 && make("p", null, "Over this engine the list and the tree still show what there is: search again to see what has changed."), button("Try again", restart));
      } else {
        if (lastId !== before) failures = 0;
        if (problem.status !== undefined) explain(problem);
      }
    }
    if (signal.aborted) return;
    status("comes back …", false);
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], signal);
    failures += 1;
  }
};

export const stop = () => {
  watching?.abort();
  watching = null;
};

const restart = () => {
  stop();
  start();
};

// Begins anew for the filter of the state.
export const start = () => {
  stop();
  const { prefix, suffix } = state();
  watching = new AbortController();
  lastId = null;
  held = [];
  fresh = [];
  counts = { set: 0, delete: 0, expire: 0 };
  $("events").replaceChildren();
  $("live-problem").replaceChildren();
  $("live-empty").hidden = false;
  status("connecting …", false);
  tally();
  watch({ prefix, suffix }, watching.signal);
};

export const togglePause = () => {
  isPaused = !isPaused;
  $("live-pause").textContent = isPaused ? "Go on" : "Pause";
  $("live-pause").setAttribute("aria-pressed", String(isPaused));
  if (!isPaused) {
    fresh = held;
    held = [];
  }
  soon();
};

export const begin = () => {
  $("live-pause").addEventListener("click", togglePause);
  $("live-clear").addEventListener("click", () => {
    $("events").replaceChildren();
    $("live-empty").hidden = false;
  });
};
