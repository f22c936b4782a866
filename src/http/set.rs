//! `POST /set` and `PUT /set/{key}`: upserts of one key.

use super::body::{self, Body, Bound};
use super::door::Caller;
use super::get::entity_tag;
use super::problem::{Code, Problem};
use super::{State, bulk, conditions, parameters, path_key, unsupported};
use crate::entry::Form;
use crate::model::{Changed, ContentType, Key, Lifetime, Mutation};
use actix_web::dev::Payload;
use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde::Serialize;

#[derive(Serialize)]
struct SetResponse<'a> {
    key: &'a str,
    created: bool,
    /// Said where nobody may have chosen it: it is what curl and forms send by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
}

const FORM: &str = "application/x-www-form-urlencoded";

/// `POST /set`: one key from a JSON body, or many from a bulk body.
pub(super) async fn post(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let has_conditions = unsupported::in_change(request)?;
    match body_form(request, state)? {
        BodyForm::Json => {
            let condition = conditions::of(request, has_conditions)?;
            let bound = Bound::body(&state.limits);
            let Body { bytes, mut charge } = body::read(request, payload, bound, 2, state).await?;
            let mutation = body::entry(&bytes, Form::Body, state)?;
            Caller::of(request).hold_to(&mutation.key, state)?;
            // The body may be a slice of a larger read buffer; the value is a copy by now.
            charge.shrink_to(bytes.len());
            drop(bytes);
            apply(mutation.only(condition), None, state).await
        }
        BodyForm::Lines if has_conditions => {
            let detail = "a bulk body's conditions stand in its lines, as \"if_match\" and \
                          \"if_none_match\"; nothing was done";
            Err(Problem::new(Code::UnsupportedCondition, detail))
        }
        BodyForm::Lines => bulk::handle(request, payload, state).await,
    }
}

/// `PUT /set/{key}`: the body is the value.
pub(super) async fn put(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<HttpResponse, Problem> {
    let [ttl_ms, expires_at] = parameters::parse(request, ["ttl_ms", "expires_at"])?;
    let lifetime = Lifetime::parse(ttl_ms.as_deref(), expires_at.as_deref())?;
    let has_conditions = unsupported::in_change(request)?;
    let condition = conditions::of(request, has_conditions)?;
    let key = path_key(request, "/set/", &state.limits)?;
    let content_type = body::content_type(request, state)?.unwrap_or(ContentType::OCTET_STREAM);
    let bound = Bound::value(&state.limits);
    let Body { bytes, charge } = body::read(request, payload, bound, 2, state).await?;
    // A copy of the right size, so that the store does not hold on to read buffers.
    let value = Bytes::copy_from_slice(&bytes);
    drop(bytes);
    let expires_at = lifetime.ends(state.store.now());
    let mutation = Mutation::set(key, content_type.clone(), value);
    let mutation = mutation.only(condition).until(expires_at);
    let response = apply(mutation, Some(content_type), state).await;
    drop(charge);
    response
}

/// What the body of a `POST` is.
pub(super) enum BodyForm {
    Json,
    Lines,
}

/// What a request says that its body is.
///
/// # Errors
/// Where it is neither, or nothing is said.
pub(super) fn body_form(request: &HttpRequest, state: &State) -> Result<BodyForm, Problem> {
    let content_type = body::json_type(request, state)?;
    let essence = content_type.essence();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(BodyForm::Json)
    } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Ok(BodyForm::Lines)
    } else {
        Err(body::unsupported(
            "the body must be JSON: add the header Content-Type: application/json \
             (curl: -H 'Content-Type: application/json'), or application/x-ndjson for many keys; \
             PUT /set/{key} stores a body of any type",
        ))
    }
}

/// Makes a change. `stored_as` is the content type that a body was taken under.
async fn apply(
    mutation: Mutation,
    stored_as: Option<ContentType>,
    state: &State,
) -> Result<HttpResponse, Problem> {
    let key: Key = mutation.key.clone();
    let changed = state.store.change(mutation).await?;
    if let Changed::Unmet(present) = changed {
        return Err(conditions::unmet(state, present));
    }
    let mut response = HttpResponse::Ok();
    if let Some(revision) = changed.revision() {
        response.insert_header((ETAG, entity_tag(revision)));
    }
    let form = stored_as.as_ref().map(ContentType::as_str);
    let form = form.filter(|form| {
        let essence = form.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(FORM)
    });
    Ok(response.json(SetResponse {
        key: key.as_str(),
        created: matches!(changed, Changed::Created(_)),
        content_type: form,
    }))
}
