//! Bounds: over each, the client is told or cut off, and others are served.
//!
//! Those in which no engine has a part are in the modules below.

mod full;
mod slow;

use crate::support::{Server, until};
use std::time::{Duration, Instant};

/// A server that gives up on slow clients after a second, by each of these settings.
fn impatient(settings: &[&str]) -> Server {
    let with_value = settings.iter().flat_map(|setting| [*setting, "1000"]);
    Server::start_with(&with_value.collect::<Vec<_>>())
}

const BODY: &[&str] = &["--body-timeout-ms"];

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
    // Longer than any pause of this machine's own.
    let server = Server::start_with(&["--body-timeout-ms", "4000"]);
    let mut steady = server.connect();
    steady.raw("POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_millis(5000) {
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
