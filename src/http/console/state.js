// What the page shows, which is what its address says behind the `#`: so a search can be sent to somebody, and back and
// forward work. The server never sees it.

export const VIEWS = ["list", "tree", "live"];

const EMPTY = { view: "list", prefix: "", suffix: "", delimiter: null, key: null, panel: null };
const TYPING_MS = 250;

const encode = (text) => encodeURIComponent(text.toWellFormed()).replace(/%(2F|3A|40|2C)/g, decodeURIComponent);

const written = (state) => {
  const members = Object.entries(state).filter(([name, value]) => value !== EMPTY[name]);
  return "#" + members.map(([name, value]) => `${name}=${encode(value)}`).join("&");
};

const parsed = (hash) => {
  const state = { ...EMPTY };
  for (const pair of hash.replace(/^#/, "").split("&")) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, at);
    if (at < 0 || !(name in EMPTY)) continue;
    try {
      state[name] = decodeURIComponent(pair.slice(at + 1));
    } catch {
      // What does not decode was written by nobody's console.
    }
  }
  if (!VIEWS.includes(state.view)) state.view = EMPTY.view;
  return state;
};

let current = parsed(location.hash);
const listeners = [];
let pending = 0;
let isTyping = false;

export const state = () => current;

// Calls whenever something changes, with what was before.
export const onChange = (listener) => listeners.push(listener);

const tell = (before) => listeners.forEach((listener) => listener(current, before));

const record = (how) => {
  clearTimeout(pending);
  pending = 0;
  const address = location.pathname + written(current);
  if (how === "push") history.pushState(null, "", address);
  else history.replaceState(null, "", address);
};

// Goes to what differs. A run of typing is one step of the history, recorded when it pauses.
export const go = (changes, { typing = false } = {}) => {
  const before = current;
  const next = { ...current, ...changes };
  if (Object.keys(EMPTY).every((name) => next[name] === before[name])) return;
  if (typing) {
    if (!isTyping) record("push");
    current = next;
    clearTimeout(pending);
    pending = setTimeout(() => record("replace"), TYPING_MS);
  } else {
    if (pending) record("replace");
    current = next;
    record("push");
  }
  isTyping = typing;
  tell(before);
};

// Ends a run of typing.
export const settle = () => {
  if (pending) record("replace");
  isTyping = false;
};

window.addEventListener("popstate", () => {
  clearTimeout(pending);
  pending = 0;
  isTyping = false;
  const before = current;
  current = parsed(location.hash);
  tell(before);
});
