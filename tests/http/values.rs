//! Values and their revisions: `GET`, `HEAD`, `POST`, `PUT` and `DELETE` of one key.

use crate::support::{JSON, Server};
use rustix::process::Signal;

#[test]
fn a_json_value_is_stored_verbatim() {
    let server = Server::start();
    for value in [
        r#""v""#,
        "null",
        "-0.0",
        "1e400",
        "123456789012345678901234567890",
        r#"{"b" : [1,  2.50],"a":"\u00e9\/"}"#,
        "[]",
    ] {
        let created = server.post(&format!("{{\"value\": {value} ,\"key\":\"k\"}}"));
        assert_eq!(created.status, 200, "{}", created.text());
        let read = server.get("/get/k");
        assert_eq!(read.text(), value);
        assert_eq!(read.header("content-type"), Some("application/json"));
        assert_eq!(read.etag(), created.etag());
    }
}

#[test]
fn a_set_says_whether_it_created_the_key() {
    let server = Server::start();
    let set = |body: &str| server.post(body).text().to_owned();
    assert_eq!(
        set(r#"{"key":"é\u0000","value":1}"#),
        r#"{"key":"é\u0000","created":true}"#
    );
    assert_eq!(
        set(r#"{"key":"é\u0000","value":1}"#),
        r#"{"key":"é\u0000","created":false}"#
    );
    let put = server.put("/set/p", &[], b"x");
    assert_eq!(put.text(), r#"{"key":"p","created":true}"#);
    assert_eq!(put.etag(), server.get("/get/p").etag());
}

#[test]
fn a_put_stores_the_body_under_its_content_type() {
    let server = Server::start();
    let bytes: Vec<u8> = (0..=255).collect();
    server.put("/set/raw", &[], &bytes);
    let read = server.get("/get/raw");
    assert_eq!(read.body, bytes);
    assert_eq!(
        read.header("content-type"),
        Some("application/octet-stream")
    );
    let html = ("Content-Type", "text/html; charset=latin-1");
    server.put("/set/page", &[html], b"<p>");
    assert_eq!(server.get("/get/page").header("content-type"), Some(html.1));
    assert_eq!(server.put("/set/json", &[JSON], b"not json").status, 200);
    assert_eq!(server.get("/get/json").text(), "not json");
    assert_eq!(server.put("/set/empty", &[], b"").status, 200);
    assert_eq!(server.get("/get/empty").body, b"");
}

#[test]
fn a_chunked_body_is_a_body() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.raw("PUT /set/k HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.raw("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    assert_eq!(connection.response("PUT").status, 200);
    assert_eq!(server.get("/get/k").text(), "abc");
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start();
    server.put("/set/k", &[("Content-Type", "text/plain")], b"four");
    let without_date = |mut headers: Vec<(String, String)>| {
        headers.retain(|(name, _)| name != "date");
        headers.sort();
        headers
    };
    let mut connection = server.connect();
    let head = connection.request("HEAD", "/get/k", &[], b"");
    assert_eq!(head.header("content-length"), Some("4"));
    let get = connection.request("GET", "/get/k", &[], b"");
    assert_eq!(get.text(), "four");
    assert_eq!(without_date(head.headers), without_date(get.headers));
    assert_eq!(
        connection.request("HEAD", "/get/none", &[], b"").status,
        404
    );
}

#[test]
fn a_known_entity_tag_is_a_304() {
    let server = Server::start();
    let tag = server.post(r#"{"key":"k","value":1}"#).etag();
    let read = |condition: &str| server.get_with("/get/k", &[("If-None-Match", condition)]);
    for condition in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".into(),
    ] {
        let response = read(&condition);
        assert_eq!(response.status, 304, "{condition}");
        assert_eq!(response.etag(), tag);
    }
    for condition in ["\"other\"", "junk", ""] {
        assert_eq!(read(condition).status, 200, "{condition}");
    }
    assert_eq!(
        server
            .get_with("/get/none", &[("If-None-Match", "*")])
            .status,
        404
    );
}

#[test]
fn a_deleted_key_is_gone() {
    let server = Server::start();
    server.fill(["a/b"]);
    let deleted = server.delete("/delete/a%2Fb");
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(server.get("/get/a/b").status, 404);
    server
        .delete("/delete/a/b")
        .assert_problem(404, "key_not_found", &["nothing to delete"]);
}

#[test]
fn a_revision_never_repeats() {
    let mut server = Server::start();
    let set = |server: &Server| server.post(r#"{"key":"k","value":1}"#).etag();
    let mut tags = vec![set(&server), set(&server)];
    assert_eq!(server.delete("/delete/k").status, 204);
    tags.push(set(&server));
    server.signal(Signal::KILL);
    server.wait();
    let server = Server::start();
    tags.push(set(&server));
    let distinct: std::collections::BTreeSet<&String> = tags.iter().collect();
    assert_eq!(distinct.len(), 4, "{tags:?}");
}

#[test]
fn values_are_not_run_as_pages_of_this_origin() {
    let server = Server::start();
    for (content_type, sandboxed) in [
        ("text/html", true),
        ("image/svg+xml", true),
        ("application/octet-stream", true),
        ("application/json", false),
        ("application/json; charset=utf-8", false),
        ("application/problem+json", false),
    ] {
        server.put("/set/k", &[("Content-Type", content_type)], b"1");
        let read = server.get("/get/k");
        assert_eq!(read.header("x-content-type-options"), Some("nosniff"));
        let policy = read.header("content-security-policy");
        assert_eq!(policy, sandboxed.then_some("sandbox"), "{content_type}");
    }
}

#[test]
fn content_types_are_bounded_and_valid_and_any_number_of_them_is_kept() {
    let server = Server::start();
    let put = |text: &str| server.put("/set/k", &[("Content-Type", text)], b"1");
    let longest = format!("a/{}", "b".repeat(253));
    assert_eq!(put(&longest).status, 200);
    put(&format!("{longest}b")).assert_problem(400, "invalid_content_type", &["256", "255"]);
    for text in [
        "text",
        "text/",
        "a b/c",
        "text/plain; x",
        "text/plain; x=\"",
        "",
    ] {
        put(text).assert_problem(400, "invalid_content_type", &["type/subtype"]);
    }
    for number in 0..300 {
        let text = format!("x/type-{number}");
        server.put(&format!("/set/{number}"), &[("Content-Type", &text)], b"1");
    }
    for number in 0..300 {
        let read = server.get(&format!("/get/{number}"));
        assert_eq!(
            read.header("content-type"),
            Some(format!("x/type-{number}").as_str())
        );
    }
}
