//! The operations as JSON.

use super::operation::{Answer, Content, Example, Header, Operation, Parameter, Place};
use super::problems::{ALWAYS, BODILESS, KEYED, QUERY, SHOWN, TOKEN};
use super::shared::{ETAG, NO_STORE, REQUEST_ID, SAID_REQUEST_ID};
use crate::http::door::Needs;
use crate::http::problem::Code;
use crate::http::routes::{self, Described};
use actix_web::http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Whether answers have their bodies: to a `HEAD` they have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    Sent,
    LeftOut,
}

/// Every path with what it takes.
pub(super) fn all() -> Map<String, Value> {
    let mut paths = Map::new();
    for route in routes::described() {
        let mut methods = Map::new();
        let mut shared = Vec::new();
        if route.has_key {
            shared.push(key());
        }
        shared.push(json!({"$ref": "#/components/parameters/RequestId"}));
        methods.insert("parameters".into(), shared.into());
        for method in route.methods {
            let name = method.as_str().to_ascii_lowercase();
            methods.insert(name, operation(&route, method));
        }
        paths.insert(route.path.clone(), Value::Object(methods));
    }
    paths
}

/// Parameters that every request may have, by name.
pub(super) fn parameters() -> Value {
    json!({"RequestId": parameter(&REQUEST_ID)})
}

/// The key in a path.
fn key() -> Value {
    json!({
        "name": "key",
        "in": "path",
        "required": true,
        "description": "Percent-encoded, but for slashes, which may stand as they are.",
        "schema": schema("Key"),
        "example": "abc-1",
    })
}

fn operation(route: &Described, method: &Method) -> Value {
    let Operation {
        id,
        group,
        summary,
        description,
        parameters,
        bodies,
        ..
    } = route.operation;
    let (id, sent) = match *method == Method::HEAD {
        true => (format!("{id}Head"), Bodies::LeftOut),
        false => ((*id).to_owned(), Bodies::Sent),
    };
    let mut operation = json!({
        "operationId": id,
        "tags": [group.name()],
        "summary": summary,
        "security": security(route.needs),
        "responses": responses(route, sent),
    });
    let text = format!("{description} {}", access(route.needs));
    let text = text.trim();
    if !text.is_empty() {
        operation["description"] = text.into();
    }
    if !parameters.is_empty() {
        let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
        operation["parameters"] = parameters.into();
    }
    if !bodies.is_empty() {
        operation["requestBody"] = json!({"required": true, "content": contents(bodies)});
    }
    operation
}

fn security(needs: Needs) -> Value {
    match needs {
        Needs::Nothing => json!([]),
        // Where there is no `auth_file`, none is needed.
        Needs::Introduction
        | Needs::Metrics
        | Needs::Key(_)
        | Needs::Prefix(_)
        | Needs::Body(_) => {
            json!([{}, {"token": []}])
        }
    }
}

/// What a token must allow.
fn access(needs: Needs) -> String {
    match needs {
        Needs::Nothing | Needs::Introduction | Needs::Metrics => String::new(),
        Needs::Key(access) => format!(
            "Where tokens are needed, one with the access `{}` to the key.",
            access.label()
        ),
        Needs::Body(access) => format!(
            "Where tokens are needed, one with the access `{}` to each key in the body.",
            access.label()
        ),
        Needs::Prefix(access) => format!(
            "Where tokens are needed, one with the access `{}`; one that is for some keys only needs a `prefix` that \
             begins with one of its own.",
            access.label()
        ),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter {
        name,
        place,
        text,
        schema: form,
        example,
    } = parameter;
    let place = match place {
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": name,
        "in": place,
        "description": text,
        "schema": schema(form),
        "example": parsed(example),
    })
}

fn responses(route: &Described, sent: Bodies) -> Map<String, Value> {
    let mut responses = Map::new();
    for answer in route.operation.answers {
        responses.insert(answer.status.to_string(), response(answer, sent));
    }
    for (status, codes) in problems(route) {
        responses.insert(status.to_string(), problem(status, &codes, sent));
    }
    responses
}

fn response(answer: &Answer, sent: Bodies) -> Value {
    let said = [answer.headers, &[SAID_REQUEST_ID]].concat();
    let mut response = json!({"description": answer.text, "headers": headers(&said)});
    if !answer.contents.is_empty() && sent == Bodies::Sent {
        response["content"] = Value::Object(contents(answer.contents));
    }
    response
}

/// What may go wrong, by status.
fn problems(route: &Described) -> BTreeMap<u16, Vec<Code>> {
    let mut groups = vec![ALWAYS];
    match route.needs {
        Needs::Nothing => {}
        Needs::Introduction => groups.push(SHOWN),
        Needs::Metrics | Needs::Key(_) | Needs::Prefix(_) | Needs::Body(_) => groups.push(TOKEN),
    }
    if route.has_key {
        groups.push(KEYED);
    }
    let mut parameters = route.operation.parameters.iter();
    if parameters.any(|parameter| parameter.place == Place::Query) {
        groups.push(QUERY);
    }
    if !route.takes_body {
        groups.push(BODILESS);
    }
    groups.extend(route.operation.problems);
    let mut problems: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in groups.into_iter().flatten() {
        let codes = problems.entry(code.status()).or_default();
        if !codes.contains(code) {
            codes.push(*code);
        }
    }
    problems
}

fn problem(status: u16, codes: &[Code], sent: Bodies) -> Value {
    let titles: Vec<&str> = codes.iter().map(|code| code.title()).collect();
    let mut response = json!({
        "description": titles.join(", or "),
        "headers": headers(&problem_headers(status)),
    });
    if sent == Bodies::Sent {
        let example = |code: &Code| {
            let reference = format!("#/components/examples/{}", code.name());
            (code.name().to_owned(), json!({"$ref": reference}))
        };
        let examples: Map<String, Value> = codes.iter().map(example).collect();
        response["content"] = json!({
            "application/problem+json": {"schema": schema("Problem"), "examples": examples},
        });
    }
    response
}

/// The headers of problems of a status, which some of them have.
fn problem_headers(status: u16) -> Vec<Header> {
    let mut headers = vec![NO_STORE, SAID_REQUEST_ID];
    match status {
        401 => headers.push(Header {
            name: "WWW-Authenticate",
            text: "How to be known.",
            example: "Bearer realm=\"kvstore\"",
        }),
        412 => headers.push(Header {
            text: "The value that there is, where there is one.",
            ..ETAG
        }),
        415 => headers.push(Header {
            name: "Accept-Encoding",
            text: "How a body may be encoded, where it was.",
            example: "identity",
        }),
        429 | 503 => headers.push(Header {
            name: "Retry-After",
            text: "After how many seconds to try again, where that helps.",
            example: "1",
        }),
        _ => {}
    }
    headers
}

fn headers(headers: &[Header]) -> Map<String, Value> {
    let header = |header: &Header| {
        let described = json!({
            "description": header.text,
            "schema": {"type": "string"},
            "example": header.example,
        });
        (header.name.to_owned(), described)
    };
    headers.iter().map(header).collect()
}

fn contents(contents: &[Content]) -> Map<String, Value> {
    let content = |content: &Content| {
        let named = content.examples.iter();
        let named = named.map(|(name, example)| {
            let value = match example {
                Example::Json(text) => parsed(text),
                Example::Text(text) => json!(text),
            };
            ((*name).to_owned(), json!({"value": value}))
        });
        let examples: Map<String, Value> = named.collect();
        let described = json!({"schema": schema(content.schema), "examples": examples});
        (content.media_type.to_owned(), described)
    };
    contents.iter().map(content).collect()
}

fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("the examples are JSON")
}
