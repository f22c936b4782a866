//! `POST /get`: the values of many keys, as entries in the order in which they are asked for.

use super::body::{self, Body, Bound};
use super::door::Caller;
use super::entries::Entries;
use super::format::Format;
use super::items::Found;
use super::problem::{Code, NO_STORE, Problem};
use super::{Limits, State, parameters, unsupported};
use crate::entry::{self, Text};
use crate::model::{Key, KeyList};
use crate::store::Pages;
use actix_web::dev::Payload;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// How often the keys are in memory while they are read: as they came, and twice as a list that grows.
const COPIES: usize = 3;

pub(super) async fn handle(
    request: &HttpRequest,
    payload: Payload,
    state: &Data<State>,
) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    if unsupported::in_change(request)? {
        let detail = "many values are read without a condition; leave If-Match and If-None-Match out, or \
                      read one with GET /get/{key}";
        return Err(Problem::new(Code::UnsupportedCondition, detail));
    }
    let content_type = body::json_type(request, state)?;
    if !content_type
        .essence()
        .eq_ignore_ascii_case("application/json")
    {
        return Err(body::unsupported(
            "the body must be JSON: add the header Content-Type: application/json \
             (curl: -H 'Content-Type: application/json')",
        ));
    }
    let format = Format::of(request);
    let found = read(request, payload, state).await?;
    let entries = Entries::new(found, format, state).with_missing();
    let mut response = HttpResponse::Ok();
    response
        .content_type(format.content_type())
        .insert_header((CACHE_CONTROL, NO_STORE));
    entries.into_response(response, request).await
}

/// The keys that a request asks for. No search goes on behind them.
async fn read(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<Found<Pages>, Problem> {
    let bound = Bound::body(&state.limits);
    let Body { bytes, mut charge } = body::read(request, payload, bound, COPIES, state).await?;
    let items = parse(&bytes, &state.limits)?;
    hold_to_keys(request, &items, state)?;
    drop(bytes);
    charge.shrink_to(items.memory_bytes());
    Ok(Found {
        items,
        source: None,
        charge,
    })
}

/// Refuses keys that whoever asks has no token for.
fn hold_to_keys(request: &HttpRequest, keys: &KeyList, state: &State) -> Result<(), Problem> {
    let caller = Caller::of(request);
    if let Caller::Anybody = caller {
        return Ok(());
    }
    for key in keys.iter() {
        let text = std::str::from_utf8(key).expect("what was parsed is text");
        caller.hold_to(&Key::parse(text.into(), usize::MAX)?, state)?;
    }
    Ok(())
}

/// Reads the keys of a body.
///
/// # Errors
/// Where it is not JSON, or of another form, or one of them is no key.
fn parse(text: &[u8], limits: &Limits) -> Result<KeyList, Problem> {
    let text = entry::unmarked(text);
    let keys_max = limits.page_keys_max;
    let mut json = serde_json::Deserializer::from_slice(text);
    let keys = json.deserialize_map(Members { keys_max });
    let keys = keys.and_then(|keys| json.end().map(|()| keys));
    let keys = keys.map_err(|error| misfit(text, &error, keys_max))?;
    for at in 0..keys.len() {
        let key = keys.get(at).and_then(|key| std::str::from_utf8(key).ok());
        Key::parse(key.unwrap_or_default().into(), limits.key_bytes_max)?;
    }
    Ok(keys)
}

/// Tells a text that is not JSON from JSON of another form.
fn misfit(text: &[u8], error: &serde_json::Error, keys_max: usize) -> Problem {
    let not_json = |error: &serde_json::Error| {
        let detail = format!("not JSON: {}", entry::said(error));
        Problem::new(Code::InvalidJson, detail)
    };
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) if error.is_data() => {
            let said = entry::said(error);
            let detail = format!(
                "{said}; the body must be of the form {{\"keys\": [\"…\", …]}}, with 1 to {keys_max} keys \
                 (setting page_keys_max)"
            );
            Problem::new(Code::InvalidBody, detail)
        }
        Ok(_) => not_json(error),
        Err(syntax) => not_json(&syntax),
    }
}

/// The members of a body. By hand, since a derived struct would take an array for an object.
struct Members {
    keys_max: usize,
}

impl<'de> Visitor<'de> for Members {
    type Value = KeyList;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyList, A::Error> {
        let mut keys: Option<KeyList> = None;
        while let Some(Text(member)) = map.next_key::<Text<'_>>()? {
            if member != "keys" {
                let unknown = format!("there is no member {member:?}");
                return Err(A::Error::custom(unknown));
            }
            let keys_max = self.keys_max;
            if keys
                .replace(map.next_value_seed(Keys { keys_max })?)
                .is_some()
            {
                return Err(A::Error::custom("the member \"keys\" is given twice"));
            }
        }
        let keys = keys.ok_or_else(|| A::Error::custom("there is no member \"keys\" in it"))?;
        match keys.is_empty() {
            true => Err(A::Error::custom("there is no key in it")),
            false => Ok(keys),
        }
    }
}

/// The keys themselves. No more are kept than may be asked for.
struct Keys {
    keys_max: usize,
}

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = KeyList;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<KeyList, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = KeyList;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<KeyList, A::Error> {
        let mut keys = KeyList::default();
        while let Some(Text(key)) = sequence.next_element::<Text<'_>>()? {
            if keys.len() == self.keys_max {
                let many = format!("there are more than {} keys", self.keys_max);
                return Err(A::Error::custom(many));
            }
            keys.push(key.as_bytes());
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits() -> Limits {
        Limits {
            key_bytes_max: 4,
            value_bytes_max: 1,
            body_bytes_max: 1,
            line_bytes_max: 1,
            buffers_bytes_max: 1,
            page_keys_max: 3,
            body_timeout: Duration::ZERO,
        }
    }

    #[test]
    fn keys_are_read_in_their_order_twice_if_they_are_given_twice() {
        let keys = parse(br#" {"keys": ["b", "\u00e9", "b"]} "#, &limits()).unwrap();
        let expected: [&[u8]; 3] = [b"b", "é".as_bytes(), b"b"];
        assert!(keys.iter().eq(expected));
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_with_what_it_is() {
        for (text, says) in [
            ("", "not JSON"),
            (r#"{"keys": ["a"]"#, "not JSON"),
            (r#"{"keys": ["a"]} x"#, "not JSON"),
            (r#"{"keys": ["\ud800"]}"#, "not JSON"),
            (r#"{"keys": ["a", "b", "c", "d"], }"#, "not JSON"),
            (r#"["a"]"#, "an object"),
            ("1", "1 to 3 keys (setting page_keys_max)"),
            ("{}", "no member \"keys\""),
            (r#"{"keys": []}"#, "no key in it"),
            (r#"{"keys": "a"}"#, "an array of keys"),
            (r#"{"keys": [1]}"#, "a string"),
            (r#"{"keys": ["a"], "key": "b"}"#, "no member \"key\""),
            (r#"{"keys": ["a"], "keys": ["b"]}"#, "twice"),
            (r#"{"keys": ["a", "b", "c", "d"]}"#, "more than 3 keys"),
            (r#"{"keys": ["a", ""]}"#, "the key is empty"),
            (r#"{"keys": ["abcde"]}"#, "the limit of 4"),
        ] {
            let problem = parse(text.as_bytes(), &limits()).unwrap_err();
            assert!(
                problem.detail().contains(says),
                "{text}: {}",
                problem.detail()
            );
        }
    }
}
