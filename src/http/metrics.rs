//! `GET /metrics`: Prometheus text. Our own handler, since the middleware's would gather before
//! the actors were asked, and answer 200 whatever they said.

use super::problem::{NO_STORE, Problem};
use super::{State, health, parameters};
use crate::metrics::ServerStats;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse};
use std::time::Duration;

/// How long the actors may take to answer a scrape.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let stats = state.store.stats(PATIENCE).await;
    let stats = stats.map_err(|error| Problem::unscraped(&error))?;
    let server = ServerStats {
        buffers_bytes: state.buffers.held(),
        buffers_bytes_max: state.buffers.bytes_max(),
        requests_in_flight: state.lifecycle.in_flight(),
        watchers: state.watchers.open(),
        watch_events: state.watchers.events(),
        watchers_cut: state.watchers.cut(),
        is_ready: health::unready(state).is_none(),
        are_tls_files_valid: state.tls.as_ref().is_none_or(|tls| tls.is_valid()),
        tls_ends_s: state.tls.as_ref().map_or(0, |tls| tls.ends_s()),
        is_auth_file_valid: state.auth.as_ref().is_none_or(|auth| auth.file.is_valid()),
    };
    let text = state.metrics.scrape(&stats, &server);
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, NO_STORE))
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}
