//! What happens around every request, outside of the metrics: it is counted as in flight until the
//! last byte of its answer is handed over, and logged then if that is wanted, or before if it was slow; it
//! is known by an id meanwhile; methods that nobody takes are refused; and while the server drains, the
//! client is told to go elsewhere next time.
//! Answers leave in pieces, since the framework copies each whole.
//!
//! The access log is ours, since the framework's costs a layer of every body even when it is off.

use super::buffers::PIECE_BYTES;
use super::connection::Connection;
use super::problem::Problem;
use super::request_id::{self, Lines};
use super::{State, host, routes, slow};
use crate::lifecycle::{InFlight, Stage};
use crate::log_format::ACCESS;
use crate::metrics::Refusal;
use crate::trace::Trace;
use actix_web::Error;
use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Method, Version};
use bytes::Bytes;
use pin_project_lite::pin_project;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Lets a request through: for `wrap_fn`, as the outermost layer.
pub(super) fn gate<S, B>(
    state: &Arc<State>,
    request: ServiceRequest,
    service: &S,
) -> Gated<S::Future>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let has_fragment = connection
        .as_ref()
        .is_some_and(|connection| connection.request_began());
    let is_spare = connection
        .as_ref()
        .is_some_and(|connection| !connection.is_within_bound());
    let is_old = request.version() < Version::HTTP_11;
    let guard = Guard {
        _in_flight: state.lifecycle.begin_request(),
        connection,
        access: state.access_log.then(|| Box::new(Access::of(&request))),
        trace: None,
    };
    let id = request_id::of(request.headers());
    let mut trace = Some(Trace::begin(id, state.slow_ms));
    let refused = if is_spare && !routes::is_health(request.uri().path()) {
        Some((Refusal::Connections, Problem::too_many_connections()))
    } else if has_fragment {
        Some((Refusal::Fragment, Problem::fragment()))
    } else if !host::is_valid(request.headers()) {
        Some((Refusal::Head, Problem::invalid_host()))
    } else {
        routes::refuse(request.request())
    };
    let (answer, refusal) = match refused {
        Some((reason, problem)) => {
            state.metrics.refused(reason);
            let refusal = Trace::within(&mut trace, || problem.into_response());
            (None, Some(Box::new(request.into_response(refusal))))
        }
        None => (Some(service.call(request)), None),
    };
    Gated {
        answer,
        refusal,
        passage: Some(Passage {
            state: state.clone(),
            guard,
            trace,
            is_spare,
            is_old,
        }),
    }
}

pin_project! {
    /// A request that was let through, or refused. No `async` block, which would hold the handlers' future twice, and
    /// move it once more for every request.
    pub(super) struct Gated<F> {
        #[pin]
        answer: Option<F>,
        refusal: Option<Box<ServiceResponse>>,
        passage: Option<Passage>,
    }
}

impl<F, B> Future for Gated<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody + 'static,
{
    type Output = Result<ServiceResponse<Guarded<EitherBody<B>>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match (this.answer.as_pin_mut(), this.refusal.take()) {
            (Some(answer), _) => {
                let passage = this.passage.as_mut().expect("it was not ready before");
                let answer = Trace::within(&mut passage.trace, || answer.poll(context));
                ready!(answer)?.map_into_left_body()
            }
            (None, refusal) => {
                let refusal = refusal.expect("what is not answered is refused, once");
                refusal.map_into_right_body()
            }
        };
        let passage = this.passage.take();
        let passage = passage.expect("it was not ready before");
        Poll::Ready(Ok(passage.end(response)))
    }
}

/// What is known of a request on its way through the gate.
struct Passage {
    state: Arc<State>,
    guard: Guard,
    trace: Option<Box<Trace>>,
    is_spare: bool,
    is_old: bool,
}

impl Passage {
    /// Has the response leave.
    fn end<B: MessageBody>(
        mut self,
        mut response: ServiceResponse<B>,
    ) -> ServiceResponse<Guarded<B>> {
        if self.is_spare || self.state.lifecycle.stage() != Stage::Running {
            let head = response.response_mut().head_mut();
            head.set_connection_type(ConnectionType::Close);
        }
        let is_stream = response.response().body().size() == BodySize::Stream;
        if self.is_old && is_stream {
            // There are no chunks in HTTP/1.0 (RFC 9112, 6.1): the end of the connection ends the body.
            let head = response.response_mut().head_mut();
            head.no_chunking(true);
            head.set_connection_type(ConnectionType::Close);
        }
        if let Some(access) = &mut self.guard.access {
            access.status = response.status().as_u16();
        }
        slow::look(&response, &mut self.trace);
        let lines = match is_stream || self.guard.access.is_some() {
            true => Lines::Due,
            false => Lines::Known,
        };
        if let Some(trace) = &mut self.trace {
            request_id::say(&mut response, trace, lines);
        }
        let mut guard = self.guard;
        guard.trace = self.trace.filter(|_| lines == Lines::Due);
        response.map_body(|_, body| Guarded {
            body,
            rest: Bytes::new(),
            guard,
        })
    }
}

/// Ends a request's count, logs it, and hands the turn on its connection back.
struct Guard {
    _in_flight: InFlight,
    connection: Option<Rc<Connection>>,
    access: Option<Box<Access>>,
    /// Where the log may have lines of it yet.
    trace: Option<Box<Trace>>,
}

/// What the access log says of a request: never its key, nor its path or query.
struct Access {
    peer: Option<SocketAddr>,
    method: Method,
    endpoint: &'static str,
    status: u16,
    begun: Instant,
}

impl Access {
    fn of(request: &ServiceRequest) -> Self {
        Self {
            peer: request.peer_addr(),
            method: request.method().clone(),
            endpoint: routes::endpoint(request.uri().path()),
            status: 0,
            begun: Instant::now(),
        }
    }

    fn log(&self) {
        let peer = self.peer.map_or("-".into(), |peer| peer.ip().to_string());
        let (method, endpoint, status) = (&self.method, self.endpoint, self.status);
        let took_us = self.begun.elapsed().as_micros() as f64;
        let total_ms = took_us / 1000.0;
        log::info!(
            target: ACCESS,
            peer = peer.as_str(),
            method = method.as_str(),
            endpoint = endpoint,
            status = status,
            total_ms = total_ms;
            "{peer} {method} {endpoint} {status} {total_ms:.3} ms"
        );
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.request_ended();
        }
        if let Some(access) = &self.access {
            Trace::within(&mut self.trace, || access.log());
        }
    }
}

pin_project! {
    /// A body that keeps its request in flight, and is handed over piece by piece.
    pub(super) struct Guarded<B> {
        #[pin]
        body: B,
        // What of it came and was not handed over yet.
        rest: Bytes,
        guard: Guard,
    }
}

impl<B: MessageBody> MessageBody for Guarded<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let body = this.body;
            let polled = match &mut this.guard.trace {
                None => body.poll_next(context),
                trace => Trace::within(trace, || body.poll_next(context)),
            };
            match polled {
                Poll::Ready(Some(Ok(chunk))) if chunk.len() > PIECE_BYTES => *this.rest = chunk,
                polled => return polled,
            }
        }
        let piece = this.rest.split_to(PIECE_BYTES.min(this.rest.len()));
        Poll::Ready(Some(Ok(piece)))
    }
}
