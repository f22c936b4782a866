//! `GET /`: which paths there are. For a browser that is the page for readers.

use super::format::prefers;
use super::get::{NO_CACHE, NOSNIFF};
use super::problem::Problem;
use super::{parameters, routes};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION, VARY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The paths as they are answered, for people who asked by a program: in lines.
static PATHS: LazyLock<Bytes> = LazyLock::new(|| format!("{:#}\n", paths()).into());

pub(super) fn handle(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let is_reader = prefers(request, "text/html");
    let mut response = match is_reader {
        true => HttpResponse::SeeOther(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header((CACHE_CONTROL, NO_CACHE))
        .insert_header((VARY, HeaderValue::from_static("accept")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, NOSNIFF));
    if is_reader {
        // Relative, so that it holds below any path of a proxy.
        response.insert_header((LOCATION, HeaderValue::from_static("docs")));
        return Ok(response.finish());
    }
    response.content_type("application/json");
    Ok(response.body(Bytes::clone(&PATHS)))
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
