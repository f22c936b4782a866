//! Request bodies: what they are said to be, and reading them within bounds of size and time.

use super::buffers::{Charge, Purpose, READ_AHEAD_BYTES};
use super::connection::Connection;
use super::problem::{Code, Problem};
use super::{Limits, State, conditions};
use crate::entry::{Bounds, Entry, EntryError, Form};
use crate::model::{ContentType, Lifetime, Mutation};
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Bodies of up to so many bytes fit what a connection may read ahead anyway.
const UNCOUNTED_BYTES: usize = 8 * 1024;

/// A bound on a body and how a client is told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) bytes_max: usize,
    pub(super) setting: &'static str,
    pub(super) code: Code,
}

impl Bound {
    /// The bound on a value that is the whole body.
    pub(super) fn value(limits: &Limits) -> Self {
        Self {
            bytes_max: limits.value_bytes_max,
            setting: "value_bytes_max",
            code: Code::ValueTooLarge,
        }
    }

    /// The bound on a JSON body.
    pub(super) fn body(limits: &Limits) -> Self {
        Self {
            bytes_max: limits.body_bytes_max,
            setting: "body_bytes_max",
            code: Code::BodyTooLarge,
        }
    }

    /// The problem that something is over the bound.
    pub(super) fn exceeded(self, what: &str) -> Problem {
        let Self {
            bytes_max, setting, ..
        } = self;
        let detail = format!(
            "{what} is over the limit of {bytes_max} bytes (setting {setting}); send a smaller one"
        );
        Problem::new(self.code, detail)
    }
}

/// The change that an object asks for.
///
/// # Errors
/// Where it is no entry.
pub(super) fn entry(text: &[u8], form: Form, state: &State) -> Result<Mutation, Problem> {
    let limits = &state.limits;
    let bounds = Bounds {
        key_bytes_max: limits.key_bytes_max,
        value_bytes_max: limits.value_bytes_max,
    };
    match Entry::parse(text, form, bounds, &state.content_types) {
        Ok(Entry {
            key,
            content_type,
            body,
            lifetime,
            if_match,
            if_none_match,
        }) => {
            let mutation = Mutation::set(key, content_type, body);
            let mutation = match lifetime {
                Lifetime::Endless => mutation,
                Lifetime::Until(_) | Lifetime::Millis(_) => {
                    mutation.until(lifetime.ends(state.store.now()))
                }
            };
            if (&if_match, &if_none_match) == (&None, &None) {
                return Ok(mutation);
            }
            let condition = conditions::of_line(if_match.as_deref(), if_none_match.as_deref());
            let condition =
                condition.map_err(|detail| Problem::new(Code::InvalidCondition, detail))?;
            Ok(mutation.only(condition))
        }
        Err(EntryError::Key(error)) => Err(error.into()),
        Err(EntryError::ContentType(error)) => Err(error.into()),
        Err(EntryError::ValueTooLarge) => Err(Bound::value(limits).exceeded("the value")),
        Err(error @ EntryError::NotJson(_)) => {
            Err(Problem::new(Code::InvalidJson, error.to_string()))
        }
        Err(error @ (EntryError::NotOfForm(_) | EntryError::Deadline(_))) => {
            Err(Problem::new(Code::InvalidBody, error.to_string()))
        }
    }
}

/// What a body is said to be, `None` where nothing is said.
///
/// # Errors
/// Where the header is not a content type.
pub(super) fn content_type(
    request: &HttpRequest,
    state: &State,
) -> Result<Option<ContentType>, Problem> {
    let mut values = request.headers().get_all(CONTENT_TYPE);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if values.next().is_some() {
        let detail = "there are two Content-Type headers; send one";
        return Err(Problem::new(Code::InvalidContentType, detail));
    }
    Ok(Some(state.content_types.parse(text)?))
}

/// What a body is said to be that must be JSON of some kind.
///
/// # Errors
/// Where nothing is said, or not one type, or another encoding than UTF-8.
pub(super) fn json_type(request: &HttpRequest, state: &State) -> Result<ContentType, Problem> {
    let content_type = match content_type(request, state) {
        Ok(Some(content_type)) => content_type,
        Ok(None) => {
            return Err(unsupported(
                "the body's type is not said; add the header Content-Type: application/json \
                 (curl: -H 'Content-Type: application/json')",
            ));
        }
        Err(_) => {
            return Err(unsupported(
                "the Content-Type header is not one content type; \
                 send one header Content-Type: application/json \
                 (curl: -H 'Content-Type: application/json')",
            ));
        }
    };
    let mut parameters = content_type.as_str().split(';').skip(1).map(str::trim);
    let is_utf8 = parameters.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8"]
                .iter()
                .any(|utf8| value.trim_matches('"').eq_ignore_ascii_case(utf8))
    });
    match is_utf8 {
        true => Ok(content_type),
        false => Err(unsupported(
            "JSON is UTF-8; send it so, with Content-Type: application/json",
        )),
    }
}

/// The problem that a body is of a type that is not taken.
pub(super) fn unsupported(detail: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

/// A whole body, and what it takes of the budget.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Kept until the store has what the body says.
    pub(super) charge: Charge,
}

/// Reads a whole body, within the bound, the time for a body and the budget. `copies` is how often what
/// comes of it is in memory until the store has it.
///
/// # Errors
/// Where it is too large, too slow or breaks off, and where there is no room for it.
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    bound: Bound,
    copies: usize,
    state: &State,
) -> Result<Body, Problem> {
    let limits = &state.limits;
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bound.bytes_max as u64) {
        return Err(bound.exceeded("the body"));
    }
    let mut charge = Charge::default();
    // What is announced is taken at once: bodies that each wait for their rest would wait for each
    // other.
    let mut room = announced.map_or(0, |length| length as usize);
    if room > UNCOUNTED_BYTES {
        let bytes = room * copies + room.min(READ_AHEAD_BYTES);
        state
            .buffers
            .grow(&mut charge, Purpose::Other, bytes)
            .await?;
        read_ahead(request);
    }
    let deadline = Instant::now() + limits.body_timeout;
    let mut body = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = timeout_at(deadline, payload.next())
        .await
        .map_err(|_| too_slow(limits.body_timeout))?
    {
        let chunk = chunk.map_err(|error| incomplete(&error))?;
        let len = body.len() + joined.len() + chunk.len();
        if len > bound.bytes_max {
            return Err(bound.exceeded("the body"));
        }
        if body.is_empty() && joined.is_empty() {
            body = chunk;
            continue;
        }
        if len > room.max(UNCOUNTED_BYTES) {
            room = (2 * len).min(bound.bytes_max);
            let bytes = room * copies + READ_AHEAD_BYTES;
            state
                .buffers
                .grow(&mut charge, Purpose::Other, bytes)
                .await?;
            read_ahead(request);
        }
        if joined.capacity() < room.max(len) {
            // Of just the size that it will have, where that is known.
            let mut larger = BytesMut::with_capacity(room.max(len));
            larger.extend_from_slice(&std::mem::take(&mut body));
            larger.extend_from_slice(&joined);
            joined = larger;
        }
        joined.extend_from_slice(&chunk);
    }
    let bytes = if joined.is_empty() {
        body
    } else {
        joined.freeze()
    };
    charge.shrink_to(bytes.len() * copies);
    Ok(Body { bytes, charge })
}

/// Has the rest of a body read as it comes.
fn read_ahead(request: &HttpRequest) {
    if let Some(connection) = request.conn_data::<Rc<Connection>>() {
        connection.reads_body();
    }
}

/// Takes from the budget what a bulk body takes at the least, and has it read as it comes.
///
/// # Errors
/// Where there is no room for it.
pub(super) async fn begin_bulk(request: &HttpRequest, state: &State) -> Result<Charge, Problem> {
    let charge = state.buffers.take(Purpose::Bulk, READ_AHEAD_BYTES).await?;
    read_ahead(request);
    Ok(charge)
}

/// The next part of a body that has no bound on its whole; `None` at its end.
///
/// # Errors
/// Where it pauses for too long or breaks off.
pub(super) async fn next_chunk(
    payload: &mut Payload,
    patience: Duration,
) -> Result<Option<Bytes>, Problem> {
    let chunk = timeout(patience, payload.next()).await;
    let chunk = chunk.map_err(|_| too_slow(patience))?.transpose();
    chunk.map_err(|error| incomplete(&error))
}

fn too_slow(patience: Duration) -> Problem {
    let detail = format!(
        "the body did not come within {} ms (setting body_timeout_ms); send it faster",
        patience.as_millis()
    );
    Problem::new(Code::BodyTimeout, detail)
}

fn incomplete(error: &PayloadError) -> Problem {
    let detail = format!("the body broke off ({error}); send it whole");
    Problem::new(Code::BodyIncomplete, detail)
}
