//! What clients' bytes take that are in flight: never more than is set aside for them.

use crate::support::{JSON, LINES, Server, until};
use std::io::{ErrorKind, Read, Write};
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
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
        assert_eq!(server.put(&path, &[], b"1").status, 200);
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
fn unfinished_bodies_take_no_more_than_is_set_aside() {
    for (head, body) in [
        (
            "POST /set HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2000000",
            1_999_999,
        ),
        ("PUT /set/k HTTP/1.1\r\nContent-Length: 1000000", 999_999),
        ("PUT /set/k HTTP/1.1\r\nTransfer-Encoding: chunked", 999_999),
        (
            "POST /set HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9000000",
            1_999_999,
        ),
    ] {
        let server = bounded(&["--workers", "2"]);
        let before = server.resident_bytes();
        let mut bytes = format!("{head}\r\nHost: t\r\n\r\n").into_bytes();
        if head.ends_with("chunked") {
            bytes.extend(format!("{:x}\r\n", body + 1).bytes());
        }
        bytes.extend(std::iter::repeat_n(b'1', body));
        let clients = (0..100).map(|_| idle_client(&server, &bytes)).collect();
        holds_up_nobody(&server, clients, before);
    }
}

#[test]
fn half_heads_take_no_more_than_is_set_aside() {
    let server = bounded(&[]);
    let before = server.resident_bytes();
    let head = format!(
        "GET /get/k HTTP/1.1\r\nHost: t\r\nX: {}",
        "x".repeat(120_000)
    );
    let clients = (0..200)
        .map(|_| idle_client(&server, head.as_bytes()))
        .collect();
    holds_up_nobody(&server, clients, before);
}

#[test]
fn unread_answers_take_no_more_than_is_set_aside() {
    let server = bounded(&["--value-bytes-max", "2000000"]);
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
        let clients = (0..60)
            .map(|_| idle_client(&server, request.as_bytes()))
            .collect();
        holds_up_nobody(&server, clients, before);
    }
    let keys = format!("{{\"keys\":[{}\"large\"]}}", "\"large\",".repeat(999));
    let before = server.resident_bytes();
    let request = format!(
        "POST /get HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{keys}",
        keys.len()
    );
    let clients = (0..60)
        .map(|_| idle_client(&server, request.as_bytes()))
        .collect();
    holds_up_nobody(&server, clients, before);
    // Many requests that come at once are not all answered at once.
    assert_eq!(server.put("/set/4k", &[], &vec![b'v'; 4000]).status, 200);
    let before = server.resident_bytes();
    let requests = "GET /get/4k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1000);
    let clients = (0..60)
        .map(|_| idle_client(&server, requests.as_bytes()))
        .collect();
    holds_up_nobody(&server, clients, before);
}

#[test]
fn a_value_that_many_read_is_in_memory_once() {
    let server = Server::in_memory(&[
        "--value-bytes-max",
        "20000000",
        "--buffers-bytes-max",
        "60000000",
    ]);
    let large = vec![b'v'; 16_000_000];
    assert_eq!(server.put("/set/large", &[], &large).status, 200);
    let before = server.resident_bytes();
    let clients: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut client = idle_client(&server, b"GET /get/large HTTP/1.1\r\nHost: t\r\n\r\n");
            client.set_nonblocking(false).unwrap();
            let mut status = [0; 15];
            client.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 200 OK");
            client
        })
        .collect();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 40 * CONNECTION + 24 * MIB, "{grown}");
    drop(clients);
}

#[test]
fn over_the_budget_a_request_waits_and_is_then_told() {
    let server = Server::start_with(&[
        "--buffers-bytes-max",
        "4194304",
        "--body-timeout-ms",
        "1500",
    ]);
    let head = "PUT /set/k HTTP/1.1\r\nHost: t\r\nContent-Length: 900000\r\n\r\n";
    let clients: Vec<TcpStream> = (0..8)
        .map(|_| idle_client(&server, head.as_bytes()))
        .collect();
    let body = vec![b'v'; 900_000];
    let refused = server.put("/set/refused", &[], &body);
    let says = ["buffers_bytes_max", "4194304", "nothing was done"];
    refused.assert_problem(503, "overloaded", &says);
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(clients);
    until("there is room again", || {
        (server.put("/set/made", &[], &body).status == 200).then_some(())
    });
    assert_eq!(server.get("/get/refused").status, 404);
    let lines = (0..1000).map(|number| {
        format!(
            "{{\"key\":\"{number}\",\"value\":\"{}\"}}\n",
            "v".repeat(5000)
        )
    });
    let lines: String = lines.collect();
    let answer = server.send("POST", "/set", &[LINES], lines.as_bytes());
    assert_eq!(answer.json()["created"], 1000);
    assert_eq!(
        server
            .send("POST", "/set", &[JSON], b"{\"key\":\"a\",\"value\":1}")
            .status,
        200
    );
}

#[test]
fn a_steady_reader_is_not_cut_however_large_the_answer() {
    let server = Server::start_with(&[
        "--value-bytes-max",
        "20000000",
        "--write-timeout-ms",
        "1000",
        "--buffers-bytes-max",
        "100000000",
    ]);
    let body = vec![b'v'; 12_000_000];
    assert_eq!(server.put("/set/large", &[], &body).status, 200);
    let mut reader = TcpStream::connect(server.address()).unwrap();
    reader
        .write_all(b"GET /get/large HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (begun, mut read) = (Instant::now(), 0);
    let mut piece = vec![0; 20_000];
    loop {
        // Five seconds for all of it, which is several times the limit.
        let due = begun + Duration::from_secs(5).mul_f64(read as f64 / body.len() as f64);
        until("it is time to read on", || {
            (Instant::now() >= due).then_some(())
        });
        match reader.read(&mut piece).unwrap() {
            0 => break,
            some => read += some,
        }
    }
    assert!(read > body.len(), "{read} came");
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
