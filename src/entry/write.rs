//! Entries as text: what answers, exports and salvage write of a key and its value.
//!
//! ```text
//! {"key":"a","value":any JSON,"etag":"\"00c4f0e2d1b3a596\""}
//! {"key":"a","content_type":"text/plain","base64":"...","etag":"\"00c4f0e2d1b3a596\"","expires_at":"..."}
//! {"key":"a","missing":true}
//! ```

use crate::model::{ContentType, Value};
use base64::Engine;
use base64::encoded_len;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};
use serde_json::value::RawValue;
use std::io::Write;

/// How much of a body is encoded at a time, in bytes. Of threes, so that what is encoded joins.
const ENCODED_BYTES: usize = 24 * 1024;

/// The member of an entity tag, without its digits.
const ETAG: &[u8] = b",\"etag\":\"\\\"";
const ETAG_END: &[u8] = b"\\\"\"";
const ETAG_DIGITS: usize = 16;

/// How the member of a deadline begins.
const EXPIRES_AT: &[u8] = b",\"expires_at\":\"";

/// How an entry has its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueForm {
    /// `value`: the body as it stands.
    Json,
    /// `content_type` and `base64`.
    Base64,
}

/// Whether an entry has an entity tag. Lines for import have none, since a tag there is a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Etag {
    Written,
    LeftOut,
}

/// An entry to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryText<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a Value,
    pub(crate) form: ValueForm,
}

/// The rest of an entry whose head is written: its value, given piece by piece, and its end.
#[derive(Debug)]
pub(crate) struct LongEntry {
    value: Value,
    form: ValueForm,
    /// How much of the body was given, in bytes.
    given: usize,
}

impl ValueForm {
    /// JSON where reading the entry gives just these bytes again. O(n) in the body.
    pub(crate) fn of(value: &Value) -> Self {
        match value.content_type == ContentType::JSON && is_json_line(&value.body) {
            true => Self::Json,
            false => Self::Base64,
        }
    }
}

impl EntryText<'_> {
    /// Writes it whole.
    pub(crate) fn write(self, etag: Etag, text: &mut Vec<u8>) {
        self.write_head(text);
        let body = &self.value.body;
        match self.form {
            ValueForm::Json => text.extend_from_slice(body),
            ValueForm::Base64 => encode(body, text),
        }
        write_end(self.value, self.form, etag, text);
    }

    /// Writes what stands before the body.
    pub(crate) fn write_head(self, text: &mut Vec<u8>) {
        text.extend_from_slice(b"{\"key\":");
        write_string(self.key, text);
        match self.form {
            ValueForm::Json => text.extend_from_slice(b",\"value\":"),
            ValueForm::Base64 => {
                text.extend_from_slice(b",\"content_type\":");
                write_string(self.value.content_type.as_str(), text);
                text.extend_from_slice(b",\"base64\":\"");
            }
        }
    }
}

impl LongEntry {
    /// What follows the head of an entry.
    pub(crate) fn new(value: Value, form: ValueForm) -> Self {
        Self {
            value,
            form,
            given: 0,
        }
    }

    /// The next of its value: all of it where that is sent as it is stored. `None` once all was given.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        let body = &self.value.body;
        let left = body.len() - self.given;
        if left == 0 {
            return None;
        }
        let some = match self.form {
            ValueForm::Json => left,
            ValueForm::Base64 => left.min(ENCODED_BYTES),
        };
        let piece = body.slice(self.given..self.given + some);
        self.given += some;
        Some(match self.form {
            ValueForm::Json => piece,
            ValueForm::Base64 => STANDARD.encode(&piece).into(),
        })
    }

    /// Writes what stands behind the body.
    pub(crate) fn write_end(&self, text: &mut Vec<u8>) {
        write_end(&self.value, self.form, Etag::Written, text);
    }
}

/// Writes that a key names nothing.
pub(crate) fn write_missing(key: &str, text: &mut Vec<u8>) {
    text.extend_from_slice(b"{\"key\":");
    write_string(key, text);
    text.extend_from_slice(b",\"missing\":true}");
}

/// A line that import takes, without its line feed.
pub(crate) fn line(key: &str, value: &Value) -> Vec<u8> {
    let form = ValueForm::of(value);
    let mut text = Vec::with_capacity(key.len() + value.body.len() + 32);
    EntryText { key, value, form }.write(Etag::LeftOut, &mut text);
    text
}

/// The two parts of an entry around its entity tag, which make a line that import takes. `None` where it is
/// no entry with a tag.
///
/// It is looked for from the end, which is ours: what stands before may hold any text.
pub(crate) fn around_etag(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let members = entry.strip_suffix(b"}")?;
    let end = match members.ends_with(ETAG_END) {
        true => members.len(),
        false => {
            let at = memmem::rfind(members, EXPIRES_AT)?;
            let deadline = &members[at + EXPIRES_AT.len()..];
            let end = memchr(b'"', deadline)?;
            (end + 1 == deadline.len()).then_some(at)?
        }
    };
    let digits = members[..end].strip_suffix(ETAG_END)?;
    let (before, digits) = digits.split_at_checked(digits.len().checked_sub(ETAG_DIGITS)?)?;
    let is_tag = digits.iter().all(u8::is_ascii_hexdigit);
    let before = before.strip_suffix(ETAG).filter(|_| is_tag)?;
    Some((before, &entry[end..]))
}

/// Whether a text is JSON in one line, with no white space around it.
pub(crate) fn is_json_line(text: &[u8]) -> bool {
    memchr2(b'\n', b'\r', text).is_none()
        && serde_json::from_slice::<&RawValue>(text)
            .is_ok_and(|json| json.get().len() == text.len())
}

/// Writes a text as JSON.
pub(crate) fn write_string(string: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(&mut *text, string).expect("text is JSON");
}

fn encode(body: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    let bytes = encoded_len(body.len(), true).expect("what encodes a body fits memory");
    text.resize(start + bytes, 0);
    let encoded = STANDARD.encode_slice(body, &mut text[start..]);
    encoded.expect("there is room for just that");
}

fn write_end(value: &Value, form: ValueForm, etag: Etag, text: &mut Vec<u8>) {
    if form == ValueForm::Base64 {
        text.push(b'"');
    }
    if etag == Etag::Written {
        text.extend_from_slice(ETAG);
        text.extend_from_slice(&value.revision.digits());
        text.extend_from_slice(ETAG_END);
    }
    if let Some(deadline) = value.expires_at {
        text.extend_from_slice(EXPIRES_AT);
        write!(text, "{deadline}\"").expect("memory takes what is written");
    }
    text.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Bounds, Entry, Form};
    use crate::model::{ContentTypes, Deadline, Revision};
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    const BOUNDS: Bounds = Bounds {
        key_bytes_max: 1024,
        value_bytes_max: 1 << 20,
    };

    fn value(content_type: &str, body: &[u8], expires_at: Option<u64>) -> Value {
        Value {
            content_type: ContentTypes::default().parse(content_type).unwrap(),
            body: Bytes::copy_from_slice(body),
            revision: Revision(0x00c4_f0e2_d1b3_a596),
            expires_at: expires_at.map(Deadline::from_millis),
        }
    }

    fn text(key: &str, value: &Value, etag: Etag) -> Vec<u8> {
        let mut text = Vec::new();
        let form = ValueForm::of(value);
        EntryText { key, value, form }.write(etag, &mut text);
        text
    }

    #[test]
    fn entries_are_written_in_one_of_two_forms() {
        let tag = r#""etag":"\"00c4f0e2d1b3a596\"""#;
        let json = value("application/json", b"{\"n\": 1}", None);
        let expected = format!(r#"{{"key":"a\"b","value":{{"n": 1}},{tag}}}"#);
        assert_eq!(text("a\"b", &json, Etag::Written), expected.as_bytes());
        let expected = br#"{"key":"k","value":{"n": 1}}"#;
        assert_eq!(line("k", &json), expected);
        let plain = value("text/plain; a=\"b\"", b"hi", Some(1000));
        let expected = format!(
            r#"{{"key":"k","content_type":"text/plain; a=\"b\"","base64":"aGk=",{tag},"expires_at":"1970-01-01T00:00:01.000Z"}}"#
        );
        assert_eq!(text("k", &plain, Etag::Written), expected.as_bytes());
        let mut missing = Vec::new();
        write_missing("k", &mut missing);
        assert_eq!(missing, br#"{"key":"k","missing":true}"#);
    }

    #[test]
    fn json_stands_as_it_is_only_where_it_reads_back_so() {
        for (content_type, body, is_json) in [
            ("application/json", "1", true),
            ("application/json", "\"\u{2028}\"", true),
            ("application/json", " 1", false),
            ("application/json", "1 ", false),
            ("application/json", "[1,\n2]", false),
            ("application/json", "[1,\r2]", false),
            ("application/json", "\u{feff}1", false),
            ("application/json", "", false),
            ("application/json", "1 2", false),
            ("application/json; charset=utf-8", "1", false),
            ("text/plain", "1", false),
        ] {
            let form = ValueForm::of(&value(content_type, body.as_bytes(), None));
            assert_eq!(form == ValueForm::Json, is_json, "{content_type} {body:?}");
        }
        let broken = value("application/json", b"\"\xff\"", None);
        assert_eq!(ValueForm::of(&broken), ValueForm::Base64);
    }

    #[test]
    fn what_is_no_entry_with_a_tag_has_no_parts_around_one() {
        for text in [
            "",
            "}",
            r#"{"key":"k","value":1}"#,
            r#"{"key":"k","value":1,"etag":"\"00c4f0e2d1b3a59\""}"#,
            r#"{"key":"k","value":1,"etag":"\"00c4f0e2d1b3a59x\""}"#,
            r#"{"key":"k","value":1,"etag":"\"00c4f0e2d1b3a596\"""#,
            r#"{"key":"k","value":{"etag":"\"00c4f0e2d1b3a596\""}}"#,
            r#"{"key":"k","value":{"a":1,"expires_at":"1"},"x":1}"#,
        ] {
            assert_eq!(around_etag(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_without_its_tag_is_the_line_that_import_takes(
            key in "[a\"\\\\é\u{0}]{1,5}",
            content_type in prop::sample::select(vec!["application/json", "text/plain", "a/b;c=\"d\""]),
            body in prop_oneof![
                "\\PC{0,20}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
                Just(br#"{"a":1,"etag":"\"00c4f0e2d1b3a596\""}"#.to_vec()),
                Just(br#"{"a":1,"expires_at":"1970-01-01T00:00:00.000Z"}"#.to_vec()),
                Just(br#"",\"etag\":\"\\\"00c4f0e2d1b3a596\\\"\"}""#.to_vec()),
            ],
            expires_at in prop::option::of(any::<u64>()),
        ) {
            let value = value(content_type, &body, expires_at);
            let written = text(&key, &value, Etag::Written);
            let (before, after) = around_etag(&written).expect("it has a tag");
            prop_assert_eq!([before, after].concat(), line(&key, &value));
            prop_assert!(serde_json::from_slice::<IgnoredAny>(&written).is_ok());
            let lasting = Value { expires_at: None, ..value };
            let line = line(&key, &lasting);
            let read = Entry::parse(&line, Form::Line, BOUNDS, &ContentTypes::default()).unwrap();
            prop_assert_eq!(read.key.as_str(), key);
            prop_assert_eq!(read.content_type, lasting.content_type);
            prop_assert_eq!(read.body, lasting.body);
        }

        #[test]
        fn pieces_of_a_long_value_join_to_what_is_written_at_once(
            is_json in any::<bool>(),
            bytes in 1_usize..100_000,
        ) {
            let (content_type, body) = match is_json {
                true => ("application/json", format!("\"{}\"", "v".repeat(bytes)).into_bytes()),
                false => ("x/y", (0..bytes).map(|at| at as u8).collect()),
            };
            let value = value(content_type, &body, None);
            let form = ValueForm::of(&value);
            let mut joined = Vec::new();
            EntryText { key: "k", value: &value, form }.write_head(&mut joined);
            let mut long = LongEntry::new(value.clone(), form);
            while let Some(piece) = long.next_piece() {
                joined.extend_from_slice(&piece);
            }
            long.write_end(&mut joined);
            prop_assert_eq!(joined, text("k", &value, Etag::Written));
        }
    }
}
