//! What a request asks for that this server does not do. It is refused: a client that sends a condition
//! or a coding relies on it, and a change that ignores it is another change.

use super::problem::{Code, Problem};
use actix_web::HttpRequest;
use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, EXPECT, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, TRANSFER_ENCODING,
};

/// Headers by which frameworks make another method of a `POST`.
const OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Refuses what no change does yet: conditions, and a method that is another one.
///
/// # Errors
/// Where the request has such a header; it is named.
pub(super) fn in_change(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    for condition in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
    ] {
        if headers.contains_key(&condition) {
            let detail = format!(
                "changes take no conditions, and there is the header {condition}; nothing was done, \
                 leave it out if the change is to be made whatever the key names"
            );
            return Err(Problem::new(Code::UnsupportedCondition, detail));
        }
    }
    for header in OVERRIDES {
        if headers.contains_key(&header) {
            let detail = format!("the header {header} is not heeded; send the method itself");
            return Err(Problem::new(Code::UnsupportedHeader, detail));
        }
    }
    expectation(request)
}

/// Refuses what no body is taken with: a coding, or that it is a part only.
///
/// # Errors
/// Where the request has such a header; it is named.
pub(super) fn in_body(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let codings = headers.get_all(CONTENT_ENCODING);
    let mut codings = codings.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if codings.any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
        let detail = "the body is encoded (Content-Encoding), and values are stored as they come; send \
                      it plain";
        return Err(Problem::new(Code::UnsupportedEncoding, detail));
    }
    if headers.contains_key(CONTENT_RANGE) {
        let detail = "the body is a part only (Content-Range), and it would replace the whole value; \
                      send the value whole";
        return Err(Problem::new(Code::UnsupportedHeader, detail));
    }
    Ok(())
}

/// Refuses an expectation that is not met.
///
/// # Errors
/// Where the client expects anything but `100-continue`.
pub(super) fn expectation(request: &HttpRequest) -> Result<(), Problem> {
    let expected = request.headers().get_all(EXPECT);
    let mut expected = expected.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if expected.any(|item| !item.trim_ascii().eq_ignore_ascii_case(b"100-continue")) {
        let detail = "the header Expect asks for something else than 100-continue; leave it out";
        return Err(Problem::new(Code::ExpectationFailed, detail));
    }
    Ok(())
}

/// Refuses a body where none is read.
///
/// # Errors
/// Where the request has one.
pub(super) fn body(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let is_empty = |length: &[u8]| length.iter().all(|digit| *digit == b'0');
    let announced = headers.get(CONTENT_LENGTH);
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || announced.is_some_and(|length| !is_empty(length.as_bytes()));
    if has_body {
        let detail = "this request takes no body; send the parameters in the URL, or use POST /set";
        return Err(Problem::new(Code::UnexpectedBody, detail));
    }
    Ok(())
}
