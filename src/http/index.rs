//! `GET /`: which paths there are, and what a token allows that is shown. For a browser that is the console.

use super::format::{JSON, prefers};
use super::get::{NO_CACHE, NOSNIFF};
use super::problem::Problem;
use super::{State, console, door, parameters, routes};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The paths as they are answered, for people who asked by a program: in lines.
static PATHS: LazyLock<Bytes> = LazyLock::new(|| in_lines(&paths()));

pub(super) fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    if prefers(request, "text/html", JSON) {
        return Ok(console::page(request));
    }
    let body = match state.auth {
        None => Bytes::clone(&PATHS),
        Some(_) => {
            let mut paths = paths();
            paths["token"] = token(request);
            in_lines(&paths)
        }
    };
    let vary = HeaderValue::from_static("accept, authorization");
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, NO_CACHE))
        .insert_header((VARY, vary))
        .insert_header((X_CONTENT_TYPE_OPTIONS, NOSNIFF))
        .body(body))
}

fn in_lines(paths: &Value) -> Bytes {
    format!("{paths:#}\n").into()
}

fn paths() -> Value {
    let path = |route: routes::Described| {
        let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        let does = format!("{}: {}", methods.join(", "), route.operation.summary);
        (route.path, Value::from(does))
    };
    let paths: Map<String, Value> = routes::described().map(path).collect();
    json!({
        "name": "kvstore",
        "version": env!("CARGO_PKG_VERSION"),
        "docs": "/docs",
        "openapi": "/openapi.json",
        "paths": paths,
    })
}

/// What the token allows that was shown, to whoever has it.
fn token(request: &HttpRequest) -> Value {
    door::shown(request).map_or(Value::Null, |token| {
        json!({
            "name": token.name(),
            "access": token.access().label(),
            "prefixes": token.prefixes(),
        })
    })
}
