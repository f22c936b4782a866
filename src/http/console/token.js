// Who asks, where the server wants to know: a token, kept for as long as the tab is open, and what it allows.

import { $, button, dialog, labelled, make, trouble } from "./dom.js";
import { index, onUnauthorized, token } from "./api.js";

let known = null;
let asking = null;
const listeners = [];

export const onToken = (listener) => listeners.push(listener);

// What the token in use allows: `{ name, access, prefixes }`; null where none is used or nothing is known.
export const allowed = () => known;

export const mayWrite = () => !known || known.access !== "read";

export const whyNot = () => `The token ${known?.name} may read, and not change anything. Use one with the access write.`;

const words = ({ access, prefixes }) => {
  const may = { read: "may read", write: "may read and change", admin: "may do everything with" }[access] || access;
  return `${may} ${prefixes?.length ? `keys that begin with ${prefixes.map((each) => JSON.stringify(each)).join(", ")}` : "all keys"}`;
};

// Learns what the server says of itself and of the token.
export const learn = async () => {
  const said = await index();
  known = said.token ?? null;
  show("token" in said || Boolean(token.get()));
  return said;
};

const show = (isNeeded) => {
  $("token").hidden = !isNeeded;
  $("token").textContent = known ? `${known.name} · ${known.access}` : "Token";
  $("token").title = known ? words(known) : "No token is given";
  listeners.forEach((listener) => listener(known));
};

// Asks for a token until there is one that the server knows, or whoever is asked leaves. All that wait share it.
const askFor = (problem) => {
  asking ||= new Promise((resolve) => {
    let isGiven = false;
    dialog(
      "A token is needed",
      (close) => {
        const field = make("input", { type: "password", autocomplete: "off", spellcheck: "false", "data-first": true, required: true });
        const out = make("div", null, token.get() ? trouble(problem) : make("p", { class: "soft" }, problem.detail));
        const submit = async (event) => {
          event.preventDefault();
          const given = field.value.trim();
          try {
            const said = await index({ bearer: given, again: false });
            token.set(given);
            known = said.token ?? null;
            isGiven = true;
            close();
            show(true);
          } catch (refused) {
            out.replaceChildren(trouble(refused));
            field.select();
          }
        };
        return make(
          "form",
          { onsubmit: submit },
          out,
          labelled("Token", field, "It is kept until this tab is closed, and sent to this server only."),
          make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, "Use it"), button("Cancel", close)),
        );
      },
      {
        onleft: () => {
          asking = null;
          resolve(isGiven);
        },
      },
    );
  });
  return asking;
};

const forget = (close) => {
  token.forget();
  known = null;
  close();
  location.reload();
};

const about = () => {
  if (!token.get()) return void askFor({ title: "No token", detail: "Give one that whoever runs this server has made by kvstore token." });
  dialog("The token in use", (close) => [
    known
      ? make("p", null, make("strong", null, known.name), ` ${words(known)}.`)
      : make("p", null, "The server does not say what this token allows; what it refuses it says in words."),
    make("div", { class: "actions" }, button("Forget it", () => forget(close), { class: "danger" }), button("Close", close, { "data-first": true })),
  ]);
};

export const begin = () => {
  onUnauthorized(async (problem) => {
    const isGiven = await askFor(problem);
    return isGiven;
  });
  $("token").addEventListener("click", about);
};

