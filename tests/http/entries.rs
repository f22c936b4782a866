//! Entries: the values of many keys by `POST /get`, and those of the keys that a search finds.

use crate::support::{JSON, LINES, Response, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use serde_json::value::RawValue;

const MIB: usize = 1024 * 1024;

/// Keys of values of all kinds, their types and bodies.
fn kinds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let every_byte: Vec<u8> = (0..=255).collect();
    [
        ("a//b", "application/json", &b"\"v\""[..]),
        (
            "é\"\\\u{0}",
            "application/json",
            b"{\"b\" : [1,  2.50],\"a\":\"\\u00e9\\/\"}",
        ),
        ("number", "application/json", b"1e400"),
        ("null", "application/json", b"null"),
        ("pretty", "application/json", b"{\n  \"a\": 1\n}"),
        ("returned", "application/json", b"[1,\r2]"),
        ("spaced", "application/json", b" 1"),
        ("spaced-after", "application/json", b"1\t"),
        ("no-json", "application/json", b"{"),
        ("two", "application/json", b"1 2"),
        ("not-utf8", "application/json", b"\"\xff\""),
        ("no-body", "application/json", b""),
        (
            "of-a-tag",
            "application/json",
            br#"{"a":1,"etag":"\"00c4f0e2d1b3a596\""}"#,
        ),
        ("charset", "application/json; charset=utf-8", b"1"),
        ("problem", "application/problem+json", b"{}"),
        ("bytes", "application/octet-stream", &every_byte),
        ("empty", "text/plain", b""),
        ("quoted", "text/x-mine;a=\"b\"", b"\xff"),
    ]
    .map(|(key, content_type, body)| (key, content_type, body.to_vec()))
    .to_vec()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn put(server: &Server, key: &str, content_type: &str, body: &[u8]) {
    let header = ("Content-Type", content_type);
    let response = server.put(&format!("/set/{}", encoded(key)), &[header], body);
    assert_eq!(response.status, 200, "{}", response.text());
}

/// The entry of a key, made of what a read of it by itself answers.
fn entry(server: &Server, key: &str) -> String {
    let read = server.get(&format!("/get/{}", encoded(key)));
    let key = json!(key);
    if read.status == 404 {
        return format!("{{\"key\":{key},\"missing\":true}}");
    }
    assert_eq!(read.status, 200);
    let content_type = read.header("content-type").unwrap();
    let is_one_line = !read.body.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let json = serde_json::from_slice::<&RawValue>(&read.body);
    let is_json = json.is_ok_and(|json| json.get().len() == read.body.len());
    let value = match content_type == "application/json" && is_one_line && is_json {
        true => format!("\"value\":{}", read.text()),
        false => {
            let base64 = STANDARD.encode(&read.body);
            format!(
                "\"content_type\":{},\"base64\":\"{base64}\"",
                json!(content_type)
            )
        }
    };
    format!("{{\"key\":{key},{value},\"etag\":{}}}", json!(read.etag()))
}

fn entries(server: &Server, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| entry(server, key)).collect()
}

fn array(entries: &[String]) -> String {
    format!("[{}]", entries.join(","))
}

fn get_many(server: &Server, keys: &[&str], headers: &[(&str, &str)]) -> Response {
    let body = json!({ "keys": keys }).to_string();
    server.send("POST", "/get", headers, body.as_bytes())
}

/// Asserts that two long texts are the same, and shows where they are not.
#[track_caller]
fn assert_same(found: &str, expected: &str) {
    if found != expected {
        let same = found.bytes().zip(expected.bytes());
        let same = same.take_while(|(found, expected)| found == expected);
        let from = same.count().saturating_sub(40);
        let shown = |text: &str| {
            let end = text.len().min(from + 200);
            String::from_utf8_lossy(&text.as_bytes()[from..end]).into_owned()
        };
        panic!("{:?} instead of {:?}", shown(found), shown(expected));
    }
}

#[test]
fn many_values_come_in_the_order_in_which_they_are_asked_for() {
    let server = Server::start();
    for (key, content_type, body) in kinds() {
        put(&server, key, content_type, &body);
    }
    let mut keys: Vec<&str> = kinds().into_iter().map(|(key, ..)| key).rev().collect();
    keys.insert(3, "none");
    keys.push("number");
    keys.push("none");
    let expected = entries(&server, &keys);
    let response = get_many(&server, &keys, &[JSON]);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let length = response.header("content-length").unwrap();
    assert_eq!(length, response.body.len().to_string());
    assert_same(response.text(), &array(&expected));
    let lines = get_many(&server, &keys, &[JSON, ("Accept", "application/x-ndjson")]);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_same(lines.text(), &(expected.join("\n") + "\n"));
    let alone = get_many(&server, &["none"], &[JSON]);
    assert_eq!(alone.text(), r#"[{"key":"none","missing":true}]"#);
    assert_eq!(server.get("/search?prefix=").total(), kinds().len());
}

#[test]
fn as_many_values_as_a_page_has_are_streamed() {
    let server = Server::start();
    let name = |number: usize| format!("{number:05}");
    let lines = (0..10_000).map(|number| {
        let value = "v".repeat(number % 300);
        json!({"key": name(number), "value": value}).to_string() + "\n"
    });
    assert_eq!(server.bulk(&lines.collect::<String>()).status, 200);
    let names: Vec<String> = (0..10_000).map(|at| name(at * 7919 % 11_000)).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let response = get_many(&server, &keys, &[JSON]);
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    let found = response.json();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), keys.len());
    for (at, entry) in found.iter().enumerate() {
        let number = at * 7919 % 11_000;
        assert_eq!(entry["key"], name(number));
        if number < 10_000 {
            assert_eq!(entry["value"], "v".repeat(number % 300));
        } else {
            assert_eq!(*entry, json!({"key": name(number), "missing": true}));
        }
    }
    let few = ["00000", "09999", "10999"];
    let few_again = get_many(&server, &few, &[JSON]);
    assert_same(few_again.text(), &array(&entries(&server, &few)));
}

#[test]
fn a_list_of_keys_that_is_none_is_refused_with_what_it_should_be() {
    let bounds = ["--page-keys-max", "3", "--key-bytes-max", "4"];
    let server = Server::start_with(&[&bounds[..], &["--body-bytes-max", "100"]].concat());
    let post = |body: &str| server.send("POST", "/get", &[JSON], body.as_bytes());
    for body in ["", "{", r#"{"keys": ["a"]"#, r#"{"keys": ["a"]}x"#, "nope"] {
        post(body).assert_problem(400, "invalid_json", &["not JSON"]);
    }
    let broken = server.send("POST", "/get", &[JSON], b"{\"keys\":[\"\xff\"]}");
    broken.assert_problem(400, "invalid_json", &[]);
    let says = ["\"keys\"", "1 to 3", "page_keys_max"];
    for body in [
        "1",
        "null",
        "{}",
        r#"["a"]"#,
        r#"[["a"]]"#,
        r#"{"keys": []}"#,
        r#"{"keys": {}}"#,
        r#"{"keys": "a"}"#,
        r#"{"keys": null}"#,
        r#"{"keys": [1]}"#,
        r#"{"keys": ["a", null]}"#,
        r#"{"keys": ["a"], "values": true}"#,
        r#"{"keys": ["a"], "keys": ["a"]}"#,
        r#"{"keys": ["a", "b", "c", "d"]}"#,
    ] {
        post(body).assert_problem(422, "invalid_body", &says);
    }
    post(r#"{"keys": ["a", ""]}"#).assert_problem(400, "invalid_key", &["empty"]);
    let says = ["limit of 4", "key_bytes_max"];
    post(r#"{"keys": ["a", "abcde"]}"#).assert_problem(413, "key_too_large", &says);
    let long = format!("{{\"keys\": [\"a\"{}]}}", " ".repeat(100));
    post(&long).assert_problem(413, "body_too_large", &["100 bytes", "body_bytes_max"]);
    assert_eq!(
        post("\u{feff}{\"keys\": [\"a\", \"b\", \"é\"]} ").status,
        200
    );
}

#[test]
fn a_list_of_keys_is_json_and_says_so() {
    let server = Server::start();
    let body = br#"{"keys": ["k"]}"#;
    let post = |headers: &[(&str, &str)]| server.send("POST", "/get", headers, body);
    let says = ["Content-Type: application/json", "-H"];
    post(&[]).assert_problem(415, "unsupported_media_type", &says);
    for other in ["text/plain", "application/jsonx", "junk"] {
        let response = post(&[("Content-Type", other)]);
        response.assert_problem(415, "unsupported_media_type", &says);
    }
    post(&[LINES]).assert_problem(415, "unsupported_media_type", &says);
    let latin = ("Content-Type", "application/json; charset=latin-1");
    post(&[latin]).assert_problem(415, "unsupported_media_type", &["UTF-8"]);
    assert_eq!(
        post(&[("Content-Type", "Application/JSON; charset=utf-8")]).status,
        200
    );
    for (header, status, code) in [
        (("Content-Encoding", "gzip"), 415, "unsupported_encoding"),
        (("Content-Range", "bytes 0-1/9"), 400, "unsupported_header"),
        (("X-HTTP-Method-Override", "GET"), 400, "unsupported_header"),
        (("Expect", "other"), 417, "expectation_failed"),
        (("If-Match", "*"), 400, "unsupported_condition"),
        (("If-None-Match", "\"a\""), 400, "unsupported_condition"),
    ] {
        post(&[JSON, header]).assert_problem(status, code, &[]);
    }
}

#[test]
fn a_search_gives_values_with_its_keys() {
    let server = Server::start();
    for (key, content_type, body) in kinds() {
        put(&server, key, content_type, &body);
    }
    server.fill((0..20).map(|number| format!("page/{number:02}")));
    for filter in [
        "prefix=",
        "prefix=n",
        "suffix=y",
        "prefix=page/&suffix=1",
        "prefix=x",
    ] {
        for page in ["", "&limit=7", "&after=null", "&after=null&limit=2"] {
            let query = format!("/search?{filter}{page}");
            let names = server.get(&query);
            let keys = names.keys();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let expected = entries(&server, &keys);
            let found = server.get(&format!("{query}&values=true"));
            assert_eq!(found.status, 200);
            assert_same(found.text(), &array(&expected));
            assert_eq!(found.total(), names.total());
            assert_eq!(found.header("content-type"), Some("application/json"));
            assert_eq!(found.header("vary"), names.header("vary"));
            let with_values = |link: &str| link.replace("limit=", "values=true&limit=");
            let link = names.header("link").map(with_values);
            assert_eq!(found.header("link"), link.as_deref());
            let accept = [("Accept", "application/x-ndjson")];
            let lines = server.get_with(&format!("{query}&values=true"), &accept);
            assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
            let line = |entry: &String| entry.clone() + "\n";
            assert_same(lines.text(), &expected.iter().map(line).collect::<String>());
            let without = server.get(&format!("{query}&values=false"));
            assert_eq!(without.text(), names.text());
        }
    }
}

#[test]
fn links_lead_through_all_values() {
    let server = Server::start();
    let keys: Vec<String> = (0..100).map(|number| format!("k&+/{number:03}")).collect();
    server.fill(&keys);
    let mut query = String::from("/search?prefix=k&limit=30&values=true");
    let mut found = Vec::new();
    loop {
        let page = server.get(&query);
        assert_eq!(page.total(), 100);
        let entries = page.json();
        let entries = entries.as_array().unwrap();
        found.extend(
            entries
                .iter()
                .map(|entry| entry["key"].as_str().unwrap().to_owned()),
        );
        assert!(entries.iter().all(|entry| entry["value"] == 1));
        let Some(link) = page.header("link") else {
            break;
        };
        let target = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        assert!(target.contains("&values=true&"), "{target}");
        query = format!("/search{target}");
    }
    assert_eq!(found, keys);
}

#[test]
fn parameters_of_entries_that_are_none_are_refused() {
    let server = Server::start();
    server.fill(["k"]);
    for value in ["", "1", "yes", "True", "TRUE", "true ", "null"] {
        let value = encoded(value);
        for filter in ["", "&prefix=", "&suffix=k&limit=1"] {
            let refused = server.get(&format!("/search?values={value}{filter}"));
            refused.assert_problem(400, "invalid_parameter", &["values", "true", "false"]);
        }
    }
    let refused = server.get("/search?prefix=&values");
    refused.assert_problem(400, "invalid_parameter", &["values"]);
    for query in ["values=true", "values=true&limit=1", "after=a&values=true"] {
        let refused = server.get(&format!("/search?{query}"));
        refused.assert_problem(400, "missing_filter", &["prefix", "suffix"]);
    }
    let refused = server.get("/search?prefix=&values=true&values=true");
    refused.assert_problem(400, "repeated_parameter", &["values"]);
    let nothing = server.get("/search?values=false");
    assert_eq!((nothing.text(), nothing.total()), ("[]", 0));
    let refused = server.get("/search?prefix=&delimiter=");
    refused.assert_problem(400, "invalid_parameter", &["delimiter"]);
    let refused = server.get("/search?delimiter=/");
    refused.assert_problem(400, "missing_filter", &["delimiter", "prefix"]);
}

#[test]
fn head_has_the_headers_of_get_with_values_too() {
    let server = Server::start();
    server.fill((0..3000).map(|number| format!("{number:04}")));
    let mut connection = server.connect();
    for query in [
        "prefix=000",
        "prefix=none",
        "prefix=&limit=3",
        "prefix=&limit=2000",
        "prefix=",
    ] {
        let path = format!("/search?{query}&values=true");
        let head = connection.request("HEAD", &path, &[], b"");
        let get = connection.request("GET", &path, &[], b"");
        assert_eq!((head.status, get.status), (200, 200));
        for name in [
            "content-length",
            "transfer-encoding",
            "content-type",
            "cache-control",
            "x-total-count",
            "link",
        ] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
}

#[test]
fn long_values_come_whole_in_any_form() {
    let server = Server::start_with(&[
        "--value-bytes-max",
        "8388608",
        "--body-bytes-max",
        "16777216",
        "--buffers-bytes-max",
        "268435456",
    ]);
    let bytes = |count: usize| -> Vec<u8> { (0..count).map(|at| (at * 31 % 251) as u8).collect() };
    let text = |count: usize| format!("\"{}\"", "é".repeat(count / 2)).into_bytes();
    for (key, content_type, body) in [
        ("0-json", "application/json", text(8 * MIB - 2)),
        ("1-binary", "image/png", bytes(8 * MIB)),
        (
            "2-spaced",
            "application/json",
            [text(3 * MIB), b"\n".to_vec()].concat(),
        ),
        ("3-no-json", "application/json", vec![b'['; MIB]),
        ("4-middling", "application/json", text(40_000)),
        ("5-middling", "text/plain", bytes(20_001)),
        ("6-middling", "text/plain", bytes(5_000)),
        ("7-short", "text/plain", bytes(4_096)),
        ("8-short", "application/json", b"1".to_vec()),
    ] {
        put(&server, key, content_type, &body);
    }
    let keys = server.get("/search?prefix=").keys();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let expected = entries(&server, &keys);
    let found = server.get("/search?prefix=&values=true");
    assert_eq!(found.header("transfer-encoding"), Some("chunked"));
    assert_same(found.text(), &array(&expected));
    let page = server.get("/search?prefix=&values=true&limit=2&after=2-spaced");
    assert_same(page.text(), &array(&expected[3..5]));
    let mixed = [keys[8], keys[1], "none", keys[0], keys[1], keys[6], keys[2]];
    let lines = get_many(&server, &mixed, &[JSON, ("Accept", "application/x-ndjson")]);
    assert_same(lines.text(), &(entries(&server, &mixed).join("\n") + "\n"));
}

#[test]
fn a_key_that_is_deleted_while_its_page_travels_is_left_out() {
    let server = Server::start();
    let name = |number: usize| format!("{number:05}");
    // More than both sides' socket buffers hold.
    let value = "v".repeat(4000);
    for part in 0..6 {
        let lines = (0..1000).map(|number| {
            json!({"key": name(part * 1000 + number), "value": value}).to_string() + "\n"
        });
        assert_eq!(server.bulk(&lines.collect::<String>()).status, 200);
    }
    let mut travelling = server.connect();
    travelling.send("GET", "/search?prefix=&values=true", &[], b"");
    let head = travelling.head();
    assert_eq!((head.status, head.total()), (200, 6000));
    let mut deletes = server.connect();
    let late = 5500..6000;
    for number in late.clone().filter(|number| number % 2 == 0) {
        let path = format!("/delete/{}", name(number));
        assert_eq!(deletes.request("DELETE", &path, &[], b"").status, 204);
    }
    let mut body = Vec::new();
    while let Some(chunk) = travelling.chunk().expect("the body comes whole") {
        body.extend(chunk);
    }
    let found: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let keys = found
        .iter()
        .map(|entry| entry["key"].as_str().unwrap().to_owned());
    let stayed = (0..6000).filter(|number| !(late.contains(number) && number % 2 == 0));
    assert!(keys.eq(stayed.map(name)));
    assert!(found.iter().all(|entry| entry["value"] == value));
}
