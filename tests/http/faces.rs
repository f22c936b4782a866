//! What says what there is to ask for: to programs, to readers, and to whoever asks for the root.

use crate::readme::{Routes, served};
use crate::support::{Response, Server};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

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
fn what_may_be_known_already_says_by_which_header() {
    let description = description();
    let mut known = 0;
    for (path, method, operation) in operations(&description) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut names = parameters.filter_map(|parameter| parameter["name"].as_str());
        if operation["responses"]["304"].is_object() {
            known += 1;
            assert!(names.any(|name| name == "If-None-Match"), "{method} {path}");
        }
    }
    assert_eq!(
        known, 8,
        "GET and HEAD of values, of the console, and of the description in both forms"
    );
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
            let is_bare = method == "HEAD" || matches!(status.as_str(), "204" | "304");
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
fn the_root_names_the_paths() {
    let server = Server::in_memory(&[]);
    let kinds: [&[(&str, &str)]; 3] =
        [&[], &[("Accept", "*/*")], &[("Accept", "application/json")]];
    for headers in kinds {
        let response = server.get_with("/", headers);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("vary"), Some("accept, authorization"));
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
    assert_eq!(server.send("HEAD", "/", &[], b"").status, 200);
}

#[test]
fn the_root_is_the_console_for_a_browser() {
    let server = Server::in_memory(&[]);
    let response = server.get_with("/", &[BROWSER]);
    assert_eq!(response.status, 200);
    let html = Some("text/html; charset=utf-8");
    assert_eq!(response.header("content-type"), html);
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(
        response.header("vary"),
        Some("accept, accept-encoding, authorization")
    );
    assert_static(&response);
    let policy = response.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "img-src blob: data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'));
    // Requests alone: a script that is stored here is none of the page's.
    assert_eq!(policy.matches("'self'").count(), 1);
    let page = response.text();
    assert!(page.starts_with("<!doctype html>"));
    assert!(page.trim_end().ends_with("</html>"));
    let head = server.send("HEAD", "/", &[BROWSER], b"");
    let length = page.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    assert_eq!(head.header("content-security-policy"), Some(policy));
}

#[test]
fn the_console_is_one_page_and_asks_nobody_else() {
    let server = Server::in_memory(&[]);
    let page = server.get_with("/", &[BROWSER]);
    // The two addresses are a name of XML's, which nobody asks.
    let text = page.text().replace("http://www.w3.org/2000/svg", "");
    for asked in [
        "http://",
        "https://",
        " src=",
        "stylesheet",
        "modulepreload",
        "@import",
        "url(",
    ] {
        assert!(!text.contains(asked), "{asked}");
    }
}

#[test]
fn what_is_the_same_for_everybody_is_sent_encoded_and_only_once() {
    let server = Server::in_memory(&[]);
    let ask = |path, headers: &[(&str, &str)]| server.get_with(path, headers);
    let any = ("Accept", "*/*");
    for (path, accept, vary) in [
        ("/", BROWSER, "accept, accept-encoding, authorization"),
        ("/openapi.json", any, "accept-encoding"),
        ("/docs", any, "accept-encoding"),
    ] {
        let plain = ask(path, &[accept]);
        assert_eq!(plain.header("content-encoding"), None);
        let tag = plain.header("etag").unwrap();
        assert!(tag.starts_with("W/\""), "{tag}");
        for (wanted, encoding) in [
            ("gzip, deflate, br, zstd", Some("gzip")),
            ("br;q=1, gzip;q=0.5", Some("gzip")),
            ("gzip;q=0", None),
            ("identity, gzip;q=0.1", None),
            ("br", None),
            ("", None),
        ] {
            let encoded = ask(path, &[accept, ("Accept-Encoding", wanted)]);
            assert_eq!(encoded.header("content-encoding"), encoding, "{wanted}");
            assert_eq!(encoded.header("etag"), Some(tag));
            assert_eq!(encoded.header("vary"), Some(vary));
            assert_eq!(encoded.header("content-type"), plain.header("content-type"));
            let wanted = [accept, ("Accept-Encoding", wanted)];
            let head = server.send("HEAD", path, &wanted, b"");
            let length = encoded.body.len().to_string();
            assert_eq!(head.header("content-length"), Some(length.as_str()));
            assert_eq!(head.header("content-encoding"), encoding);
            if encoding.is_some() {
                assert_eq!(inflated(&encoded.body), plain.text());
                assert!(encoded.body.len() < plain.body.len() * 3 / 4);
            }
        }
        let known = ask(path, &[accept, ("If-None-Match", tag)]);
        assert_eq!(known.status, 304);
        assert_eq!(known.header("etag"), Some(tag));
        assert_eq!(known.header("vary"), Some(vary));
        let policy = "content-security-policy";
        assert_eq!(known.header(policy), plain.header(policy));
        assert_static(&known);
        let head = server.send("HEAD", path, &[accept, ("If-None-Match", tag)], b"");
        assert_eq!(head.status, 304);
        for other in ["\"0\"", "W/\"0123456789abcdef\"", "x"] {
            assert_eq!(ask(path, &[accept, ("If-None-Match", other)]).status, 200);
        }
    }
}

/// What was compressed.
fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .unwrap();
    text
}
