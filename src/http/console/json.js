// Reads JSON as it is written: numbers keep their digits, members their order, those of one name stay two. What the
// platform's own parser makes of `1e400`, `12345678901234567890` or `{"a":1,"a":2}` is not what is stored.

const DEEPEST = 300;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\r\n]*/y;

// What is wrong with a text, and where.
export class Malformed extends Error {
  constructor(text, at, expected) {
    const before = text.slice(0, at).split("\n");
    const there = at < text.length ? `there is ${JSON.stringify(String.fromCodePoint(text.codePointAt(at)))}` : "the text ends";
    super(`line ${before.length}, column ${before.at(-1).length + 1}: ${there} where ${expected} is expected`);
  }
}

// A tree of `{ kind, start, end, items | members }`, of which `kind` is array, object, string, number or word.
export const parse = (text) => {
  let at = 0;
  const fail = (expected) => {
    throw new Malformed(text, at, expected);
  };
  const take = (pattern) => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const space = () => take(SPACE);
  const mark = (character, expected) => {
    if (text[at] !== character) fail(expected || `“${character}”`);
    at += 1;
  };

  const list = (open, close, item, depth) => {
    if (depth > DEEPEST) fail(`no more than ${DEEPEST} levels`);
    mark(open);
    space();
    const found = [];
    if (text[at] !== close) {
      for (;;) {
        found.push(item());
        space();
        if (text[at] === close) break;
        mark(",", `“,” or “${close}”`);
        space();
      }
    }
    at += 1;
    return found;
  };

  const member = (depth) => () => {
    const start = at;
    if (!take(STRING)) fail("a name in quotes");
    const name = JSON.parse(text.slice(start, at));
    space();
    mark(":");
    space();
    return { name, value: value(depth) };
  };

  const value = (depth) => {
    const start = at;
    const node = (kind, more) => ({ kind, start, end: at, ...more });
    if (text[at] === "{") {
      const members = list("{", "}", member(depth + 1), depth);
      return node("object", { members });
    }
    if (text[at] === "[") {
      const items = list("[", "]", () => value(depth + 1), depth);
      return node("array", { items });
    }
    if (take(STRING)) return node("string");
    if (take(NUMBER)) return node("number");
    const word = ["true", "false", "null"].find((each) => text.startsWith(each, at));
    if (!word) fail(text[at] === '"' ? "a string that ends and has no raw control characters" : "a value");
    at += word.length;
    return node("word");
  };

  space();
  const whole = value(0);
  space();
  if (at < text.length) fail("the end");
  return whole;
};

// The same text, laid out: for those who edit it.
export const layOut = (text) => {
  const written = (node, indent) => {
    const inner = indent + "  ";
    const lines = (open, close, parts) => (parts.length ? `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}` : open + close);
    if (node.kind === "object") return lines("{", "}", node.members.map(({ name, value }) => `${JSON.stringify(name)}: ${written(value, inner)}`));
    if (node.kind === "array") return lines("[", "]", node.items.map((item) => written(item, inner)));
    return text.slice(node.start, node.end);
  };
  return written(parse(text), "");
};
