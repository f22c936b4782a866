//! Deletes by filter: what matches goes, and nothing else.

use crate::engine::is_memory;
use crate::support::{Server, until};
use proptest::prelude::*;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The path that deletes by these filters.
fn path(prefix: Option<&str>, suffix: Option<&str>) -> String {
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let filters = [("prefix", prefix), ("suffix", suffix)];
    let given = filters
        .into_iter()
        .filter_map(|(name, text)| Some(format!("{name}={}", encoded(text?))));
    format!("/delete?{}", given.collect::<Vec<_>>().join("&"))
}

fn total(server: &Server) -> usize {
    server.get("/search?prefix=&limit=1").total()
}

/// How many keys an answer says were deleted.
fn deleted(server: &Server, path: &str) -> usize {
    let answer = server.delete(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let deleted = answer.json()["deleted"].as_u64().unwrap();
    assert_eq!(answer.text(), format!("{{\"deleted\":{deleted}}}"));
    deleted as usize
}

/// More keys than go in a moment: as many as an engine deletes in a second or so.
fn fill_with_many(server: &Server) -> usize {
    let parts = if is_memory() { 10 } else { 1 };
    for part in 0..parts {
        server.fill((0..20_000).map(|number| format!("{part}/{number:05}")));
    }
    parts * 20_000
}

fn filters() -> impl Strategy<Value = Vec<(Option<String>, Option<String>)>> {
    let part = || prop::option::of("[ab/é]{0,3}");
    prop::collection::vec((part(), part()), 1..4)
}

#[test]
fn what_matches_is_deleted_as_a_model_has_it() {
    let server = Server::start();
    let names = prop::collection::btree_set("[ab/é]{1,5}", 0..60);
    proptest!(ProptestConfig::with_cases(24), |(keys in names, filters in filters())| {
        deleted(&server, "/delete?prefix=");
        server.fill(&keys);
        let mut model = keys;
        for (prefix, suffix) in filters {
            let (prefix, suffix) = (prefix.as_deref(), suffix.as_deref());
            let path = path(prefix, suffix);
            if (prefix, suffix) == (None, None) {
                server.delete(&path).assert_problem(400, "missing_filter", &["prefix="]);
                continue;
            }
            let (begin, end) = (prefix.unwrap_or_default(), suffix.unwrap_or_default());
            let is_match = |key: &str| key.starts_with(begin) && key.ends_with(end);
            let matched = model.iter().filter(|key| is_match(key)).count();
            let dry = server.delete(&format!("{path}&dry_run=true"));
            prop_assert_eq!(dry.text(), format!("{{\"matched\":{matched}}}"));
            prop_assert_eq!(total(&server), model.len());
            prop_assert_eq!(deleted(&server, &path), matched);
            model.retain(|key| !is_match(key));
            let left: Vec<String> = model.iter().cloned().collect();
            prop_assert_eq!(server.get("/search?prefix=").keys(), left);
            prop_assert_eq!(deleted(&server, &path), 0);
        }
    });
}

#[test]
fn an_explicit_empty_filter_deletes_all_and_none_nothing() {
    let server = Server::start();
    for query in [
        "prefix=",
        "suffix=",
        "prefix=&suffix=",
        "suffix",
        "dry_run=false&prefix=",
    ] {
        server.fill(["a", "b/c", "é"]);
        for path in [
            "/delete",
            "/delete?",
            "/delete?dry_run=true",
            "/delete?dry_run=false",
        ] {
            let says = ["prefix=", "/delete/{key}", "nothing was done"];
            let refused = server.delete(path);
            refused.assert_problem(400, "missing_filter", &says);
        }
        assert_eq!(total(&server), 3);
        assert_eq!(deleted(&server, &format!("/delete?{query}")), 3);
        assert_eq!(total(&server), 0);
        assert_eq!(deleted(&server, &format!("/delete?{query}")), 0);
    }
}

#[test]
fn a_filter_longer_than_a_key_matches_none() {
    let server = Server::start();
    let longest = "x".repeat(1024);
    server.fill([&longest]);
    for query in [
        format!("prefix={longest}x"),
        format!("prefix=x&suffix={longest}x"),
    ] {
        assert_eq!(deleted(&server, &format!("/delete?{query}")), 0);
        let dry = server.delete(&format!("/delete?{query}&dry_run=true"));
        assert_eq!(dry.text(), r#"{"matched":0}"#);
    }
    let both = format!("/delete?prefix={longest}&suffix={longest}");
    assert_eq!(deleted(&server, &both), 1);
}

#[test]
fn what_is_malformed_is_refused_and_deletes_nothing() {
    let server = Server::start();
    server.fill(["a", "b"]);
    for (query, code, says) in [
        (
            "prefix=&limit=1",
            "unknown_parameter",
            "prefix, suffix, dry_run",
        ),
        ("prefix=&after=a", "unknown_parameter", "after"),
        ("prefix=&prefix=a", "repeated_parameter", "twice"),
        (
            "prefix=&dry_run=true&dry_run=true",
            "repeated_parameter",
            "dry_run",
        ),
        ("prefix=%FF", "invalid_encoding", "UTF-8"),
        ("prefix=%", "invalid_encoding", "%25"),
        ("prefix=&dry_run", "invalid_parameter", "dry_run takes true"),
        (
            "prefix=&dry_run=",
            "invalid_parameter",
            "dry_run takes true",
        ),
        (
            "prefix=&dry_run=yes",
            "invalid_parameter",
            "dry_run takes true",
        ),
        (
            "prefix=&dry_run=True",
            "invalid_parameter",
            "dry_run takes true",
        ),
        (
            "prefix=&dry_run=1",
            "invalid_parameter",
            "dry_run takes true",
        ),
    ] {
        let refused = server.delete(&format!("/delete?{query}"));
        refused.assert_problem(400, code, &[says]);
    }
    let send = |headers: &[(&str, &str)], body: &[u8]| {
        server.send("DELETE", "/delete?prefix=", headers, body)
    };
    let date = "Sat, 29 Oct 1994 19:43:31 GMT";
    for (name, value) in [
        ("If-Match", "*"),
        ("If-Match", "\"0123456789abcdef\""),
        ("If-None-Match", "*"),
        ("If-Modified-Since", date),
        ("If-Unmodified-Since", date),
    ] {
        let refused = send(&[(name, value)], b"");
        let name = name.to_lowercase();
        refused.assert_problem(400, "unsupported_condition", &[&name, "nothing was done"]);
    }
    send(&[], b"a body").assert_problem(400, "unexpected_body", &["no body"]);
    send(&[("Expect", "other")], b"").assert_problem(417, "expectation_failed", &[]);
    let instead = ("X-HTTP-Method-Override", "GET");
    send(&[instead], b"").assert_problem(400, "unsupported_header", &[]);
    for method in ["GET", "HEAD", "PUT"] {
        let refused = server.send(method, "/delete?prefix=", &[], b"");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("DELETE"))
        );
    }
    server
        .delete("/delete/")
        .assert_problem(400, "invalid_key", &["empty"]);
    assert_eq!(server.get("/search?prefix=").keys(), ["a", "b"]);
}

#[test]
fn many_keys_go_beside_requests_for_others_which_stay_as_they_are() {
    let going = if is_memory() { 30_000 } else { 10_000 };
    let server = Server::start();
    server.fill((0..going).map(|number| format!("going/{number:05}/x")));
    let body = |number: usize| vec![number as u8; number * 7];
    let tags: Vec<String> = (0..200)
        .map(|number| {
            let path = format!("/set/going/kept/{number}");
            let set = server.put(&path, &[("Content-Type", "x/y")], &body(number));
            set.etag()
        })
        .collect();
    let kept = |number: usize| {
        let read = server.get(&format!("/get/going/kept/{number}"));
        assert_eq!(read.status, 200, "{}", read.text());
        assert!(read.body == body(number) && read.etag() == tags[number]);
        assert_eq!(read.header("content-type"), Some("x/y"));
    };
    let is_over = AtomicBool::new(false);
    let set = thread::scope(|scope| {
        let reads = scope.spawn(|| {
            for number in (0..tags.len()).cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                kept(number);
            }
        });
        let sets = scope.spawn(|| {
            let mut set = 0;
            while !is_over.load(Ordering::Relaxed) {
                let path = format!("/set/other/{set}/x");
                assert_eq!(server.put(&path, &[], b"1").status, 200);
                set += 1;
            }
            set
        });
        let answer = server.delete("/delete?prefix=going/&suffix=/x");
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(answer.text(), format!("{{\"deleted\":{going}}}"));
        reads.join().unwrap();
        sets.join().unwrap()
    });
    (0..tags.len()).for_each(kept);
    assert_eq!(
        server.get("/search?prefix=going/&limit=1").total(),
        tags.len()
    );
    assert_eq!(server.get("/search?prefix=other/&limit=1").total(), set);
    assert_eq!(total(&server), tags.len() + set);
}

#[test]
fn of_several_at_once_each_counts_what_it_deleted_itself() {
    let keys = if is_memory() { 20_000 } else { 8_000 };
    let server = Server::start();
    server.fill((0..keys).map(|number| format!("{number:05}")));
    let server = &server;
    let counts: Vec<usize> = thread::scope(|scope| {
        let paths = ["/delete?prefix=", "/delete?suffix=", "/delete?suffix=7"];
        let runs = paths.map(|path| scope.spawn(move || deleted(server, path)));
        runs.map(|run| run.join().unwrap()).into()
    });
    assert_eq!(counts.iter().sum::<usize>(), keys, "{counts:?}");
    assert_eq!(total(server), 0);
}

#[test]
fn it_stops_when_its_client_has_left() {
    let server = Server::start();
    let before = fill_with_many(&server);
    // One that has only ended its own side is told so.
    let mut half = server.connect();
    half.send("DELETE", "/delete?prefix=", &[], b"");
    half.end_sending();
    let says = ["the client ended", "send it again"];
    let problem = half
        .response("DELETE")
        .assert_problem(400, "request_abandoned", &says);
    let left = before - problem["deleted"].as_u64().unwrap() as usize;
    assert_eq!(total(&server), left);
    let mut client = server.connect();
    client.send("DELETE", "/delete?prefix=", &[], b"");
    until("some keys are gone", || {
        (total(&server) < left).then_some(())
    });
    drop(client);
    let (mut last, mut since) = (total(&server), Instant::now());
    let stayed = until("the number of keys stays the same", || {
        let now = total(&server);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(500)).then_some(now)
    });
    assert!(stayed > 0, "it went on to the end of {left} keys");
    assert_eq!(deleted(&server, "/delete?prefix="), stayed);
}

#[test]
fn one_under_way_is_finished_after_sigterm() {
    let mut server = Server::start_with(&["--drain-ms", "50"]);
    let keys = fill_with_many(&server);
    let mut client = server.connect();
    client.send("DELETE", "/delete?prefix=", &[], b"");
    until("some keys are gone", || {
        (total(&server) < keys).then_some(())
    });
    server.signal(Signal::TERM);
    let answer = client.response("DELETE");
    assert_eq!(answer.text(), format!("{{\"deleted\":{keys}}}"));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn what_was_deleted_is_gone_after_a_kill() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let start = || Server::start_as(&["--data-dir", data, "--drain-ms", "1"]);
    let mut server = start();
    server.fill((0..5000).map(|number| format!("k{number}")));
    assert_eq!(deleted(&server, "/delete?suffix=7"), 500);
    server.signal(Signal::KILL);
    server.wait();
    let server = start();
    assert_eq!(server.get("/search?suffix=7").total(), 0);
    assert_eq!(total(&server), 4500);
    // k49, k490 to k499 and k4900 to k4999, but for those that end with a 7.
    assert_eq!(deleted(&server, "/delete?prefix=k49"), 111 - 11);
}
