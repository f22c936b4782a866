//! `GET /livez`, `/readyz` and `/healthz`. None of them asks an actor, so that overload does not
//! look like death.

use super::problem::{Code, NO_STORE, Problem};
use super::{State, parameters};
use crate::lifecycle::Stage;
use crate::store::{OpenError, Readiness};
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

/// Whether the process and its actors are alive; if not, only a restart helps.
pub(super) fn livez(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    if state.store.is_alive() {
        return Ok(healthy(&json!({"status": "alive"})));
    }
    let detail = "an actor of the store gives no sign of life; restart the process";
    Err(Problem::new(Code::NotAlive, detail))
}

/// Whether requests should be sent here.
pub(super) fn readyz(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    match unready(state) {
        None => Ok(healthy(&ready(state))),
        Some((code, detail)) => Err(Problem::new(code, detail)),
    }
}

/// What is said where requests should be sent here, though not all may be well.
fn ready(state: &State) -> serde_json::Value {
    let mut warnings: Vec<String> = Vec::new();
    if let Readiness::Ready(troubles) = state.store.readiness() {
        warnings.extend(troubles.engine.map(|error| error.to_string()));
        warnings.extend(troubles.evicts.then(|| OpenError::Evicts.to_string()));
        if troubles.partitions_behind > 0 {
            warnings.push(format!(
                "{} of 256 partitions are not read yet: searches wait, or are refused",
                troubles.partitions_behind
            ));
        }
    }
    match warnings.is_empty() {
        true => json!({"status": "ready"}),
        false => json!({"status": "ready", "warnings": warnings}),
    }
}

fn healthy(status: &serde_json::Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, NO_STORE))
        .json(status)
}

/// Why requests should not be sent here, if they should not.
pub(super) fn unready(state: &State) -> Option<(Code, String)> {
    if state.lifecycle.stage() != Stage::Running {
        let detail = "the server is draining before it stops; send requests elsewhere";
        return Some((Code::Stopping, detail.into()));
    }
    let engine = || state.store.engine_address().unwrap_or_default();
    let (code, detail) = match state.store.readiness() {
        Readiness::Ready(_) => return None,
        Readiness::Starting => (
            Code::Starting,
            "the store is starting; send requests elsewhere for a moment".into(),
        ),
        Readiness::Loading(None) => (
            Code::Starting,
            format!(
                "the keys of the engine at {} are being read; send requests elsewhere for a moment",
                engine()
            ),
        ),
        Readiness::Loading(Some(cause)) => (
            Code::Starting,
            format!("the keys of the engine at {} cannot be read yet: {cause}", engine()),
        ),
        Readiness::EngineSilent(cause) => (
            Code::EngineUnavailable,
            match cause {
                Some(cause) => format!("the engine at {} does not answer: {cause}", engine()),
                None => format!(
                    "the engine at {} does not answer; send requests elsewhere",
                    engine()
                ),
            },
        ),
        Readiness::IndexStuck => (
            Code::EngineUnavailable,
            "a share of the index of keys does not go on, so that no search is answered; send requests \
             elsewhere, and restart this server if it lasts"
                .into(),
        ),
        Readiness::EngineForeign => (
            Code::EngineData,
            format!(
                "the engine at {} holds data of another layout (settings engine and namespace)",
                engine()
            ),
        ),
    };
    Some((code, detail))
}
