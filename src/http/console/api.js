// What the page asks of the server that it came from, and of nobody else. All addresses are relative to the page's own,
// so that it works below any path of a proxy.

import { parse } from "./json.js";

// Where the page is, without what stands behind it.
export const base = new URL(".", document.baseURI);

const STORED = "kvstore.token";
const encoder = new TextEncoder();

// What went wrong, as the server said it (RFC 9457), or in words of the same kind where it said nothing.
export class Problem extends Error {
  constructor(members) {
    super(members.detail);
    Object.assign(this, members);
  }
}

// The token lives as long as the tab.
export const token = {
  get: () => sessionStorage.getItem(STORED),
  set: (value) => sessionStorage.setItem(STORED, value),
  forget: () => sessionStorage.removeItem(STORED),
};

// What asks for a token: set by the part of the page that does. Gives whether there is another one now.
let asker = async () => false;
export const onUnauthorized = (ask) => {
  asker = ask;
};

const silent = () =>
  new Problem({
    status: 0,
    code: "",
    title: "The server does not answer",
    detail: `Nothing came from ${base.host}. See that the server runs and can be reached, then try again.`,
  });

// The problem that an answer is.
export const problemOf = async (response) => {
  const text = await response.text().catch(() => "");
  try {
    const said = JSON.parse(text);
    if (typeof said.detail === "string") return new Problem({ ...said, status: response.status, etag: response.headers.get("etag") });
  } catch {
    // Not ours: a proxy's, perhaps.
  }
  const detail = `${response.status} ${response.statusText}: what answered is not kvstore itself, but perhaps a proxy in front of it, which may not let this path in.`;
  return new Problem({ status: response.status, code: "", title: "Unexpected answer", detail });
};

// Asks, and gives the answer where it is a success.
export const ask = async (method, path, { headers = {}, signal, body, bearer = token.get(), again = true } = {}) => {
  const sent = new Headers(headers);
  if (bearer) sent.set("authorization", `Bearer ${bearer}`);
  let response;
  try {
    response = await fetch(new URL(path, base), {
      method, headers: sent, body, signal, cache: "no-store", credentials: "same-origin", redirect: "error", referrerPolicy: "no-referrer",
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : silent();
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401 && again) {
    // Somebody may have given another one meanwhile.
    const isOther = bearer !== token.get() || (await asker(problem));
    if (isOther) return ask(method, path, { headers, signal, body, again: bearer !== token.get() });
  }
  throw problem;
};

// Percent-encodes all that a URL or a shell could take for something else.
export const encode = (text) =>
  encodeURIComponent(text.toWellFormed()).replace(/[!'()*~]/g, (each) => "%" + each.charCodeAt(0).toString(16).toUpperCase());

// The path of a key, or `null` where browsers have none: they take `.` and `..` for steps, however these are encoded. Slashes
// stay where nobody takes what is between them for a step.
export const keyPath = (verb, key) => {
  if (key === "." || key === "..") return null;
  const segments = key.split("/");
  const isPlain = segments.every((segment) => !["", ".", ".."].includes(segment));
  return `${verb}/${isPlain ? segments.map(encode).join("/") : encode(key)}`;
};

export const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? "?" + given.map(([name, value]) => `${name}=${encode(String(value))}`).join("&") : "";
};

const base64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
};

// What to add to this machine's time to have the server's, where they differ by more than a date can tell.
const skew = (response) => {
  const there = Date.parse(response.headers.get("date") || "");
  const differs = there + 500 - Date.now();
  return Number.isNaN(differs) || Math.abs(differs) < 2000 ? 0 : differs;
};

// The value of a key, byte for byte.
export const read = async (key, signal) => {
  const path = keyPath("get", key);
  if (path === null) return readByList(key, signal);
  const response = await ask("GET", path, { signal });
  const bytes = new Uint8Array(await response.arrayBuffer());
  return {
    key,
    bytes,
    type: response.headers.get("content-type") || "application/octet-stream",
    etag: response.headers.get("etag"),
    expiresAt: response.headers.get("x-expires-at"),
    skew: skew(response),
  };
};

const readByList = async (key, signal) => {
  const headers = { "content-type": "application/json" };
  const response = await ask("POST", "get", { headers, signal, body: JSON.stringify({ keys: [key] }) });
  const text = await response.text();
  const [entry] = JSON.parse(text);
  if (entry.missing) {
    throw new Problem({ status: 404, code: "key_not_found", title: "Key not found", detail: "the key names no value" });
  }
  const isJson = !("base64" in entry);
  // The value stands in the answer verbatim; what JavaScript would make of its numbers may be others.
  const verbatim = () => {
    const member = parse(text).items[0].members.find(({ name }) => name === "value").value;
    return encoder.encode(text.slice(member.start, member.end));
  };
  return {
    key,
    bytes: isJson ? verbatim() : Uint8Array.from(atob(entry.base64), (each) => each.charCodeAt(0)),
    type: isJson ? "application/json" : entry.content_type,
    etag: entry.etag,
    expiresAt: entry.expires_at || null,
    skew: skew(response),
  };
};

// Sets a key. `condition` is `{ match: etag }`, `{ create: true }` or nothing; `deadline` is `{ ttl_ms }`, `{ expires_at }` or nothing.
export const write = async (key, bytes, type, { condition = {}, deadline = {} } = {}) => {
  const path = keyPath("set", key);
  if (path === null) return writeByLine(key, bytes, type, { condition, deadline });
  const headers = { "content-type": type };
  if (condition.match) headers["if-match"] = condition.match;
  if (condition.create) headers["if-none-match"] = "*";
  const response = await ask("PUT", path + query(deadline), { headers, body: bytes });
  return { etag: response.headers.get("etag"), ...(await response.json()) };
};

const writeByLine = async (key, bytes, type, { condition, deadline }) => {
  const line = { key, content_type: type, base64: base64(bytes), ...deadline };
  if (condition.match) line.if_match = condition.match;
  if (condition.create) line.if_none_match = "*";
  const headers = { "content-type": "application/x-ndjson" };
  const response = await ask("POST", "set", { headers, body: JSON.stringify(line) + "\n" });
  const { created, unmet } = await response.json();
  if (unmet) {
    const now = await readByList(key).catch(() => null);
    const detail = now ? "the key has another value by now; nothing was changed" : "the key names no value by now; nothing was changed";
    throw new Problem({ status: 412, code: "precondition_failed", title: "Precondition failed", detail, etag: now?.etag });
  }
  return { etag: null, created: created > 0 };
};

// Removes a key, if its value is the one of `etag`. One that no address names ends instead, in the next millisecond.
export const remove = async (key, etag) => {
  const path = keyPath("delete", key);
  if (path !== null) return void (await ask("DELETE", path, { headers: etag ? { "if-match": etag } : {} }));
  await writeByLine(key, encoder.encode("null"), "application/json", { condition: { match: etag || "*" }, deadline: { ttl_ms: 1 } });
};

// Changes when a value ends: `{ ttl_ms }` or `{ expires_at }`, which may be null.
export const expire = async (value, deadline) => {
  const path = keyPath("expire", value.key);
  if (path === null) {
    const given = deadline.expires_at === null ? {} : deadline;
    await writeByLine(value.key, value.bytes, value.type, { condition: { match: value.etag }, deadline: given });
    return;
  }
  const headers = { "content-type": "application/json", "if-match": value.etag };
  await ask("POST", path, { headers, body: JSON.stringify(deadline) });
};

// What there is to say of the server without its data, and of whoever asks.
export const index = async (options) => (await ask("GET", ".", { ...options, headers: { accept: "application/json" } })).json();
