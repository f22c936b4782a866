//! What is wrong with the value of a line's member: by the parsers that the server has, and without what it holds.

use super::{Text, kind_of, says};
use crate::entry::lifetime;
use crate::model::{ContentTypes, DeadlineError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// How far into the value, in bytes.
    pub(super) at: usize,
    pub(super) found: &'static str,
    pub(super) expected: Cow<'static, str>,
}

/// Finds what is wrong with the value of a member, if its form alone is.
pub(super) fn of_value(member: &str, value: &RawValue) -> Option<Misfit> {
    match member {
        "ttl_ms" => of_deadline(value, lifetime(Some(value), None).err()?),
        "expires_at" => of_deadline(value, lifetime(None, Some(value)).err()?),
        "key" | "content_type" | "base64" | "if_match" | "if_none_match" => of_text(member, value),
        // Any JSON.
        _ => None,
    }
}

fn of_deadline(value: &RawValue, error: DeadlineError) -> Option<Misfit> {
    let found = match kind_of(value.get().bytes().next()) {
        "a number" if error == DeadlineError::Ttl => "another number",
        "a text" if error == DeadlineError::Moment => "another text",
        kind => kind,
    };
    Some(Misfit {
        at: 0,
        found,
        expected: error.to_string().into(),
    })
}

fn of_text(member: &str, value: &RawValue) -> Option<Misfit> {
    let first = value.get().bytes().next();
    if first != Some(b'"') {
        return Some(Misfit {
            at: 0,
            found: kind_of(first),
            expected: format!("the text of \"{member}\" is expected").into(),
        });
    }
    let text = match serde_json::from_str::<Text<'_>>(value.get()) {
        Ok(Text(text)) => text,
        Err(error) => {
            return Some(Misfit {
                at: error.column().saturating_sub(1),
                found: "an escape that is no character",
                expected: format!("JSON is expected ({})", says(&error)).into(),
            });
        }
    };
    let (found, expected) = match member {
        "key" if text.is_empty() => ("nothing", "a key is expected"),
        "content_type" if ContentTypes::default().parse(&text).is_err() => (
            "a text that is none",
            "a content type such as text/plain is expected",
        ),
        "base64" if STANDARD.decode(text.as_bytes()).is_err() => (
            "a text that is none",
            "base64 of the standard alphabet is expected, with its padding",
        ),
        _ => return None,
    };
    Some(Misfit {
        at: 0,
        found,
        expected: expected.into(),
    })
}
