// Keys of the keyboard: what each does, and what they are.

import { dialog, make } from "./dom.js";

const STORED = "kvstore.shortcuts";

const isOn = () => {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
};

const isTyping = (target) => target.closest?.("input:not([type=radio], [type=checkbox], [type=button]), textarea, select, [contenteditable]");

// Listens for single keys, outside of fields and dialogs. `all` is `[key, what, act]`.
export const shortcuts = (all) => {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const found = all.find(([key]) => key === event.key || key === "?" + event.key);
    if (!found || (!isOn() && found[0] !== "?" && found[0] !== "Escape")) return;
    event.preventDefault();
    found[2](event);
  });
};

export const openHelp = (all) =>
  dialog(
    "Keyboard",
    () => {
      const box = make("input", { type: "checkbox", id: "shortcuts-on", checked: isOn() });
      box.addEventListener("change", () => {
        try {
          localStorage.setItem(STORED, box.checked ? "on" : "off");
        } catch {
          // Then it holds for this page as it is.
        }
      });
      const rows = all.map(([key, what]) => make("div", null, make("dt", null, make("kbd", null, key === "Escape" ? "Esc" : key)), make("dd", null, what)));
      const moving = [
        ["↑ ↓", "one key up or down in the list, and show it"],
        ["PgUp PgDn", "a screen up or down"],
        ["Home End", "to the first, and to the last that is here"],
        ["Enter", "open a key, or go into a group"],
        ["Ctrl Enter", "save what is being edited"],
      ].map(([key, what]) => make("div", null, make("dt", null, make("kbd", null, key)), make("dd", null, what)));
      return [
        make("dl", { class: "shortcuts" }, rows, moving),
        make("p", null, box, make("label", { for: "shortcuts-on" }, " Single keys do something")),
        make("p", { class: "soft" }, "In the fields \\u{…} stands for a character that cannot be typed or seen: \\u{a} for a line feed."),
      ];
    },
    { wide: true },
  );
