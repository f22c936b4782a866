//! What is in flight between clients and the server alone, in which no engine has a part.

use super::{CONNECTION, MIB, bounded, holds_up_nobody, idle_client};
use crate::support::{JSON, LINES, Server, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

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
