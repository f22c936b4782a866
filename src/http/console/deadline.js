// Fields for when a value ends.

import { labelled, make } from "./dom.js";

const UNITS = [["seconds", 1000], ["minutes", 60_000], ["hours", 3_600_000], ["days", 86_400_000]];

// What a deadline is chosen with. `given()` is what a request takes of it: nothing where it never ends.
export const deadlineFields = (value, { isExpire = false } = {}) => {
  const has = Boolean(value?.expiresAt);
  const choices = [
    has && !isExpire && ["keep", "when it would have"],
    ["never", "never"],
    ["after", "after"],
    ["at", "at"],
  ].filter(Boolean);
  const kind = make("select", null, choices.map(([name, label]) => make("option", { value: name }, label)));
  if (isExpire) kind.value = "after";
  const count = make("input", { type: "number", min: "1", step: "1", value: "1", "aria-label": "How many" });
  const unit = make("select", { "aria-label": "Unit" }, UNITS.map(([name, milliseconds]) => make("option", { value: milliseconds }, name)));
  unit.value = 3_600_000;
  const time = make("input", { type: "datetime-local", step: "1", "aria-label": "Date and time" });
  const soon = new Date(Date.now() + 3_600_000);
  time.value = new Date(soon - soon.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  const look = () => {
    count.hidden = unit.hidden = kind.value !== "after";
    time.hidden = kind.value !== "at";
  };
  kind.addEventListener("change", look);
  look();
  const given = () => {
    if (kind.value === "keep") return { expires_at: value.expiresAt };
    if (kind.value === "never") return isExpire ? { expires_at: null } : {};
    if (kind.value === "at") {
      const at = new Date(time.value);
      if (Number.isNaN(at.getTime())) throw { title: "No time", detail: "Choose the date and the time when it ends." };
      return { expires_at: at.toISOString() };
    }
    const milliseconds = Math.round(Number(count.value) * Number(unit.value));
    if (!(milliseconds >= 1)) throw { title: "No time", detail: "Say after how long it ends: a number from 1 on." };
    return { ttl_ms: milliseconds };
  };
  return { given, nodes: make("div", { class: "row-of deadline" }, labelled("It ends", kind), count, unit, time) };
};
