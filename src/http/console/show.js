// A value as its reader wants it: JSON that folds, text, an image, or bytes. Whatever it holds, nothing of it runs: it
// becomes text nodes, or the pixels of an image.

import { Malformed, parse } from "./json.js";
import { body, number, plural, visible } from "./text.js";
import { button, make } from "./dom.js";

const TEXT_SHOWN = 200_000;
const HEX_SHOWN = 16_384;
const MEMBERS_SHOWN = 100;
// So many lines are unfolded at first.
const LINES_OPEN = 400;
const JSON_MAX = 4_000_000;

// Images whose pixels are all that they are.
const RASTER = /^image\/(png|jpeg|gif|webp|avif|bmp|x-icon|vnd\.microsoft\.icon)$/;
const TEXTUAL = /^(text\/.*|application\/(.*\+)?(json|xml|yaml|toml|javascript|x-ndjson|x-www-form-urlencoded|sql|graphql))$|^image\/svg\+xml$/;

export const essence = (type) => type.split(";")[0].trim().toLowerCase();
export const isJson = (type) => /^application\/(.*\+)?json$/.test(essence(type));
export const isTextual = (type) => TEXTUAL.test(essence(type));

// The text that bytes are, or null.
export const textOf = (bytes) => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
};

// The ways to show a value, the best first.
export const ways = ({ type, bytes }) => {
  const kind = essence(type);
  const text = textOf(bytes);
  const found = [];
  if (text !== null && isJson(type) && bytes.length <= JSON_MAX) found.push("json");
  if (RASTER.test(kind) || kind === "image/svg+xml") found.push("image");
  if (text !== null && isTextual(type)) found.push("text");
  found.push("hex");
  if (text !== null && !found.includes("text")) found.push("text");
  return found;
};

// Part of a long text at a time.
const portions = (length, portion, show) => {
  const host = make("div", null);
  let at = 0;
  const more = () => {
    const end = Math.min(length, at + portion);
    host.querySelector(":scope > button")?.remove();
    host.append(show(at, end));
    at = end;
    if (at < length) host.append(button(`Show more: ${number(length - at)} are left`, more));
  };
  more();
  return host;
};

const showText = (text) =>
  text === "" ? make("p", { class: "soft" }, "It is empty.") : portions(text.length, TEXT_SHOWN, (from, to) => make("pre", { class: "value text", tabindex: "0", "aria-label": "Value as text" }, body(text.slice(from, to))));

const showHex = ({ bytes }, width) => {
  const across = width < 560 ? 8 : 16;
  const digits = (value, length) => value.toString(16).padStart(length, "0");
  const line = (at) => {
    const part = [...bytes.subarray(at, at + across)];
    const hex = part.map((byte) => digits(byte, 2)).join(" ").padEnd(across * 3 - 1);
    const letters = part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    return `${digits(at, 8)}  ${hex}  ${letters}\n`;
  };
  if (!bytes.length) return make("p", { class: "soft" }, "It is empty.");
  return portions(bytes.length, HEX_SHOWN, (from, to) => {
    let text = "";
    for (let at = from; at < to; at += across) text += line(at);
    return make("pre", { class: "value hex", tabindex: "0", "aria-label": "Value as bytes" }, text);
  });
};

// A picture whose address is gone as soon as it is drawn. One of markup comes as `data:`, which has no origin: opened by
// itself it could not reach what is stored here.
const showImage = ({ bytes, type, key }) => {
  const kind = essence(type);
  const image = make("img", { alt: `The image under ${body(key)}`, class: "picture" });
  const host = make("figure", { class: "value image" }, image, make("figcaption", { class: "soft" }, kind));
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "trouble" }, `The browser cannot show this as ${kind}.`)));
  image.addEventListener("load", () => {
    host.lastChild.textContent = `${kind}, ${image.naturalWidth} × ${image.naturalHeight}`;
    if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  });
  const blob = new Blob([bytes], { type: kind });
  if (RASTER.test(kind)) {
    image.src = URL.createObjectURL(blob);
  } else {
    const reader = new FileReader();
    reader.onload = () => {
      image.src = reader.result;
    };
    reader.readAsDataURL(blob);
  }
  return host;
};

// JSON as a tree. What is folded is made when it is opened.
const showJson = (text) => {
  const whole = parse(text);
  let open = LINES_OPEN;
  const leaf = (node) => make("span", { class: node.kind }, body(text.slice(node.start, node.end)));
  const parts = (node) => (node.kind === "object" ? node.members : node.kind === "array" ? node.items.map((value) => ({ value })) : null);

  const line = (name, node, comma) => {
    const label = name === undefined ? [] : [make("span", { class: "name" }, visible(JSON.stringify(name))), ": "];
    const inner = parts(node);
    if (!inner || !inner.length) {
      const shown = inner ? (node.kind === "object" ? "{}" : "[]") : leaf(node);
      return make("div", { class: "line" }, label, shown, comma);
    }
    const [from, to] = node.kind === "object" ? ["{", "}"] : ["[", "]"];
    const isOpen = open > 0;
    open -= isOpen ? inner.length : 0;
    const count = plural(inner.length, node.kind === "object" ? "member" : "item");
    const fold = make("details", { class: "fold" }, make("summary", null, label, from, make("span", { class: "folded" }, ` ${count} `, to, comma)));
    let isMade = false;
    const build = () => {
      if (isMade) return;
      isMade = true;
      const rest = portions(inner.length, MEMBERS_SHOWN, (start, end) =>
        make("div", null, inner.slice(start, end).map(({ name, value }, at) => line(name, value, start + at + 1 < inner.length ? "," : ""))),
      );
      rest.className = "inner";
      fold.append(rest, make("div", { class: "line" }, to, comma));
    };
    fold.addEventListener("toggle", () => fold.open && build());
    if (isOpen) {
      build();
      fold.open = true;
    }
    return fold;
  };
  return make("div", { class: "value json" }, line(undefined, whole, ""));
};

// What is folded in it, all opened or all closed.
export const setAll = (host, isOpen) => {
  // Opening makes what is inside, which may be folded as well: a few levels at a time.
  for (let level = 0; level < 6; level += 1) for (const fold of [...host.querySelectorAll("details.fold")].slice(0, 2000)) fold.open = isOpen;
  if (!isOpen) host.querySelector("details.fold")?.setAttribute("open", "");
};

// A value shown one way.
export const show = (value, way, width) => {
  if (way === "image") return showImage(value);
  if (way === "hex") return showHex(value, width);
  const text = textOf(value.bytes);
  if (way === "text") return showText(text);
  try {
    const tree = showJson(text);
    if (!tree.querySelector("details")) return tree;
    return tree;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return make("div", null, make("p", { class: "hint" }, `Its type says JSON, and it is none: ${error.message}`), showText(text));
  }
};
