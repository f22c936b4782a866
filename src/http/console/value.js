// The value of the key that is chosen: what it is, when it ends, and what can be done with it.

import { $, button, copy, make, noticeOf, trouble } from "./dom.js";
import { read } from "./api.js";
import { bytes as size, keyNodes, left, plainly } from "./text.js";
import { setAll, show, ways } from "./show.js";
import { go, state } from "./state.js";
import { mayWrite, whyNot } from "./token.js";
import * as curl from "./curl.js";
import * as change from "./change.js";
import * as edit from "./edit.js";

const NAMES = { json: "JSON", text: "Text", image: "Image", hex: "Hex" };

let current = null;
let loading = null;
let ticking = 0;

export const value = () => current;

// A button that changes something: where the token does not allow it, it says so.
export const changing = (label, onclick, attributes) => {
  const may = mayWrite();
  const click = (event) => (mayWrite() ? onclick(event) : noticeOf({ title: "Not allowed", detail: whyNot() }));
  return button(label, click, { ...attributes, "aria-disabled": may ? null : "true", title: may ? attributes?.title : whyNot() });
};

const fact = (name, ...inner) => make("div", null, make("dt", null, name), make("dd", null, inner));

// What is left of a value's time, which is said anew each second.
const deadline = (value) => {
  if (!value.expiresAt) return fact("Ends", "never");
  const remaining = make("span", { class: "remaining" });
  const tick = () => {
    const rest = Date.parse(value.expiresAt) - Date.now() - value.skew;
    remaining.textContent = rest > 0 ? `in ${left(rest)}` : "now";
    if (rest > 0) return;
    clearInterval(ticking);
    if (current === value) ended();
  };
  ticking = setInterval(tick, 1000);
  tick();
  const date = new Date(value.expiresAt);
  return fact("Ends", make("time", { datetime: value.expiresAt, title: date.toLocaleString() }, remaining));
};

const ended = () => {
  $("value").classList.add("over");
  $("value").prepend(make("p", { class: "hint", role: "status" }, "Its time is over: it is not there any more. What is shown is what it was."));
};

const heading = (key) =>
  make(
    "header",
    { class: "key-head" },
    button("‹ Keys", () => go({ key: null }), { class: "quiet back" }),
    make("h2", { tabindex: "-1", class: "key", title: plainly(key) }, keyNodes(key)),
    button("Copy key", () => copy(key, "the key"), { class: "quiet" }),
    button("✕", () => go({ key: null }), { class: "quiet icon close", "aria-label": "Close the value" }),
  );

const download = ({ key, bytes }) => {
  // Of a type that no browser opens: what is stored must not run here.
  const address = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const link = make("a", { href: address, download: key.split(/[/:\\]/).at(-1).replace(/[^\p{L}\p{N}._-]/gu, "_") || "value" });
  link.click();
  URL.revokeObjectURL(address);
};

const actions = (value) =>
  make(
    "div",
    { class: "actions", role: "group", "aria-label": "What can be done with it" },
    changing("Edit", () => edit.edit(value), { "data-act": "edit" }),
    changing("Set deadline", () => change.setDeadline(value), { "data-act": "deadline" }),
    button("Copy as curl", () => curl.open(value), { "data-act": "curl" }),
    button("Download", () => download(value)),
    button("Reload", reload, { "data-act": "reload" }),
    changing("Delete", () => change.remove(value), { class: "danger", "data-act": "delete" }),
  );

const facts = (value) =>
  make(
    "dl",
    { class: "facts" },
    fact("Type", make("code", null, value.type)),
    fact("Size", make("span", { title: `${value.bytes.length} bytes` }, size(value.bytes.length))),
    fact("ETag", make("code", { class: "break" }, value.etag)),
    deadline(value),
  );

const folding = (shown) =>
  shown.querySelector("details.fold") &&
  make("span", { class: "tools" }, button("Unfold all", () => setAll(shown, true), { class: "quiet" }), button("Fold all", () => setAll(shown, false), { class: "quiet" }));

// Shows a value in one of the ways that it has.
const draw = (value, way) => {
  const found = ways(value);
  const chosen = way || found[0];
  const choose = (event) => draw(value, event.target.value);
  const choice = make(
    "fieldset",
    { class: "segments small" },
    make("legend", { class: "outside" }, "Show as"),
    found.map((each) => make("label", null, make("input", { type: "radio", name: "way", value: each, checked: each === chosen, onchange: choose }), make("span", null, NAMES[each]))),
  );
  clearInterval(ticking);
  const isAgain = way !== undefined;
  const shown = show(value, chosen, $("value").clientWidth);
  $("value").classList.remove("over");
  $("value").replaceChildren(heading(value.key), facts(value), actions(value), make("div", { class: "ways" }, choice, folding(shown)), shown);
  if (isAgain) $("value").querySelector(`input[value=${chosen}]`).focus();
};

// Shows what is under a key, or that nothing is.
export const load = async (key, { isFocused = false } = {}) => {
  loading?.abort();
  const mine = new AbortController();
  loading = mine;
  $("value").setAttribute("aria-busy", "true");
  try {
    const found = await read(key, mine.signal);
    if (loading !== mine) return;
    current = found;
    draw(found);
  } catch (problem) {
    if (problem.name === "AbortError" || loading !== mine) return;
    current = null;
    clearInterval(ticking);
    const create = problem.status === 404 && changing("Create it", () => edit.create(key));
    $("value").replaceChildren(heading(key), trouble(problem, make("p", { class: "actions" }, create, button("Try again", reload))));
  } finally {
    if (loading === mine) $("value").removeAttribute("aria-busy");
  }
  if (isFocused) $("value").querySelector("h2")?.focus();
};

export const reload = () => state().key !== null && load(state().key);

// Takes away what was shown.
export const clear = () => {
  loading?.abort();
  clearInterval(ticking);
  current = null;
  const tips = [["/", "search by how keys begin"], ["$", "by how they end"], ["n", "make a key"], ["?", "all shortcuts"]];
  $("value").replaceChildren(
    make("div", { class: "nothing" }, make("p", null, "Choose a key to see its value."), make("dl", null, tips.map(([key, what]) => make("div", null, make("dt", null, make("kbd", null, key)), make("dd", null, what))))),
  );
};

// Says that what is shown was changed by somebody, where that is seen.
export const changedElsewhere = (key, kind) => {
  if (current?.key !== key || $("value").querySelector(".elsewhere")) return;
  const what = kind === "set" ? "Somebody has changed this value meanwhile." : "This value is gone meanwhile.";
  $("value").querySelector(".key-head").after(make("p", { class: "hint elsewhere", role: "status" }, what + " ", button("Show what is there now", reload)));
};
