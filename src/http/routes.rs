//! The one table of routes: the router, `Allow`, the metrics' endpoint labels and the paths that a 404 lists come from it.
//! What cannot come from it (the README's table, the Ingress, the HTTPRoute) is held against that list by `tests/http`.

use super::buffers::{Purpose, SENDING_BYTES};
use super::connection::Connection;
use super::door::{self, Needs};
use super::openapi::{self, Operation};
use super::problem::{Code, Problem};
use super::{
    State, delete, docs, erase, expire, get, get_many, health, index, metrics, search, set,
    unsupported, watch,
};
use crate::metrics::Refusal;
use crate::tokens::Access;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{
    AppService, HttpServiceFactory, Payload, ResourceDef, ServiceRequest, ServiceResponse,
    fn_service,
};
use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

/// Answers of up to so many bytes fit what a connection takes anyway.
const UNCOUNTED_BYTES: usize = 4 * 1024;

/// A path, the methods that it takes, and who answers. Those with one endpoint stand together.
#[derive(Debug)]
struct Route {
    /// The path itself, or what stands before the key. Also the label in metrics.
    endpoint: &'static str,
    shape: Shape,
    methods: &'static [Method],
    /// What whoever asks must be allowed.
    needs: Needs,
    handler: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The path is the endpoint.
    Exact,
    /// The path is the endpoint, a slash and a key, which may hold slashes.
    Keyed,
}

#[derive(Clone, Copy, Debug)]
enum Handler {
    Get,
    GetMany,
    Set,
    Put,
    Erase,
    Delete,
    Expire,
    Search,
    Watch,
    Metrics,
    Livez,
    Readyz,
    Healthz,
    OpenApi,
    Docs,
    Index,
}

/// A route as its description is made from it.
#[derive(Debug)]
pub(super) struct Described {
    /// As the documentation writes it.
    pub(super) path: String,
    pub(super) has_key: bool,
    pub(super) takes_body: bool,
    pub(super) methods: &'static [Method],
    pub(super) needs: Needs,
    pub(super) operation: &'static Operation,
}

const READS: &[Method] = &[Method::GET, Method::HEAD];

const READ_KEY: Needs = Needs::Key(Access::Read);
const WRITE_KEY: Needs = Needs::Key(Access::Write);
const READ_BODY: Needs = Needs::Body(Access::Read);
const WRITE_BODY: Needs = Needs::Body(Access::Write);
const READ_ALL: Needs = Needs::Prefix(Access::Read);
const WRITE_ALL: Needs = Needs::Prefix(Access::Write);

const DELETES: &[Method] = &[Method::DELETE];

// A row a line.
#[rustfmt::skip]
static ROUTES: [Route; 16] = [
    Route::new("/get", Shape::Exact, &[Method::POST], (READ_BODY, Handler::GetMany)),
    Route::new("/get", Shape::Keyed, READS, (READ_KEY, Handler::Get)),
    Route::new("/set", Shape::Exact, &[Method::POST], (WRITE_BODY, Handler::Set)),
    Route::new("/set", Shape::Keyed, &[Method::PUT], (WRITE_KEY, Handler::Put)),
    Route::new("/delete", Shape::Exact, DELETES, (WRITE_ALL, Handler::Erase)),
    Route::new("/delete", Shape::Keyed, DELETES, (WRITE_KEY, Handler::Delete)),
    Route::new("/expire", Shape::Keyed, &[Method::POST], (WRITE_KEY, Handler::Expire)),
    Route::new("/search", Shape::Exact, READS, (READ_ALL, Handler::Search)),
    Route::new("/watch", Shape::Exact, &[Method::GET], (READ_ALL, Handler::Watch)),
    Route::new("/metrics", Shape::Exact, READS, (Needs::Metrics, Handler::Metrics)),
    Route::new("/livez", Shape::Exact, READS, (Needs::Nothing, Handler::Livez)),
    Route::new("/readyz", Shape::Exact, READS, (Needs::Nothing, Handler::Readyz)),
    Route::new("/healthz", Shape::Exact, READS, (Needs::Nothing, Handler::Healthz)),
    Route::new("/openapi.json", Shape::Exact, READS, (Needs::Nothing, Handler::OpenApi)),
    Route::new("/docs", Shape::Exact, READS, (Needs::Nothing, Handler::Docs)),
    Route::new("/", Shape::Exact, READS, (Needs::Introduction, Handler::Index)),
];

impl Route {
    const fn new(
        endpoint: &'static str,
        shape: Shape,
        methods: &'static [Method],
        (needs, handler): (Needs, Handler),
    ) -> Self {
        Self {
            endpoint,
            shape,
            methods,
            needs,
            handler,
        }
    }

    /// Whether its requests have bodies.
    fn takes_body(&self) -> bool {
        match self.handler {
            Handler::GetMany | Handler::Set | Handler::Put | Handler::Expire => true,
            Handler::Get
            | Handler::Erase
            | Handler::Delete
            | Handler::Search
            | Handler::Watch
            | Handler::Metrics
            | Handler::Livez
            | Handler::Readyz
            | Handler::Healthz
            | Handler::OpenApi
            | Handler::Docs
            | Handler::Index => false,
        }
    }

    /// Whether its answers take from the budget themselves what they need, since they have no end.
    fn sends_without_end(&self) -> bool {
        match self.handler {
            Handler::Watch => true,
            Handler::Get
            | Handler::GetMany
            | Handler::Set
            | Handler::Put
            | Handler::Erase
            | Handler::Delete
            | Handler::Expire
            | Handler::Search
            | Handler::Metrics
            | Handler::Livez
            | Handler::Readyz
            | Handler::Healthz
            | Handler::OpenApi
            | Handler::Docs
            | Handler::Index => false,
        }
    }

    /// What it does, as the documentation says it.
    fn operation(&self) -> &'static Operation {
        match self.handler {
            Handler::Get => &openapi::GET,
            Handler::GetMany => &openapi::GET_MANY,
            Handler::Set => &openapi::SET_ONE_OR_MANY,
            Handler::Put => &openapi::PUT,
            Handler::Erase => &openapi::ERASE,
            Handler::Delete => &openapi::DELETE,
            Handler::Expire => &openapi::EXPIRE,
            Handler::Search => &openapi::SEARCH,
            Handler::Watch => &openapi::WATCH,
            Handler::Metrics => &openapi::METRICS,
            Handler::Livez => &openapi::LIVEZ,
            Handler::Readyz => &openapi::READYZ,
            Handler::Healthz => &openapi::HEALTHZ,
            Handler::OpenApi => &openapi::OPENAPI,
            Handler::Docs => &openapi::DOCS,
            Handler::Index => &openapi::INDEX,
        }
    }

    /// The path as the documentation writes it.
    fn path(&self) -> String {
        match self.shape {
            Shape::Exact => self.endpoint.into(),
            Shape::Keyed => format!("{}/{{key}}", self.endpoint),
        }
    }

    /// The key in a path of it, as it is encoded there.
    fn key_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.shape {
            Shape::Exact => None,
            Shape::Keyed => path.strip_prefix(self.endpoint)?.strip_prefix('/'),
        }
    }

    fn takes(&self, path: &str) -> bool {
        match (path.strip_prefix(self.endpoint), self.shape) {
            (Some(rest), Shape::Exact) => rest.is_empty(),
            (Some(rest), Shape::Keyed) => rest.starts_with('/'),
            (None, _) => false,
        }
    }
}

/// Adds all routes to an app, those of an endpoint as one: the router tries one after the other for every request.
pub(super) fn register(config: &mut actix_web::web::ServiceConfig) {
    for routes in ROUTES.chunk_by(|one, next| one.endpoint == next.endpoint) {
        config.service(Registered(routes));
    }
}

/// Answers a request that no route takes. Strangers are not told that.
pub(super) async fn unmatched(request: HttpRequest) -> HttpResponse {
    let problem = match door::identify(&request) {
        Ok(_) => no_such_path(request.uri().path()),
        Err(problem) => problem,
    };
    problem.into_response()
}

/// Why a request is not let through to the router and its metrics, whose labels must stay a
/// closed set: no route takes its method, or no route takes its path and it is not a `GET`. Strangers are told
/// neither.
pub(super) fn refuse(request: &HttpRequest) -> Option<(Refusal, Problem)> {
    let (method, path) = (request.method(), request.uri().path());
    let route = ROUTES.iter().find(|route| route.takes(path));
    if route.is_some_and(|route| route.methods.contains(method)) {
        return None;
    }
    let is_served = ROUTES.iter().any(|route| route.methods.contains(method));
    let (refusal, problem, admitted) = match route {
        None if READS.contains(method) => return None,
        None => {
            let admitted = door::identify(request).map(drop);
            (Refusal::Path, no_such_path(path), admitted)
        }
        Some(_) if is_served => return None,
        Some(route) => {
            let admitted = door::admit(request, route.needs, route.key_in(path));
            (Refusal::Method, method_not_allowed(route, method), admitted)
        }
    };
    Some((refusal, admitted.err().unwrap_or(problem)))
}

/// Whether a path is asked by those who watch over the process.
pub(super) fn is_health(path: &str) -> bool {
    let route = ROUTES.iter().find(|route| route.takes(path));
    route.is_some_and(|route| match route.handler {
        Handler::Metrics | Handler::Livez | Handler::Readyz | Handler::Healthz => true,
        Handler::Get
        | Handler::GetMany
        | Handler::Set
        | Handler::Put
        | Handler::Erase
        | Handler::Delete
        | Handler::Expire
        | Handler::Search
        | Handler::Watch
        | Handler::OpenApi
        | Handler::Docs
        | Handler::Index => false,
    })
}

/// All routes, in the order of the table.
pub(super) fn described() -> impl Iterator<Item = Described> {
    ROUTES.iter().map(|route| Described {
        path: route.path(),
        has_key: route.shape == Shape::Keyed,
        takes_body: route.takes_body(),
        methods: route.methods,
        needs: route.needs,
        operation: route.operation(),
    })
}

/// The endpoint that a path belongs to, from a closed set.
pub(super) fn endpoint(path: &str) -> &'static str {
    let route = ROUTES.iter().find(|route| route.takes(path));
    route.map_or("unmatched", |route| route.endpoint)
}

/// The problem that no route takes a path.
pub(super) fn no_such_path(path: &str) -> Problem {
    let listed = ROUTES
        .iter()
        .map(|route| format!("{} {}", allow(route), route.path()));
    Problem::no_such_path(path, &listed.collect::<Vec<_>>().join("; "))
}

fn method_not_allowed(route: &Route, method: &Method) -> Problem {
    let others = ROUTES.iter().filter(|other| other.methods.contains(method));
    let others: Vec<String> = others.map(Route::path).collect();
    Problem::method_not_allowed(allow(route), method.as_str(), &others.join(", "))
}

fn allow(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    methods.join(", ")
}

/// The routes of an endpoint as the router takes them. Not a resource, whose pattern would hold `{key}` and cost a
/// warning from the metrics at each request.
struct Registered(&'static [Route]);

impl HttpServiceFactory for Registered {
    fn register(self, config: &mut AppService) {
        let Self(routes) = self;
        let endpoint = routes[0].endpoint;
        let is_exact = |route: &Route| match route.shape {
            Shape::Exact => true,
            Shape::Keyed => false,
        };
        let resource = match routes.iter().all(is_exact) {
            true => ResourceDef::new(endpoint),
            false => ResourceDef::prefix(endpoint),
        };
        let service = fn_service(move |request: ServiceRequest| {
            let path = request.uri().path();
            let route = routes.iter().find(|route| route.takes(path));
            answer(route.unwrap_or(&routes[0]), request)
        });
        config.register_service(resource, None, service, None);
    }
}

/// Handles a request.
async fn answer(route: &Route, request: ServiceRequest) -> Result<ServiceResponse, Error> {
    let (request, payload) = request.into_parts();
    let mut response = caught(dispatch(route, &request, payload)).await;
    let sent = match response.body().size() {
        BodySize::None => 0,
        BodySize::Sized(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        BodySize::Stream => usize::MAX,
    };
    if sent > UNCOUNTED_BYTES
        && !route.sends_without_end()
        && let Err(problem) = Box::pin(reserve_sending(&request, sent)).await
    {
        response = problem.into_response();
    }
    Ok(ServiceResponse::new(request, response))
}

/// Takes from the budget what a connection takes while it sends a large answer.
async fn reserve_sending(request: &HttpRequest, bytes: usize) -> Result<(), Problem> {
    let Some(connection) = request.conn_data::<Rc<Connection>>() else {
        return Ok(());
    };
    let buffers = &state(request).buffers;
    let purpose = if bytes > SENDING_BYTES {
        Purpose::Large
    } else {
        Purpose::Other
    };
    let charge = buffers.take(purpose, bytes.min(SENDING_BYTES)).await?;
    connection.sends(charge);
    Ok(())
}

/// What the handlers of a request work with.
pub(super) fn state(request: &HttpRequest) -> &Data<State> {
    let state = request.app_data::<Data<State>>();
    state.expect("the app is built with its state")
}

/// The response that a handler comes to; a problem becomes its response, a panic an opaque 500.
///
/// No `async fn`, which would hold the handler twice: as its argument and while it runs. A future is
/// allocated and moved for every request.
fn caught(
    handler: impl Future<Output = Result<HttpResponse, Problem>>,
) -> impl Future<Output = HttpResponse> {
    let caught = AssertUnwindSafe(handler).catch_unwind();
    caught.map(|outcome| match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => {
            let detail = "the request met a defect of the server; the log has its place";
            Problem::new(Code::Internal, detail).into_response()
        }
    })
}

async fn dispatch(
    route: &Route,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let state = state(request);
    let path = request.uri().path();
    door::admit(request, route.needs, route.key_in(path))?;
    // The router's prefix takes the endpoint without a key too.
    if !route.takes(path) {
        return Err(no_such_path(path));
    }
    if !route.methods.contains(request.method()) {
        return Err(method_not_allowed(route, request.method()));
    }
    if !route.takes_body() {
        unsupported::in_read(request)?;
    }
    // The framework says so for almost all; what has a length of 0 is no body either.
    if !route.takes_body() && !matches!(payload, Payload::None) {
        unsupported::body(request)?;
    }
    // All but the most frequent are boxed: this future is as large as the largest, and is moved
    // for every request.
    match route.handler {
        Handler::Get => get::handle(request, state).await,
        Handler::GetMany => Box::pin(get_many::handle(request, payload, state)).await,
        Handler::Set => Box::pin(set::post(request, payload, state)).await,
        Handler::Put => Box::pin(set::put(request, payload, state)).await,
        Handler::Erase => Box::pin(erase::handle(request, state)).await,
        Handler::Delete => Box::pin(delete::handle(request, state)).await,
        Handler::Expire => Box::pin(expire::handle(request, payload, state)).await,
        Handler::Search => Box::pin(search::handle(request, state)).await,
        Handler::Watch => Box::pin(watch::handle(request, state)).await,
        Handler::Metrics => Box::pin(metrics::handle(request, state)).await,
        Handler::Livez | Handler::Healthz => health::livez(request, state),
        Handler::Readyz => health::readyz(request, state),
        Handler::OpenApi => openapi::handle(request),
        Handler::Docs => docs::handle(request),
        Handler::Index => index::handle(request, state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;

    #[actix_web::test]
    async fn a_panic_in_a_handler_is_an_opaque_500() {
        let response = caught(async { panic!("a secret") }).await;
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body()).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "internal");
        assert!(!problem.to_string().contains("secret"));
    }
}
