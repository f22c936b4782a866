// Deletes a key, or all that match, and says when a value ends.

import { button, dialog, labelled, make, notice, noticeOf, trouble } from "./dom.js";
import { ask, expire, query, remove as removeKey, write } from "./api.js";
import { left, number, plainly, plural, visible } from "./text.js";
import { deadlineFields } from "./deadline.js";
import { go, state } from "./state.js";
import { refresh, search } from "./search.js";
import * as pane from "./value.js";

// What undoing takes is held, so it may not be any amount.
const UNDO_BYTES = 64_000_000;

const shortened = (key) => {
  const text = plainly(key);
  return text.length > 60 ? `${text.slice(0, 40)}…${text.slice(-16)}` : text;
};

let last = null;

// Deletes what is shown, and nothing that came in its place meanwhile. What was there can be put back for a while.
export const remove = async (value) => {
  try {
    await removeKey(value.key, value.etag);
  } catch (problem) {
    if (problem.status !== 412) return void noticeOf(problem);
    notice("Somebody has changed it meanwhile, so it was not deleted. What is shown now is what is there.", { isTrouble: true });
    return void pane.reload();
  }
  if (state().key === value.key) go({ key: null });
  refresh();
  const label = `Deleted ${shortened(value.key)}`;
  if (value.bytes.length > UNDO_BYTES) return void notice(`${label}. It is too large to be undone.`);
  const undo = () => restore(value);
  const { leave } = notice(label, { action: "Undo", onaction: undo });
  last = () => {
    last = null;
    leave();
    undo();
  };
};

export const undoLast = () => last?.();

// Puts a value back as it was, with its type and its deadline, where nothing has come in its place.
const restore = async (value) => {
  const rest = value.expiresAt ? Date.parse(value.expiresAt) - Date.now() - value.skew : null;
  if (rest !== null && rest <= 0) {
    return void notice(`The time of ${shortened(value.key)} is over meanwhile, so it is not put back.`, { isTrouble: true });
  }
  const deadline = value.expiresAt ? { expires_at: value.expiresAt } : {};
  try {
    await write(value.key, value.bytes, value.type, { condition: { create: true }, deadline });
  } catch (problem) {
    if (problem.status !== 412) return void noticeOf(problem);
    return void notice(`There is another value under ${shortened(value.key)} by now, which stays.`, { isTrouble: true });
  }
  notice(`${shortened(value.key)} is back as it was`);
  refresh();
  go({ key: value.key });
};

export const setDeadline = (value) =>
  dialog("When it ends", (close) => {
    const fields = deadlineFields(value, { isExpire: true });
    const out = make("div", null);
    const submit = async (event) => {
      event.preventDefault();
      try {
        await expire(value, fields.given());
      } catch (problem) {
        const more = problem.status === 412 && button("Show what is there now", () => (close(), pane.reload()));
        return void out.replaceChildren(trouble(problem, more));
      }
      close();
      notice("The deadline is set");
      await pane.load(value.key, { isFocused: true });
    };
    const now = value.expiresAt ? `It ends in ${left(Date.parse(value.expiresAt) - Date.now() - value.skew)}.` : "It never ends now.";
    return make("form", { onsubmit: submit }, make("p", { class: "soft" }, now), fields.nodes, out, make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, "Set"), button("Cancel", close)));
  });

// A filter in words.
const filterWords = ({ prefix, suffix }) => {
  if (!prefix && !suffix) return [make("strong", null, "every key in the store")];
  const part = (words, text) => text && [` ${words} `, make("span", { class: "quoted key" }, visible(text))];
  return ["keys that", part("begin with", prefix), prefix && suffix ? " and" : "", part("end with", suffix)];
};

// Deletes all that match, once their number was typed.
export const erase = () => {
  const filter = { prefix: state().prefix, suffix: state().suffix };
  let matched = null;
  dialog("Delete all that match", (close) => {
    const count = make("strong", { class: "large" }, "…");
    const field = make("input", { inputmode: "numeric", autocomplete: "off", "data-first": true });
    const press = make("button", { type: "submit", class: "danger", disabled: true }, "Delete them");
    const out = make("div", null);
    const look = () => {
      press.disabled = matched === null || matched === 0 || field.value.replace(/[\s,._']/g, "") !== String(matched);
    };
    field.addEventListener("input", look);
    const run = async () => {
      try {
        const response = await ask("DELETE", "delete" + query({ ...filter, dry_run: true }));
        ({ matched } = await response.json());
        count.textContent = number(matched);
        look();
      } catch (problem) {
        out.replaceChildren(trouble(problem));
      }
    };
    const submit = async (event) => {
      event.preventDefault();
      press.disabled = true;
      out.replaceChildren(make("p", { role: "status" }, "Deleting …"));
      try {
        const response = await ask("DELETE", "delete" + query(filter));
        const { deleted } = await response.json();
        close();
        notice(`Deleted ${plural(deleted, "key")}`);
      } catch (problem) {
        const part = problem.deleted !== undefined && make("p", null, `${plural(problem.deleted, "key")} were deleted before.`);
        out.replaceChildren(trouble(problem, part));
      }
      await search();
      if (state().key !== null) pane.reload();
    };
    run();
    return make(
      "form",
      { onsubmit: submit },
      make("p", null, "These are ", filterWords(filter), ":"),
      make("p", { role: "status" }, count, " keys"),
      labelled("Type the number to delete them", field, "There is no undo for this."),
      out,
      make("div", { class: "actions" }, press, button("Cancel", close)),
    );
  });
};

