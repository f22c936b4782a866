//! What serves the connections of a worker.

use crate::http::{self, ConnectionLimits, Connections, Reception, State};
use crate::metrics::{Metrics, Refusal};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::rt::{self, net::TcpStream};
use actix_web_prom::PrometheusMetrics;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may take to end a connection that we ended.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What serves the connections of a worker: the framework's HTTP over our streams. As
/// `actix_web::HttpServer` would, which takes sockets only.
pub(super) fn connections(
    state: Arc<State>,
    metrics: PrometheusMetrics,
    limits: ConnectionLimits,
    (keep_alive, head_timeout): (Duration, Duration),
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
{
    let refusals = state.metrics.clone();
    let reception = Rc::new(Reception {
        limits,
        buffers: state.buffers.clone(),
        metrics: state.metrics.clone(),
        tls: state.tls.clone(),
        stopping: stopping.clone(),
    });
    let app = http::app(state, metrics).into_factory();
    let app = app.map_err(|error: actix_web::Error| error.error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(keep_alive)
        .client_request_timeout(head_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(http::on_connect)
        .finish(map_config(app, |()| AppConfig::default()))
        .map_err(move |error| {
            if matches!(error, DispatchError::Parse(_)) {
                refusals.refused(Refusal::Head);
            }
            error
        });
    fn_service(move |socket: TcpStream| {
        let reception = reception.clone();
        async move {
            let peer = socket.peer_addr().ok();
            let stream = reception.receive(socket).await;
            let stream = stream.map_err(DispatchError::Io)?;
            Ok::<_, DispatchError>((stream, Protocol::Http1, peer))
        }
    })
    .and_then(http)
}

/// Begins to look over the connections of this worker.
pub(super) fn watch_connections(limits: &ConnectionLimits, metrics: &Metrics) {
    rt::spawn(Connections::watch(limits.clone(), metrics.clone()));
}
