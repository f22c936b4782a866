//! `X-Request-Id`: by what a request is known in the log, to its client and to the proxies between.

use crate::trace::{Trace, new_id};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long an id may be, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Answers from this status on say one, also where the request came with none.
const SAID_FROM: u16 = 400;

/// Whether the log may have lines of a request whose client must be able to tell which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// It has none, but what it has by now.
    Known,
    /// It has one of every request, or may have some while the answer is sent.
    Due,
}

/// The id that a request came with. Where that is none, it has a new one from here on; where it came with no id at
/// all it has one once it is needed.
pub(super) fn of(headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(X_REQUEST_ID);
    let id = values.next()?.as_bytes();
    let is_id = values.next().is_none()
        && (1..=ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(u8::is_ascii_graphic);
    let id = std::str::from_utf8(id).ok().filter(|_| is_id);
    Some(id.map_or_else(new_id, Into::into))
}

/// Has an answer say the id of its request: where that came with one, where something went wrong, and where the log has
/// it or may have it yet.
pub(super) fn say<B>(response: &mut ServiceResponse<B>, trace: &mut Trace, lines: Lines) {
    let is_said = match lines {
        Lines::Due => true,
        Lines::Known => trace.has_id() || response.status().as_u16() >= SAID_FROM,
    };
    if is_said {
        let id = HeaderValue::from_str(trace.id());
        let id = id.expect("an id is visible ASCII");
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(values: &[&[u8]]) -> Option<Box<str>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn what_is_no_id_is_not_taken_for_one() {
        assert_eq!(taken(&[]), None);
        let longest = [b'a'; ID_BYTES_MAX];
        for id in [b"1".as_slice(), b"~!\"\\<a>,;=", &longest] {
            assert_eq!(taken(&[id]).unwrap().as_bytes(), id);
        }
        let longer = [b'a'; ID_BYTES_MAX + 1];
        for id in [b"".as_slice(), b"a b", b"a\tb", b"\xc3\xa9", &longer] {
            let given = taken(&[id]).unwrap();
            assert!(given.len() == 16 && given.as_bytes() != id, "{given}");
        }
        let given = taken(&[b"one", b"two"]).unwrap();
        assert!(given.len() == 16, "{given}");
    }
}
