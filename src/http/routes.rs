//! The one table of routes: the router, `Allow`, the metrics' endpoint labels and the paths that a 404 lists come from it.
//! What cannot come from it (the README's table, the Ingress, the HTTPRoute) is held against that list by `tests/http`.

use super::problem::{Code, Problem};
use super::{State, delete, get, health, metrics, search, set};
use actix_web::dev::{
    AppService, HttpServiceFactory, Payload, ResourceDef, ServiceRequest, ServiceResponse,
    fn_service,
};
use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

/// A path, the methods that it takes, and who answers.
#[derive(Debug)]
struct Route {
    /// The path itself, or what stands before the key. Also the label in metrics.
    endpoint: &'static str,
    shape: Shape,
    methods: &'static [Method],
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
    Set,
    Put,
    Delete,
    Search,
    Metrics,
    Livez,
    Readyz,
}

static ROUTES: [Route; 9] = [
    Route::new(
        "/get",
        Shape::Keyed,
        &[Method::GET, Method::HEAD],
        Handler::Get,
    ),
    Route::new("/set", Shape::Exact, &[Method::POST], Handler::Set),
    Route::new("/set", Shape::Keyed, &[Method::PUT], Handler::Put),
    Route::new("/delete", Shape::Keyed, &[Method::DELETE], Handler::Delete),
    Route::new(
        "/search",
        Shape::Exact,
        &[Method::GET, Method::HEAD],
        Handler::Search,
    ),
    Route::new("/metrics", Shape::Exact, &[Method::GET], Handler::Metrics),
    Route::new("/livez", Shape::Exact, &[Method::GET], Handler::Livez),
    Route::new("/readyz", Shape::Exact, &[Method::GET], Handler::Readyz),
    Route::new("/healthz", Shape::Exact, &[Method::GET], Handler::Livez),
];

impl Route {
    const fn new(
        endpoint: &'static str,
        shape: Shape,
        methods: &'static [Method],
        handler: Handler,
    ) -> Self {
        Self {
            endpoint,
            shape,
            methods,
            handler,
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

/// Adds all routes to an app.
pub(super) fn register(config: &mut actix_web::web::ServiceConfig) {
    for route in &ROUTES {
        config.service(Registered(route));
    }
}

/// Answers a request that no route takes.
pub(super) async fn unmatched(request: HttpRequest) -> HttpResponse {
    Problem::no_such_path(request.uri().path()).into_response()
}

/// Why a request is not let through to the router and its metrics, whose labels must stay a
/// closed set: no route takes its method, or no route takes its path and it is not a `GET`.
pub(super) fn refuse(method: &Method, path: &str) -> Option<(&'static str, Problem)> {
    let is_served = ROUTES.iter().any(|route| route.methods.contains(method));
    let route = ROUTES.iter().find(|route| route.takes(path));
    match route {
        None if method == Method::GET => None,
        None => Some(("path", Problem::no_such_path(path))),
        Some(_) if is_served => None,
        Some(route) => Some(("method", Problem::method_not_allowed(allow(route)))),
    }
}

/// The endpoint that a path belongs to, from a closed set.
pub(super) fn endpoint(path: &str) -> &'static str {
    let route = ROUTES.iter().find(|route| route.takes(path));
    route.map_or("unmatched", |route| route.endpoint)
}

/// All paths with their methods, for people: `GET, HEAD /get/{key}; POST /set; …`.
pub(super) fn listed() -> String {
    let listed = ROUTES.iter().map(|route| {
        let key = match route.shape {
            Shape::Exact => "",
            Shape::Keyed => "/{key}",
        };
        format!("{} {}{key}", allow(route), route.endpoint)
    });
    listed.collect::<Vec<_>>().join("; ")
}

fn allow(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    methods.join(", ")
}

/// A route as the router takes it. Not a resource, whose pattern would hold `{key}` and cost a
/// warning from the metrics at each request.
struct Registered(&'static Route);

impl HttpServiceFactory for Registered {
    fn register(self, config: &mut AppService) {
        let Self(route) = self;
        let resource = match route.shape {
            Shape::Exact => ResourceDef::new(route.endpoint),
            Shape::Keyed => ResourceDef::prefix(route.endpoint),
        };
        let service = fn_service(move |request: ServiceRequest| answer(route, request));
        config.register_service(resource, None, service, None);
    }
}

/// Handles a request.
async fn answer(route: &Route, request: ServiceRequest) -> Result<ServiceResponse, Error> {
    let (request, payload) = request.into_parts();
    let response = caught(dispatch(route, &request, payload)).await;
    Ok(ServiceResponse::new(request, response))
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
    let state = request.app_data::<Data<State>>();
    let state = state.expect("the app is built with its state");
    // The router's prefix takes the endpoint without a key too.
    let path = request.uri().path();
    if !route.takes(path) {
        return Err(Problem::no_such_path(path));
    }
    if !route.methods.contains(request.method()) {
        return Err(Problem::method_not_allowed(allow(route)));
    }
    // All but the most frequent are boxed: this future is as large as the largest, and is moved
    // for every request.
    match route.handler {
        Handler::Get => get::handle(request, state).await,
        Handler::Set => Box::pin(set::post(request, payload, state)).await,
        Handler::Put => Box::pin(set::put(request, payload, state)).await,
        Handler::Delete => Box::pin(delete::handle(request, state)).await,
        Handler::Search => Box::pin(search::handle(request, state)).await,
        Handler::Metrics => Box::pin(metrics::handle(request, state)).await,
        Handler::Livez => health::livez(request, state),
        Handler::Readyz => health::readyz(request, state),
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
