//! `GET /get/{key}`: the value, byte for byte as it was stored.

use super::buffers::Held;
use super::problem::{Code, Problem};
use super::{State, parameters, path_key};
use crate::model::Revision;
use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

pub(super) async fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let key = path_key(request, "/get/", &state.limits)?;
    let Some(value) = state.store.get(key).await? else {
        let detail = "the key names no value; set it with PUT /set/{key} or POST /set";
        return Err(Problem::new(Code::KeyNotFound, detail));
    };
    let tag = entity_tag(value.revision);
    if is_known(request.headers(), &tag) {
        return Ok(HttpResponse::NotModified()
            .insert_header((ETAG, tag))
            .finish());
    }
    let content_type = HeaderValue::from_maybe_shared(value.content_type.to_bytes());
    let content_type = content_type.expect("a content type is a header value by construction");
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((ETAG, tag))
        .insert_header((X_CONTENT_TYPE_OPTIONS, NOSNIFF));
    if !value.content_type.is_json() {
        response.insert_header((CONTENT_SECURITY_POLICY, SANDBOX));
    }
    let shared = state.buffers.share(&value.body).await?;
    Ok(match shared {
        None => response.body(value.body),
        Some(charge) => response.body(Held::new(value.body, charge)),
    })
}

/// A revision as an entity tag.
pub(super) fn entity_tag(revision: Revision) -> HeaderValue {
    let tag = HeaderValue::try_from(format!("\"{revision}\""));
    tag.expect("quotes and hexadecimal digits are a header value")
}

/// Whether the client says that it has the entity of this tag, compared weakly (RFC 9110, 13.1.2).
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|item| item == b"*" || item.strip_prefix(b"W/").unwrap_or(item) == tag.as_bytes())
}
