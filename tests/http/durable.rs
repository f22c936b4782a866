//! A data directory: what was acknowledged, and what anybody has seen, is there after whatever ended the
//! process; what is not as it was written is refused.

use crate::support::{DEADLINE, Response, Server, kvstore, until};
use rustix::process::Signal;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tempfile::TempDir;

/// A server that keeps its data in a directory.
pub fn start(directory: &Path, more: &[&str]) -> Server {
    let directory = directory.to_str().unwrap();
    let arguments = [&["--data-dir", directory, "--drain-ms", "1"], more].concat();
    Server::start_as(&arguments)
}

/// How a server ends that does not start, and what it says.
pub fn refused(directory: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = kvstore();
    command
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory);
    let output = command.args(more).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn what_was_set_is_there_after_a_kill_and_after_a_stop_with_its_tags_and_types() {
    let directory = TempDir::new().unwrap();
    let mut server = start(directory.path(), &["--shards", "3"]);
    let put = |server: &Server, key: &str, content_type, body: &[u8]| {
        let response = server.put(
            &format!("/set/{key}"),
            &[("Content-Type", content_type)],
            body,
        );
        assert_eq!(response.status, 200);
        response.etag()
    };
    let large = vec![b'x'; 300_000];
    let bodies: [(&str, &str, &[u8]); 4] = [
        ("json", "application/json", b"{\"a\": 1}"),
        ("ld", "application/ld+json; charset=utf-8", b"{}"),
        ("large", "application/octet-stream", &large),
        ("empty", "text/plain", b""),
    ];
    let tags: Vec<String> = bodies
        .iter()
        .map(|(key, content_type, body)| put(&server, key, content_type, body))
        .collect();
    put(&server, "gone", "text/plain", b"1");
    assert_eq!(server.delete("/delete/gone").status, 204);
    let lines: String = (0..3000)
        .map(|number| format!("{{\"key\":\"bulk/{number}\",\"value\":{number}}}\n"))
        .collect();
    assert_eq!(server.bulk(&lines).status, 200);
    let mut last = 0;
    for (round, signal) in [Signal::KILL, Signal::TERM, Signal::KILL]
        .into_iter()
        .enumerate()
    {
        server.signal(signal);
        server.wait();
        // With other workers, and no word about shards.
        server = start(directory.path(), &["--workers", &(round + 1).to_string()]);
        for ((key, content_type, body), tag) in bodies.iter().zip(&tags) {
            let found = server.get(&format!("/get/{key}"));
            assert_eq!(found.header("content-type"), Some(*content_type));
            assert!(found.body == *body && found.etag() == *tag, "{key}");
        }
        assert_eq!(server.get("/get/gone").status, 404);
        assert_eq!(server.get("/get/bulk/2999").text(), "2999");
        assert_eq!(server.get("/search?prefix=bulk/&limit=1").total(), 3000);
        assert_eq!(server.get("/search?suffix=99&limit=1").total(), 30);
        // Tags go up over starts: none is given twice.
        let tag = put(&server, "again", "text/plain", b"1");
        let tag = u64::from_str_radix(tag.trim_matches('"'), 16).unwrap();
        assert!(tag > last);
        last = tag;
    }
}

/// What is known of a key that one thread writes: each change has a number, which a value holds.
#[derive(Default)]
struct Written {
    /// The last change that was acknowledged, shifted by one, and whether it was a set.
    acknowledged: AtomicU64,
    /// The last change that is known to have been made, by whoever saw it.
    seen: AtomicU64,
    /// Whether the last change that was tried was a set.
    tried: AtomicU64,
}

const KEYS: usize = 40;

/// One round of changes, reads and searches until the process is killed.
struct Round<'a> {
    address: SocketAddr,
    keys: &'a [Written],
    /// Keys of a kind of which there are ever more, as acknowledged and as totals have shown.
    added: &'a AtomicU64,
    total: &'a AtomicU64,
    is_over: &'a AtomicBool,
}

impl Round<'_> {
    /// Sends a request; `None` where no answer came.
    fn send(&self, method: &str, path: &str, body: &[u8]) -> Option<Response> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        use std::io::{Read, Write};
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let response = Response {
            status,
            headers,
            body: body.into(),
        };
        let length = response.header("content-length").unwrap_or("0");
        (length.parse() == Ok(body.len()) || method == "DELETE").then_some(response)
    }

    fn write(&self, thread: usize, threads: usize) {
        for turn in 0.. {
            for key in (thread..KEYS).step_by(threads) {
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let written = &self.keys[key];
                let number = written.tried.load(Ordering::Relaxed) / 2 + 1;
                let is_set = (turn + key) % 4 != 0;
                written
                    .tried
                    .store(number * 2 + u64::from(is_set), Ordering::SeqCst);
                let answer = match is_set {
                    true => self.send(
                        "PUT",
                        &format!("/set/k{key}"),
                        format!("{number:<2000}").as_bytes(),
                    ),
                    false => self.send("DELETE", &format!("/delete/k{key}"), b""),
                };
                let Some(answer) = answer else { return };
                assert!(
                    matches!(answer.status, 200 | 204 | 404),
                    "{}",
                    answer.text()
                );
                written
                    .acknowledged
                    .store(number * 2 + u64::from(is_set), Ordering::SeqCst);
            }
        }
    }

    fn add(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.added.load(Ordering::SeqCst);
            let Some(answer) = self.send("PUT", &format!("/set/n{number}"), b"1") else {
                return;
            };
            assert_eq!(answer.status, 200);
            self.added.store(number + 1, Ordering::SeqCst);
        }
    }

    fn read(&self) {
        for turn in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let key = turn * 7 % KEYS;
            let written = &self.keys[key];
            let before = written.acknowledged.load(Ordering::SeqCst);
            let Some(answer) = self.send("GET", &format!("/get/k{key}"), b"") else {
                return;
            };
            let seen = match answer.status {
                200 => answer.text().trim().parse().unwrap(),
                // It was a set that was acknowledged, so that what is seen is a removal after it.
                404 if before % 2 == 1 => before / 2 + 1,
                404 => before / 2,
                other => panic!("{other}: {}", answer.text()),
            };
            written.seen.fetch_max(seen, Ordering::SeqCst);
            if turn % 4 == 0
                && let Some(answer) = self.send("GET", "/search?prefix=n&limit=1", b"")
            {
                self.total
                    .fetch_max(answer.total() as u64, Ordering::SeqCst);
            }
        }
    }
}

#[test]
fn nothing_that_was_acknowledged_or_seen_is_gone_after_kills_under_load() {
    let kills: usize =
        std::env::var("KVSTORE_TEST_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let directory = TempDir::new().unwrap();
    let keys: Vec<Written> = (0..KEYS).map(|_| Written::default()).collect();
    let (added, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut tags: HashMap<u64, String> = HashMap::new();
    for kill in 0..kills {
        let sync = if kill % 4 == 3 { "50ms" } else { "always" };
        // So that some rounds end in the middle of a checkpoint.
        let mut server = start(
            directory.path(),
            &["--sync", sync, "--log-bytes-max", "1048576"],
        );
        for (key, written) in keys.iter().enumerate() {
            let found = server.get(&format!("/get/k{key}"));
            let acknowledged = written.acknowledged.load(Ordering::SeqCst);
            let seen = written.seen.load(Ordering::SeqCst).max(acknowledged / 2);
            let tried = written.tried.load(Ordering::SeqCst);
            let now = match found.status {
                200 => found.text().trim().parse().unwrap(),
                // The last that was tried or the last that was acknowledged was a removal, or there
                // never was a change.
                404 if tried % 2 == 0 => tried / 2,
                404 if acknowledged % 2 == 0 => acknowledged / 2,
                other => panic!("kill {kill}, key {key}: {other} after {acknowledged}, {tried}"),
            };
            assert!(
                now >= seen,
                "kill {kill}, key {key}: {now} after {seen} was seen"
            );
            assert!(now <= tried / 2, "kill {kill}, key {key}: {now} of {tried}");
            // From here on it is known which was made.
            let state = now * 2 + u64::from(found.status == 200);
            written.acknowledged.store(state, Ordering::SeqCst);
            written.seen.store(now, Ordering::SeqCst);
            written.tried.store(tried.max(state), Ordering::SeqCst);
            if found.status == 200 {
                let content = format!("k{key} = {now}");
                let tag = u64::from_str_radix(found.etag().trim_matches('"'), 16).unwrap();
                let before = tags.insert(tag, content.clone());
                assert!(
                    before.is_none_or(|before| before == content),
                    "a tag comes twice"
                );
            }
        }
        let found = server.get("/search?prefix=n&limit=1").total() as u64;
        assert!(
            found
                >= added
                    .load(Ordering::SeqCst)
                    .max(total.load(Ordering::SeqCst))
        );
        added.store(found, Ordering::SeqCst);
        let is_over = AtomicBool::new(false);
        let round = Round {
            address: server.address(),
            keys: &keys,
            added: &added,
            total: &total,
            is_over: &is_over,
        };
        let before = added.load(Ordering::SeqCst);
        thread::scope(|scope| {
            (0..4).for_each(|thread| {
                drop(scope.spawn({
                    let round = &round;
                    move || round.write(thread, 4)
                }))
            });
            scope.spawn(|| round.add());
            scope.spawn(|| round.read());
            scope.spawn(|| round.read());
            // At another moment in each round.
            let more = 5 + kill as u64 * 13 % 60;
            until("some keys are added", || {
                (added.load(Ordering::SeqCst) >= before + more).then_some(())
            });
            server.signal(Signal::KILL);
            server.wait();
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_directory_is_one_processs_and_keeps_its_shards() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path(), &["--shards", "2"]);
    let (code, says) = refused(directory.path(), &[]);
    assert_eq!(code, Some(78), "{says}");
    assert!(says.contains("another process uses"), "{says}");
    drop(server);
    let (code, says) = refused(directory.path(), &["--shards", "5"]);
    assert_eq!(code, Some(78), "{says}");
    assert!(
        says.contains("has 2 shards") && says.contains("export"),
        "{says}"
    );
    let (code, says) = refused(directory.path(), &["--engine", "redis://127.0.0.1:1"]);
    assert_eq!(code, Some(78), "{says}");
    assert!(says.contains("data_dir ="), "{says}");
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let (code, says) = refused(&file, &[]);
    assert_eq!(code, Some(78), "{says}");
    assert!(says.contains("check that it is a directory"), "{says}");
}

#[test]
fn damage_is_refused_with_the_files_name_and_nothing_is_changed() {
    let directory = TempDir::new().unwrap();
    let mut server = start(directory.path(), &[]);
    (0..20).for_each(|number| {
        assert_eq!(
            server
                .post(&format!("{{\"key\":\"k{number}\",\"value\":1}}"))
                .status,
            200
        )
    });
    server.signal(Signal::TERM);
    server.wait();
    let log = directory.path().join("log/00000000000000000000.log");
    let whole = std::fs::read(&log).unwrap();
    for at in [3, 40, 400] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&log, &damaged).unwrap();
        let (code, says) = refused(directory.path(), &[]);
        assert_eq!(code, Some(78), "{says}");
        assert!(says.contains(log.to_str().unwrap()), "{says}");
        assert!(
            std::fs::read(&log).unwrap() == damaged,
            "nothing is changed"
        );
    }
    std::fs::write(&log, &whole).unwrap();
    let server = start(directory.path(), &[]);
    assert_eq!(server.get("/search?prefix=&limit=1").total(), 20);
    drop(server);
    // Another directory's log.
    let other = TempDir::new().unwrap();
    drop(start(other.path(), &[]));
    std::fs::write(other.path().join("log/00000000000000000000.log"), &whole).unwrap();
    let (code, says) = refused(other.path(), &[]);
    assert_eq!(code, Some(78), "{says}");
    assert!(says.contains("is damaged"), "{says}");
}

#[test]
fn a_torn_end_is_cut_off_and_told_of() {
    let directory = TempDir::new().unwrap();
    let mut server = start(directory.path(), &[]);
    assert_eq!(server.post("{\"key\":\"k\",\"value\":1}").status, 200);
    server.signal(Signal::KILL);
    server.wait();
    let log = directory.path().join("log/00000000000000000000.log");
    let mut torn = std::fs::read(&log).unwrap();
    let end = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[end + 10] = 7;
    std::fs::write(&log, &torn).unwrap();
    let server = start(directory.path(), &[]);
    assert_eq!(server.get("/get/k").status, 200);
    assert!(
        server.log().contains("none of them was acknowledged"),
        "{}",
        server.log()
    );
}

/// A metric without labels.
pub fn metric(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics");
    let line = text.text().lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("there is {name}"))
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_checkpoint_lets_the_log_before_it_go_and_a_start_goes_through_little() {
    let directory = TempDir::new().unwrap();
    let mut server = start(
        directory.path(),
        &["--log-bytes-max", "8388608", "--shards", "2"],
    );
    let lines: String = (0..5000)
        .map(|number| format!("{{\"key\":\"bulk/{number}\",\"value\":{number}}}\n"))
        .collect();
    assert_eq!(server.bulk(&lines).status, 200);
    let body = |round: usize| vec![b'a' + round as u8; 1_000_000];
    // More than a file of the log, over few keys, and two that go.
    for round in 0..4 {
        for key in 0..20 {
            let path = format!("/set/large/{key}");
            assert_eq!(server.put(&path, &[], &body(round)).status, 200);
        }
        assert_eq!(server.delete("/delete/large/19").status, 204);
    }
    let first = directory.path().join("log/00000000000000000000.log");
    until("the first file of the log is gone", || {
        (!first.exists()).then_some(())
    });
    assert!(metric(&server, "kvstore_data_checkpoints_total") >= 2.0);
    assert_eq!(
        metric(&server, "kvstore_data_checkpoints_failed_total"),
        0.0
    );
    for (signal, records_max) in [
        (Signal::KILL, 60.0),
        (Signal::TERM, 0.0),
        (Signal::KILL, 0.0),
    ] {
        server.signal(signal);
        server.wait();
        server = start(directory.path(), &[]);
        assert!(
            metric(&server, "kvstore_data_load_records") <= records_max,
            "{}",
            server.log()
        );
        assert_eq!(metric(&server, "kvstore_keys"), 5019.0);
        assert_eq!(server.get("/search?prefix=large/&limit=1").total(), 19);
        assert_eq!(server.get("/search?suffix=99&limit=1").total(), 50);
        assert!((0..19).all(|key| server.get(&format!("/get/large/{key}")).body == body(3)));
        assert_eq!(server.get("/get/large/19").status, 404);
        assert_eq!(server.get("/get/bulk/4999").text(), "4999");
    }
}
