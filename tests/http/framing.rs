//! Where a request ends, and what is done with what this server does not speak.

use crate::support::Server;

#[test]
fn a_raw_fragment_is_refused_and_touches_no_key() {
    let server = Server::start();
    assert_eq!(server.put("/set/order", &[], b"1").status, 200);
    let mut connection = server.connect();
    for (method, target) in [
        ("DELETE", "/delete/order#123"),
        ("PUT", "/set/order#"),
        ("GET", "/get/order#a%23b"),
        ("GET", "/search?prefix=order#x"),
        ("GET", "/livez#"),
        ("GET", "/nowhere#"),
    ] {
        let refused = connection.request(method, target, &[], b"");
        refused.assert_problem(400, "invalid_encoding", &["#", "%23"]);
        // The connection is good for more, and a # elsewhere is nothing.
        let read = connection.request("GET", "/get/order", &[("Referer", "http://t/#x")], b"");
        assert_eq!((read.status, &read.body[..]), (200, &b"1"[..]));
    }
    // In the middle of many that come at once, with bodies full of them.
    let body = "#\r\n\r\nDELETE /delete/order#1 HTTP/1.1\r\n\r\n";
    let put = format!(
        "PUT /set/other HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "PUT /set/other HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let bad = "DELETE /delete/order#1 HTTP/1.1\r\nHost: t\r\n\r\n";
    let good = "GET /get/order HTTP/1.1\r\nHost: t\r\n\r\n";
    connection.raw([&put, good, bad, &chunked, bad, good].concat());
    for expected in [200, 200, 400, 200, 400, 200] {
        assert_eq!(connection.response("GET").status, expected);
    }
    let metrics = server.get("/metrics");
    let refused = "kvstore_http_requests_refused_total{reason=\"fragment\"} 8\n";
    assert!(metrics.text().contains(refused), "{}", metrics.text());
}

#[test]
fn a_raw_fragment_is_seen_after_trailers_however_their_lines_end() {
    let server = Server::start();
    assert_eq!(server.put("/set/order", &[], b"1").status, 200);
    for trailers in ["", "X: y\r\n", "\n\r\n", "\nX: y\r\n", "X: y\n\nZ\r\n"] {
        let mut connection = server.connect();
        connection.raw(format!(
            "PUT /set/other HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n\
             DELETE /delete/order#1 HTTP/1.1\r\nHost: t\r\n\r\n"
        ));
        assert_eq!(connection.response("PUT").status, 200);
        let refused = connection.response("DELETE");
        refused.assert_problem(400, "invalid_encoding", &["#"]);
    }
    assert_eq!(server.get("/get/order").status, 200);
}

#[test]
fn an_offer_to_upgrade_changes_nothing() {
    let server = Server::start();
    let mut connection = server.connect();
    for (offer, connection_header) in [
        ("h2c", "Upgrade, HTTP2-Settings"),
        ("websocket", "Upgrade"),
        ("websocket", "keep-alive, upgrade"),
        ("TLS/1.3, websocket", "upgrade"),
    ] {
        let headers = [
            ("Connection", connection_header),
            ("Upgrade", offer),
            ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
        ];
        let written = connection.request("PUT", "/set/k", &headers, b"1");
        assert_eq!(written.status, 200);
        assert_eq!(written.header("connection"), None, "the connection stays");
        let read = connection.request("GET", "/get/k", &headers, b"");
        assert_eq!((read.status, &read.body[..]), (200, &b"1"[..]));
    }
}

#[test]
fn what_is_no_host_is_refused_and_nothing_is_done() {
    let server = Server::start();
    let mut connection = server.connect();
    let hosts = [
        "t u", "t/u", "t?u", "t#u", "u@t", "t\\u", "\"t\"", "ä", "%4", "::1", "t:u", "t:80:80",
        "[::1", "[t]",
    ];
    for version in ["1.1", "1.0"] {
        for host in hosts {
            connection.raw(format!(
                "PUT /set/k HTTP/{version}\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
            ));
            let refused = connection.response("PUT");
            refused.assert_problem(400, "invalid_host", &["Host", "nothing was done"]);
        }
    }
    for host in [
        "",
        "t",
        "T_u.v:8000",
        "t:",
        "%C3%A4",
        "127.0.0.1:80",
        "[::1]",
        "[2001:db8::1]:80",
    ] {
        connection.raw(format!("GET /get/k HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(connection.response("GET").status, 404, "{host}");
    }
    let metrics = server.get("/metrics");
    let refused = format!(
        "kvstore_http_requests_refused_total{{reason=\"head\"}} {}\n",
        2 * hosts.len()
    );
    assert!(metrics.text().contains(&refused), "{}", metrics.text());
}

#[test]
fn what_the_parser_refuses_is_counted() {
    let server = Server::start();
    for bytes in [
        "GET /get/a b HTTP/1.1\r\n\r\n",
        "\u{0}\r\n\r\n",
        "GET / HTTP/1.1\r\nA B: c\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.raw(bytes);
        assert_eq!(connection.response("GET").status, 400);
        assert!(connection.ends());
    }
    let metrics = server.get("/metrics");
    let refused = "kvstore_http_requests_refused_total{reason=\"head\"} 3\n";
    assert!(metrics.text().contains(refused), "{}", metrics.text());
}

#[test]
fn thousands_of_requests_at_once_are_answered_in_order() {
    let server = Server::start();
    let mut connection = server.connect();
    for round in 0..3 {
        let puts = (0..500).map(|number| {
            format!("PUT /set/{number} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n{round}")
        });
        connection.raw(puts.collect::<String>());
        for _ in 0..500 {
            assert_eq!(connection.response("PUT").status, 200);
        }
        let gets = (0..500).map(|number| format!("GET /get/{number} HTTP/1.1\r\nHost: t\r\n\r\n"));
        connection.raw(gets.collect::<String>());
        for _ in 0..500 {
            assert_eq!(
                connection.response("GET").body,
                round.to_string().as_bytes()
            );
        }
    }
}
