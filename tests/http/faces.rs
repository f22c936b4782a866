//! What says what there is to ask for: to programs, to readers, and to whoever asks for the root.

use crate::readme::{Routes, served};
use crate::support::{Response, Server};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// What a browser accepts when somebody types an address.
const BROWSER: (&str, &str) = (
    "Accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
);

fn description() -> Json {
    let server = Server::in_memory(&[]);
    let response = server.get("/openapi.json");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_static(&response);
    response.json()
}

/// Asserts what all of these answers say to caches and browsers.
#[track_caller]
fn assert_static(response: &Response) {
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

/// Every operation with its path and method.
fn operations(description: &Json) -> Vec<(String, String, &Json)> {
    let paths = description["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        let methods = methods.filter(|(method, _)| *method != "parameters");
        methods.map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation))
    });
    operations.collect()
}

/// The codes of the README's table of errors, with their statuses.
fn documented() -> BTreeMap<String, u16> {
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("| status | code |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut codes = BTreeMap::new();
    for row in table.lines().skip(2) {
        let mut cells = row.split('|').skip(1);
        let status = cells.next().unwrap().trim().parse().unwrap();
        let quoted = cells.next().unwrap().split('`').skip(1).step_by(2);
        let is_code = |text: &str| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        codes.extend(
            quoted
                .filter(|text| is_code(text))
                .map(|code| (code.to_owned(), status)),
        );
    }
    codes
}

/// All references in a part of the description.
fn references<'a>(part: &'a Json, found: &mut BTreeSet<&'a str>) {
    match part {
        Json::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(reference) if name == "$ref" => {
                        found.insert(reference);
                    }
                    _ => references(member, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn the_description_has_every_route_and_no_other() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    let mut described = Routes::new();
    for (path, method, _) in operations(&description) {
        described.entry(path).or_default().insert(method);
    }
    assert_eq!(described, served());
}

#[test]
fn the_description_has_every_code_with_its_status() {
    let description = description();
    let codes = &description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes = codes.as_array().unwrap().iter();
    let codes: BTreeSet<&str> = codes.map(|code| code.as_str().unwrap()).collect();
    let documented = documented();
    let named: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    assert_eq!(codes, named);
    for (code, status) in &documented {
        let example = &description["components"]["examples"][code]["value"];
        assert_eq!(example["code"], *code);
        assert_eq!(example["status"], *status, "{code}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_led_to() {
    let description = description();
    let mut found = BTreeSet::new();
    references(&description, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        let reference = format!("#/components/schemas/{name}");
        assert!(found.contains(reference.as_str()), "{name}");
    }
}

#[test]
fn every_operation_has_answers_with_examples() {
    let description = description();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} twice");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')));
        for (status, response) in responses {
            let title = format!("{method} {path} {status}");
            assert!(response["description"].is_string(), "{title}");
            let contents = response.get("content").and_then(Json::as_object);
            let is_bare = method == "HEAD" || matches!(status.as_str(), "204" | "303" | "304");
            assert_eq!(contents.is_none(), is_bare, "{title}");
            for content in contents.into_iter().flatten().map(|(_, content)| content) {
                let examples = content["examples"].as_object().unwrap();
                assert!(!examples.is_empty(), "{title}");
            }
        }
    }
}

#[test]
fn examples_of_problems_are_what_the_server_says() {
    let server = Server::in_memory(&[]);
    let description = server.get("/openapi.json").json();
    for (code, path) in [
        ("key_not_found", "/get/none"),
        ("invalid_key", "/get/"),
        ("invalid_encoding", "/get/%FF"),
        ("unknown_parameter", "/search?prfix=a"),
        ("repeated_parameter", "/search?prefix=a&prefix=b"),
        ("invalid_limit", "/search?prefix=&limit=0"),
        ("missing_filter", "/search?values=true"),
        ("invalid_parameter", "/search?prefix=&values=x"),
    ] {
        let example = &description["components"]["examples"][code]["value"];
        assert_eq!(*example, server.get(path).json(), "{path}");
    }
}

#[test]
fn the_page_asks_nobody_but_this_server() {
    let server = Server::in_memory(&[]);
    let response = server.get("/docs");
    assert_eq!(response.status, 200);
    let html = Some("text/html; charset=utf-8");
    assert_eq!(response.header("content-type"), html);
    assert_static(&response);
    let policy = response.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = response.text();
    assert!(page.starts_with("<!doctype html>"));
    for foreign in [
        "http://",
        "https://",
        "src=",
        "@import",
        "url(",
        "innerHTML",
        "style=\"",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let head = server.send("HEAD", "/docs", &[], b"");
    assert_eq!(head.header("content-security-policy"), Some(policy));
    let length = page.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
}

#[test]
fn the_root_names_the_paths_and_leads_browsers_to_the_page() {
    let server = Server::in_memory(&[]);
    let kinds: [&[(&str, &str)]; 3] =
        [&[], &[("Accept", "*/*")], &[("Accept", "application/json")]];
    for headers in kinds {
        let response = server.get_with("/", headers);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("vary"), Some("accept"));
        assert_static(&response);
        let index = response.json();
        assert_eq!(index["docs"], "/docs");
        assert_eq!(index["openapi"], "/openapi.json");
        assert_eq!(index["version"], env!("CARGO_PKG_VERSION"));
        let paths = index["paths"].as_object().unwrap();
        assert!(paths.keys().eq(served().keys()));
        let get = paths["/get/{key}"].as_str().unwrap();
        assert!(get.starts_with("GET, HEAD: "), "{get}");
    }
    let response = server.get_with("/", &[BROWSER]);
    assert_eq!(response.status, 303);
    assert_eq!(response.header("location"), Some("docs"));
    assert_static(&response);
    assert_eq!(server.send("HEAD", "/", &[], b"").status, 200);
}
