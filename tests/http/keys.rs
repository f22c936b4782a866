//! Keys: any text, decoded strictly and once.

use crate::support::{Connection, Server};

#[test]
fn a_key_may_hold_any_character() {
    let server = Server::start();
    for (path, key) in [
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("../x", "../x"),
        ("a/./b//", "a/./b//"),
        ("%2e%2E", ".."),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%C3%A9%00%F4%8F%BF%BF", "é\0\u{10ffff}"),
        ("%2541", "%41"),
        ("%3F%23%26", "?#&"),
    ] {
        let put = server.put(&format!("/set/{path}"), &[], key.as_bytes());
        assert_eq!(put.json()["key"], key, "{path}");
        assert_eq!(server.get(&format!("/get/{path}")).text(), key);
        let listed = server.get("/search?prefix=").keys();
        assert_eq!(listed, [key]);
        assert_eq!(server.delete(&format!("/delete/{path}")).status, 204);
    }
}

#[test]
fn both_spellings_of_a_slash_name_the_same_key() {
    let server = Server::start();
    server.put("/set/a%2fb", &[], b"1");
    assert_eq!(server.put("/set/a/b", &[], b"2").json()["created"], false);
}

#[test]
fn no_two_byte_strings_alias() {
    let server = Server::start();
    for path in ["%FF", "%FE", "%C3", "%ED%A0%80", "%C0%AF"] {
        for (method, route) in [("GET", "get"), ("PUT", "set"), ("DELETE", "delete")] {
            let response = server.send(method, &format!("/{route}/{path}"), &[], b"");
            response.assert_problem(400, "invalid_encoding", &["UTF-8"]);
        }
    }
    for path in ["100%", "%4", "%zz", "%%341", "a%2"] {
        let response = server.put(&format!("/set/{path}"), &[], b"");
        response.assert_problem(400, "invalid_encoding", &["%25"]);
    }
    assert_eq!(server.get("/search?prefix=").total(), 0);
}

#[test]
fn an_empty_key_is_a_400_and_a_long_one_a_413() {
    let server = Server::start();
    server
        .get("/get/")
        .assert_problem(400, "invalid_key", &["empty", "1024"]);
    server
        .put("/set/", &[], b"1")
        .assert_problem(400, "invalid_key", &["empty"]);
    server
        .delete("/delete/")
        .assert_problem(400, "invalid_key", &["empty"]);
    server
        .post(r#"{"key":"","value":1}"#)
        .assert_problem(400, "invalid_key", &["empty"]);
    let longest = "é".repeat(512);
    let body = |key: &str| serde_json::json!({"key": key, "value": 1}).to_string();
    assert_eq!(server.post(&body(&longest)).status, 200);
    let says = ["1025", "1024", "key_bytes_max"];
    server
        .post(&body(&(longest.clone() + "x")))
        .assert_problem(413, "key_too_large", &says);
    let path = format!("/get/{}", "x".repeat(1025));
    server
        .get(&path)
        .assert_problem(413, "key_too_large", &says);
}

#[test]
fn an_escaped_route_is_no_route() {
    let server = Server::start();
    server.fill(["x"]);
    server
        .get("/%67et/x")
        .assert_problem(404, "path_not_found", &["/get/{key}"]);
    server
        .get("/get")
        .assert_problem(405, "method_not_allowed", &["POST", "/get/{key}"]);
    server
        .get("//get/x")
        .assert_problem(404, "path_not_found", &[]);
}

#[test]
fn what_the_parser_rejects_is_a_bare_400() {
    let server = Server::start();
    let answer = |request: &[u8]| {
        let mut connection: Connection = server.connect();
        connection.raw(request);
        let response = connection.response("GET");
        assert!(connection.ends());
        response.status
    };
    assert_eq!(
        answer("GET /get/é HTTP/1.1\r\nHost: t\r\n\r\n".as_bytes()),
        400
    );
    assert_eq!(
        answer(b"GET /get/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        400
    );
    assert_eq!(
        answer(b"POST /set HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1"),
        400
    );
    assert_eq!(answer(b"nonsense\r\n\r\n"), 400);
    let head = format!(
        "GET /get/a HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let mut connection = server.connect();
    connection.raw_unless_closed(head.as_bytes());
    assert!(connection.ends());
    assert_eq!(server.get("/livez").status, 200);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}
