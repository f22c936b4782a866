//! Errors: each is a problem that says what is wrong and what to do.

use crate::support::{JSON, Server};

#[test]
fn a_body_that_is_not_json_is_a_400() {
    let server = Server::start();
    for body in [
        "",
        "{",
        "{\"key\":\"k\",\"value\":1",
        "{\"key\":\"k\",\"value\":01}",
        "{\"key\":\"k\",\"value\":1}x",
        "{\"key\":\"\\ud800\",\"value\":1}",
        "nope",
        "[1",
        "{\"key\":1",
    ] {
        server
            .post(body)
            .assert_problem(400, "invalid_json", &["not JSON"]);
    }
    let problem = server.post("[1").json();
    assert_eq!(
        problem["detail"],
        "not JSON: EOF while parsing a list at line 1 column 2"
    );
    let bytes = b"{\"key\":\"k\",\"value\":\"\xff\"}";
    let response = server.send("POST", "/set", &[JSON], bytes);
    response.assert_problem(400, "invalid_json", &[]);
}

#[test]
fn json_of_another_shape_is_a_422() {
    let server = Server::start();
    for body in [
        "1",
        "null",
        "[\"k\",1]",
        "{}",
        "{\"key\":\"k\"}",
        "{\"value\":1}",
        "{\"key\":1,\"value\":1}",
        "{\"key\":null,\"value\":1}",
        "{\"key\":\"k\",\"value\":1,\"ttl\":5}",
        "{\"key\":\"k\",\"key\":\"k\",\"value\":1}",
        "{\"key\":\"k\",\"value\":1,\"value\":2}",
        "{\"key\":\"k\",\"content_type\":\"a/b\",\"base64\":\"\"}",
    ] {
        server
            .post(body)
            .assert_problem(422, "invalid_body", &["\"key\"", "\"value\""]);
    }
    let unknown = server.post("{\"key\":\"k\",\"ttl\":5}");
    let problem = unknown.assert_problem(422, "invalid_body", &["no member \"ttl\""]);
    assert!(!problem.to_string().contains("base64"), "{problem}");
    assert_eq!(server.get("/search?prefix=").total(), 0);
}

#[test]
fn an_error_is_short_whatever_it_quotes() {
    let server = Server::start();
    let long = "é\u{7f}".repeat(100_000);
    let member = format!("{{\"{long}\":1}}");
    let text = format!("\"{long}\"");
    for (path, says) in [
        ("/set", "\"value\": any JSON}"),
        ("/get", "(setting page_keys_max)"),
        ("/expire/k", "{\"expires_at\": null}"),
    ] {
        for (body, wrong) in [(&member, "no member \"é"), (&text, "invalid type: string")] {
            let refused = server.send("POST", path, &[JSON], body.as_bytes());
            refused.assert_problem(422, "invalid_body", &[wrong, "line 1 column", says]);
            assert!(refused.body.len() < 2000, "{path}: {}", refused.body.len());
        }
    }
    let refused = server.bulk(&member);
    refused.assert_problem(422, "invalid_line", &["no member \"é", "at column"]);
    assert!(refused.body.len() < 2000, "{}", refused.body.len());
    let refused = server.get(&format!("/search?{}=1", "x".repeat(5000)));
    refused.assert_problem(400, "unknown_parameter", &["xxx", "prefix, suffix"]);
    assert!(refused.body.len() < 2000, "{}", refused.body.len());
}

#[test]
fn a_body_of_another_type_is_a_415_that_names_the_header() {
    let server = Server::start();
    let body = br#"{"key":"k","value":1}"#;
    let post = |headers: &[(&str, &str)]| server.send("POST", "/set", headers, body);
    let says = ["Content-Type: application/json", "-H"];
    post(&[]).assert_problem(415, "unsupported_media_type", &says);
    for other in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "junk",
    ] {
        let response = post(&[("Content-Type", other)]);
        response.assert_problem(415, "unsupported_media_type", &says);
    }
    let says = ["not one content type"];
    post(&[("Content-Type", "junk")]).assert_problem(415, "unsupported_media_type", &says);
    post(&[JSON, JSON]).assert_problem(415, "unsupported_media_type", &says);
    let latin = ("Content-Type", "application/json; charset=latin-1");
    post(&[latin]).assert_problem(415, "unsupported_media_type", &["UTF-8"]);
    for json in [
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
    ] {
        assert_eq!(post(&[("Content-Type", json)]).status, 200);
    }
}

#[test]
fn a_body_over_its_bound_is_a_413_that_names_limit_and_setting() {
    let server = Server::start_with(&["--value-bytes-max", "100", "--body-bytes-max", "200"]);
    let value = |length: usize| vec![b'1'; length];
    assert_eq!(server.put("/set/k", &[], &value(100)).status, 200);
    let says = ["100 bytes", "value_bytes_max"];
    server
        .put("/set/k", &[], &value(101))
        .assert_problem(413, "value_too_large", &says);
    let json = |length: usize| format!("{{\"key\":\"k\",\"value\":{}}}", "1".repeat(length));
    assert_eq!(server.post(&json(100)).status, 200);
    server
        .post(&json(101))
        .assert_problem(413, "value_too_large", &says);
    let says = ["200 bytes", "body_bytes_max"];
    server
        .post(&json(300))
        .assert_problem(413, "body_too_large", &says);
    // Without a length in the head it is noticed on the way.
    let mut connection = server.connect();
    connection.raw("PUT /set/k HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.raw(format!("c8\r\n{}\r\n", "x".repeat(200)));
    let response = connection.response("PUT");
    response.assert_problem(413, "value_too_large", &["100 bytes"]);
    assert_eq!(server.get("/get/k").body, value(100));
}

#[test]
fn an_unknown_parameter_is_a_400_that_lists_the_known_ones() {
    let server = Server::start();
    server.fill(["k"]);
    let says = ["prfix", "prefix, suffix, limit, after, values"];
    server
        .get("/search?prfix=a")
        .assert_problem(400, "unknown_parameter", &says);
    server
        .get("/search?prefix=a&Limit=1")
        .assert_problem(400, "unknown_parameter", &["Limit"]);
    for (method, path) in [
        ("GET", "/get/k"),
        ("HEAD", "/get/k"),
        ("DELETE", "/delete/k"),
        ("POST", "/expire/k"),
        ("GET", "/metrics"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/healthz"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/"),
    ] {
        let response = server.send(method, &format!("{path}?x=1"), &[], b"");
        assert_eq!(response.status, 400, "{method} {path}");
        if method != "HEAD" {
            response.assert_problem(400, "unknown_parameter", &["\"x\"", "takes none"]);
        }
    }
    let response = server.put("/set/k?x=1", &[], b"1");
    response.assert_problem(400, "unknown_parameter", &["\"x\"", "ttl_ms, expires_at"]);
    let response = server.send("POST", "/set?x", &[JSON], br#"{"key":"k","value":1}"#);
    response.assert_problem(400, "unknown_parameter", &["\"x\""]);
    let response = server.send("POST", "/get?x=1", &[JSON], br#"{"keys":["k"]}"#);
    response.assert_problem(400, "unknown_parameter", &["\"x\"", "takes none"]);
    assert_eq!(server.get("/get/k?").status, 200);
    assert_eq!(server.get("/search?&prefix=k&").keys(), ["k"]);
}

#[test]
fn a_parameter_given_twice_is_a_400() {
    let server = Server::start();
    for query in [
        "prefix=a&prefix=a",
        "limit=1&prefix=&limit=2",
        "prefix=a&%70refix=b",
    ] {
        let response = server.get(&format!("/search?{query}"));
        response.assert_problem(400, "repeated_parameter", &["twice"]);
    }
}

#[test]
fn a_method_that_a_path_does_not_take_is_a_405_with_allow() {
    let server = Server::start();
    for (method, path, allow) in [
        ("POST", "/get/k", "GET, HEAD"),
        ("GET", "/get", "POST"),
        ("PUT", "/get", "POST"),
        ("DELETE", "/get", "POST"),
        ("GET", "/set", "POST"),
        ("PUT", "/set", "POST"),
        ("POST", "/set/k", "PUT"),
        ("GET", "/delete", "DELETE"),
        ("POST", "/delete", "DELETE"),
        ("GET", "/delete/k", "DELETE"),
        ("POST", "/search", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
        ("PUT", "/readyz", "GET, HEAD"),
        ("PATCH", "/get/k", "GET, HEAD"),
        ("OPTIONS", "/search", "GET, HEAD"),
        ("BREW", "/livez", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("PUT", "/docs", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
    ] {
        let response = server.send(method, path, &[], b"");
        response.assert_problem(405, "method_not_allowed", &[allow]);
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn a_path_that_is_not_there_is_a_404_that_lists_the_paths() {
    let server = Server::start();
    for (method, path) in [
        ("PUT", "/gets"),
        ("GET", "/openapi"),
        ("GET", "/keys"),
        ("GET", "/console"),
        ("GET", "/console/app.js"),
        ("GET", "/style.css"),
        ("POST", "/x"),
        ("BREW", "/searching"),
    ] {
        let response = server.send(method, path, &[], b"");
        response.assert_problem(404, "path_not_found", &["/search", "/set/{key}"]);
    }
}

#[test]
fn health_endpoints_answer() {
    let server = Server::start();
    for path in ["/livez", "/healthz"] {
        assert_eq!(server.get(path).text(), r#"{"status":"alive"}"#);
    }
    assert_eq!(server.get("/readyz").text(), r#"{"status":"ready"}"#);
}
