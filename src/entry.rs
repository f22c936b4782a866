//! The JSON object in which a key and its value travel: the body of a set, a line of a bulk body, and what
//! answers and export write. How it is read is here, how it is written in `write`.
//!
//! ```text
//! {"key": "a", "value": any JSON}
//! {"key": "a", "content_type": "text/plain", "base64": "..."}
//! ```
//!
//! Either may say when the value ends: `"ttl_ms"`, or `"expires_at"`. A line of a bulk body may have the
//! condition of its change too: `"if_match"`, `"if_none_match"`.
//!
//! A field of a value is added here, to [`Entry`] and to `Members`, and to [`EntryText`].

mod write;

pub(crate) use write::{
    EntryText, Etag, LongEntry, ValueForm, around_etag, is_json_line, line, write_missing,
    write_string,
};

use crate::model::{
    ContentType, ContentTypeError, ContentTypes, DeadlineError, Key, KeyError, Lifetime,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What some programs write before UTF-8. A parser may pass over it (RFC 8259, 8.1).
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// So much of what a parser says is shown from its beginning and from its end, where it is long, in bytes.
const SAID_BYTES: usize = 200;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) content_type: ContentType,
    pub(crate) body: Bytes,
    pub(crate) lifetime: Lifetime,
    /// The condition of a line, as it stands.
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
}

/// Which members an object may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `key` and `value`, and `ttl_ms` or `expires_at`.
    Body,
    /// `key` and `value`, or `key`, `content_type` and `base64`; `ttl_ms` or `expires_at`; and `if_match` and
    /// `if_none_match`.
    Line,
}

/// How much an entry may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) key_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
}

/// Why a text is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// It is JSON of another form.
    #[error("{0}")]
    NotOfForm(String),
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The content type is none.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// What says when the value ends says no such thing.
    #[error(transparent)]
    Deadline(#[from] DeadlineError),
    /// The value is over its bound.
    #[error("the value is too large")]
    ValueTooLarge,
}

impl Form {
    /// What is wrong and where. A line of a bulk body has its number elsewhere.
    fn place(self, error: &serde_json::Error) -> String {
        match self {
            Self::Body => said(error),
            Self::Line => said(error).replace(" at line 1 column ", " at column "),
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

impl Entry {
    /// Reads an object.
    ///
    /// # Errors
    /// Where the text is not JSON, the object not of the form, or a part of it over its bound.
    pub(crate) fn parse(
        text: &[u8],
        form: Form,
        bounds: Bounds,
        content_types: &ContentTypes,
    ) -> Result<Self, EntryError> {
        let text = unmarked(text);
        let members: Members<'_> =
            serde_json::from_slice(text).map_err(|error| not_of_form(text, form, &error))?;
        let misfit = || {
            let detail = format!("the object is not of the form {}", form.expected());
            EntryError::NotOfForm(detail)
        };
        let key = members.key.ok_or_else(misfit)?;
        if form == Form::Body && (members.if_match.is_some() || members.if_none_match.is_some()) {
            let detail = "a condition of one key stands in the headers If-Match and If-None-Match";
            return Err(EntryError::NotOfForm(detail.into()));
        }
        let (content_type, body) = match (members.value, members.content_type, members.base64, form)
        {
            (Some(value), None, None, _) => {
                let json = Bytes::copy_from_slice(value.get().as_bytes());
                (ContentType::JSON, json)
            }
            (None, Some(content_type), Some(base64), Form::Line) => {
                let body = STANDARD.decode(base64.as_ref()).map_err(|error| {
                    EntryError::NotOfForm(format!(
                        "base64 does not decode ({error}); use the standard alphabet with padding"
                    ))
                })?;
                (content_types.parse(&content_type)?, Bytes::from(body))
            }
            _ => return Err(misfit()),
        };
        let lifetime = lifetime(members.ttl_ms, members.expires_at)?;
        let key = Key::parse(key, bounds.key_bytes_max)?;
        if body.len() > bounds.value_bytes_max {
            return Err(EntryError::ValueTooLarge);
        }
        Ok(Self {
            key,
            content_type,
            body,
            lifetime,
            if_match: members.if_match.map(Cow::into_owned),
            if_none_match: members.if_none_match.map(Cow::into_owned),
        })
    }
}

/// What members say of when a value ends. Where it is said to be `null` it does not.
///
/// # Errors
/// Where one is of another form, or both are there.
pub(crate) fn lifetime(
    ttl_ms: Option<&RawValue>,
    expires_at: Option<&RawValue>,
) -> Result<Lifetime, DeadlineError> {
    let moment =
        expires_at.map(|moment| serde_json::from_str::<Option<Cow<'_, str>>>(moment.get()));
    let moment = moment.transpose().map_err(|_| DeadlineError::Moment)?;
    match (ttl_ms, moment) {
        (Some(_), Some(_)) => Err(DeadlineError::Both),
        (ttl_ms, moment) => Lifetime::parse(ttl_ms.map(RawValue::get), moment.flatten().as_deref()),
    }
}

/// A text without the byte order mark that it may begin with.
pub(crate) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// What a parser says of a text, and where. It quotes what it did not expect, however long that is: of
/// that the middle is left out.
pub(crate) fn said(error: &serde_json::Error) -> String {
    let said = error.to_string();
    if said.len() <= 2 * SAID_BYTES {
        return said;
    }
    let start = said.floor_char_boundary(SAID_BYTES);
    let end = said.ceil_char_boundary(said.len() - SAID_BYTES);
    format!("{}…{}", &said[..start], &said[end..])
}

/// Tells a text that is not JSON from JSON of another form.
fn not_of_form(text: &[u8], form: Form, error: &serde_json::Error) -> EntryError {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) if error.is_data() => {
            let (place, expected) = (form.place(error), form.expected());
            EntryError::NotOfForm(format!(
                "{place}; the object must be of the form {expected}"
            ))
        }
        Ok(_) => EntryError::NotJson(form.place(error)),
        Err(syntax) => EntryError::NotJson(form.place(&syntax)),
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
    ttl_ms: Option<&'a RawValue>,
    expires_at: Option<&'a RawValue>,
    if_match: Option<Cow<'a, str>>,
    if_none_match: Option<Cow<'a, str>>,
}

/// Text that is borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

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
                "key" => put(&mut members.key, map.next_value_seed(TextOf("key"))?),
                "value" => put(&mut members.value, map.next_value()?),
                "content_type" => {
                    let text = map.next_value_seed(TextOf("content_type"))?;
                    put(&mut members.content_type, text)
                }
                "base64" => put(&mut members.base64, map.next_value_seed(TextOf("base64"))?),
                "ttl_ms" => put(&mut members.ttl_ms, map.next_value()?),
                "expires_at" => put(&mut members.expires_at, map.next_value()?),
                "if_match" => put(
                    &mut members.if_match,
                    map.next_value_seed(TextOf("if_match"))?,
                ),
                "if_none_match" => {
                    let text = map.next_value_seed(TextOf("if_none_match"))?;
                    put(&mut members.if_none_match, text)
                }
                unknown => return Err(A::Error::custom(format!("there is no member {unknown:?}"))),
            };
            if repeated {
                let twice = format!("the member {member:?} is given twice");
                return Err(A::Error::custom(twice));
            }
        }
        Ok(members)
    }
}

/// The text of a member, whose name an error says.
struct TextOf(&'static str);

impl<'de> DeserializeSeed<'de> for TextOf {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextOf {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(member) = self;
        write!(formatter, "a string for {member:?}")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.into()))
    }
}

/// Fills a place and returns whether it was filled already.
fn put<T>(place: &mut Option<T>, value: T) -> bool {
    place.replace(value).is_some()
}
