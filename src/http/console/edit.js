// Changes a value, or makes a key. A change holds only for the value that was read (`If-Match`), a new key only where there is
// none (`If-None-Match`): what somebody else did meanwhile is shown, never overwritten unseen.

import { $, button, labelled, make, notice, trouble } from "./dom.js";
import { read, write } from "./api.js";
import { body, keyNodes, meant, plainly, visible, written } from "./text.js";
import { isJson, isTextual, textOf } from "./show.js";
import { layOut, parse } from "./json.js";
import { deadlineFields } from "./deadline.js";
import { go, state } from "./state.js";
import * as pane from "./value.js";
import { refresh } from "./search.js";

const encoder = new TextEncoder();
const TEXT_MAX = 1_000_000;

// Fields have line feeds only. Where a text has other line ends, and not the same everywhere, it is not for a field.
const lineEnds = (text) => {
  if (!text.includes("\r")) return "\n";
  return /(^|[^\r])\n|\r([^\n]|$)/.test(text) ? null : "\r\n";
};

// What a value's text is edited as, or why it is not.
const editable = (value) => {
  const text = value.bytes.length <= TEXT_MAX ? textOf(value.bytes) : null;
  if (text === null || (!isTextual(value.type) && /[\p{Cc}--[\n\t]]/v.test(text))) return { why: "It is no text that a field could hold: choose a file with what it should be." };
  const ends = lineEnds(text);
  if (ends === null) return { why: "Its lines end in different ways, which a field would make one: choose a file with what it should be." };
  return { text: ends === "\n" ? text : text.replaceAll("\r\n", "\n"), ends };
};

// The fields of a value: text or a file, its type. `bytes()` gives what is in them.
const valueFields = (start, ends) => {
  const area = make("textarea", { class: "value-field", rows: "14", spellcheck: "false", autocapitalize: "off" });
  const type = make("input", { value: start.type, list: "types", spellcheck: "false", required: true });
  const file = make("input", { type: "file" });
  const hint = make("p", { class: "hint", role: "status", hidden: true });
  const isText = start.text !== undefined;
  area.value = start.text ?? "";
  const look = () => {
    const fault = !file.files.length && isJson(type.value) ? faultOf(area.value) : null;
    hint.hidden = !fault;
    hint.textContent = fault ? `No JSON yet: ${fault}` : "";
  };
  area.addEventListener("input", look);
  type.addEventListener("input", look);
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    area.disabled = Boolean(chosen);
    if (chosen?.type) type.value = chosen.type;
    look();
  });
  const pretty = button(
    "Lay out",
    () => {
      try {
        area.value = layOut(area.value);
      } catch {
        // What is wrong is said already.
      }
      look();
    },
    { class: "quiet" },
  );
  const showPretty = () => (pretty.hidden = !isJson(type.value) || area.disabled);
  type.addEventListener("input", showPretty);
  showPretty();
  return {
    area,
    type,
    look,
    nodes: [
      make("datalist", { id: "types" }, ["application/json", "text/plain; charset=utf-8", "text/html", "text/markdown", "application/octet-stream"].map((each) => make("option", { value: each }))),
      isText && labelled("Value", area),
      isText && make("div", { class: "row-of" }, pretty),
      hint,
      make("div", { class: "row-of" }, labelled("Type", type), labelled(isText ? "Or from a file" : "From a file", file, start.why)),
    ],
    bytes: async () => {
      const [chosen] = file.files;
      if (chosen) return new Uint8Array(await chosen.arrayBuffer());
      if (!isText) throw { title: "No file", detail: "Choose a file with what the value should be." };
      const fault = isJson(type.value) ? faultOf(area.value) : null;
      if (fault) throw { title: "It is no JSON", detail: `${fault}. Put that right, or choose another type, such as text/plain.` };
      return encoder.encode(ends === "\r\n" ? area.value.replaceAll("\n", "\r\n") : area.value.toWellFormed());
    },
  };
};

const faultOf = (text) => {
  try {
    parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
};

// Shows a form in the place of the value.
const form = (title, key, { nodes, save, label, leave }) => {
  const trouble_ = make("div", { class: "form-trouble" });
  const submit = async (event) => {
    event?.preventDefault();
    const press = element.querySelector("[type=submit]");
    press.disabled = true;
    trouble_.replaceChildren();
    try {
      await save(trouble_);
    } catch (problem) {
      trouble_.replaceChildren(trouble(problem));
    }
    press.disabled = false;
  };
  const element = make(
    "form",
    { class: "edit", onsubmit: submit, "aria-label": title, novalidate: true },
    make("header", { class: "key-head" }, make("h2", null, title, key !== undefined && [" ", make("span", { class: "key", title: plainly(key) }, keyNodes(key))])),
    nodes,
    trouble_,
    make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, label), button("Cancel", leave)),
  );
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
    if (event.key === "Escape") {
      event.stopPropagation();
      leave();
    }
  });
  $("value").replaceChildren(element);
  $("value").classList.remove("over");
  return element;
};

const done = async (key, text) => {
  notice(text);
  refresh();
  if (state().key === key) await pane.load(key, { isFocused: true });
  else go({ key });
};

export const edit = (value) => {
  const start = editable(value);
  const fields = valueFields({ ...start, type: value.type }, start.ends);
  const deadline = deadlineFields(value);
  let { etag } = value;
  let isGone = false;
  const side = make("div", { class: "sides" });
  const save = async (out) => {
    const bytes = await fields.bytes();
    const condition = isGone ? { create: true } : { match: etag };
    try {
      await write(value.key, bytes, fields.type.value.trim(), { condition, deadline: deadline.given() });
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      await conflict(out, problem);
      return;
    }
    await done(value.key, "Saved");
  };
  // Both sides: what is in the fields, and what is there now. Whoever saves again does so over that.
  const conflict = async (out, problem) => {
    const now = await read(value.key).catch((error) => (error.status === 404 ? null : Promise.reject(error)));
    isGone = now === null;
    etag = now?.etag ?? null;
    const theirs = now && textOf(now.bytes);
    out.replaceChildren(
      trouble(
        problem,
        make("p", null, isGone ? "It was deleted meanwhile. Save once more to make it again." : "Somebody has changed it meanwhile. What you wrote is above, and what is there now below: save once more to put yours over it, or take theirs."),
      ),
    );
    side.replaceChildren(
      now &&
        make(
          "section",
          { class: "theirs", "aria-label": "What is there now" },
          make("h3", null, "There now ", make("code", null, now.type)),
          theirs === null ? make("p", { class: "soft" }, `${now.bytes.length} bytes that are no text`) : difference(theirs, fields.area.value),
          button("Take theirs", () => pane.load(value.key, { isFocused: true })),
        ),
    );
    element.querySelector("[type=submit]").textContent = isGone ? "Make it again" : "Save mine over it";
  };
  const leave = () => pane.load(value.key, { isFocused: true });
  const element = form("Edit", value.key, { nodes: [fields.nodes, deadline.nodes, side], save, label: "Save", leave });
  fields.look();
  (start.text === undefined ? fields.type : fields.area).focus();
};

// A text, in which lines that another does not have are marked.
const difference = (text, other) => {
  const known = new Set(other.split("\n"));
  const lines = text.split("\n").slice(0, 2000);
  return make(
    "pre",
    { class: "value text", tabindex: "0", "aria-label": "What is there now" },
    lines.map((line) => (known.has(line) ? body(line) + "\n" : make("ins", null, body(line), "\n"))),
  );
};

export const create = (key = state().prefix) => {
  const name = make("input", { class: "key", value: written(key), spellcheck: "false", autocapitalize: "off", autocomplete: "off", required: true });
  const shown = make("p", { class: "soft small key", hidden: true });
  const look = () => {
    const is = meant(name.value);
    shown.hidden = is === name.value;
    shown.replaceChildren("The key is ", ...visible(is));
  };
  name.addEventListener("input", look);
  const fields = valueFields({ text: "", type: "application/json" }, "\n");
  const deadline = deadlineFields(null);
  const save = async (out) => {
    const wanted = meant(name.value);
    if (!wanted) throw { title: "No key", detail: "Give the key a name of at least one character." };
    try {
      await write(wanted, await fields.bytes(), fields.type.value.trim(), { condition: { create: true }, deadline: deadline.given() });
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      out.replaceChildren(trouble({ ...problem, title: "There is such a key already", detail: "Nothing was changed." }, button("Show it", () => (state().key === wanted ? pane.load(wanted) : go({ key: wanted })))));
      return;
    }
    await done(wanted, "Made");
  };
  const leave = () => (state().key === null ? pane.clear() : pane.reload());
  document.body.classList.add("making");
  form("New key", undefined, { nodes: [labelled("Key", name, "\\u{…} stands for what cannot be typed: \\u{a} is a line feed"), shown, fields.nodes, deadline.nodes], save, label: "Make it", leave });
  look();
  name.focus();
  name.setSelectionRange(name.value.length, name.value.length);
};

