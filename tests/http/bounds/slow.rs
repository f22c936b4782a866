//! Bounds on what clients may hold without moving on, in which no engine has a part: over each, the client is cut off, and
//! others are served.

use super::{BODY, impatient};
use crate::support::{Server, until};
use std::time::{Duration, Instant};

const HEAD: &[&str] = &["--keep-alive-ms", "--head-timeout-ms"];
const WRITE: &[&str] = &["--write-timeout-ms"];

#[test]
fn half_a_first_head_ends_the_connection() {
    let server = impatient(HEAD);
    let mut slow = server.connect();
    slow.raw("GET /get/k HTTP/1.1\r\nHost: te");
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(slow.response("GET").status, 408);
    assert!(slow.ends());
}

#[test]
fn half_a_second_head_ends_the_connection() {
    let server = impatient(HEAD);
    let mut slow = server.connect();
    assert_eq!(slow.request("GET", "/livez", &[], b"").status, 200);
    slow.raw("GET /get/k HTTP/1.1\r\nHost: te");
    assert_eq!(server.get("/livez").status, 200);
    assert!(slow.ends());
    assert!(
        server
            .get("/metrics")
            .text()
            .contains("cut_total{reason=\"idle\"} 1")
    );
}

#[test]
fn a_connection_that_says_nothing_ends() {
    let server = impatient(HEAD);
    let mut fresh = server.connect();
    let mut used = server.connect();
    assert_eq!(used.request("GET", "/livez", &[], b"").status, 200);
    assert!(fresh.ends());
    assert!(used.ends());
}

#[test]
fn half_a_body_is_a_408_and_ends_the_connection() {
    let server = impatient(BODY);
    for head in [
        "PUT /set/k HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ] {
        let mut slow = server.connect();
        slow.raw(head);
        assert_eq!(server.get("/livez").status, 200);
        slow.response("POST")
            .assert_problem(408, "body_timeout", &["1000 ms", "body_timeout_ms"]);
        assert!(slow.ends());
    }
    assert_eq!(server.get("/get/k").status, 404);
}

#[test]
fn a_search_that_is_not_read_ends_the_connection() {
    let server = impatient(WRITE);
    let padding = "x".repeat(1000);
    // More than both sides' socket buffers hold.
    for part in 0..4 {
        server.fill((0..10_000).map(|number| format!("{part}{number:06}{padding}")));
    }
    let mut stalled = server.connect();
    stalled.send("GET", "/search?prefix=", &[], b"");
    assert_eq!(stalled.head().status, 200);
    until("the connection is cut", || {
        let metrics = server.get("/metrics");
        metrics
            .text()
            .contains("cut_total{reason=\"stalled\"} 1")
            .then_some(())
    });
    // What was under way arrives, then the end, without the final chunk.
    while let Ok(chunk) = stalled.chunk() {
        assert!(chunk.is_some(), "the body is not taken for whole");
    }
    assert_eq!(server.get("/search?prefix=&limit=3").keys().len(), 3);
}

#[test]
fn a_search_that_is_read_slowly_goes_on() {
    let server = impatient(WRITE);
    let padding = "x".repeat(1000);
    server.fill((0..20_000).map(|number| format!("{number:06}{padding}")));
    let mut slow = server.connect();
    slow.send("GET", "/search?prefix=", &[], b"");
    assert_eq!(slow.head().status, 200);
    let begun = Instant::now();
    let mut read = 0;
    while let Some(chunk) = slow.chunk().expect("the body comes whole") {
        read += chunk.iter().filter(|byte| **byte == b'x').count();
        let due = begun + Duration::from_millis(2500).mul_f64(read as f64 / 20e6);
        until("it is time to read on", || {
            (Instant::now() >= due).then_some(())
        });
    }
    assert_eq!(read, 20_000_000);
}

#[test]
fn past_the_bound_on_connections_new_ones_wait() {
    let server = Server::start_with(&["--workers", "1", "--connections-max", "1"]);
    let mut first = server.connect();
    assert_eq!(first.request("GET", "/livez", &[], b"").status, 200);
    let mut second = server.connect();
    second.send("GET", "/livez", &[], b"");
    for _ in 0..100 {
        let metrics = first.request("GET", "/metrics", &[], b"");
        assert!(metrics.text().contains("\nkvstore_http_connections 1\n"));
    }
    drop(first);
    assert_eq!(second.response("GET").status, 200);
}
