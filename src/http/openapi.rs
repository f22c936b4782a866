//! `GET /openapi.json`: the interface as programs read it, an OpenAPI description of version 3.1.
//!
//! It is made from the table of routes and the table of problems, each once: a route without its operation here
//! does not compile, nor does a problem without its example.
//!
//! # Layout
//! - `values`, `searches`, `service`: what each route does; `shared`: what several of them have
//! - `operation`: what such a description is made of; `paths`: how it becomes JSON
//! - `problems`: what each problem says, and which of them go together
//! - `schemas.json`: the forms of bodies

mod operation;
mod paths;
mod problems;
mod searches;
mod service;
mod shared;
mod values;

pub(super) use operation::Operation;
pub(super) use searches::{ERASE, SEARCH, WATCH};
pub(super) use service::{DOCS, HEALTHZ, INDEX, LIVEZ, METRICS, OPENAPI, READYZ};
pub(super) use values::{DELETE, EXPIRE, GET, GET_MANY, PUT, SET_ONE_OR_MANY};

use super::parameters;
use super::problem::Problem;
use super::static_text::{StaticText, VARY_ENCODING};
use actix_web::{HttpRequest, HttpResponse};
use operation::Group;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The whole description, which is the same for everybody.
static DESCRIPTION: LazyLock<StaticText> =
    LazyLock::new(|| StaticText::new("application/json", description().to_string().into()));

/// What stands above all operations.
const ABOUT: &str = "An HTTP key-value store that finds keys by how they begin, by how they end, and by both.\n\n\
     A key in a path may hold slashes; what else a URL reserves is percent-encoded. An unknown parameter, one given twice \
     and an unknown member of a body are errors. The schema of a body of `application/x-ndjson` is that of each of its \
     lines, and that of `text/event-stream` is that of each event. A path that is not there is a 404 `path_not_found`, a \
     method that a path does not take a 405 `method_not_allowed` with `Allow`. A request may come with an `X-Request-Id`, \
     by which the server's log knows it then; its answer says it again, and one that something was wrong with has one anyway.";

pub(super) fn handle(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    Ok(DESCRIPTION.answer(request, VARY_ENCODING))
}

fn description() -> Value {
    let groups = Group::ALL.iter();
    let tags: Vec<Value> = groups
        .map(|group| json!({"name": group.name(), "description": group.description()}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "kvstore",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT or Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        // Relative to this description, so that it holds below any path of a proxy.
        "servers": [{"url": "."}],
        "tags": tags,
        "paths": paths::all(),
        "components": components(),
    })
}

fn components() -> Value {
    json!({
        "schemas": schemas(),
        "parameters": paths::parameters(),
        "examples": examples(),
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "What `kvstore token` makes. Without the setting `auth_file` nothing takes one.",
            },
        },
    })
}

fn schemas() -> Value {
    let schemas = include_str!("openapi/schemas.json");
    let mut schemas: Value = serde_json::from_str(schemas).expect("the schemas are JSON");
    let codes: Vec<&str> = problems::examples().map(|(code, _)| code.name()).collect();
    schemas["Problem"]["properties"]["code"] = json!({"type": "string", "enum": codes});
    schemas
}

/// A problem of each code.
fn examples() -> Map<String, Value> {
    let examples = problems::examples().map(|(code, detail)| {
        let body = Problem::new(code, detail).body();
        let problem: Value = serde_json::from_slice(&body).expect("a problem is JSON");
        let example = json!({"summary": code.title(), "value": problem});
        (code.name().to_owned(), example)
    });
    examples.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_what_they_are_said_to_be() {
        let description = description();
        assert_eq!(description["openapi"], "3.1.0");
        let examples = &description["components"]["examples"];
        assert_eq!(examples["key_not_found"]["value"]["status"], 404);
        assert!(description["paths"]["/get/{key}"]["head"].is_object());
    }
}
