//! `GET /livez`, `/readyz` and `/healthz`. None of them asks an actor, so that overload does not
//! look like death.

use super::problem::{Code, Problem};
use super::{State, parameters};
use crate::lifecycle::Stage;
use crate::store::Readiness;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

/// Whether the process and its actors are alive; if not, only a restart helps.
pub(super) fn livez(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    if state.store.is_alive() {
        return Ok(HttpResponse::Ok().json(json!({"status": "alive"})));
    }
    let detail = "an actor of the store gives no sign of life; restart the process";
    Err(Problem::new(Code::NotAlive, detail))
}

/// Whether requests should be sent here.
pub(super) fn readyz(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    if state.lifecycle.stage() != Stage::Running {
        let detail = "the server is draining before it stops; send requests elsewhere";
        return Err(Problem::new(Code::Stopping, detail));
    }
    let (code, detail) = match state.store.readiness() {
        Readiness::Ready => return Ok(ready()),
        Readiness::Starting => (
            Code::Starting,
            "the store is starting; send requests elsewhere for a moment",
        ),
        Readiness::Loading => (
            Code::Starting,
            "the keys of the engine are being read; send requests elsewhere for a moment",
        ),
        Readiness::EngineSilent => (
            Code::EngineUnavailable,
            "the engine does not answer (setting engine); send requests elsewhere",
        ),
        Readiness::EngineForeign => (
            Code::EngineData,
            "the engine holds data of another layout (settings engine and namespace)",
        ),
    };
    Err(Problem::new(code, detail))
}

fn ready() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ready"}))
}
