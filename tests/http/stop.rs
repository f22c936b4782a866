//! Stopping: nothing that was begun is dropped.

use crate::support::{LINES, Server, until};
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;

fn keys() -> Vec<String> {
    let padding = "x".repeat(500);
    (0..20_000)
        .map(|number| format!("{number:06}{padding}"))
        .collect()
}

#[test]
fn a_streamed_search_arrives_whole_after_sigterm() {
    let mut server = Server::start_with(&["--drain-ms", "100"]);
    let keys = keys();
    server.fill(&keys);
    let mut reader = server.connect();
    reader.send("GET", "/search?prefix=", &[], b"");
    assert_eq!(reader.head().status, 200);
    let mut body = reader.chunk().unwrap().unwrap();
    server.signal(Signal::TERM);
    until("the server is past its drain", || {
        std::net::TcpStream::connect(server.address())
            .is_err()
            .then_some(())
            .or_else(|| server.log().contains("stopping").then_some(()))
    });
    while let Some(chunk) = reader.chunk().expect("the body comes whole") {
        body.extend(chunk);
    }
    let found: Vec<String> = serde_json::from_slice(&body).unwrap();
    assert!(found == keys, "all keys came");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_bulk_body_under_way_is_finished_after_sigterm() {
    let mut server = Server::start_with(&["--drain-ms", "50"]);
    let mut writer = server.connect();
    writer.raw("POST /set HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = |key: &str| {
        let line = format!("{{\"key\":\"{key}\",\"value\":1}}\n");
        format!("{:x}\r\n{line}\r\n", line.len())
    };
    writer.raw(chunk("before"));
    until("the first line applies", || {
        (server.get("/get/before").status == 200).then_some(())
    });
    server.signal(Signal::TERM);
    until("the server stops", || {
        server.log().contains("stopping").then_some(())
    });
    for number in 0..100 {
        writer.raw(chunk(&number.to_string()));
    }
    writer.raw("0\r\n\r\n");
    assert_eq!(
        writer.response("POST").text(),
        r#"{"created":101,"updated":0}"#
    );
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn while_it_drains_the_server_is_unready_and_serves() {
    let mut server = Server::start_with(&["--drain-ms", "3000"]);
    let mut kept = server.connect();
    assert_eq!(kept.request("GET", "/readyz", &[], b"").status, 200);
    let mut also_kept = server.connect();
    assert_eq!(
        also_kept
            .request("GET", "/livez", &[], b"")
            .header("connection"),
        None
    );
    server.signal(Signal::TERM);
    until("the server is unready", || {
        (server.get("/readyz").status == 503).then_some(())
    });
    let unready = server.get("/readyz");
    unready.assert_problem(503, "stopping", &["draining"]);
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(
        server
            .send("POST", "/set", &[LINES], b"{\"key\":\"k\",\"value\":1}")
            .status,
        200
    );
    // A client that keeps its connection is told to close it with its next answer, and sees it.
    let last = kept.request("GET", "/get/k", &[], b"");
    assert_eq!(
        (last.status, last.header("connection")),
        (200, Some("close"))
    );
    assert!(kept.ends());
    assert_eq!(server.wait().code(), Some(0));
    assert!(also_kept.ends());
}

#[test]
fn sigint_stops_without_a_drain() {
    let mut server = Server::start_with(&["--drain-ms", "3600000"]);
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/livez", &[], b"").status, 200);
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(0));
    assert!(idle.ends());
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut server = Server::start_with(&["--drain-ms", "3600000"]);
    server.signal(Signal::TERM);
    until("the server drains", || {
        server.log().contains("stopping").then_some(())
    });
    server.signal(Signal::INT);
    let status = server.wait();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
}
