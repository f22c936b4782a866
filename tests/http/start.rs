//! What the start and the end say, and what is served whatever clients hold.

use crate::support::{DEADLINE, Server, kvstore, until};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;

#[test]
fn the_start_and_the_end_say_where_the_data_is_and_what_becomes_of_it() {
    let mut server = Server::in_memory(&["--drain-ms", "1"]);
    server.fill((0..37).map(|number| number.to_string()));
    until("the start says what is served", || {
        let log = server.log();
        let says = [
            "in this process' memory",
            "gone when it ends",
            "2 workers",
            "descriptors",
        ];
        says.iter().all(|text| log.contains(text)).then_some(())
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    until("the end says what is gone", || {
        server
            .log()
            .contains("the 37 keys that were in its memory are gone")
            .then_some(())
    });
}

#[test]
fn no_mistake_in_flags_or_variables_shows_a_password() {
    let secret = "redis://:S3CRET@10.0.0.1:6379";
    for arguments in [
        &["--workers", secret][..],
        &["--engine", "--workers", secret],
        &["--enginee", secret],
        &[&format!("--enginee={secret}")],
        &[&format!("--workers={secret}")],
        &[secret],
        &["--engine", "redis://:S3CRET@[:6379"],
        &["--engine", "radis://:S3CRET@h"],
    ] {
        let output = kvstore().args(arguments).output().unwrap();
        assert!(
            matches!(output.status.code(), Some(2 | 74 | 78)),
            "{output:?}"
        );
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("S3CRET"),
            "{output:?}"
        );
        assert!(!output.stderr.is_empty());
    }
    let output = kvstore().env("KVSTORE_WORKERS", secret).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("S3CRET"),
        "{output:?}"
    );
    // What is no text is not left out without a word: the engine would be asked without a password.
    for variable in [
        "KVSTORE_ENGINE_PASSWORD",
        "KVSTORE_ENGINE_SENTINEL_PASSWORD",
    ] {
        let mut command = kvstore();
        command.args(["--listen", "127.0.0.1:0", "--engine"]);
        command.arg("redis+sentinel://127.0.0.1:1/main");
        command.env(variable, OsStr::from_bytes(b"S3CRET\xff"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(variable) && said.contains("UTF-8"), "{said}");
        assert!(!said.contains("S3CRET"), "{said}");
    }
    let output = kvstore().args(["--log", "inf"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("log = inf"));
}

#[test]
fn health_is_answered_whatever_clients_hold() {
    let server = Server::start_with(&["--connections-max", "20", "--workers", "2"]);
    assert_eq!(server.put("/set/k", &[], &vec![b'v'; 500_000]).status, 200);
    let held: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let bytes = [
                "",
                "GET /get/k HTTP/1.1\r\nHos",
                "GET /get/k HTTP/1.1\r\nHost: t\r\n\r\n",
            ][number % 3];
            // The server may have ended it already.
            let _ = stream.write_all(bytes.as_bytes());
            stream
        })
        .collect();
    until("all places are taken", || {
        let text = server.get("/metrics").text().to_owned();
        text.contains("\nkvstore_http_connections 20\n")
            .then_some(())
    });
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.get(path).status, 200);
    }
    let refused = server.get("/get/other");
    refused.assert_problem(503, "overloaded", &["connections_max", "nothing was done"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(held);
    until("there is room again", || {
        (server.get("/get/other").status == 404).then_some(())
    });
}

#[test]
fn a_bound_on_descriptors_bounds_connections_and_is_told() {
    let binary = env!("CARGO_BIN_EXE_kvstore");
    let mut command = std::process::Command::new("sh");
    command.env_clear().args([
        "-c",
        &format!("ulimit -n 128; exec {binary:?} --listen 127.0.0.1:0 --workers 1"),
    ]);
    let server = Server::spawn(&mut command);
    until("the bound is told", || {
        let log = server.log();
        (log.contains("up to 32 connections") && log.contains("128 descriptors")).then_some(())
    });
    let mut held: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    assert_eq!(server.get("/livez").status, 200);
    // Those within the bound are served.
    let mut answer = [0; 12];
    held[0]
        .write_all(b"GET /get/k HTTP/1.1\r\nHost: t\r\n\r\n")
        .unwrap();
    held[0].set_read_timeout(Some(DEADLINE)).unwrap();
    held[0].read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
    drop(held);
    until("there is room again", || {
        (server.get("/get/other").status == 404).then_some(())
    });
    assert!(server.log().lines().count() < 20, "{}", server.log());
}

#[test]
fn a_stop_takes_the_drain_and_one_timeout() {
    let mut server = Server::start_with(&["--drain-ms", "200", "--shutdown-timeout-ms", "16000"]);
    assert_eq!(
        server.put("/set/k", &[], &vec![b'v'; 1_000_000]).status,
        200
    );
    let mut half_a_body = server.connect();
    half_a_body.raw("PUT /set/k HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nabc");
    let mut stalled = server.connect();
    stalled.raw("GET /get/k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20));
    until("the body is under way", || {
        let metrics = server.get("/metrics");
        metrics
            .text()
            .contains("\nkvstore_http_requests_in_flight 3\n")
            .then_some(())
    });
    server.signal(Signal::TERM);
    // Two timeouts would be past the deadline of the wait.
    assert_eq!(server.wait().code(), Some(0));
}
