// How keys, sizes and times are shown. Keys and values are untrusted: they become text nodes and nothing else, and
// what cannot be seen in them, or turns other text around, becomes visible.

// Controls, formats (marks of direction among them), separators, spaces that are not the usual one, what is not assigned.
const ODD = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u034f\u115f\u1160\u3164\uffa0]|(?! )\p{Zs}/u;
const JOINER = "\u200d";
const PICTURE = /\p{Extended_Pictographic}/u;
const BEFORE_JOINER = /[\p{Extended_Pictographic}\u{1f3fb}-\u{1f3ff}\ufe0f]/u;
// What belongs to the character before it.
const CONTINUES = /[\p{M}\u200d\ufe0f\u{1f3fb}-\u{1f3ff}]/u;

// What the first characters of all are called.
const CONTROLS = "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US SPACE".split(" ");

// A name for a character that shows nothing itself.
const sign = (character) => {
  const code = character.codePointAt(0);
  if (code <= 32) return CONTROLS[code];
  return "U+" + code.toString(16).toUpperCase().padStart(4, "0");
};

const isOdd = (characters, at) => {
  const character = characters[at];
  if (character === JOINER && BEFORE_JOINER.test(characters[at - 1] || "") && PICTURE.test(characters[at + 1] || "")) {
    return false;
  }
  // A space at either end would not be seen.
  return ODD.test(character) || (character === " " && (at === 0 || at === characters.length - 1));
};

// Text as nodes in which everything can be seen.
export const visible = (text) => {
  if (!ODD.test(text) && !text.startsWith(" ") && !text.endsWith(" ")) {
    return [document.createTextNode(text)];
  }
  const nodes = [];
  let plain = "";
  const characters = [...text];
  characters.forEach((character, at) => {
    if (!isOdd(characters, at)) {
      plain += character;
      return;
    }
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
    const chip = document.createElement("span");
    chip.className = "odd";
    chip.textContent = sign(character);
    nodes.push(chip);
  });
  if (plain) nodes.push(document.createTextNode(plain));
  return nodes;
};

// The same as one text, for titles and what is read aloud.
export const plainly = (text) => {
  if (!ODD.test(text)) return text;
  const characters = [...text];
  return characters.map((each, at) => (isOdd(characters, at) && each !== " " ? `[${sign(each)}]` : each)).join("");
};

// A value's text: line ends and tabs stay, other controls and what turns text around are named.
export const body = (text) => text.replace(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (each) => ("\n\t".includes(each) ? each : `[${sign(each)}]`));

// As far as the text is one that a field can hold: \u{…} stands for what cannot be typed or seen.
export const written = (text) =>
  text
    .replace(/\\(?=u\{[0-9a-fA-F]{1,6}\})/g, "\\u{5c}")
    .replace(new RegExp(ODD.source, "gu"), (each) => "\\u{" + each.codePointAt(0).toString(16) + "}");

// And back.
export const meant = (field) =>
  field.toWellFormed().replace(/\\u\{([0-9a-fA-F]{1,6})\}/g, (whole, digits) => {
    const code = parseInt(digits, 16);
    return code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? whole : String.fromCodePoint(code);
  });

const element = (name, className, nodes) => {
  const made = document.createElement(name);
  made.className = className;
  made.append(...nodes);
  return made;
};

// Where a text may be cut so that its end is shown whole: not within what is one character to its reader.
const cut = (text, at) => {
  while (at > 0 && at < text.length && (/[\udc00-\udfff]/.test(text[at]) || CONTINUES.test(String.fromCodePoint(text.codePointAt(at))) || text[at - 1] === JOINER)) at -= 1;
  return at;
};

// A key with what matched emphasised, in two parts: of a long one the end stays to be seen.
export const keyNodes = (key, { prefix = "", suffix = "" } = {}) => {
  const begins = key.startsWith(prefix) ? prefix.length : 0;
  const ends = key.endsWith(suffix) ? Math.max(begins, key.length - suffix.length) : key.length;
  const split = key.length > 32 ? cut(key, Math.max(0, Math.min(key.length - 14, Math.max(ends, key.length - 40)))) : key.length;
  const part = (from, to) => {
    const nodes = [];
    const piece = (start, end, make) => {
      const [a, b] = [Math.max(from, start), Math.min(to, end)];
      if (a < b) nodes.push(...make(visible(key.slice(a, b))));
    };
    piece(0, begins, (inner) => [element("mark", "begins", inner)]);
    piece(begins, ends, (inner) => inner);
    piece(ends, key.length, (inner) => [element("mark", "ends", inner)]);
    return nodes;
  };
  const parts = [element("span", "head", part(0, split))];
  if (split < key.length) parts.push(element("span", "tail", part(split, key.length)));
  return parts;
};

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const number = (value) => whole.format(value);
export const compact = (value) => (Math.abs(value) < 10_000 ? whole.format(Math.round(value)) : short.format(value));
export const plural = (count, one, many = one + "s") => `${number(count)} ${count === 1 ? one : many}`;

export const bytes = (count) => {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let at = -1;
  let value = count;
  do {
    value /= 1000;
    at += 1;
  } while (value >= 999.5 && at < units.length - 1);
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[at]}`;
};

export const milliseconds = (value) => (value < 1 ? "under 1 ms" : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);

// A duration in its two largest units: for what is left.
export const left = (milliseconds) => {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const parts = [
    [Math.floor(seconds / 31_536_000), "y"],
    [Math.floor(seconds / 86_400) % 365, "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
};
