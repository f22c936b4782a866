//! What a request asks for that this server does not do. It is refused: a client that sends a condition
//! or a coding relies on it, and a change that ignores it is another change.

use super::problem::{Code, Problem};
use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};

/// Refuses what no change does, nor a read that has a body: conditions by dates, a method that is another
/// one, a body that is encoded or a part only, and expectations. Whether there are conditions by entity tags.
///
/// # Errors
/// Where the request has a header for one of these; it is named.
pub(super) fn in_change(request: &HttpRequest) -> Result<bool, Problem> {
    let mut has_conditions = false;
    // One pass, since looking each of them up would cost a set two in a hundred.
    for (name, value) in request.headers() {
        let name = name.as_str();
        match name {
            "if-match" | "if-none-match" => has_conditions = true,
            "if-modified-since" | "if-unmodified-since" => {
                let detail = format!(
                    "values have entity tags and no dates, and there is the header {name}; nothing was \
                     done, use If-Match or If-None-Match"
                );
                return Err(Problem::new(Code::UnsupportedCondition, detail));
            }
            // By these frameworks make another method of a POST.
            "x-http-method-override" | "x-http-method" | "x-method-override" => {
                let detail = format!("the header {name} is not heeded; send the method itself");
                return Err(Problem::new(Code::UnsupportedHeader, detail));
            }
            "content-encoding" if !all_are(value, b"identity") => {
                let detail = "the body is encoded (Content-Encoding), and values are stored as they \
                              come; send it plain";
                return Err(Problem::new(Code::UnsupportedEncoding, detail));
            }
            "content-range" => {
                let detail = "the body is a part only (Content-Range), and it would replace the whole \
                              value; send the value whole";
                return Err(Problem::new(Code::UnsupportedHeader, detail));
            }
            "expect" => expectation(value)?,
            _ => {}
        }
    }
    Ok(has_conditions)
}

/// Refuses an expectation of a read.
///
/// # Errors
/// Where it is not `100-continue`.
pub(super) fn in_read(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers().iter();
    let mut expect = headers.filter(|(name, _)| name.as_str() == "expect");
    expect.try_for_each(|(_, value)| expectation(value))
}

fn expectation(value: &HeaderValue) -> Result<(), Problem> {
    if all_are(value, b"100-continue") {
        return Ok(());
    }
    let detail = "the header Expect asks for something else than 100-continue; leave it out";
    Err(Problem::new(Code::ExpectationFailed, detail))
}

/// Whether all items of a list are this one. Elements may be empty (RFC 9110, 5.6.1), and are no items.
fn all_are(list: &HeaderValue, item: &[u8]) -> bool {
    let elements = list.as_bytes().split(|byte| *byte == b',');
    let mut items = elements.map(<[u8]>::trim_ascii);
    items.all(|other| other.is_empty() || other.eq_ignore_ascii_case(item))
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
