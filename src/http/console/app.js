// The console: puts the parts of the page together. Each of them has a file of its own.

import { $, notice, say } from "./dom.js";
import { meant, written } from "./text.js";
import { go, onChange, settle, state } from "./state.js";
import { openHelp, shortcuts } from "./help.js";
import * as change from "./change.js";
import * as edit from "./edit.js";
import * as live from "./live.js";
import * as pane from "./value.js";
import * as search from "./search.js";
import * as server from "./server.js";
import * as token from "./token.js";

const THEMES = ["auto", "light", "dark"];

// Light, dark, or as the system has it.
const nextTheme = () => {
  const now = document.documentElement.dataset.theme || "auto";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("kvstore.theme", next);
  } catch {
    // Then it holds for this page.
  }
  nameTheme();
  say(`Colours: ${next}`);
};

const nameTheme = () => {
  const now = document.documentElement.dataset.theme || "auto";
  $("theme").setAttribute("aria-label", `Colours: ${now}`);
  $("theme").title = `Colours: ${now}`;
  $("theme").textContent = { auto: "◐", light: "☀", dark: "☾" }[now];
};

// What the state says, shown. A field that is being typed in is left alone.
const follow = (now, before) => {
  for (const [id, text] of [["prefix", now.prefix], ["suffix", now.suffix]]) {
    if (meant($(id).value) !== text) $(id).value = written(text);
  }
  const isOther = (...names) => !before || names.some((name) => now[name] !== before[name]);
  document.body.dataset.view = now.view;
  document.body.dataset.panel = now.key !== null ? "value" : now.panel || "";
  document.title = now.key !== null ? `${written(now.key)} · kvstore` : now.prefix || now.suffix ? `${written(now.prefix)}…${written(now.suffix)} · kvstore` : "kvstore";
  const chosen = document.querySelector(`input[name=view][value=${now.view}]`);
  chosen.checked = true;
  if (now.view === "live") {
    if (isOther("prefix", "suffix", "view")) live.start();
  } else {
    live.stop();
  }
  if (isOther("prefix", "suffix") || (now.view !== "live" && isOther("view", "delimiter"))) search.search();
  if (isOther("key")) {
    if (now.key === null) pane.clear();
    else pane.load(now.key);
    search.mark();
  }
  if (isOther("key", "panel")) server.redraw();
  $("server-button").setAttribute("aria-expanded", String(now.panel === "server" && now.key === null));
  $("erase").hidden = now.view === "live";
};

const typed = (id) => () => go({ [id]: meant($(id).value) }, { typing: true });

const listen = () => {
  for (const id of ["prefix", "suffix"]) {
    $(id).addEventListener("input", typed(id));
    $(id).addEventListener("change", settle);
    $(id).addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" && state().view !== "live") {
        event.preventDefault();
        settle();
        $("keys").focus();
      }
    });
  }
  for (const choice of document.querySelectorAll("input[name=view]")) choice.addEventListener("change", () => go({ view: choice.value }));
  $("filter").addEventListener("submit", (event) => {
    event.preventDefault();
    settle();
    $("keys").focus();
  });
  // The address behind its # is the state, not a place in the page.
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("keys").focus();
  });
  $("new").addEventListener("click", create);
  $("erase").addEventListener("click", () => may() && change.erase());
  $("help").addEventListener("click", () => openHelp(SHORTCUTS));
  $("theme").addEventListener("click", nextTheme);
  $("server-button").addEventListener("click", showServer);
  $("server-close").addEventListener("click", () => go({ panel: null }));
};

// Whether the token allows changes; if not, that is said.
const may = () => {
  if (token.mayWrite()) return true;
  notice(token.whyNot(), { isTrouble: true });
  return false;
};

const create = () => {
  if (!may()) return;
  document.body.dataset.panel = "value";
  edit.create();
};

const showServer = () => go(state().panel === "server" && state().key === null ? { panel: null } : { key: null, panel: "server" });

const focus = (id) => () => {
  $(id).focus();
  $(id).select();
};

// Presses the button of what is shown that does this.
const act = (name) => () => $("value").querySelector(`[data-act=${name}]`)?.click();

const leave = () => {
  if (state().key !== null || state().panel) {
    go({ key: null, panel: null });
    $("keys").focus();
  } else {
    pane.clear();
    document.body.dataset.panel = "";
  }
};

const SHORTCUTS = [
  ["/", "search by how keys begin", focus("prefix")],
  ["$", "search by how keys end", focus("suffix")],
  ["1", "list", () => go({ view: "list" })],
  ["2", "tree", () => go({ view: "tree" })],
  ["3", "changes as they happen", () => go({ view: "live" })],
  ["4", "the server at a glance", showServer],
  ["k", "to the keys", () => $("keys").focus()],
  ["n", "make a key", create],
  ["e", "edit the value", act("edit")],
  ["x", "set when it ends", act("deadline")],
  ["c", "copy as curl", act("curl")],
  ["r", "reload the value", act("reload")],
  ["d", "delete the key", act("delete")],
  ["u", "undo the last delete", () => change.undoLast()],
  ["p", "pause changes, and go on", () => state().view === "live" && live.togglePause()],
  ["Escape", "close what is open", leave],
  ["?", "this", () => openHelp(SHORTCUTS)],
];

// What the token says of itself decides what is offered.
const begin = async () => {
  nameTheme();
  listen();
  shortcuts(SHORTCUTS);
  token.begin();
  search.begin();
  live.begin();
  follow(state(), null);
  onChange(follow);
  token.onToken((known) => {
    document.body.classList.toggle("may-not-write", !token.mayWrite());
    // A token for some keys only must say which.
    if (known?.prefixes?.length && !known.prefixes.some((each) => state().prefix.startsWith(each))) go({ prefix: known.prefixes[0] });
    else if (state().key !== null) pane.load(state().key);
  });
  try {
    const { version } = await token.learn();
    server.setVersion(version);
    $("version").textContent = version;
  } catch (problem) {
    notice(`${problem.title}: ${problem.detail}`, { isTrouble: true });
  }
  // Figures come behind the keys, which are what most come for.
  server.begin();
};

begin();

