//! Holds every answer that a test reads whole against what `/openapi.json` says of it.

use crate::support::{Response, Server};
use jsonschema::Validator;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Longer bodies are held against their type only: looking through them takes longer than making them.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What every answer of HTTP has, and what stands in front of a body.
const GENERAL_HEADERS: [&str; 7] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "location",
    "transfer-encoding",
    "x-content-type-options",
];

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(operations);

struct Operation {
    method: String,
    /// The path itself, or what stands before the key.
    path: String,
    is_keyed: bool,
    answers: BTreeMap<u16, Answer>,
}

struct Answer {
    headers: BTreeSet<String>,
    /// By media type.
    contents: BTreeMap<String, Validator>,
}

fn operations() -> Vec<Operation> {
    let server = Server::in_memory(&[]);
    let mut connection = server.connect();
    // Not as other requests are sent, whose answers are held against this.
    connection.raw("GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n");
    let description = connection.response("GET").json();
    let paths = description["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        let methods = methods.filter(|(method, _)| *method != "parameters");
        methods.map(|(method, operation)| Operation {
            method: method.to_uppercase(),
            path: path.trim_end_matches("{key}").to_owned(),
            is_keyed: path.ends_with("{key}"),
            answers: answers(operation, &description["components"]),
        })
    });
    operations.collect()
}

fn answers(operation: &Json, components: &Json) -> BTreeMap<u16, Answer> {
    let members = |part: &Json| part.as_object().cloned().unwrap_or_default();
    let answers = members(&operation["responses"]).into_iter();
    let answers = answers.map(|(status, answer)| {
        let headers = members(&answer["headers"]).into_iter();
        let contents = members(&answer["content"]).into_iter();
        let contents = contents.map(|(media_type, content)| {
            // References lead into the components, which stand beside the schema for that.
            let schema = json!({"allOf": [content["schema"]], "components": components});
            (media_type, jsonschema::validator_for(&schema).unwrap())
        });
        let answer = Answer {
            headers: headers.map(|(name, _)| name.to_lowercase()).collect(),
            contents: contents.collect(),
        };
        (status.parse().unwrap(), answer)
    });
    answers.collect()
}

/// The operation that a request is for, if it is for any.
fn find(method: &str, target: &str) -> Option<&'static Operation> {
    let path = target.split('?').next().unwrap_or_default();
    let is_for = |operation: &&Operation| match operation.is_keyed {
        true => path.starts_with(&operation.path),
        false => path == operation.path,
    };
    let mut operations = OPERATIONS.iter();
    operations.find(|operation| operation.method == method && is_for(operation))
}

/// Asserts that an answer is one that the description has for its request.
#[track_caller]
pub fn assert_described(method: &str, target: &str, response: &Response) {
    let Some(operation) = find(method, target) else {
        return;
    };
    let Response {
        status,
        headers,
        body,
    } = response;
    // So the parser answers by itself, before there is a request.
    let is_bare = body.is_empty() && response.header("content-type").is_none();
    if is_bare && matches!(status, 400 | 408 | 431) {
        return;
    }
    let what = format!("{status} of {method} {}", operation.path);
    let answer = operation.answers.get(status);
    let answer = answer.unwrap_or_else(|| panic!("{what} is not in the description"));
    for (name, _) in headers {
        let is_known = GENERAL_HEADERS.contains(&name.as_str()) || answer.headers.contains(name);
        assert!(is_known, "{name} in {what} is not in the description");
    }
    if method == "HEAD" || answer.contents.is_empty() {
        return assert!(
            body.is_empty(),
            "a body in {what} is not in the description"
        );
    }
    // A value is what its client says it is.
    if operation.is_keyed && method == "GET" && *status == 200 {
        return;
    }
    let media_type = response.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    let validator = answer.contents.get(media_type);
    let validator =
        validator.unwrap_or_else(|| panic!("{media_type} in {what} is not in the description"));
    // What is encoded is held against what is not by whoever asks for it.
    let is_encoded = response.header("content-encoding").is_some();
    if is_encoded || body.len() > BODY_BYTES_MAX {
        return;
    }
    let parts: Vec<&[u8]> = match media_type {
        "application/json" | "application/problem+json" => vec![body],
        "application/x-ndjson" => body.split(|byte| *byte == b'\n').collect(),
        _ => return,
    };
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        let json = match serde_json::from_slice(part) {
            Ok(json) => json,
            // A value may hold any number.
            Err(error) if error.to_string().contains("number out of range") => continue,
            Err(error) => panic!("{what}: {error}: {:?}", String::from_utf8_lossy(part)),
        };
        if let Err(error) = validator.validate(&json) {
            let at = error.instance_path().to_string();
            panic!("{what} is not as described, at {at:?}: {error}: {json}");
        }
    }
}
