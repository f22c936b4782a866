//! The JSON objects that set keys: the body of `POST /set`, and a line of its bulk form.

use super::Limits;
use super::body::Bound;
use super::problem::{Code, Problem};
use crate::model::{ContentType, ContentTypes, Key, Mutation};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What some programs write before UTF-8. A parser may pass over it (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Which members an object may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `key` and `value`.
    Body,
    /// `key` and `value`, or `key`, `content_type` and `base64`.
    Line,
}

impl Form {
    /// What is wrong and where. A line of a bulk body has its number elsewhere.
    fn place(self, error: &serde_json::Error) -> String {
        match self {
            Self::Body => error.to_string(),
            Self::Line => error
                .to_string()
                .replace(" at line 1 column ", " at column "),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Body => r#"{"key": "…", "value": any JSON}"#,
            Self::Line => {
                r#"{"key": "…", "value": any JSON} or {"key": "…", "content_type": "…", "base64": "…"}"#
            }
        }
    }
}

/// The change that an object asks for.
///
/// # Errors
/// Where the text is not JSON, the object not of the form, or a part of it over its bound.
pub(super) fn parse(
    text: &[u8],
    form: Form,
    limits: &Limits,
    content_types: &ContentTypes,
) -> Result<Mutation, Problem> {
    let text = unmarked(text);
    let members: Members<'_> =
        serde_json::from_slice(text).map_err(|error| not_of_form(text, form, &error))?;
    let misfit = || {
        let detail = format!("the object is not of the form {}", form.expected());
        Problem::new(Code::InvalidBody, detail)
    };
    let key = members.key.ok_or_else(misfit)?;
    let (content_type, body) = match (members.value, members.content_type, members.base64, form) {
        (Some(value), None, None, _) => {
            let json = Bytes::copy_from_slice(value.get().as_bytes());
            (ContentType::JSON, json)
        }
        (None, Some(content_type), Some(base64), Form::Line) => {
            let body = STANDARD.decode(base64.as_ref()).map_err(|error| {
                let detail = format!(
                    "base64 does not decode ({error}); use the standard alphabet with padding"
                );
                Problem::new(Code::InvalidBody, detail)
            })?;
            (content_types.parse(&content_type)?, Bytes::from(body))
        }
        _ => return Err(misfit()),
    };
    let key = Key::parse(key, limits.key_bytes_max)?;
    if body.len() > limits.value_bytes_max {
        return Err(Bound::value(limits).exceeded("the value"));
    }
    Ok(Mutation::set(key, content_type, body))
}

/// A text without the byte order mark that it may begin with.
pub(super) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Tells a text that is not JSON from JSON of another form.
fn not_of_form(text: &[u8], form: Form, error: &serde_json::Error) -> Problem {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) if error.is_data() => {
            let (place, expected) = (form.place(error), form.expected());
            let detail = format!("{place}; the object must be of the form {expected}");
            Problem::new(Code::InvalidBody, detail)
        }
        Ok(_) => Problem::new(
            Code::InvalidJson,
            format!("not JSON: {}", form.place(error)),
        ),
        Err(syntax) => Problem::new(
            Code::InvalidJson,
            format!("not JSON: {}", form.place(&syntax)),
        ),
    }
}

/// An object's members as they stand. By hand, since a derived struct would take an array for an
/// object, and `null` for a value that is absent.
#[derive(Default)]
struct Members<'a> {
    key: Option<Cow<'a, str>>,
    value: Option<&'a RawValue>,
    content_type: Option<Cow<'a, str>>,
    base64: Option<Cow<'a, str>>,
}

/// Text that is borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Text(member)) = map.next_key::<Text<'_>>()? {
            let repeated = match &*member {
                "key" => put(&mut members.key, map.next_value::<Text<'_>>()?.0),
                "value" => put(&mut members.value, map.next_value()?),
                "content_type" => put(&mut members.content_type, map.next_value::<Text<'_>>()?.0),
                "base64" => put(&mut members.base64, map.next_value::<Text<'_>>()?.0),
                unknown => return Err(A::Error::custom(format!("there is no member {unknown:?}"))),
            };
            if repeated {
                return Err(A::Error::custom("a member is given twice"));
            }
        }
        Ok(members)
    }
}

/// Fills a place and returns whether it was filled already.
fn put<T>(place: &mut Option<T>, value: T) -> bool {
    place.replace(value).is_some()
}
