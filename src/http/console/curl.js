// What is done here, as commands for a shell.

import { base, keyPath } from "./api.js";
import { button, copy, dialog, labelled, make } from "./dom.js";
import { token } from "./api.js";

// Quoted for a POSIX shell: within these quotes nothing means anything.
export const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const address = (path) => quote(new URL(path, base).href);

// A token is not written out: commands end up in histories and in front of others.
const bearer = () => (token.get() ? ` -H "Authorization: Bearer $KVSTORE_TOKEN"` : "");

const json = (value) => ` -H 'Content-Type: application/json' -d ${quote(JSON.stringify(value))}`;

export const commands = ({ key, type, etag }) => {
  const isReachable = keyPath("get", key) !== null;
  if (!isReachable) {
    return [
      ["Read", `curl${bearer()} ${address("get")}${json({ keys: [key] })}`],
      ["Write JSON", `curl${bearer()} ${address("set")}${json({ key, value: null })}`],
    ];
  }
  const at = (verb) => address(keyPath(verb, key));
  return [
    ["Read", `curl${bearer()} ${at("get")}`],
    ["Write, if nobody has changed it", `curl${bearer()} -X PUT ${at("set")} -H ${quote(`Content-Type: ${type}`)} -H ${quote(`If-Match: ${etag}`)} --data-binary @FILE`],
    ["Let it end in an hour", `curl${bearer()} ${at("expire")}${json({ ttl_ms: 3_600_000 })}`],
    ["Delete", `curl${bearer()} -X DELETE ${at("delete")}`],
  ];
};

export const open = (value) =>
  dialog(
    "As curl",
    () =>
      commands(value).map(([name, command], at) => {
        const field = make("textarea", { class: "key", rows: "2", readonly: true, spellcheck: "false" });
        field.value = command;
        return make("div", { class: "command" }, labelled(name, field), button("Copy", () => copy(command, "the command"), { "data-first": at === 0, "aria-label": `Copy: ${name}` }));
      }),
    { wide: true },
  );
