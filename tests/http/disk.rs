//! The disk of a data directory: one that is full, fails or is slow, and what anybody is told meanwhile.

use crate::durable::{metric, start};
use crate::support::{DEADLINE, JSON, Server, until};
use rustix::process::Signal;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// A server on a small file system of its own, which no other process sees.
fn on_small_disk(megabytes: usize) -> (Server, TempDir) {
    let directory = TempDir::new().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m tmpfs {0} && exec {1} --listen 127.0.0.1:0 --workers 2 --data-dir {0}/data",
        directory.path().display(),
        env!("CARGO_BIN_EXE_kvstore")
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    let server = Server::spawn(&mut command);
    until("the store is there", || {
        server.log().contains("were loaded").then_some(())
    });
    (server, directory)
}

#[test]
fn a_full_disk_refuses_sets_and_lets_reads_and_deletes_go_on() {
    let (server, _directory) = on_small_disk(200);
    let body = vec![b'x'; 1_000_000];
    let mut set = Vec::new();
    let refused = loop {
        let key = format!("k{}", set.len());
        let answer = server.put(&format!("/set/{key}"), &[], &body);
        if answer.status != 200 {
            break answer;
        }
        set.push(key);
        assert!(set.len() < 300);
    };
    refused.assert_problem(507, "disk_full", &["data_dir", "delete keys"]);
    assert!(set.len() > 20, "{}", set.len());
    server
        .bulk("{\"key\":\"a\",\"value\":1}\n")
        .assert_problem(507, "disk_full", &[]);
    assert!(
        set.iter()
            .all(|key| server.get(&format!("/get/{key}")).body == body)
    );
    for key in &set {
        assert_eq!(server.delete(&format!("/delete/{key}")).status, 204);
    }
    assert_eq!(server.get("/search?prefix=").total(), 0);
    assert!(server.log().contains("the disk of data_dir is full"));
    // A checkpoint of what is left lets the log go, and there is room again.
    until("sets go on", || {
        (server.put("/set/again", &[], b"1").status == 200).then_some(())
    });
}

/// Runs a server under a tracer that has a system call fail from its n-th time on, and returns it.
pub fn with_failing(call: &str, directory: &Path, more: &[&str]) -> Server {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-e", "trace=fdatasync,pwrite64", "-e"]);
    command.arg(format!("inject={call}"));
    command.args(["-o", "/dev/null", env!("CARGO_BIN_EXE_kvstore")]);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--data-dir"]);
    let server = Server::spawn(command.arg(directory).args(more));
    until("the store is there", || {
        server.log().contains("were loaded").then_some(())
    });
    server
}

#[test]
fn a_disk_that_fails_is_never_believed_again() {
    for call in [
        "fdatasync:error=EIO:when=20+",
        "pwrite64:error=EIO:when=20+",
    ] {
        let directory = TempDir::new().unwrap();
        let mut server = with_failing(call, directory.path(), &[]);
        let mut acknowledged = 0;
        let begun = Instant::now();
        loop {
            let key = format!("{{\"key\":\"k{acknowledged}\",\"value\":1}}");
            let answer = server.send("POST", "/set", &[JSON], key.as_bytes());
            if answer.status != 200 {
                answer.assert_problem(504, "disk_failed", &["unknown"]);
                break;
            }
            acknowledged += 1;
            assert!(begun.elapsed() < DEADLINE, "the call fails");
        }
        assert!(acknowledged > 0);
        let status = server.wait();
        assert!(status.signal().is_some(), "{status:?}");
        assert!(
            server.log().contains("could not be written"),
            "{}",
            server.log()
        );
        let server = start(directory.path(), &[]);
        let total = server.get("/search?prefix=k&limit=1").total();
        assert!(
            total == acknowledged || total == acknowledged + 1,
            "{call}: {total}"
        );
    }
}

#[test]
fn a_bulk_body_that_waits_too_long_for_the_disk_is_to_be_sent_again_whole() {
    let directory = TempDir::new().unwrap();
    // A disk that takes three seconds.
    let call = "fdatasync:delay_enter=3000000";
    let server = with_failing(call, directory.path(), &["--request-timeout-ms", "100"]);
    for last in ["{\"key\":\"c\",\"value\":3}\n", "[]\n"] {
        let lines = "{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":2}\n";
        let answer = server.bulk(&[lines, last].concat());
        let problem = answer.assert_problem(504, "timeout", &["from this line on"]);
        assert_eq!(problem["line"], 1, "{problem}");
    }
}

#[test]
fn no_answer_to_a_change_leaves_before_it_is_on_disk() {
    let directory = TempDir::new().unwrap();
    let trace = directory.path().join("trace");
    let mut command = Command::new("strace");
    command.args([
        "-D",
        "-f",
        "-q",
        "-e",
        "trace=fdatasync,pwrite64,sendto,write,writev",
    ]);
    command
        .args(["-s", "200", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_kvstore"));
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "2",
        "--drain-ms",
        "1",
        "--data-dir",
    ]);
    let mut server = Server::spawn(command.arg(directory.path().join("data")));
    until("the store is there", || {
        server.log().contains("were loaded").then_some(())
    });
    let mut connection = server.connect();
    for number in 0..50 {
        let body = format!("{{\"key\":\"key-{number:04}\",\"value\":1}}");
        let answer = connection.request("POST", "/set", &[JSON], body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    server.signal(Signal::KILL);
    server.wait();
    until("the tracer has ended", || {
        let trace = std::fs::read_to_string(&trace).unwrap();
        trace.contains("+++ killed").then_some(())
    });
    let mut written: HashMap<String, usize> = HashMap::new();
    let mut syncs = Vec::new();
    let mut answers = 0;
    for (at, line) in BufReader::new(std::fs::File::open(&trace).unwrap())
        .lines()
        .enumerate()
    {
        let line = line.unwrap();
        let key = |line: &str| {
            line.find("key-")
                .map(|from| line[from..from + 8].to_owned())
        };
        if line.contains("pwrite64(") {
            if let Some(key) = key(&line) {
                written.insert(key, at);
            }
        } else if line.contains("fdatasync") && line.ends_with("= 0") {
            syncs.push(at);
        } else if line.contains("\\\"created\\\":true")
            && let Some(key) = key(&line)
        {
            let write = written[&key];
            assert!(
                syncs.iter().any(|sync| *sync > write),
                "{key} was answered before its sync"
            );
            answers += 1;
        }
    }
    assert_eq!(answers, 50);
}

#[test]
fn what_is_not_on_disk_yet_is_seen_by_nobody_and_all_else_is_answered_meanwhile() {
    let directory = TempDir::new().unwrap();
    {
        let server = start(directory.path(), &["--shards", "1"]);
        server.fill(["old", "other"]);
    }
    // A disk that takes a second.
    let call = "fdatasync:delay_enter=1000000";
    let server = with_failing(call, directory.path(), &[]);
    let ask = |method: &str, path: &str, body: &[u8]| {
        let mut connection = server.connect();
        connection.send(method, path, &[("Content-Type", "text/plain")], body);
        connection
    };
    let mut set = ask("PUT", "/set/new", b"1");
    let mut update = ask("PUT", "/set/old", b"2");
    until("both are made", || {
        (metric(&server, "kvstore_data_log_records_waiting") == 2.0).then_some(())
    });
    let mut waiting = [
        ask("GET", "/get/new", b""),
        ask("GET", "/get/old", b""),
        ask("GET", "/search?prefix=n", b""),
        ask("GET", "/search?prefix=", b""),
    ];
    // These came later, and are answered.
    assert_eq!(server.get("/get/other").text(), "1");
    assert_eq!(server.get("/get/none").status, 404);
    assert_eq!(server.get("/search?prefix=o").keys(), ["old", "other"]);
    assert_eq!(server.get("/search?suffix=x").total(), 0);
    assert!(
        metric(&server, "kvstore_data_log_records_waiting") >= 2.0,
        "the disk is not done"
    );
    for connection in [&mut set, &mut update].into_iter().chain(&mut waiting) {
        assert!(
            connection.is_silent(),
            "nothing is answered before the disk is done"
        );
    }
    assert_eq!(set.response("PUT").status, 200);
    assert_eq!(update.response("PUT").status, 200);
    let [get, updated, some, all] = &mut waiting;
    assert_eq!(get.response("GET").text(), "1");
    assert_eq!(updated.response("GET").text(), "2");
    assert_eq!(some.response("GET").keys(), ["new"]);
    assert_eq!(all.response("GET").total(), 3);
}
