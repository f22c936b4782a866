//! What is not supported is refused in words, and changes nothing.

use crate::support::{JSON, LINES, Server, until};

#[test]
fn what_a_change_does_not_heed_is_refused() {
    let server = Server::start();
    assert_eq!(server.put("/set/k", &[], b"1").status, 200);
    let tag = server.get("/get/k").etag();
    for header in [
        ("If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"),
    ] {
        let body = br#"{"key":"k","value":2}"#;
        for refused in [
            server.put("/set/k", &[header], b"2"),
            server.send("POST", "/set", &[JSON, header], body),
            server.send("POST", "/set", &[LINES, header], body),
            server.send("DELETE", "/delete/k", &[header], b""),
        ] {
            let name = header.0.to_lowercase();
            refused.assert_problem(400, "unsupported_condition", &[&name, "nothing was done"]);
        }
    }
    for (header, status, code) in [
        (("Content-Encoding", "gzip"), 415, "unsupported_encoding"),
        (
            ("Content-Encoding", "identity, br"),
            415,
            "unsupported_encoding",
        ),
        (("Content-Range", "bytes 7-9/10"), 400, "unsupported_header"),
        (("Expect", "200-ok"), 417, "expectation_failed"),
        (
            ("X-HTTP-Method-Override", "DELETE"),
            400,
            "unsupported_header",
        ),
    ] {
        let refused = server.put("/set/k", &[header], b"2");
        refused.assert_problem(status, code, &[]);
        let accepted = refused.header("accept-encoding");
        assert_eq!(accepted, (status == 415).then_some("identity"));
        let refused = server.send("POST", "/set", &[JSON, header], br#"{"key":"k","value":2}"#);
        refused.assert_problem(status, code, &[]);
    }
    let read = server.get("/get/k");
    assert_eq!((read.body.as_slice(), read.etag()), (&b"1"[..], tag));
    for header in [
        ("Content-Encoding", "identity"),
        ("Content-Encoding", "Identity, ,"),
        ("Content-Encoding", ""),
        ("Expect", ""),
    ] {
        assert_eq!(server.put("/set/k", &[header], b"3").status, 200);
    }
    let unmet = [("Expect", "100-continue"), ("Expect", "other")];
    for (method, path) in [("GET", "/get/k"), ("DELETE", "/delete/k")] {
        let refused = server.send(method, path, &unmet[1..], b"");
        refused.assert_problem(417, "expectation_failed", &[]);
        let mut connection = server.connect();
        connection.send(method, path, &unmet, b"");
        let mut answer = connection.response(method);
        if answer.status == 100 {
            answer = connection.response(method);
        }
        assert_eq!(answer.status, 417);
    }
    for path in ["/get/k", "/search?prefix=", "/livez"] {
        let refused = server.get_with(path, &[("Expect", "other")]);
        refused.assert_problem(417, "expectation_failed", &["Expect"]);
    }
    for (method, path) in [
        ("GET", "/get/k"),
        ("DELETE", "/delete/k"),
        ("GET", "/search?prefix="),
    ] {
        let refused = server.send(method, path, &[], b"a body");
        refused.assert_problem(400, "unexpected_body", &["no body"]);
    }
    assert_eq!(server.get("/get/k").status, 200);
}

#[test]
fn what_curl_sends_by_default_is_stored_as_that_and_the_answer_says_so() {
    let server = Server::start();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let set = server.put("/set/k", &[form], b"{\"a\": 1}").json();
    assert_eq!(set["content_type"], form.1);
    assert_eq!(server.get("/get/k").header("content-type"), Some(form.1));
    for (sent, is_said) in [
        ("Application/X-WWW-Form-URLencoded; charset=utf-8", true),
        ("application/x-www-form-urlencoded-not", false),
        ("text/plain", false),
    ] {
        let set = server.put("/set/k", &[("Content-Type", sent)], b"1").json();
        let said = set["content_type"].as_str();
        assert_eq!(said, is_said.then_some(sent));
    }
}

#[test]
fn conditions_of_reads_are_lists_of_entity_tags() {
    let server = Server::start();
    assert_eq!(server.put("/set/k", &[], b"1").status, 200);
    let tag = server.get("/get/k").etag();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"a,b\" , {tag}"), 304),
        ("*".into(), 304),
        ("\"a,*,b\"".into(), 200),
    ] {
        let answer = server.get_with("/get/k", &[("If-None-Match", &known)]);
        assert_eq!(answer.status, status, "{known}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
    for malformed in ["a", "\"a", "*, \"a\"", ""] {
        // The value is a right answer to whoever asks for it if it is not known.
        let known = [("If-None-Match", malformed)];
        assert_eq!(server.get_with("/get/k", &known).status, 200);
        let refused = server.get_with("/get/k", &[("If-Match", malformed)]);
        refused.assert_problem(400, "invalid_condition", &["if-match"]);
    }
    assert_eq!(server.get_with("/get/k", &[("If-Match", &tag)]).status, 200);
    let refused = server.get_with("/get/k", &[("If-Match", &format!("W/{tag}"))]);
    refused.assert_problem(412, "precondition_failed", &[]);
    assert_eq!(refused.etag(), tag);
}

#[test]
fn head_is_answered_wherever_get_is() {
    let server = Server::start();
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
        "/get/absent",
        "/search?prefix=",
        "/nowhere",
    ] {
        let get = server.get(path);
        let head = server.send("HEAD", path, &[], b"");
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("cache-control"), get.header("cache-control"));
        assert!(
            head.header("content-length")
                .is_some_and(|length| length != "0")
        );
    }
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(server.get(path).header("cache-control"), Some("no-store"));
    }
}

#[test]
fn http_1_0_gets_no_chunks() {
    let server = Server::start();
    server.fill((0..3000).map(|number| format!("{number:04}")));
    let mut connection = server.connect();
    connection.raw("GET /search?prefix= HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n");
    let head = connection.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("transfer-encoding"), None);
    let body = connection.rest();
    let keys: Vec<String> = serde_json::from_slice(&body).unwrap();
    assert_eq!(keys.len(), 3000);
}

#[test]
fn http_1_0_keeps_a_connection_that_asks_for_it_where_the_length_is_known() {
    let server = Server::start();
    server.fill((0..3000).map(|number| format!("{number:04}")));
    let mut connection = server.connect();
    let old = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    };
    for (method, path) in [
        ("GET", "/get/0001"),
        ("HEAD", "/get/0001"),
        ("GET", "/get/none"),
        ("GET", "/search?prefix=&limit=2900"),
        ("GET", "/livez"),
    ] {
        connection.raw(old(method, path));
        let answer = connection.response(method);
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{path}");
        assert_eq!(answer.header("transfer-encoding"), None);
        let length = answer.header("content-length").unwrap();
        if method != "HEAD" {
            assert_eq!(length, answer.body.len().to_string());
        }
    }
    // The end of what has no length is the end of the connection, for HEAD too.
    for method in ["HEAD", "GET"] {
        let mut connection = server.connect();
        connection.raw(old(method, "/search?suffix="));
        let head = connection.head();
        assert_eq!(head.header("transfer-encoding"), None);
        assert_ne!(head.header("connection"), Some("keep-alive"));
        assert_eq!(connection.rest().is_empty(), method == "HEAD");
    }
}

#[test]
fn where_no_link_fits_the_last_key_leads_on() {
    let server = Server::start();
    let (prefix, suffix) = ("字".repeat(200), "尾".repeat(130));
    let keys: Vec<String> = (0..23)
        .map(|number| format!("{prefix}{number:02}{suffix}"))
        .collect();
    server.fill(&keys);
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let search = format!(
        "/search?prefix={}&suffix={}&limit=5",
        encoded(&prefix),
        encoded(&suffix)
    );
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{search}{after}"));
        assert_eq!(page.header("link"), None);
        assert_eq!(page.total(), keys.len());
        let some = page.keys();
        found.extend(some.iter().cloned());
        if some.len() < 5 {
            break;
        }
        after = format!("&after={}", encoded(&some[4]));
    }
    assert_eq!(found, keys);
}

#[test]
fn pages_link_on_below_any_prefix_and_within_proxies_buffers() {
    let server = Server::start();
    let long = "字".repeat(170);
    let keys: Vec<String> = (0..40)
        .map(|number| format!("{long}{number:03}{}", "字".repeat(160)))
        .collect();
    server.fill(keys.iter());
    server.fill((0..40).map(|number| format!("a/b:{number:02}")));
    for (prefix, count) in [(long.as_str(), 40), ("a/b:", 40), ("", 80)] {
        let encoded =
            percent_encoding::utf8_percent_encode(prefix, percent_encoding::NON_ALPHANUMERIC);
        let mut query = format!("prefix={encoded}&limit=7");
        let mut found = Vec::new();
        loop {
            let page = server.get(&format!("/search?{query}"));
            found.extend(page.keys());
            let Some(link) = page.header("link") else {
                break;
            };
            assert!(link.len() < 3600, "{}", link.len());
            query = link
                .strip_prefix("<?")
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .expect("the link is relative")
                .into();
        }
        assert_eq!(found.len(), count);
        assert!(found.is_sorted());
    }
    for query in ["after=abc&limit=3", "after=%20", "limit=3&after=a"] {
        let refused = server.get(&format!("/search?{query}"));
        refused.assert_problem(400, "missing_filter", &["prefix", "suffix"]);
    }
    assert_eq!(server.get("/search?prefix=a/&after=").keys().len(), 40);
    assert_eq!(server.get("/search?limit=3").keys(), Vec::<String>::new());
    assert_eq!(server.get("/search").keys(), Vec::<String>::new());
}

#[test]
fn the_preferred_form_is_sent() {
    let server = Server::start();
    server.fill(["k"]);
    for (accept, is_lines) in [
        ("application/x-ndjson", true),
        ("application/x-ndjson;q=0.1, */*", false),
        ("application/x-ndjson;q=0.5, application/json;q=0.4", true),
        ("application/json;q=0, */*", true),
        ("application/x-ndjson;q=0, */*", false),
        ("application/*", false),
        ("*/*", false),
        ("text/html", false),
        ("nonsense", false),
    ] {
        let answer = server.get_with("/search?prefix=", &[("Accept", accept)]);
        assert_eq!(answer.text() == "\"k\"\n", is_lines, "{accept}");
    }
}

#[test]
fn marks_and_names_of_utf_8_are_understood() {
    let server = Server::start();
    for content_type in [
        "application/json; charset=utf8",
        "application/json;charset=\"UTF-8\"",
    ] {
        let body = "\u{feff}{\"key\":\"k\",\"value\":\"v\"}";
        let set = server.send(
            "POST",
            "/set",
            &[("Content-Type", content_type)],
            body.as_bytes(),
        );
        assert_eq!(set.status, 200);
        assert_eq!(server.get("/get/k").body, b"\"v\"");
    }
    assert_eq!(
        server
            .bulk("\u{feff}{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":2}\n")
            .status,
        200
    );
    // An empty line is one with a mark too.
    for lines in [
        "\u{feff}",
        "\u{feff}\r\n{\"key\":\"a\",\"value\":1}\n",
        "{\"key\":\"a\",\"value\":1}\n\u{feff}{\"key\":\"b\",\"value\":2}",
    ] {
        assert_eq!(server.bulk(lines).status, 200, "{lines:?}");
    }
    // What is in a value is the client's.
    server.put(
        "/set/k",
        &[("Content-Type", "text/plain")],
        "\u{feff}v".as_bytes(),
    );
    assert_eq!(server.get("/get/k").text(), "\u{feff}v");
    assert_eq!(server.get("/search?prefix=").keys(), ["a", "b", "k"]);
}

#[test]
fn who_sends_all_before_reading_sees_why_it_was_refused() {
    const BODY_BYTES: usize = 30 << 20;
    let server = Server::start();
    let part = vec![b'x'; 1 << 20];
    for (method, path, content_type, begins, status) in [
        ("PUT", "/set/k", "text/plain", "x", 413),
        ("PUT", "/set/k#", "text/plain", "x", 400),
        ("PUT", "/set/k?ttl=1", "text/plain", "x", 400),
        ("POST", "/set", "text/plain", "x", 415),
        ("POST", "/set", "application/json", "x", 413),
        ("POST", "/set", "application/x-ndjson", "bad\n", 422),
        ("POST", "/get", "application/json", "x", 413),
        ("POST", "/get", "text/plain", "x", 415),
        ("POST", "/nowhere", "text/plain", "x", 404),
        ("PATCH", "/get/k", "text/plain", "x", 405),
        ("GET", "/get/k", "text/plain", "x", 400),
    ] {
        for is_chunked in [false, true] {
            let mut connection = server.connect();
            let framing = if is_chunked {
                "Transfer-Encoding: chunked".into()
            } else {
                format!("Content-Length: {}", begins.len() + BODY_BYTES)
            };
            connection.raw(format!(
                "{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n"
            ));
            let mut send = |bytes: &[u8]| {
                if is_chunked {
                    connection.raw_unless_closed(format!("{:x}\r\n", bytes.len()).as_bytes());
                }
                connection.raw_unless_closed(bytes);
                if is_chunked {
                    connection.raw_unless_closed(b"\r\n");
                }
            };
            send(begins.as_bytes());
            for _ in 0..BODY_BYTES / part.len() {
                send(&part);
            }
            let answer = connection.response(method);
            assert_eq!(answer.status, status, "{method} {path} {framing}");
        }
    }
    assert_eq!(server.get("/search?prefix=").keys(), Vec::<String>::new());
}

#[test]
fn a_refused_body_is_not_read_for_ever() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.raw("POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.raw("1\r\na\r\n");
    assert_eq!(connection.response("POST").status, 415);
    until("the connection is cut", || {
        connection.raw_unless_closed(b"1\r\na\r\n");
        let metrics = server.get("/metrics");
        let cut = "cut_total{reason=\"refused\"} 1";
        metrics.text().contains(cut).then_some(())
    });
}
