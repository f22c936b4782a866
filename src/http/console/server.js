// The server at a glance, from what `/metrics` and `/readyz` say every other second while somebody looks.

import { $, draw, make, trouble } from "./dom.js";
import { ask } from "./api.js";
import { bytes, compact, left, number } from "./text.js";
import { engine, memory, one, parse, quantile, requests } from "./metrics.js";

const EVERY_MS = 2000;
const KEPT = 90;

const PARTS = {
  values: "values", keys: "keys, compressed", separators: "separators of keys", permutation: "order from the end", matrix: "searches by both ends",
  table: "lookups", slots: "places of values", fresh: "new keys", dead: "deleted keys", merging: "merges under way", changes: "changes kept for watchers",
};

let version = "";
let before = null;
let rates = [];
let times = [];
let timer = 0;
let latest = null;

const rate = (value) => (value < 10 ? value.toFixed(value < 1 && value > 0 ? 1 : 0) : compact(value));
const time = (seconds) => (seconds === null ? "–" : seconds < 0.001 ? `${Math.round(seconds * 1e6)} µs` : seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`);

// A line of values, some of which may be missing, with the newest at the right.
const chart = (values, label, { width = 300, height = 56, className } = {}) => {
  const most = Math.max(...values.filter((each) => each !== null), 1e-9);
  const x = (at) => width - (values.length - 1 - at) * (width / (KEPT - 1));
  const y = (value) => height - 2 - (value / most) * (height - 8);
  const runs = [];
  let run = [];
  values.forEach((value, at) => {
    if (value === null) {
      if (run.length) runs.push(run);
      run = [];
    } else run.push([x(at), y(value)]);
  });
  if (run.length) runs.push(run);
  const line = (points) => points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
  const shapes = runs.map((points) => {
    if (points.length === 1) return draw("circle", { cx: points[0][0], cy: points[0][1], r: 1.6, class: "dot" });
    const ground = `${points[0][0].toFixed(1)},${height} ${line(points)} ${points.at(-1)[0].toFixed(1)},${height}`;
    return [draw("polygon", { points: ground, class: "under" }), draw("polyline", { points: line(points), class: "line" })];
  });
  return draw("svg", { viewBox: `0 0 ${width} ${height}`, class: `chart ${className || ""}`, role: "img", "aria-label": label, preserveAspectRatio: "none" }, shapes);
};

const tile = (name, value, more, picture) => make("section", { class: "tile" }, make("h3", null, name), make("p", { class: "figure" }, value), more && make("p", { class: "more" }, more), picture);

const memoryTile = (samples) => {
  const { all, most, parts } = memory(samples);
  const keys = one(samples, "kvstore_keys");
  const share = (part) => {
    const bar = make("span", { class: `piece ${part.part}` });
    bar.style.flexGrow = part.bytes;
    return bar;
  };
  const rows = parts.map((part) =>
    make("tr", null, make("th", { scope: "row" }, make("span", { class: `swatch ${part.part}`, "aria-hidden": "true" }), PARTS[part.part] || part.part), make("td", null, bytes(part.bytes)), make("td", { class: "soft" }, `${((100 * part.bytes) / all).toFixed(0)} %`)),
  );
  return make(
    "section",
    { class: "tile" },
    make("h3", null, "Memory of the store"),
    make("p", { class: "figure" }, bytes(all), most && make("small", null, ` of at most ${bytes(most)}`)),
    keys > 0 && make("p", { class: "more" }, `${Math.round(all / keys)} bytes a key with its value`),
    parts.length > 0 && make("div", { class: "stack", "aria-hidden": "true" }, parts.map(share)),
    parts.length > 0 && make("table", { class: "parts" }, make("caption", { class: "outside" }, "Memory by part"), make("tbody", null, rows)),
  );
};

const show = (samples, ready) => {
  const keys = one(samples, "kvstore_keys") ?? 0;
  const [perSecond, p99] = [rates.at(-1) ?? null, times.at(-1) ?? null];
  const known = times.filter((each) => each !== null);
  const age = (Date.now() / 1000 - (one(samples, "kvstore_start_time_seconds") || 0)) * 1000;
  const window = `last ${Math.round((KEPT * EVERY_MS) / 60_000)} minutes`;
  $("strip").replaceChildren(
    make("span", { class: ready.isReady ? "dot ready" : "dot" }),
    make("span", { class: "roomy" }, `${compact(keys)} keys`),
    make("span", { class: "roomy" }, perSecond === null ? "" : `${rate(perSecond)}/s`),
    make("span", { class: "outside" }, ready.isReady ? "Server: ready" : "Server: not ready"),
  );
  // What nobody sees need not be drawn; on a narrow screen the dot is all there is.
  if (!$("figures").checkVisibility()) return;
  const said = [fact("State", make("span", { class: ready.isReady ? "good" : "bad" }, ready.text)), fact("Engine", engine(samples)), fact("Version", version), fact("Up for", left(age)), fact("Connections", number(one(samples, "kvstore_http_connections") || 0)), fact("Watchers", number(one(samples, "kvstore_watchers") || 0)), fact("Values that end", number(one(samples, "kvstore_deadlines") || 0))];
  $("figures").replaceChildren(
    tile("Keys", number(keys)),
    tile("Requests a second", perSecond === null ? "–" : rate(perSecond), `most ${rate(Math.max(0, ...rates))} in the ${window}`, chart(rates, `Requests a second in the ${window}: now ${rate(perSecond ?? 0)}, most ${rate(Math.max(0, ...rates))}`)),
    tile("99 of 100 answered within", time(p99), known.length ? `most ${time(Math.max(...known))}` : "", chart(times, `99th percentile in the ${window}: now ${time(p99)}`, { className: "second" })),
    memoryTile(samples),
    make("section", { class: "tile" }, make("h3", null, "This server"), make("dl", { class: "facts" }, said)),
  );
  $("figures-problem").replaceChildren();
};

const fact = (name, ...inner) => make("div", null, make("dt", null, name), make("dd", null, inner));

const ready = async () => {
  try {
    const response = await ask("GET", "readyz", { again: false });
    const { warnings } = await response.json();
    return { isReady: true, text: warnings?.length ? `ready; ${warnings.join("; ")}` : "ready" };
  } catch (problem) {
    return { isReady: false, text: problem.detail };
  }
};

const look = async () => {
  const started = performance.now();
  try {
    const response = await ask("GET", "metrics", { again: false });
    const samples = parse(await response.text());
    const now = { ...requests(samples), at: started };
    // A server that began anew counts from nothing.
    if (before && now.count >= before.count) {
      rates.push((now.count - before.count) / ((now.at - before.at) / 1000));
      times.push(quantile(0.99, before, now));
      rates = rates.slice(-KEPT);
      times = times.slice(-KEPT);
    }
    before = now;
    latest = [samples, await ready()];
    show(...latest);
  } catch (problem) {
    const state = await ready();
    before = null;
    latest = null;
    $("strip").replaceChildren(make("span", { class: state.isReady ? "dot ready" : "dot" }), make("span", { class: "outside" }, state.isReady ? "Server: ready" : "Server: no figures"));
    const more = problem.status === 404 && make("p", null, "Figures are often kept inside of a cluster: whoever runs it has a dashboard.");
    $("figures-problem").replaceChildren(trouble(problem, more));
    $("figures").replaceChildren();
  }
};

const again = async () => {
  clearTimeout(timer);
  timer = 0;
  if (document.hidden) return;
  await look();
  clearTimeout(timer);
  timer = setTimeout(again, EVERY_MS);
};

// Draws what is known already, for whom it was out of sight.
export const redraw = () => latest && show(...latest);

export const setVersion = (text) => {
  version = text;
};

export const begin = () => {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !timer) again();
  });
  again();
};

