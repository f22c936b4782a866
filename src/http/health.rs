//! `GET /livez`, `/readyz` and `/healthz`. None of them asks an actor, so that overload does not
//! look like death.

use super::problem::{Code, NO_STORE, Problem};
use super::{State, parameters};
use crate::lifecycle::Stage;
use crate::store::Readiness;
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
        None => Ok(healthy(&json!({"status": "ready"}))),
        Some((code, detail)) => Err(Problem::new(code, detail)),
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
        Readiness::Ready => return None,
        Readiness::Starting => (
            Code::Starting,
            "the store is starting; send requests elsewhere for a moment".into(),
        ),
        Readiness::Loading => (
            Code::Starting,
            format!(
                "the keys of the engine at {} are being read; send requests elsewhere for a moment",
                engine()
            ),
        ),
        Readiness::EngineSilent => (
            Code::EngineUnavailable,
            format!(
                "the engine at {} does not answer; send requests elsewhere",
                engine()
            ),
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
