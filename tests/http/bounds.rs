//! Bounds: over each, the client is told or cut off, and others are served.

use crate::support::{LINES, Server, until};
use std::time::{Duration, Instant};

/// A server that gives up on slow clients after a second, by each of these settings.
fn impatient(settings: &[&str]) -> Server {
    let with_value = settings.iter().flat_map(|setting| [*setting, "1000"]);
    Server::start_with(&with_value.collect::<Vec<_>>())
}

const HEAD: &[&str] = &["--keep-alive-ms", "--head-timeout-ms"];
const BODY: &[&str] = &["--body-timeout-ms"];
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
fn a_bulk_body_that_pauses_is_a_408_that_says_what_was_applied() {
    let server = impatient(BODY);
    let mut slow = server.connect();
    slow.raw("POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n");
    slow.raw("{\"key\":\"a\",\"value\":1}\n{\"key\":");
    let problem = slow
        .response("POST")
        .assert_problem(408, "body_timeout", &["body_timeout_ms"]);
    assert_eq!(
        (&problem["line"], &problem["created"]),
        (&2.into(), &1.into())
    );
    assert!(slow.ends());
    assert_eq!(server.get("/get/a").status, 200);
}

#[test]
fn a_bulk_body_may_take_longer_than_a_pause() {
    let server = impatient(BODY);
    let mut steady = server.connect();
    steady.raw("POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_millis(2500) {
        number += 1;
        let line = format!("{{\"key\":\"{number}\",\"value\":1}}\n");
        steady.raw(format!("{:x}\r\n{line}\r\n", line.len()));
        until("the line applies", || {
            (server.get(&format!("/get/{number}")).status == 200).then_some(())
        });
    }
    steady.raw("0\r\n\r\n");
    assert_eq!(steady.response("POST").json()["created"], number);
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
fn too_many_messages_get_a_503_and_nothing_is_half_done() {
    let server = Server::start_with(&["--messages-in-flight-max", "1", "--shards", "1"]);
    let refused = std::sync::atomic::AtomicUsize::new(0);
    let made = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, refused, made) = (&server, &refused, &made);
            scope.spawn(move || {
                let mut connection = server.connect();
                let deadline = Instant::now() + crate::support::DEADLINE;
                let mut number = 0;
                while refused.load(std::sync::atomic::Ordering::Relaxed) < 20 {
                    assert!(Instant::now() < deadline, "messages are refused");
                    number += 1;
                    let path = format!("/set/{client}-{number}");
                    let response = connection.request("PUT", &path, &[], b"1");
                    if response.status == 503 {
                        let says = ["nothing was done", "messages_in_flight_max"];
                        response.assert_problem(503, "overloaded", &says);
                        assert_eq!(response.header("retry-after"), Some("1"));
                        refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    } else {
                        assert_eq!(response.status, 200);
                        made.lock().unwrap().push(format!("{client}-{number}"));
                    }
                }
            });
        }
    });
    let mut made = made.into_inner().unwrap();
    made.sort_unstable();
    // Long searches and bulk bodies wait for their turn instead.
    assert_eq!(server.get("/search?prefix=").keys(), made);
    server.fill((0..500).map(|number| format!("bulk{number}")));
    let metrics = server.get("/metrics");
    let refused = refused.into_inner();
    assert!(
        metrics
            .text()
            .contains(&format!("kvstore_messages_refused_total {refused}\n"))
    );
}

#[test]
fn a_full_store_gets_507_while_reads_and_deletes_go_on() {
    let server = Server::in_memory(&["--store-bytes-max", "4000000"]);
    let value = vec![b'v'; 10_000];
    let mut stored = 0;
    let full = loop {
        let response = server.put(&format!("/set/{stored}"), &[], &value);
        if response.status != 200 {
            break response;
        }
        stored += 1;
        assert!(stored < 1000, "the store is full at some point");
    };
    full.assert_problem(507, "store_full", &["4000000", "store_bytes_max", "delete"]);
    assert!(stored > 100);
    let line = |key: &str, length: usize| {
        serde_json::json!({"key": key, "value": "v".repeat(length)}).to_string() + "\n"
    };
    let lines = line("0", 5) + &line("big", 500_000) + &line("after", 5);
    let bulk = server.send("POST", "/set", &[LINES], lines.as_bytes());
    let problem = bulk.assert_problem(507, "store_full", &["store_bytes_max"]);
    assert_eq!(
        (&problem["line"], &problem["updated"]),
        (&2.into(), &1.into())
    );
    assert_eq!(server.get("/get/1").body, value);
    // What does not grow the store fits all the same.
    assert_eq!(server.put("/set/1", &[], &value).status, 200);
    assert_eq!(server.put("/set/1", &[], b"small").status, 200);
    assert_eq!(server.get("/search?prefix=&limit=5").keys().len(), 5);
    for number in 1..stored {
        assert_eq!(server.delete(&format!("/delete/{number}")).status, 204);
    }
    assert_eq!(server.put("/set/again", &[], &value).status, 200);
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

/// A number of `/metrics`.
fn metric(server: &Server, name: &str) -> usize {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find_map(|line| {
        let number = line.strip_prefix(name)?.strip_prefix(' ')?;
        number.parse().ok()
    });
    line.expect("the metric is there")
}

#[test]
fn what_was_deleted_from_a_full_store_is_free_for_values_of_another_size() {
    const BYTES_MAX: usize = 20_000_000;
    let bytes_max = BYTES_MAX.to_string();
    let server = Server::in_memory(&["--store-bytes-max", &bytes_max, "--shards", "2"]);
    let lines = |name: &str, numbers: std::ops::Range<usize>, body_bytes: usize| -> String {
        let value = "v".repeat(body_bytes);
        let line = |number| {
            let key = format!("{name}{number}");
            serde_json::json!({"key": key, "value": value}).to_string() + "\n"
        };
        numbers.map(line).collect()
    };
    let mut stored = 0;
    loop {
        let response = server.bulk(&lines("old", stored..stored + 2000, 150));
        stored += 2000;
        if response.status != 200 {
            response.assert_problem(507, "store_full", &["store_bytes_max"]);
            break;
        }
        assert!(stored < 1_000_000, "the store is full at some point");
    }
    // Nine of ten, in no order that memory knows.
    std::thread::scope(|scope| {
        for client in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.connect();
                for at in (client..stored).step_by(4) {
                    let number = at * 7919 % stored;
                    if number % 10 != 0 {
                        let path = format!("/delete/old{number}");
                        let status = connection.request("DELETE", &path, &[], b"").status;
                        assert!(status == 204 || status == 404, "{status}");
                    }
                }
            });
        }
    });
    // At once, and without a try that is refused.
    let single = server.put("/set/single", &[], &[b'v'; 300]);
    assert_eq!(single.status, 200, "{}", single.text());
    until("memory comes back", || {
        let bytes = metric(&server, "kvstore_store_bytes");
        (bytes < BYTES_MAX / 3).then_some(())
    });
    let count = BYTES_MAX / 2 / (320 + 60);
    let response = server.bulk(&lines("new", 0..count, 320));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["created"], count);
    for number in (0..stored).step_by(10).take(100) {
        let value = server.get(&format!("/get/old{number}"));
        assert_eq!(value.body.len(), 152);
    }
}
