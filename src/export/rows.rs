//! Entries as records of a CSV, from which an import makes the same entries again.
//!
//! A value that is UTF-8 stands as it is in the column `value`, any other in `base64`. Where both are empty the value is.

use crate::csv::write_record;
use crate::entry::Text;
use crate::import::EXPORTED;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The members of an entry that are written.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    content_type: Option<Text<'a>>,
    #[serde(borrow)]
    base64: Option<Text<'a>>,
    #[serde(borrow)]
    expires_at: Option<Text<'a>>,
}

/// A value that is there, be it `null`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Writes the names of the columns.
pub fn write_header(text: &mut Vec<u8>) {
    write_record(EXPORTED.map(str::as_bytes), text);
}

/// Writes an entry; nothing, and `None`, where it is none.
pub fn write(entry: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let members: Members<'_> = serde_json::from_slice(entry).ok()?;
    let expires_at = members.expires_at.as_ref();
    let expires_at = expires_at.map_or(&b""[..], |moment| moment.0.as_bytes());
    let key = members.key.as_bytes();
    match (members.value, &members.content_type, &members.base64) {
        (Some(json), None, None) => {
            let fields = [
                key,
                b"application/json",
                json.get().as_bytes(),
                b"",
                expires_at,
            ];
            write_record(fields, text);
        }
        (None, Some(Text(content_type)), Some(Text(base64))) => {
            let value = STANDARD.decode(base64.as_bytes()).ok()?;
            let (value, base64) = match std::str::from_utf8(&value) {
                Ok(value) => (value.as_bytes(), &b""[..]),
                Err(_) => (&b""[..], base64.as_bytes()),
            };
            let fields = [key, content_type.as_bytes(), value, base64, expires_at];
            write_record(fields, text);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_text_stands_as_it_is() {
        for (entry, expected) in [
            (
                r#"{"key":"a,b","value":{"n": 1},"etag":"\"00c4f0e2d1b3a596\""}"#,
                Some("\"a,b\",application/json,\"{\"\"n\"\": 1}\",,\n"),
            ),
            (
                r#"{"key":"k","value":null}"#,
                Some("k,application/json,null,,\n"),
            ),
            (
                r#"{"key":"k","content_type":"a/b; c=\"d\"","base64":"aGkK","expires_at":"2030-01-31T12:00:00.000Z"}"#,
                Some("k,\"a/b; c=\"\"d\"\"\",\"hi\n\",,2030-01-31T12:00:00.000Z\n"),
            ),
            (
                r#"{"key":"k","content_type":"a/b","base64":"/w=="}"#,
                Some("k,a/b,,/w==,\n"),
            ),
            (
                r#"{"key":"k","content_type":"a/b","base64":""}"#,
                Some("k,a/b,,,\n"),
            ),
            (r#"{"key":"k","missing":true}"#, None),
            (r#"{"key":"k","content_type":"a/b","base64":"?"}"#, None),
            (r#"["k"]"#, None),
        ] {
            let mut text = Vec::new();
            let written = write(entry.as_bytes(), &mut text).map(|()| text);
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(written, expected, "{entry}");
        }
    }
}
