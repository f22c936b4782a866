// What the page is made of: elements from names and texts (never from markup), dialogs and notices.

const SVG = "http://www.w3.org/2000/svg";

const fill = (element, attributes, inner) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...inner.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
};

// An element. Members that begin with `on` are listeners; texts stay texts, whatever they hold.
export const make = (name, attributes, ...inner) => fill(document.createElement(name), attributes, inner);
export const draw = (name, attributes, ...inner) => fill(document.createElementNS(SVG, name), attributes, inner);
export const $ = (id) => document.getElementById(id);

export const button = (label, onclick, attributes) => make("button", { type: "button", onclick, ...attributes }, label);

// A label with the field that it is of.
export const labelled = (label, field, hint) => {
  field.id ||= unique("field");
  if (hint) {
    hint = make("small", { id: field.id + "-hint", class: "soft" }, hint);
    field.setAttribute("aria-describedby", hint.id);
  }
  return make("div", { class: "field" }, make("label", { for: field.id }, label), field, hint);
};

let made = 0;
export const unique = (what) => `${what}-${++made}`;

// Opens a dialog, and closes it for good when it is left. `build` gets what closes it, and gives what is in it.
export const dialog = (title, build, { wide = false, onleft } = {}) => {
  const heading = make("h2", { id: unique("title") }, title);
  const element = make("dialog", { class: wide ? "wide" : null, "aria-labelledby": heading.id });
  const close = () => element.close();
  element.append(
    make("header", null, heading, button("✕", close, { class: "quiet icon", "aria-label": "Close" })),
    make("div", { class: "inside" }, build(close)),
  );
  element.addEventListener("close", () => {
    element.remove();
    onleft?.();
  });
  // A click on what is behind it.
  element.addEventListener("click", (event) => event.target === element && close());
  document.body.append(element);
  element.showModal();
  element.querySelector("[data-first]")?.focus();
  return element;
};

// A problem in its own words.
export const trouble = (problem, ...more) =>
  make(
    "div",
    { class: "trouble", role: "alert" },
    make("strong", null, problem.title || "Something went wrong"),
    make("p", null, problem.detail || problem.message || ""),
    problem.code && make("p", { class: "soft small" }, `${problem.status || ""} ${problem.code}`.trim()),
    more,
  );

// Says something for a while, with what can be done about it. What offers something stays longer.
export const notice = (text, { action, onaction, isTrouble = false, milliseconds = action ? 30_000 : 6_000 } = {}) => {
  const element = make("div", { class: isTrouble ? "notice bad" : "notice", role: isTrouble ? "alert" : null }, make("span", null, text));
  const leave = () => {
    clearTimeout(timer);
    element.remove();
  };
  const timer = setTimeout(leave, isTrouble ? 15_000 : milliseconds);
  if (action) {
    element.append(
      button(action, () => {
        leave();
        onaction();
      }),
    );
  }
  element.append(button("✕", leave, { class: "quiet icon", "aria-label": "Dismiss" }));
  $("notices").append(element);
  while ($("notices").children.length > 4) $("notices").firstElementChild.remove();
  return { element, leave };
};

export const noticeOf = (problem) => notice(`${problem.title || "It failed"}: ${problem.detail || problem.message}`, { isTrouble: true });

// Copies a text, also where a page may not ask for the clipboard itself, which takes https or this machine.
export const copy = async (text, what) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = make("textarea", { class: "outside", "aria-hidden": "true" });
    field.value = text;
    (document.querySelector("dialog[open]") || document.body).append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    if (!isCopied) {
      notice(`The browser does not let this page copy; select ${what} and copy it by hand`, { isTrouble: true });
      return;
    }
  }
  notice(`Copied ${what}`);
};

// Says something to those who listen, once nothing new came for a moment.
let saying = 0;
export const say = (text) => {
  clearTimeout(saying);
  saying = setTimeout(() => {
    $("said").textContent = text;
  }, 700);
};
