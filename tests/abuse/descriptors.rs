//! Fewer descriptors than clients would hold: those that the server holds are served, the log says it once, nothing spins,
//! and what it keeps on disk goes on.

use crate::server::{Server, until};
use crate::wire::{Connection, Response, exchange};
use crate::{is_long, raise_descriptors, say};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How many a process may have here.
const DESCRIPTORS: usize = 64;

/// Connections of those that are served with so many, of 16.
const SERVED: usize = 12;

/// Clients who connect and say nothing.
const CROWD: usize = 200;

/// What must be left to open files with.
const LEFT: usize = 4;

/// For how long the processor is watched, and how much of it may be used meanwhile.
const WATCHED: Duration = Duration::from_secs(2);
const USED: Duration = Duration::from_millis(500);

/// A file of the log has room for 74 of these.
const VALUE_BYTES: usize = 900_000;
const FILE_VALUES: usize = 74;

/// A server whose process may have so few descriptors.
fn limited(settings: &[(&str, &str)]) -> Server {
    Server::start_by(settings, |command| {
        let mut limited = Command::new("/bin/sh");
        limited
            .arg("-c")
            .arg(format!("ulimit -n {DESCRIPTORS} && exec \"$0\""))
            .arg(command.get_program());
        limited
    })
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
}

fn ask(connection: &mut Connection, request: &[u8]) -> Response {
    connection.send(request).unwrap();
    connection.read_response().unwrap()
}

/// Sets a key whose value is large.
fn put(connection: &mut Connection, number: usize) -> u16 {
    let head = format!(
        "PUT /set/large{number} HTTP/1.1\r\nHost: t\r\nContent-Length: {VALUE_BYTES}\r\n\r\n"
    );
    connection.send(head.as_bytes()).unwrap();
    ask(connection, &vec![b'v'; VALUE_BYTES]).status
}

fn connections(server: &Server, count: usize) -> Vec<Connection> {
    let connect = |_| Connection::connect(server.address()).unwrap();
    (0..count).map(connect).collect()
}

/// Connections that are served.
fn served(server: &Server) -> Vec<Connection> {
    let set = b"PUT /set/k HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n1";
    assert_eq!(exchange(server.address(), set).unwrap().status, 200);
    until("the connections before have ended", || {
        (server.metric("kvstore_http_connections") <= 1.0).then_some(())
    });
    let mut held = connections(server, SERVED);
    are_served(&mut held);
    held
}

fn are_served(held: &mut [Connection]) {
    for one in held {
        assert_eq!(ask(one, &get("/get/k")).status, 200);
    }
}

/// How much of the processor is used while nobody asks for anything.
fn used_while_idle(server: &Server) -> Duration {
    let before = server.cpu();
    sleep(WATCHED);
    server.cpu() - before
}

/// Nothing spins, and one line of the log is about what lacks.
fn is_quiet_and_says_so_once(name: &str, server: &Server, about: &str) {
    let used = used_while_idle(server);
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains(about)).count();
    let figure = format!("{used:?} of a processor in {WATCHED:?}, {lines} line in the log");
    say(name, &figure, &format!("{USED:?}, 1 line"));
    assert!(used <= USED, "{used:?}");
    assert_eq!(lines, 1, "{log}");
}

/// Past its bound the server is asked for health, refuses what is more, and says when to come again.
fn refuses(server: &Server) {
    let answer = exchange(server.address(), &get("/livez")).unwrap();
    assert_eq!(answer.status, 200);
    let answer = exchange(server.address(), &get("/get/k")).unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
}

/// Once others have gone everybody is served again.
fn recovers(server: &Server) {
    let left = Instant::now();
    until("there is room again", || {
        let answer = exchange(server.address(), &get("/get/k")).ok()?;
        (answer.status == 200).then_some(())
    });
    let took = left.elapsed();
    say(
        "a connection after descriptors lacked",
        &format!("{took:.1?}"),
        "30 s",
    );
}

#[test]
fn with_few_descriptors_some_are_served_and_files_can_be_opened() {
    raise_descriptors();
    let server = limited(&[]);
    let mut held = served(&server);
    let crowd = connections(&server, CROWD);
    refuses(&server);
    let most = server.descriptors();
    let bound = DESCRIPTORS - LEFT;
    let figure = format!("{most} of {DESCRIPTORS} with {CROWD} clients more");
    say("descriptors in use", &figure, &bound.to_string());
    assert!(most <= bound, "{most}");
    is_quiet_and_says_so_once("with 64 descriptors", &server, "descriptors");
    are_served(&mut held);
    drop((held, crowd));
    recovers(&server);
    assert!(server.stop().success());
}

#[test]
fn with_few_descriptors_a_data_directory_goes_on() {
    raise_descriptors();
    let directory = TempDir::new().unwrap();
    let settings = [
        ("data_dir", directory.path().to_str().unwrap()),
        ("log_bytes_max", "33554432"),
    ];
    let server = limited(&settings);
    let mut held = served(&server);
    let crowd = connections(&server, CROWD);
    // As many as take the next file of the log, and a checkpoint; in the long form some more.
    let files = if is_long() { 4 } else { 1 };
    let values = files * FILE_VALUES + 10;
    for number in 0..values {
        assert_eq!(put(&mut held[0], number), 200);
    }
    until("a checkpoint is taken", || {
        (server.metric("kvstore_data_checkpoints_total") >= 1.0).then_some(())
    });
    let failed = server.metric("kvstore_data_checkpoints_failed_total");
    let figure = format!("{values} values of 900 kB set, {failed} checkpoints failed");
    say(
        "a data directory with 64 descriptors",
        &figure,
        "all, 0 failed",
    );
    assert_eq!(failed, 0.0, "{}", server.log());
    refuses(&server);
    are_served(&mut held);
    is_quiet_and_says_so_once(
        "with 64 descriptors and a data directory",
        &server,
        "descriptors",
    );
    drop((held, crowd));
    recovers(&server);
    assert!(server.stop().success());

    let server = limited(&settings);
    for number in [0, values / 2, values - 1] {
        let answer = exchange(server.address(), &get(&format!("/get/large{number}"))).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, VALUE_BYTES));
    }
    assert!(server.stop().success());
}

/// Lets a process have so many descriptors, fewer than it has places for.
fn limit(server: &Server, descriptors: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: descriptors.or(maximum),
        maximum,
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

/// What the server cannot know of: the last descriptor goes to something else, while it serves.
#[test]
fn a_log_that_has_no_descriptor_left_waits_for_one() {
    raise_descriptors();
    let directory = TempDir::new().unwrap();
    let server = Server::start(&[
        ("data_dir", directory.path().to_str().unwrap()),
        // No checkpoint, which is given up where it lacks a descriptor.
        ("log_bytes_max", "1073741824"),
        ("request_timeout_ms", "25000"),
    ]);
    let mut held = served(&server);
    limit(&server, Some(server.descriptors() as u64));
    let crowd = connections(&server, CROWD);
    until("the log says that connections wait", || {
        server.log().contains("open files").then_some(())
    });
    let (mut writer, set) = (held.remove(0), AtomicUsize::new(0));
    let values = FILE_VALUES + 10;
    scope(|threads| {
        let writing = threads.spawn(|| {
            for number in 0..values {
                assert_eq!(put(&mut writer, number), 200);
                set.store(number + 1, Ordering::Relaxed);
            }
        });
        let mut last = (0, Instant::now());
        until("the log waits", || {
            let now = set.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
            let is_still = last.1.elapsed() > Duration::from_secs(1);
            (now + 20 > FILE_VALUES && is_still).then_some(())
        });
        assert!(set.load(Ordering::Relaxed) < values, "the log needs a file");
        are_served(&mut held);
        is_quiet_and_says_so_once("without a descriptor left", &server, "open files");
        are_served(&mut held);
        limit(&server, None);
        writing.join().unwrap();
    });
    drop((held, writer, crowd));
    recovers(&server);
    assert!(server.stop().success());
}
