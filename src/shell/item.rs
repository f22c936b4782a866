//! A line of an answer as a row that people read: a key, an entry or a group.

use super::terminal::{Kind, Row};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// How much of a value is looked at, in bytes: no terminal shows more in a line.
const SHOWN_BYTES: usize = 2048;

/// What an entry or a group may have.
#[derive(Deserialize)]
struct Members<'a> {
    key: Option<String>,
    group: Option<String>,
    keys: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    content_type: Option<String>,
    base64: Option<String>,
}

/// A value that is there, be it `null`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The row of a line; `None` where it is another thing.
pub fn row(line: &[u8]) -> Option<Row> {
    if line.starts_with(b"\"") {
        return Some(Row {
            kind: Kind::Key,
            name: serde_json::from_slice(line).ok()?,
            keys: None,
            about: None,
        });
    }
    let members: Members<'_> = serde_json::from_slice(line).ok()?;
    let about = members.about();
    match (members.key, members.group) {
        (Some(name), None) => Some(Row {
            kind: Kind::Key,
            name,
            keys: None,
            about,
        }),
        (None, Some(name)) => Some(Row {
            kind: Kind::Group,
            name,
            keys: Some(members.keys?),
            about: None,
        }),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

impl Members<'_> {
    /// What is to say of the value, where it is there.
    fn about(&self) -> Option<String> {
        if let Some(json) = self.value {
            return Some(beginning(json.get()).to_owned());
        }
        let (kind, base64) = (self.content_type.as_ref()?, self.base64.as_ref()?);
        let bytes = STANDARD.decode(base64).ok()?;
        Some(match std::str::from_utf8(&bytes) {
            Ok(text) => beginning(text).to_owned(),
            Err(_) => format!("{} bytes of {kind}", bytes.len()),
        })
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_key_an_entry_or_a_group() {
        for (line, expected) in [
            (r#""a\nb""#, Some((Kind::Key, "a\nb", None, None))),
            (
                r#"{"key":"k","value":null,"etag":"\"x\""}"#,
                Some((Kind::Key, "k", None, Some("null"))),
            ),
            (
                r#"{"key":"k","content_type":"text/plain","base64":"aGk="}"#,
                Some((Kind::Key, "k", None, Some("hi"))),
            ),
            (
                r#"{"key":"k","content_type":"image/png","base64":"//8="}"#,
                Some((Kind::Key, "k", None, Some("2 bytes of image/png"))),
            ),
            (r#"{"key":"k"}"#, Some((Kind::Key, "k", None, None))),
            (
                r#"{"group":"a/","keys":3}"#,
                Some((Kind::Group, "a/", Some(3), None)),
            ),
            (r#"{"group":"a/"}"#, None),
            ("{}", None),
            ("<html>", None),
        ] {
            let row = row(line.as_bytes());
            let members = row
                .as_ref()
                .map(|row| (row.kind, row.name.as_str(), row.keys, row.about.as_deref()));
            assert_eq!(members, expected, "{line}");
        }
    }
}
