//! The parts of requests: keys, filters, conditions, bodies, and the ways in which each is written.

use super::draft::Draft;
use super::grammar::Grammar;
use super::model::{Filter, Lasts};
use super::samples::{BAD_VALUES, KEYS, LIFETIMES, ODD_VALUES, PREFIXES, SUFFIXES, VALUES};

impl Grammar<'_> {
    /// A filter of own keys.
    pub fn filter(&mut self, draft: &mut Draft) -> Filter {
        let filter = Filter {
            prefix: format!("{}{}", self.prefix, self.random.pick(&PREFIXES)),
            suffix: self.random.pick(&SUFFIXES).into(),
        };
        let prefix = self.query(&filter.prefix);
        draft.parameters.push(format!("prefix={prefix}"));
        if !filter.suffix.is_empty() {
            let suffix = self.query(&filter.suffix);
            draft.parameters.push(format!("suffix={suffix}"));
        }
        filter
    }

    pub fn key(&mut self) -> String {
        let end = match self.random.below(20) {
            0 => "k".repeat(super::KEY_BYTES_MAX - self.prefix.len()),
            1 => "k".repeat(super::KEY_BYTES_MAX + 1 - self.prefix.len()),
            _ => self.random.pick(&KEYS).into(),
        };
        format!("{}{end}", self.prefix)
    }

    /// A key and the path that names it.
    pub fn path(&mut self, route: &str) -> (String, String) {
        let key = self.key();
        let path = format!("{route}{}", self.encoded(&key));
        (key, path)
    }

    pub fn if_there(&self, key: &str, status: u16) -> u16 {
        match self.model.keys.contains_key(key) {
            true => status,
            false => 404,
        }
    }

    /// Percent-encodes a text, and what needs it not by chance.
    pub fn encoded(&mut self, text: &str) -> String {
        let mut encoded = String::new();
        for byte in text.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
            encoded += &match (is_plain && !self.random.one_in(8), self.random.one_in(2)) {
                (true, _) => char::from(byte).to_string(),
                (false, true) => format!("%{byte:02x}"),
                (false, false) => format!("%{byte:02X}"),
            };
        }
        encoded
    }

    /// As [`encoded`](Self::encoded), where a plus may be a space.
    pub fn query(&mut self, text: &str) -> String {
        let encoded = self.encoded(text);
        match self.random.one_in(2) {
            true => encoded.replace("%20", "+"),
            false => encoded,
        }
    }

    /// A string of JSON, all or none of it in escapes.
    pub fn json_string(&mut self, text: &str) -> String {
        if self.random.one_in(2) {
            return serde_json::to_string(text).unwrap();
        }
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", units.collect::<String>())
    }

    pub fn json_type(&mut self, draft: &mut Draft) {
        if self.random.one_in(20) {
            draft.refuse();
            let others = ["text/json", "application/json; charset=latin1", ""];
            return draft.header("Content-Type", self.random.pick(&others));
        }
        let spellings = [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
        ];
        draft.header("Content-Type", self.random.pick(&spellings));
    }

    pub fn json_value(&mut self, draft: &mut Draft) -> String {
        match self.random.below(12) {
            0 => {
                draft.refuse();
                self.random.pick(&BAD_VALUES).into()
            }
            1 => {
                draft.leave_open();
                let depth = self.random.pick(&[127, 128, 129, 20_000]);
                let deep = "[".repeat(depth) + &"]".repeat(depth);
                self.random.pick(&ODD_VALUES).replace("DEEP", &deep)
            }
            _ => self.random.pick(&VALUES).into(),
        }
    }

    /// Perhaps a member that says when the value ends.
    pub fn lifetime_member(&mut self, draft: &mut Draft, members: &mut Vec<String>) -> Lasts {
        if !self.random.one_in(3) {
            return Lasts::Endless;
        }
        let (name, value, given) = self.random.pick(&LIFETIMES);
        members.push(match name {
            "ttl_ms" => format!("\"{name}\":{value}"),
            _ => format!("\"{name}\":\"{value}\""),
        });
        draft.unless_refused(given, Lasts::Endless)
    }

    /// Perhaps makes a JSON body another, which is none or is the same.
    pub fn spoil(&mut self, draft: &mut Draft, body: &mut Vec<u8>) {
        match self.random.below(24) {
            0 => drop(body.splice(..0, "\u{feff}".bytes())),
            1 => drop(body.splice(..0, *b" \r\n\t")),
            2 => body.extend(b"\n "),
            kind @ 3..9 => {
                draft.refuse();
                match kind {
                    3 => body.extend(b"x"),
                    4 => body.truncate(body.len() - 1),
                    5 => *body = [&b"["[..], &body[..], b"]"].concat(),
                    6 => body.clear(),
                    7 => {
                        *body = b"{\"key\":\"\\ud800\",\"value\":1,\"keys\":[\"\\ud800\"]}".to_vec()
                    }
                    _ => body.insert(2, 0xff),
                }
            }
            _ => {}
        }
    }

    pub fn short_body(&mut self) -> Vec<u8> {
        let length = self.random.below(40);
        (0..length).map(|_| self.random.draw() as u8).collect()
    }

    pub fn body(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => vec![b'x'; super::VALUE_BYTES_MAX],
            1 => vec![b'x'; super::VALUE_BYTES_MAX + 1],
            2 => vec![b'y'; 20_000],
            3 => b"\r\nPUT /set/smuggled HTTP/1.1\r\n\r\n".to_vec(),
            _ => self.short_body(),
        }
    }

    /// Perhaps a condition of a change.
    pub fn only_if(&mut self, draft: &mut Draft, key: &str) {
        if !self.random.one_in(4) {
            return;
        }
        let present = self.model.keys.get(key);
        let tag = present.and_then(|present| present.etag.clone());
        let tag = tag.unwrap_or_else(|| "\"0123456789abcdef\"".into());
        let is_known = present.is_some_and(|present| present.etag.is_some());
        let is_there = present.is_some();
        let is_unsure = is_there && !is_known;
        let (name, value, holds) = match self.random.below(8) {
            0 => ("If-None-Match", "*".into(), !is_there),
            1 => ("If-Match", "*".into(), is_there),
            2 if is_unsure => return,
            2 => ("If-Match", tag, is_known),
            3 => ("If-Match", format!("W/{tag}"), false),
            4 => ("If-None-Match", "\"x\", W/\"y\"".into(), true),
            5 if is_unsure => return,
            5 => ("If-None-Match", tag, !is_known),
            _ => {
                let malformed = ["a", "\"a", "*, \"a\"", ""];
                draft.refuse();
                ("If-Match", self.random.pick(&malformed).into(), true)
            }
        };
        draft.header(name, &value);
        if !holds {
            draft.status = 412;
        }
    }
}
