//! Watches that go on behind an event: after a cut, in the log, after a restart; and that cannot.

use super::client::{State, Watch, equals_the_store, in_memory};
use crate::engine::{is_first, is_memory};
use crate::support::{JSON, LINES, Server, kvstore, until};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tempfile::TempDir;

/// Sets one key to each of some numbers, one after the other.
fn count(server: &Server, key: &str, numbers: std::ops::Range<u64>) {
    let mut connection = server.connect();
    for number in numbers {
        let body = number.to_string();
        let path = format!("/set/{key}");
        let set = connection.request("PUT", &path, &[JSON], body.as_bytes());
        assert_eq!(set.status, 200, "{}", set.text());
    }
}

/// Asserts that a watch gives each of some numbers in their order.
fn counts(watch: &mut Watch, numbers: std::ops::Range<u64>) -> Option<String> {
    let mut id = None;
    for number in numbers {
        let event = watch.next_change();
        assert_eq!(event.data["value"], number);
        id = event.id;
    }
    id
}

#[test]
fn a_watch_goes_on_without_a_gap_behind_the_last_event_of_one_that_was_cut() {
    if !is_memory() {
        return;
    }
    let server = Server::start();
    let query = "prefix=k&values=true";
    let mut watch = Watch::open(&server, query);
    let mut id = watch.next().unwrap().id.unwrap();
    let mut next = 0;
    thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || count(server, "k", 0..1000));
        for step in [1, 7, 50, 242, 300, 400] {
            id = counts(&mut watch, next..next + step).unwrap();
            next += step;
            watch = match step % 2 {
                0 => Watch::open(server, &format!("{query}&after={id}")),
                _ => Watch::with(server, query, &[("Last-Event-ID", id.as_str())]),
            };
        }
    });
    assert_eq!(next, 1000);
    // The header is of later than the address, by which a client came first.
    let first = format!("{query}&after={id}");
    count(&server, "k", 1000..1010);
    let last = counts(&mut Watch::open(&server, &first), 1000..1005).unwrap();
    watch = Watch::with(&server, &first, &[("Last-Event-ID", last.as_str())]);
    counts(&mut watch, 1005..1010);
    // What nobody watches is kept for a while.
    drop(watch);
    count(&server, "k", 1010..1020);
    counts(&mut Watch::open(&server, &first), 1000..1020);
}

/// The same of entity tags, which an event has of its own change on every engine.
#[test]
fn each_change_is_told_of_once_and_in_order_through_cuts_at_one_server() {
    let server = Server::start();
    let mut watch = Watch::open(&server, "prefix=k");
    let mut id = watch.next().unwrap().id.unwrap();
    let (sender, tags) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            let mut connection = server.connect();
            for number in 0..600 {
                let body = number.to_string();
                let set = connection.request("PUT", "/set/k", &[JSON], body.as_bytes());
                sender.send(set.etag()).unwrap();
            }
        });
        for step in [1, 7, 50, 242, 300] {
            for _ in 0..step {
                let event = watch.next_change();
                assert_eq!(event.data["etag"], tags.recv().unwrap());
                id = event.id.unwrap();
            }
            watch = Watch::open(server, &format!("prefix=k&after={id}"));
        }
    });
}

#[test]
fn a_quiet_watch_goes_on_by_the_id_that_it_was_given_at_first() {
    let server = Server::start();
    let id = Watch::open(&server, "prefix=quiet").next().unwrap().id;
    server.fill((0..500).map(|number| format!("loud{number}")));
    server.fill(["quiet"]);
    let mut watch = Watch::open(&server, &format!("prefix=quiet&after={}", id.unwrap()));
    assert_eq!(watch.next_change().data["key"], "quiet");
}

#[test]
fn what_is_not_kept_is_gone_before_the_answer_begins() {
    if !is_first() {
        return;
    }
    let server = in_memory(&["--changes-bytes-max", "2000"]);
    let id = Watch::open(&server, "prefix=").next().unwrap().id.unwrap();
    let other = in_memory(&[]);
    drop(Watch::open(&other, "prefix="));
    count(&server, "k", 0..100);
    let gone = server.get(&format!("/watch?prefix=&after={id}"));
    gone.assert_problem(410, "changes_gone", &["from=start", "changes_bytes_max"]);
    let gone = other.get(&format!("/watch?prefix=&after={id}"));
    gone.assert_problem(410, "changes_gone", &["another store's"]);
    let mut watch = Watch::open(&server, "prefix=&from=start");
    let mut folded = State::new();
    while !watch.fold(&mut folded) {}
    equals_the_store(&server, "prefix=", &mut watch, &mut folded);
}

#[test]
fn one_that_reads_too_slowly_is_cut_off_and_others_are_not() {
    if !is_first() {
        return;
    }
    const VALUES: u64 = 5000;
    // Far more than systems keep of what is on its way.
    let server = in_memory(&["--changes-bytes-max", "8388608", "--shards", "1"]);
    let mut slow = Watch::open(&server, "prefix=&values=true");
    let mut fast = Watch::open(&server, "prefix=");
    let padding = "x".repeat(10_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = server.connect();
            for number in 0..VALUES {
                let body = format!("{{\"key\":\"k{number}\",\"value\":\"{padding}\"}}");
                let set = connection.request("POST", "/set", &[JSON], body.as_bytes());
                assert_eq!(set.status, 200);
            }
        });
        for number in 0..VALUES {
            assert_eq!(fast.next_change().data["key"], format!("k{number}"));
        }
    });
    let mut last = None;
    loop {
        let event = slow.next_change();
        if event.name == "gone" {
            assert_eq!(event.id, None);
            assert_eq!(event.data["code"], "changes_gone");
            break;
        }
        let number: u64 = event.data["key"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(number, last.map_or(0, |last| last + 1));
        last = Some(number);
    }
    assert!(last < Some(VALUES - 1));
    assert!(slow.next().is_none());
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("\nkvstore_watchers_cut_total 1\n"));
}

fn start(directory: &TempDir, more: &[&str]) -> Server {
    let directory = directory.path().to_str().unwrap();
    let arguments = [&["--data-dir", directory, "--drain-ms", "1"], more].concat();
    Server::start_as(&arguments)
}

#[test]
fn with_a_data_directory_a_watch_goes_on_in_the_log_and_over_restarts() {
    if !is_first() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let small = ["--changes-bytes-max", "1000"];
    let mut server = start(&directory, &small);
    let query = "prefix=k&values=true";
    let first = Watch::open(&server, query).next().unwrap().id.unwrap();
    let from_first = format!("{query}&after={first}");
    let mut next = 0;
    for signal in [Signal::KILL, Signal::KILL, Signal::TERM] {
        count(&server, "k", next..next + 300);
        next += 300;
        // One value of its own turn that is larger than what is read at a time.
        let large = "x".repeat(200_000);
        server.put("/set/other", &[JSON], format!("\"{large}\"").as_bytes());
        counts(&mut Watch::open(&server, &from_first), 0..next);
        server.signal(signal);
        server.wait();
        server = start(&directory, &small);
        if signal == Signal::KILL {
            let resumed = counts(&mut Watch::open(&server, &from_first), 0..next);
            assert!(resumed.is_some());
        }
    }
    // A stop takes checkpoints, and what they make superfluous goes.
    let gone = server.get(&format!("/watch?{from_first}"));
    assert!(matches!(gone.status, 410), "{}", gone.status);
}

#[test]
fn with_few_descriptors_many_read_the_log_at_once_and_others_are_served() {
    if !is_first() {
        return;
    }
    const WATCHERS: usize = 24;
    let directory = TempDir::new().unwrap();
    let (binary, at) = (env!("CARGO_BIN_EXE_kvstore"), directory.path());
    let serve = format!(
        "ulimit -n 128; exec {binary:?} --listen 127.0.0.1:0 --workers 1 --data-dir {at:?} \
         --changes-bytes-max 1000"
    );
    let server = Server::spawn(Command::new("sh").env_clear().args(["-c", &serve]));
    until("the server is ready", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    let query = "prefix=k&values=true";
    let first = Watch::open(&server, query).next().unwrap().id.unwrap();
    let from_first = format!("{query}&after={first}");
    count(&server, "k", 0..2000);
    thread::scope(|scope| {
        for _ in 0..WATCHERS {
            scope.spawn(|| counts(&mut Watch::open(&server, &from_first), 0..2000));
        }
        for _ in 0..100 {
            assert_eq!(server.get("/get/k").text(), "1999");
        }
    });
    assert!(
        !server.log().contains("could not be read"),
        "{}",
        server.log()
    );
}

#[test]
fn what_no_checkpoint_needs_is_kept_for_those_who_watch_and_not_gone_through_at_a_start() {
    if !is_first() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let at = directory.path().to_str().unwrap();
    let small = ["--changes-bytes-max", "1000"];
    let kept = [&small[..], &["--changes-log-bytes", "67108864"]].concat();
    let mut server = start(&directory, &kept);
    let query = "prefix=k&values=true";
    let first = Watch::open(&server, query).next().unwrap().id.unwrap();
    let from_first = format!("{query}&after={first}");
    let stop = |server: &mut Server| {
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    };
    for round in 1..4 {
        count(&server, "k", (round - 1) * 200..round * 200);
        stop(&mut server);
        let checked = kvstore().args(["check", "--data-dir", at]).output();
        let checked = checked.unwrap();
        let said = String::from_utf8(checked.stdout).unwrap();
        assert!(checked.status.success(), "{said}");
        assert!(said.contains(" 0 changes behind the checkpoints"), "{said}");
        server = start(&directory, &kept);
        let metrics = server.get("/metrics");
        assert!(metrics.text().contains("\nkvstore_data_load_records 0\n"));
        counts(&mut Watch::open(&server, &from_first), 0..round * 200);
        until("it is measured", || {
            let metrics = server.get("/metrics");
            let mut lines = metrics.text().lines();
            let name = "kvstore_data_changes_log_bytes ";
            let bytes = lines.find_map(|line| line.strip_prefix(name));
            (bytes.unwrap().parse::<f64>().unwrap() > 0.0).then_some(())
        });
    }
    // Once it is not set any more, it goes.
    stop(&mut server);
    let server = start(&directory, &small);
    until("it is gone", || {
        let mut connection = server.connect();
        connection.send("GET", &format!("/watch?{from_first}"), &[], b"");
        (connection.head().status == 410).then_some(())
    });
    assert_eq!(server.get("/get/k").text(), "599");
}

#[test]
fn no_event_is_of_a_change_that_a_kill_takes_back() {
    if !is_first() {
        return;
    }
    const KEYS: usize = 8;
    let directory = TempDir::new().unwrap();
    let mut folded = State::new();
    let mut id: Option<String> = None;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0_u64..6 {
        let mut server = start(&directory, &["--log-bytes-max", "67108864"]);
        let query = match &id {
            None => "prefix=k&values=true&from=start".to_owned(),
            Some(id) => format!("prefix=k&values=true&after={id}"),
        };
        let mut watch = Watch::open(&server, &query);
        for (key, number) in &seen {
            let value = server.get(&format!("/get/{key}"));
            assert_eq!(value.status, 200, "{key}");
            assert!(
                value.json().as_u64() >= Some(*number),
                "{key}: an event was taken back"
            );
        }
        let acknowledged = AtomicU64::new(0);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for key in 0..KEYS {
                let (acknowledged, is_over) = (&acknowledged, &is_over);
                let mut connection = server.connect();
                scope.spawn(move || {
                    for number in 0_u64.. {
                        let body = (round * 1_000_000 + number).to_string();
                        let path = format!("/set/k{key}");
                        let set = connection.try_request("PUT", &path, &[JSON], body.as_bytes());
                        if set.is_err() || is_over.load(Ordering::Relaxed) {
                            return;
                        }
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..200 {
                let event = watch.next_change();
                if event.name == "set" {
                    let key = event.data["key"].as_str().unwrap().to_owned();
                    let number = event.data["value"].as_u64().unwrap();
                    seen.insert(key.clone(), number);
                    let tag = event.data["etag"].as_str().unwrap().to_owned();
                    folded.insert(key, (tag, None));
                }
                id = event.id.or(id.take());
            }
            until("some changes are acknowledged", || {
                (acknowledged.load(Ordering::Relaxed) > 100).then_some(())
            });
            server.signal(Signal::KILL);
            is_over.store(true, Ordering::Relaxed);
        });
        server.wait();
    }
    let server = start(&directory, &[]);
    let query = format!("prefix=k&values=true&after={}", id.unwrap());
    equals_the_store(
        &server,
        "prefix=k",
        &mut Watch::open(&server, &query),
        &mut folded,
    );
}

#[test]
fn bulk_changes_and_deletes_by_filter_are_told_one_by_one() {
    let server = Server::start();
    let mut watch = Watch::open(&server, "suffix=5");
    let lines: String = (0..2000)
        .map(|number| format!("{{\"key\":\"b{number:04}\",\"value\":{number}}}\n"))
        .collect();
    assert_eq!(
        server
            .send("POST", "/set", &[LINES], lines.as_bytes())
            .status,
        200
    );
    assert_eq!(
        server.delete("/delete?suffix=5").text(),
        r#"{"deleted":200}"#
    );
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..400 {
        let event = watch.next_change();
        let key = event.data["key"].as_str().unwrap().to_owned();
        kinds.entry(key).or_default().push(event.name);
    }
    assert_eq!(kinds.len(), 200);
    assert!(kinds.values().all(|kinds| *kinds == ["set", "delete"]));
}
