//! `POST /expire/{key}`: changes when a value ends, and nothing else of it.

use super::body::{self, Body, Bound};
use super::get::entity_tag;
use super::problem::{Code, Problem};
use super::set::{BodyForm, body_form};
use super::{State, conditions, parameters, path_key, unsupported};
use crate::entry::{lifetime, said, unmarked};
use crate::model::{Changed, Lifetime, Mutation};
use actix_web::dev::Payload;
use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What the body is to be.
const EXPECTED: &str =
    r#"{"ttl_ms": n}, {"expires_at": "2030-01-31T12:00:00.000Z"} or {"expires_at": null}"#;

#[derive(Serialize)]
struct ExpireResponse<'a> {
    key: &'a str,
    expires_at: Option<String>,
}

pub(super) async fn handle(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let has_conditions = unsupported::in_change(request)?;
    let condition = conditions::of(request, has_conditions)?;
    let key = path_key(request, "/expire/", &state.limits)?;
    match body_form(request, state)? {
        BodyForm::Json => {}
        BodyForm::Lines => {
            let detail = format!("the body is one JSON object: {EXPECTED}, as application/json");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
    }
    let bound = Bound::body(&state.limits);
    let Body { bytes, charge: _ } = body::read(request, payload, bound, 2, state).await?;
    let expires_at = parse(&bytes)?.ends(state.store.now());
    let mutation = Mutation::expire(key.clone(), expires_at).only(condition);
    match state.store.change(mutation).await? {
        Changed::Kept(revision) | Changed::Created(revision) | Changed::Updated(revision) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((ETAG, entity_tag(revision)));
            Ok(response.json(ExpireResponse {
                key: key.as_str(),
                expires_at: expires_at.map(|deadline| deadline.to_string()),
            }))
        }
        Changed::Unmet(present) => Err(conditions::unmet(state, present)),
        Changed::Absent | Changed::Deleted(_) => {
            let detail = "the key names no value that could end; nothing was done";
            Err(Problem::new(Code::KeyNotFound, detail))
        }
    }
}

/// What a body asks for.
fn parse(body: &[u8]) -> Result<Lifetime, Problem> {
    let body = unmarked(body);
    let misfit = |why: String| {
        let detail = format!("{why}; the body must be {EXPECTED}");
        Problem::new(Code::InvalidBody, detail)
    };
    let members: Members<'_> = serde_json::from_slice(body).map_err(|error| {
        match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => misfit(said(&error)),
            Err(syntax) => Problem::new(Code::InvalidJson, format!("not JSON: {}", said(&syntax))),
        }
    })?;
    if members.ttl_ms.is_none() && members.expires_at.is_none() {
        return Err(misfit("it does not say when the value ends".into()));
    }
    let lifetime = lifetime(members.ttl_ms, members.expires_at);
    lifetime.map_err(|error| misfit(error.to_string()))
}

/// The members of a body as they stand. By hand, since a derived struct would take an array for an object,
/// and `null` for a member that is absent.
#[derive(Default)]
struct Members<'a> {
    ttl_ms: Option<&'a RawValue>,
    expires_at: Option<&'a RawValue>,
}

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
        while let Some(member) = map.next_key::<Cow<'_, str>>()? {
            let before = match &*member {
                "ttl_ms" => members.ttl_ms.replace(map.next_value()?),
                "expires_at" => members.expires_at.replace(map.next_value()?),
                unknown => return Err(A::Error::custom(format!("there is no member {unknown:?}"))),
            };
            if before.is_some() {
                let twice = format!("the member {member:?} is given twice");
                return Err(A::Error::custom(twice));
            }
        }
        Ok(members)
    }
}
