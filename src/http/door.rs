//! Who asks, and whether they may: what every request passes before its handler.
//!
//! Without an `auth_file` everybody may do everything. With one a request is known by its token, which a route needs as
//! the table of routes says, and a token that is for some keys only is held to them here: by the key in the path, or by
//! the parameter `prefix`. Keys that stand in a body are not known yet: their handler holds each to its [`Caller`].

use super::percent::{Plus, decode};
use super::problem::{Code, Problem};
use super::{State, parameters, routes};
use crate::metrics::Denial;
use crate::model::Key;
use crate::tokens::{Access, Token};
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use std::sync::Arc;

/// What is said of how to be known (RFC 6750, 3), to whoever is not.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"kvstore\"");
const CHALLENGE_AGAIN: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"kvstore\", error=\"invalid_token\"");

/// So many of a token's prefixes are named where it is beyond them.
const PREFIXES_NAMED: usize = 5;

/// What a route needs, and where the keys stand that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: those who watch over the process ask, or the answer is the same for everybody and holds no data.
    Nothing,
    /// Nothing; but whoever shows a token is told what it allows, or that it is not known.
    Introduction,
    /// Nothing, or where metrics take a token, any that is for all keys.
    Metrics,
    /// This access to the key in the path.
    Key(Access),
    /// This access to all keys that begin as the parameter `prefix` says.
    Prefix(Access),
    /// This access to the keys in the body, each of which the handler holds to its [`Caller`].
    Body(Access),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Somebody, where everybody may do everything.
    Anybody,
    /// Whoever has this token.
    Known(Arc<Token>),
}

impl Caller {
    /// Who asks by a request that was let in.
    pub(super) fn of(request: &HttpRequest) -> Self {
        if routes::state(request).auth.is_none() {
            return Self::Anybody;
        }
        Self::Known(
            shown(request).expect("whoever comes to a handler with a body was let in by a token"),
        )
    }

    /// Whether whoever asks may still do what they did when they asked: for requests that last.
    pub(super) fn may_go_on(&self, state: &State) -> bool {
        match (self, &state.auth) {
            (Self::Known(token), Some(auth)) => auth.file.tokens().still_has(token),
            (Self::Known(_) | Self::Anybody, _) => true,
        }
    }

    /// Refuses a key that the token is not for.
    ///
    /// # Errors
    /// Where it is not.
    pub(super) fn hold_to(&self, key: &Key, state: &State) -> Result<(), Problem> {
        match self {
            Self::Known(token) if !token.covers(key.as_str()) => {
                state.metrics.denied(Denial::Forbidden);
                Err(Problem::new(Code::Forbidden, beyond(token, "this key")))
            }
            Self::Known(_) | Self::Anybody => Ok(()),
        }
    }
}

/// What whoever asks has shown, where they have and need not.
pub(super) fn shown(request: &HttpRequest) -> Option<Arc<Token>> {
    request.extensions().get::<Arc<Token>>().cloned()
}

/// Lets a request in to its route, or not. `key` is the key of the path, as it is encoded there.
///
/// # Errors
/// Where it has no token, one that is not known, is used too often or does not allow this.
pub(super) fn admit(request: &HttpRequest, needs: Needs, key: Option<&str>) -> Result<(), Problem> {
    let state = routes::state(request);
    let is_open = match (&state.auth, needs) {
        (None, _) | (Some(_), Needs::Nothing) => true,
        (Some(_), Needs::Introduction) => presented(request).is_none(),
        (Some(auth), Needs::Metrics) => !auth.metrics,
        (Some(_), Needs::Key(_) | Needs::Prefix(_) | Needs::Body(_)) => false,
    };
    if is_open {
        return Ok(());
    }
    let Some(token) = identify(request)? else {
        return Ok(());
    };
    if let Some(why) = forbids(&token, request, (needs, key))? {
        log::debug!("the token {} does not allow a request", token.name());
        state.metrics.denied(Denial::Forbidden);
        return Err(Problem::new(Code::Forbidden, why));
    }
    request.extensions_mut().insert(token);
    Ok(())
}

/// The token that a request is known by; `None` where everybody may do everything.
///
/// # Errors
/// Where it has none, one that is not known, or one that is used too often.
pub(super) fn identify(request: &HttpRequest) -> Result<Option<Arc<Token>>, Problem> {
    let state = routes::state(request);
    let Some(auth) = &state.auth else {
        return Ok(None);
    };
    let stranger = |detail: &str, challenge| {
        state.metrics.denied(Denial::Unauthenticated);
        Problem::new(Code::Unauthorized, detail).with_challenge(challenge)
    };
    let Some(presented) = presented(request) else {
        let detail = "this takes a token: send it in one header, Authorization: Bearer TOKEN; whoever \
                      runs this server makes one by `kvstore token`";
        return Err(stranger(detail, CHALLENGE));
    };
    let Some(token) = auth.file.tokens().find(presented) else {
        let detail = "the token is not one that this server knows; ask whoever runs it whether it \
                      was taken out of the setting auth_file";
        return Err(stranger(detail, CHALLENGE_AGAIN));
    };
    if let Err(wait) = token.take() {
        log::debug!("the token {} is used too often", token.name());
        state.metrics.denied(Denial::Rate);
        let detail = "the token is used more often than it may be in a second \
                      (requests_per_second); nothing was done, try again after a pause";
        return Err(Problem::new(Code::RateLimited, detail).with_retry_after(wait));
    }
    Ok(Some(token))
}

/// What a request presents as its token, if it does so once and in the form of RFC 6750, 2.1.
fn presented(request: &HttpRequest) -> Option<&[u8]> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return None;
    };
    let text = header.as_bytes();
    let end = text.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = text.split_at(end);
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// Why a token does not allow a request, if it does not.
///
/// # Errors
/// Where the key or a parameter does not decode.
fn forbids(
    token: &Token,
    request: &HttpRequest,
    (needs, key): (Needs, Option<&str>),
) -> Result<Option<String>, Problem> {
    let access = match needs {
        Needs::Nothing | Needs::Introduction | Needs::Metrics => Access::Read,
        Needs::Key(access) | Needs::Prefix(access) | Needs::Body(access) => access,
    };
    if token.access() < access {
        let (takes, has) = (access.label(), token.access().label());
        let why =
            format!("this takes the access {takes}, and the token has {has}; nothing was done");
        return Ok(Some(why));
    }
    if !token.is_confined() {
        return Ok(None);
    }
    Ok(match needs {
        Needs::Nothing | Needs::Introduction | Needs::Body(_) => None,
        Needs::Metrics => {
            Some("metrics are of all keys; ask for them with a token that has no prefixes".into())
        }
        Needs::Key(_) => {
            // The router takes the endpoint without a key too, and there is no such path then.
            let key = key.map(|key| decode(key, Plus::Literal)).transpose()?;
            let is_beyond = key.is_some_and(|key| !token.covers(&key));
            is_beyond.then(|| beyond(token, "this key") + "; nothing was done")
        }
        Needs::Prefix(_) => {
            let given = parameters::values(request, "prefix")?;
            // One given twice is refused by its handler; whichever it were to take, it is within.
            let is_within = !given.is_empty() && given.iter().all(|prefix| token.covers(prefix));
            let remedy = ": give a parameter prefix that begins so; nothing was done";
            (!is_within).then(|| beyond(token, "this request") + remedy)
        }
    })
}

/// That something is beyond the prefixes of a token.
fn beyond(token: &Token, what: &str) -> String {
    let prefixes = token.prefixes();
    let named = prefixes.iter().take(PREFIXES_NAMED);
    let mut named: Vec<String> = named.map(|prefix| format!("{prefix:?}")).collect();
    if prefixes.len() > PREFIXES_NAMED {
        named.push("…".into());
    }
    format!(
        "the token is for keys that begin with {}, and {what} is beyond them",
        named.join(", ")
    )
}
