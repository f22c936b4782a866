//! `GET /get/{key}`: the value, byte for byte as it was stored.

use super::buffers::{Charge, Held, Purpose, SMALL_BYTES};
use super::entity_tags::{EntityTags, Malformed};
use super::problem::{Code, Problem};
use super::{State, parameters, path_key};
use crate::model::{Key, Revision, Value};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};

/// What caches are told of values and pages: they may keep them, and must ask before they use them.
pub(super) const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// What browsers are told of what is of the type that it says, and of no other.
pub(super) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const X_EXPIRES_AT: HeaderName = HeaderName::from_static("x-expires-at");

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

pub(super) async fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let key = path_key(request, "/get/", &state.limits)?;
    let (value, fetched) = if state.store.shares_values() {
        (state.store.get(key).await?, None)
    } else {
        Box::pin(fetch(key, state)).await?
    };
    let Some(value) = value else {
        let detail = "the key names no value; set it with PUT /set/{key} or POST /set";
        return Err(Problem::new(Code::KeyNotFound, detail));
    };
    let tag = entity_tag(value.revision);
    if let Some(answer) = conditional(request.headers(), &tag)? {
        return Ok(answer);
    }
    let content_type = HeaderValue::from_maybe_shared(value.content_type.to_bytes());
    let content_type = content_type.expect("a content type is a header value by construction");
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, NO_CACHE))
        .insert_header((X_CONTENT_TYPE_OPTIONS, NOSNIFF));
    if !value.content_type.is_json() {
        response.insert_header((CONTENT_SECURITY_POLICY, SANDBOX));
    }
    if let Some(deadline) = value.expires_at {
        response.insert_header((X_EXPIRES_AT, deadline.to_string()));
    }
    if let Some(charge) = fetched {
        return Ok(response.body(Held::new(value.body, charge)));
    }
    let shared = state.buffers.share(&value.body).await?;
    Ok(match shared {
        None => response.body(value.body),
        Some(charge) => response.body(Held::new(value.body, charge)),
    })
}

/// The value of a key that is in an engine elsewhere, and what it takes of the budget. How long it is
/// shows only when it is here: so there is room for the longest before, or else few are fetched at a
/// time, and a long one again once there is room.
async fn fetch(key: Key, state: &State) -> Result<(Option<Value>, Option<Charge>), Problem> {
    let longest = state.limits.value_bytes_max;
    let body_bytes = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.body.len());
    let mut charge = match state.buffers.try_take(longest) {
        Some(charge) => charge,
        None => {
            let turn = state.buffers.turn().await?;
            let value = state.store.get(key.clone()).await?;
            if body_bytes(&value) <= SMALL_BYTES {
                return Ok((value, None));
            }
            drop((value, turn));
            state.buffers.take(Purpose::Large, longest).await?
        }
    };
    let value = state.store.get(key).await?;
    charge.shrink_to(body_bytes(&value));
    Ok((value, Some(charge)))
}

/// A revision as an entity tag: quotes around its digits.
pub(super) fn entity_tag(revision: Revision) -> HeaderValue {
    let mut text = [b'"'; 18];
    text[1..17].copy_from_slice(&revision.digits());
    let tag = HeaderValue::from_bytes(&text);
    tag.expect("quotes and hexadecimal digits are a header value")
}

/// What is answered instead of the value by the request's conditions (RFC 9110, 13.2.2), if anything.
fn conditional(headers: &HeaderMap, tag: &HeaderValue) -> Result<Option<HttpResponse>, Problem> {
    // One pass: most reads have none.
    if !headers.keys().any(|name| name.as_str().starts_with("if-")) {
        return Ok(None);
    }
    let opaque = tag.as_bytes().trim_ascii();
    let opaque = &opaque[1..opaque.len() - 1];
    let wanted = EntityTags::of(headers, &IF_MATCH).map_err(|Malformed| {
        let detail = r#"if-match takes entity tags, such as "a", W/"b" or *"#;
        Problem::new(Code::InvalidCondition, detail)
    })?;
    if wanted.is_some_and(|wanted| !wanted.match_strongly(opaque)) {
        let detail = "the value has another entity tag than If-Match names; GET it without";
        let problem = Problem::new(Code::PreconditionFailed, detail);
        return Err(problem.with_etag(tag.clone()));
    }
    // What is no list names no tag that the client knows, and the value is a right answer.
    if let Ok(Some(known)) = EntityTags::of(headers, &IF_NONE_MATCH)
        && known.match_weakly(opaque)
    {
        let mut answer = HttpResponse::NotModified();
        answer
            .insert_header((ETAG, tag.clone()))
            .insert_header((CACHE_CONTROL, NO_CACHE));
        return Ok(Some(answer.finish()));
    }
    Ok(None)
}
