//! Bulk bodies: many upserts from one stream.

use crate::engine::is_memory;
use crate::support::{JSON, LINES, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

#[test]
fn both_kinds_of_line_set_keys() {
    let server = Server::start();
    let response = server.bulk(concat!(
        "{\"key\":\"a\",\"value\":{\"x\": [1]}}\r\n",
        "\n",
        "  {\"key\":\"b\",\"content_type\":\"text/plain\",\"base64\":\"aGk=\"}  \n",
        "{\"key\":\"a\",\"value\":null}\n",
        "\r\n",
        "{\"base64\":\"\",\"key\":\"c\",\"content_type\":\"a/b\"}",
    ));
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), r#"{"created":3,"updated":1}"#);
    assert_eq!(server.get("/get/a").text(), "null");
    let read = server.get("/get/b");
    assert_eq!(
        (read.text(), read.header("content-type")),
        ("hi", Some("text/plain"))
    );
    assert_eq!(server.get("/get/c").body, b"");
    assert_eq!(server.bulk("").text(), r#"{"created":0,"updated":0}"#);
}

#[test]
fn a_repeated_key_applies_in_line_order() {
    let server = Server::start();
    let lines: String = (0..5000)
        .map(|number| {
            json!({"key": format!("k{}", number % 7), "value": number}).to_string() + "\n"
        })
        .collect();
    assert_eq!(
        server.bulk(&lines).text(),
        r#"{"created":7,"updated":4993}"#
    );
    for key in 0..7 {
        let last = (0..5000).rfind(|number| number % 7 == key).unwrap();
        assert_eq!(server.get(&format!("/get/k{key}")).json(), last);
    }
}

#[test]
fn a_bad_line_ends_the_body_and_what_was_before_it_stays() {
    let server = Server::start();
    for bad in [
        "{\"key\":\"x\"}",
        "{\"key\":\"x\",\"value\":1,\"ttl\":1}",
        "{\"key\":\"\",\"value\":1}",
        "{\"key\":\"x\",\"value\":1,\"base64\":\"\"}",
        "{\"key\":\"x\",\"content_type\":\"a/b\",\"base64\":\"a\"}",
        "{\"key\":\"x\",\"content_type\":\"bad\",\"base64\":\"\"}",
        "[\"x\",1]",
        "not json",
        "{\"key\":\"x\",\"value\":1}{\"key\":\"y\",\"value\":1}",
    ] {
        let before = server.get("/search?prefix=old").total();
        let old: String = (0..150)
            .map(|n| format!("{{\"key\":\"old{}-{n}\",\"value\":1}}\n", before))
            .collect();
        let response = server.bulk(&format!(
            "{{\"key\":\"same\",\"value\":1}}\n{{\"key\":\"same\",\"value\":2}}\n{old}{bad}\n{{\"key\":\"new\",\"value\":1}}\n"
        ));
        let problem = response.assert_problem(422, "invalid_line", &[]);
        assert_eq!(problem["line"], 153, "{bad}");
        let (created, updated) = (problem["created"].as_u64(), problem["updated"].as_u64());
        let first = u64::from(before == 0);
        assert_eq!(
            (created, updated),
            (Some(150 + first), Some(2 - first)),
            "{bad}"
        );
        assert_eq!(server.get("/search?prefix=old").total(), before + 150);
        assert_eq!(server.get("/get/new").status, 404);
        assert_eq!(server.get("/get/x").status, 404);
    }
}

#[test]
fn a_bad_line_is_named_once() {
    let server = Server::start();
    let problem = server.bulk("{\"key\":\"a\",\"value\":1}\noops\n").json();
    assert_eq!(problem["line"], 2);
    assert_eq!(problem["detail"], "not JSON: expected value at column 1");
}

#[test]
fn a_member_that_is_wrong_is_named() {
    let server = Server::start();
    for (member, line) in [
        ("key", r#"{"key":1,"value":1}"#),
        ("key", r#"{"key":"a","value":1,"key":"b"}"#),
        ("value", r#"{"key":"a","value":1,"value":2}"#),
        (
            "content_type",
            r#"{"key":"a","content_type":[],"base64":""}"#,
        ),
        ("base64", r#"{"key":"a","content_type":"a/b","base64":5}"#),
        ("ttl_ms", r#"{"key":"a","value":1,"ttl_ms":1,"ttl_ms":2}"#),
        ("tll_ms", r#"{"key":"a","value":1,"tll_ms":1}"#),
    ] {
        let says = format!("{member:?}");
        let refused = server.bulk(line);
        // The forms that are expected name members too.
        let problem = refused.assert_problem(422, "invalid_line", &[]);
        let detail = problem["detail"].as_str().unwrap();
        let wrong = detail.split("; the object must be").next().unwrap();
        assert!(wrong.contains(&says), "{line}: {detail}");
    }
    let twice = server.send("POST", "/expire/a", &[JSON], br#"{"ttl_ms":1,"ttl_ms":2}"#);
    twice.assert_problem(
        422,
        "invalid_body",
        &["the member \"ttl_ms\" is given twice"],
    );
}

#[test]
fn a_line_over_a_bound_is_a_413_that_names_it() {
    let server = Server::start_with(&["--line-bytes-max", "1000", "--value-bytes-max", "500"]);
    let line = |key: usize, value: usize| {
        json!({"key": "k".repeat(key), "value": "v".repeat(value)}).to_string() + "\n"
    };
    for (bad, code, says) in [
        (line(1, 2000), "line_too_large", "line_bytes_max"),
        (line(1, 499), "value_too_large", "value_bytes_max"),
        (line(1030, 1), "line_too_large", "1000 bytes"),
        (" ".repeat(2000), "line_too_large", "line_bytes_max"),
    ] {
        let response = server.bulk(&format!("{}{bad}", line(2, 1)));
        let problem = response.assert_problem(413, code, &[says]);
        assert_eq!(problem["line"], 2);
    }
    assert_eq!(server.bulk(&line(900, 5)).status, 200);
    let server = Server::start_with(&["--key-bytes-max", "10"]);
    let problem =
        server
            .bulk(&line(11, 1))
            .assert_problem(413, "key_too_large", &["key_bytes_max"]);
    assert_eq!(problem["line"], 1);
}

#[test]
fn a_body_is_streamed_whatever_its_size_in_constant_memory() {
    let server = Server::start_with(&["--body-bytes-max", "1000"]);
    let mut connection = server.connect();
    connection.raw("POST /set HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    let lines: String = (0..500)
        .map(|number| {
            json!({"key": number.to_string(), "value": "v".repeat(1000)}).to_string() + "\n"
        })
        .collect();
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    connection.raw(&chunk);
    let before = server.resident_bytes();
    // A hundred megabytes, or fifty where an engine takes each value.
    let chunks = if is_memory() { 200 } else { 100 };
    for _ in 0..chunks {
        connection.raw(&chunk);
    }
    connection.raw("0\r\n\r\n");
    assert_eq!(
        connection.response("POST").text(),
        format!("{{\"created\":500,\"updated\":{}}}", chunks * 500)
    );
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{chunks} chunks took {grown} bytes");
}

#[test]
fn lines_are_applied_as_they_come() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.raw("POST /set HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.raw("19\r\n{\"key\":\"a\",\"value\":1}\n{\"k\r\n");
    crate::support::until("the first line applies", || {
        (server.get("/get/a").status == 200).then_some(())
    });
    connection.raw("12\r\ney\":\"b\",\"value\":2}\r\n0\r\n\r\n");
    assert_eq!(
        connection.response("POST").text(),
        r#"{"created":2,"updated":0}"#
    );
    assert_eq!(server.get("/get/b").text(), "2");
}

#[test]
fn any_value_makes_the_round_trip() {
    let server = Server::start();
    let values: Vec<Vec<u8>> = (0..300usize)
        .map(|length| (0..length).map(|at| (at * 7 + length) as u8).collect())
        .collect();
    let line = |(number, value): (usize, &Vec<u8>)| {
        let base64 = STANDARD.encode(value);
        json!({"key": number.to_string(), "content_type": "x/y", "base64": base64}).to_string()
            + "\n"
    };
    let lines: String = values.iter().enumerate().map(line).collect();
    assert_eq!(
        server
            .send("POST", "/set", &[LINES], lines.as_bytes())
            .status,
        200
    );
    for (number, value) in values.iter().enumerate() {
        assert_eq!(&server.get(&format!("/get/{number}")).body, value);
    }
}
