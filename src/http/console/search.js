// The keys that begin and end as the two fields say, as a list and as a tree of groups.

import { $, button, make, say, trouble } from "./dom.js";
import { ask, query } from "./api.js";
import { keyNodes, milliseconds, number, plainly, plural, visible } from "./text.js";
import { Rows } from "./rows.js";
import { go, settle, state } from "./state.js";

const PREVIEW_MS = 160;
const DELIMITERS = ["/", ":", ".", "-", "_", "|", "#", "@"];
// Where a delimiter is in so large a part of the keys, it likely is what they are made with.
const LIKELY = 0.5;

let rows;
let guessed = null;
let largest = 1;
let preview = 0;

// Keys of a filter, page by page.
const source = ({ prefix, suffix }, delimiter) => async (after, limit, signal) => {
  const path = "search" + query({ prefix, suffix, limit, after, delimiter });
  const response = await ask("GET", path, { signal });
  const items = await response.json();
  const last = items.at(-1);
  const next = items.length < limit ? null : last.group ?? last;
  return { items, next, total: Number(response.headers.get("x-total-count")) };
};

// How a tree would be divided: by what makes groups of most of some keys, the common ones first. Where nothing does, as in
// the last level of a tree, by what one came through.
const guess = (keys, prefix) => {
  const rests = keys.map((key) => key.slice(prefix.length, -1));
  const divided = DELIMITERS.map((each) => rests.filter((rest) => rest.includes(each)).map((rest) => rest.slice(0, rest.indexOf(each))));
  const isLikely = (groups) => groups.length >= LIKELY * keys.length && new Set(groups).size <= LIKELY * groups.length;
  const likely = DELIMITERS.find((_, at) => isLikely(divided[at]));
  const most = divided.reduce((most, groups, at) => (groups.length > divided[most].length ? at : most), 0);
  return likely ?? DELIMITERS.find((each) => prefix.endsWith(each)) ?? DELIMITERS[most];
};

export const delimiter = () => state().delimiter || guessed || "/";

// Groups look for a delimiter behind the prefix, so what it is guessed from are keys with it.
const guessFor = async ({ prefix, suffix }, signal) => {
  const { items } = await source({ prefix, suffix })(null, 200, signal);
  guessed = items.length ? guess(items, prefix) : guessed || "/";
};

const drawRow = (row, item) => {
  const { prefix, suffix, view } = state();
  if (typeof item === "string") {
    row.append(make("span", { class: "key", title: plainly(item) }, keyNodes(item, { prefix, suffix })));
    if (view === "tree") row.classList.add("leaf");
    return;
  }
  const share = item.keys / largest;
  row.classList.add("group");
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", share);
  row.append(
    make("span", { class: "key", title: plainly(item.group) }, make("span", { class: "head" }, visible(item.group.slice(0, prefix.length)).map((node) => make("span", { class: "soft" }, node)), visible(item.group.slice(prefix.length)))),
    bar,
    make("span", { class: "count" }, number(item.keys), make("span", { class: "outside" }, item.keys === 1 ? " key" : " keys")),
  );
};

const isWide = () => matchMedia("(min-width: 860px)").matches;

const openRow = (item, { isByMoving }) => {
  clearTimeout(preview);
  if (typeof item !== "string") {
    if (!isByMoving) deeper(item.group);
  } else if (!isByMoving) {
    go({ key: item });
  } else if (isWide()) {
    // Whoever moves through keys sees them, without a step of the history for each.
    preview = setTimeout(() => go({ key: item, panel: null }, { typing: true }), PREVIEW_MS);
  }
};

const deeper = (prefix) => {
  settle();
  go({ prefix });
  $("keys").focus();
};

// Where one is: what the prefix is made of, each a step back.
const crumbs = () => {
  const { prefix } = state();
  const by = delimiter();
  const steps = [button("all", () => deeper(""), { class: "crumb" })];
  let from = 0;
  for (;;) {
    const at = prefix.indexOf(by, from);
    if (at < 0) break;
    const end = at + by.length;
    const whole = prefix.slice(0, end);
    steps.push(button(visible(prefix.slice(from, end)), () => deeper(whole), { class: "crumb key" }));
    from = end;
  }
  if (from < prefix.length) steps.push(make("span", { class: "crumb key" }, visible(prefix.slice(from)), "…"));
  steps.at(-1).setAttribute("aria-current", "location");
  $("crumbs").replaceChildren(...steps.map((step) => make("li", null, step)));
};

const problem = (what) => {
  $("found").replaceChildren(make("span", null, "—"));
  $("list-problem").replaceChildren(trouble(what, button("Try again", () => search())));
  $("list-problem").hidden = false;
  $("keys").hidden = true;
};

const nothing = ({ prefix, suffix }) => {
  const isAll = !prefix && !suffix;
  return make(
    "p",
    { class: "empty" },
    isAll ? "There are no keys yet. Press n to make the first one, or: " : "No key begins and ends so.",
    isAll && make("code", null, `curl -X PUT ${new URL("set/greeting", document.baseURI)} -H 'Content-Type: text/plain' -d hello`),
  );
};

// Searches for what the state says. What was asked for before is not waited for any more.
let asked = 0;
let guessing = null;
export const search = async () => {
  const mine = ++asked;
  const filter = state();
  const started = performance.now();
  guessing?.abort();
  guessing = new AbortController();
  try {
    const isTree = filter.view === "tree";
    if (isTree && !filter.delimiter) await guessFor(filter, guessing.signal);
    if (mine !== asked) return;
    largest = 1;
    const page = await rows.reset(counted(source(filter, isTree ? delimiter() : null)));
    if (!page || mine !== asked) return;
    shown(filter, page, performance.now() - started);
  } catch (what) {
    if (what.name !== "AbortError" && mine === asked) problem(what);
  }
};

// Remembers the largest group, which the bars are drawn against.
const counted = (pages) => async (...asked) => {
  const page = await pages(...asked);
  const most = page.items.reduce((most, item) => Math.max(most, item.keys || 0), largest);
  if (most > largest) {
    largest = most;
    rows.redraw();
  }
  // Only keys have a number in all; how many groups there are nobody knows before the last.
  return state().view === "tree" ? { ...page, keys: page.total, total: null } : page;
};

const count = (total, took) => {
  const time = took === undefined ? $("found").querySelector(".soft") : make("span", { class: "soft" }, ` in ${milliseconds(took)}`);
  $("found").replaceChildren(make("strong", null, number(total)), total === 1 ? " key" : " keys", time || "");
};

const shown = (filter, page, took) => {
  const total = page.keys ?? page.total;
  $("list-problem").hidden = true;
  $("keys").hidden = false;
  count(total, took);
  $("found").dataset.milliseconds = took.toFixed(1);
  say(`${plural(total, "key")} found`);
  $("list-empty").replaceChildren(...(page.items.length ? [] : [nothing(filter)]));
  $("list-empty").hidden = page.items.length > 0;
  if (filter.view === "tree") {
    crumbs();
    $("delimiter").value = delimiter();
    $("delimiter").setAttribute("aria-description", filter.delimiter ? "" : "guessed from the keys");
    $("guessed").hidden = Boolean(filter.delimiter);
  }
};

export const refresh = () => rows.refresh();

export const mark = () => rows.point();

export const begin = () => {
  rows = new Rows($("keys"), {
    label: "Keys that match",
    draw: drawRow,
    open: openRow,
    failed: problem,
    moved: (first, last, { total, known, isDone }) => {
      const all = state().view === "tree" ? (isDone ? number(known) : "many") : number(total ?? known);
      $("place").textContent = known ? `${number(first)}–${number(last)} of ${all}` : "";
      if (state().view !== "tree" && total !== null && $("found").querySelector("strong")) count(total);
    },
  });
  rows.isChosen = (item) => typeof item === "string" && item === state().key;
  const change = () => {
    const text = $("delimiter").value;
    if (text) go({ delimiter: text });
  };
  $("delimiter").addEventListener("change", change);
  $("guessed").hidden = true;
};

