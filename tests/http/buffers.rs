//! What clients' bytes take that are in flight: never more than is set aside for them.

mod wire;

use crate::engine::is_memory;
use crate::support::{Server, pause, until};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;

/// What a connection takes that is busy, besides what is counted: its buffers, and what it may read
/// ahead. Debug builds take a little more.
const CONNECTION: usize = 100 * 1024;

fn bounded(arguments: &[&str]) -> Server {
    let mut all = vec![
        "--buffers-bytes-max",
        "8388608",
        "--body-timeout-ms",
        "3000",
    ];
    all.extend(arguments);
    Server::start_with(&all)
}

/// A client that sends as much as is taken, and reads nothing.
fn idle_client(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let (mut sent, begun) = (0, Instant::now());
    while sent < bytes.len() && begun.elapsed() < Duration::from_millis(20) {
        match stream.write(&bytes[sent..]) {
            Ok(some) => sent += some,
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
            Err(_) => break,
        }
    }
    stream
}

fn gauge(server: &Server, name: &str) -> usize {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find_map(|line| {
        let value = line.strip_prefix(name)?;
        value.strip_prefix(' ')?.parse().ok()
    });
    line.unwrap_or_else(|| panic!("there is {name}"))
}

/// Small requests of any kind are answered, and at the end nothing is held.
fn holds_up_nobody(server: &Server, clients: Vec<TcpStream>, before: usize) {
    for number in 0..20 {
        let path = format!("/set/small{number}");
        let set = server.put(&path, &[], b"1");
        assert_eq!(set.status, 200, "{}", set.text());
        assert_eq!(server.post(r#"{"key":"k","value":1}"#).status, 200);
        assert_eq!(server.get("/get/k").status, 200);
        assert_eq!(server.get("/search?prefix=small&limit=5").status, 200);
        let middling = vec![b'v'; 20_000];
        assert_eq!(server.put("/set/middling", &[], &middling).status, 200);
        assert_eq!(server.get("/get/middling").body, middling);
    }
    let held = gauge(server, "kvstore_buffers_bytes");
    assert!(held <= 8 * MIB, "{held}");
    let grown = server.resident_bytes().saturating_sub(before);
    let most = 8 * MIB + clients.len() * CONNECTION + 24 * MIB;
    assert!(
        grown < most,
        "{grown} of {most} with {} clients",
        clients.len()
    );
    drop(clients);
    // A scrape holds some itself.
    until("what was held is given back", || {
        (gauge(server, "kvstore_buffers_bytes") <= 128 * 1024).then_some(())
    });
}

#[test]
fn unread_answers_take_no_more_than_is_set_aside() {
    // Over an engine elsewhere the values that are read for others hold up the question that precedes a change.
    if !is_memory() {
        return;
    }
    let server = bounded(&["--value-bytes-max", "2000000"]);
    let clients = 60;
    // Six bytes of JSON for each of these.
    let padding = "\u{1}".repeat(900);
    for part in 0..2 {
        server.fill((0..5_000).map(|number| format!("{part}{number:06}{padding}")));
    }
    let large = vec![b'v'; 1_500_000];
    assert_eq!(server.put("/set/large", &[], &large).status, 200);
    for path in [
        "/search?prefix=&limit=10000",
        "/search?prefix=",
        "/search?prefix=&values=true",
        "/search?prefix=large&values=true",
        "/get/large",
    ] {
        let before = server.resident_bytes();
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        let idle = (0..clients)
            .map(|_| idle_client(&server, request.as_bytes()))
            .collect();
        holds_up_nobody(&server, idle, before);
    }
    let keys = format!("{{\"keys\":[{}\"large\"]}}", "\"large\",".repeat(999));
    let before = server.resident_bytes();
    let request = format!(
        "POST /get HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{keys}",
        keys.len()
    );
    let idle = (0..clients)
        .map(|_| idle_client(&server, request.as_bytes()))
        .collect();
    holds_up_nobody(&server, idle, before);
    // Many requests that come at once are not all answered at once.
    assert_eq!(server.put("/set/4k", &[], &vec![b'v'; 4000]).status, 200);
    let before = server.resident_bytes();
    let requests = "GET /get/4k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1000);
    let idle = (0..clients)
        .map(|_| idle_client(&server, requests.as_bytes()))
        .collect();
    holds_up_nobody(&server, idle, before);
}

#[test]
fn bulk_bodies_leave_places_for_reads() {
    let server = Server::start_with(&["--messages-in-flight-max", "16", "--shards", "1"]);
    assert_eq!(server.put("/set/k", &[], b"1").status, 200);
    std::thread::scope(|scope| {
        let mut bulks = Vec::new();
        for client in 0..40 {
            let server = &server;
            bulks.push(scope.spawn(move || {
                let lines =
                    (0..1000).map(|line| format!("{{\"key\":\"{client}-{line}\",\"value\":1}}\n"));
                let answer = server.bulk(&lines.collect::<String>());
                assert_eq!(answer.json()["created"], 1000);
            }));
        }
        let mut connection = server.connect();
        let mut asked = 0;
        while !bulks.iter().all(|bulk| bulk.is_finished()) {
            assert_eq!(connection.request("GET", "/get/k", &[], b"").status, 200);
            asked += 1;
        }
        assert!(asked > 10, "reads and bulk bodies were under way at once");
    });
}
