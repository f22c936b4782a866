//! Watches: what they give, folded, is what the store has, through cuts, restarts and slow readers.

mod client;
mod crowds;
mod folding;
mod resuming;

use crate::engine::{is_first, is_memory};
use crate::support::{JSON, Server, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{State, Watch, equals_the_store, in_memory, state};
use rustix::process::Signal;
use serde_json::Value::Null;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Changes of all kinds of keys that begin with a letter, until it is enough.
fn change(server: &Server, letter: char, is_over: &AtomicBool) {
    for turn in 0_usize.. {
        if is_over.load(Ordering::Relaxed) && turn > 200 {
            return;
        }
        let key = format!("{letter}/{}", turn * 7 % 31);
        let put = |query: &str| server.put(&format!("/set/{key}{query}"), &[], b"1").status;
        let status = match turn % 11 {
            0 | 1 | 5 => put(""),
            2 => put("?ttl_ms=1"),
            3 => put("?ttl_ms=40"),
            4 => put("?ttl_ms=86400000"),
            6 | 7 => server.delete(&format!("/delete/{key}")).status,
            8 => {
                server.fill((0..20).map(|number| format!("{letter}/{}", number + turn % 5)));
                200
            }
            9 if turn % 3 == 0 => {
                let path = format!("/delete?prefix={letter}/&suffix={}", turn % 10);
                server.delete(&path).status
            }
            _ => {
                server
                    .put(&format!("/set/{key}?ttl_ms=30"), &[], b"2")
                    .status
            }
        };
        assert!(matches!(status, 200 | 204 | 404), "{status}");
    }
}

#[test]
fn folding_what_a_watch_gives_equals_the_store_for_every_filter() {
    let server = Server::start();
    let filters = [
        "prefix=",
        "suffix=",
        "prefix=a/",
        "suffix=1",
        "prefix=b/&suffix=1",
        "prefix=a/1",
        "prefix=none",
    ];
    server.fill((0..200).map(|number| format!("a/{number}")));
    let is_over = AtomicBool::new(false);
    let mut watches: Vec<(&str, Watch, State)> = Vec::new();
    thread::scope(|scope| {
        for letter in ['a', 'b'] {
            let (server, is_over) = (&server, &is_over);
            scope.spawn(move || change(server, letter, is_over));
        }
        for round in 0..3 {
            for filter in filters {
                let values = ["", "&values=true"][round % 2];
                let mut watch = Watch::open(&server, &format!("{filter}{values}&from=start"));
                let mut folded = State::new();
                // Some are read on while others wait.
                while round > 0 && !watch.fold(&mut folded) {}
                watches.push((filter, watch, folded));
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    until("all that ends soon has ended", || {
        let far = server.put("/set/far?ttl_ms=43200000", &[], b"1");
        assert_eq!(far.status, 200);
        let found = state(&server, "prefix=");
        let far = found["far"].1.clone().unwrap();
        let mut ends = found.values().filter_map(|(_, ends)| ends.as_ref());
        let is_quiet = ends.all(|ends| *ends >= far);
        let listed = server.get("/search?prefix=").total();
        (is_quiet && listed == found.len()).then_some(())
    });
    for (filter, mut watch, mut folded) in watches {
        equals_the_store(&server, filter, &mut watch, &mut folded);
    }
}

#[test]
fn present_keys_come_first_in_order_and_then_ready() {
    let server = Server::start();
    server.fill((0..1000).map(|number| format!("k{number:03}")));
    let mut watch = Watch::open(&server, "suffix=7&from=start");
    for number in (7..1000).step_by(10) {
        let event = watch.next().unwrap();
        assert_eq!((event.name.as_str(), event.id), ("set", None));
        assert_eq!(event.data["key"], format!("k{number:03}"));
    }
    let ready = watch.next().unwrap();
    assert_eq!((ready.name.as_str(), ready.id.is_some()), ("ready", true));
    server.delete("/delete/k017");
    let deleted = watch.next().unwrap();
    assert_eq!(
        (deleted.name.as_str(), deleted.id.is_some()),
        ("delete", true)
    );
    assert_eq!(deleted.data, json!({"key": "k017"}));
}

#[test]
fn each_kind_of_change_is_an_event_in_either_form() {
    let server = Server::start();
    let lines = ("Accept", "application/x-ndjson");
    let mut watches = [
        Watch::open(&server, "prefix=k"),
        Watch::open(&server, "prefix=k&values=true"),
        Watch::with(&server, "prefix=k", &[lines]),
        Watch::with(&server, "prefix=k&values=true", &[lines]),
    ];
    for watch in &mut watches {
        let first = watch.next().unwrap();
        assert_eq!(
            (first.name.as_str(), first.id.is_some()),
            ("bookmark", true)
        );
    }
    // One after the other: over an engine elsewhere a value is read when it is sent.
    let mut all = |name: &str, key: &str| {
        let events = watches.each_mut().map(|watch| {
            let event = watch.next_change();
            assert_eq!((event.name.as_str(), event.id.is_some()), (name, true));
            assert_eq!(event.data["key"], key);
            event
        });
        events.into_iter().zip([false, true, false, true])
    };
    let tag = server.put("/set/k", &[JSON], b"{\"a\": 1}").etag();
    server.put("/set/other", &[], b"1");
    for (event, has_value) in all("set", "k") {
        assert_eq!(
            (&event.data["etag"], &event.data["expires_at"]),
            (&json!(tag), &Null)
        );
        let value = if has_value { json!({"a": 1}) } else { Null };
        assert_eq!(event.data["value"], value);
    }
    let plain = server.put("/set/k2", &[("Content-Type", "text/plain")], b"hi");
    for (event, has_value) in all("set", "k2") {
        assert_eq!(event.data["etag"], plain.etag());
        if has_value {
            assert_eq!(event.data["content_type"], "text/plain");
            assert_eq!(event.data["base64"], "aGk=");
        }
    }
    let far = "2999-12-31T23:59:59.999Z";
    let expire = format!("{{\"expires_at\":\"{far}\"}}");
    server.send("POST", "/expire/k", &[JSON], expire.as_bytes());
    for (event, _) in all("set", "k") {
        assert_eq!(
            (&event.data["etag"], &event.data["expires_at"]),
            (&json!(tag), &json!(far))
        );
    }
    server.send("POST", "/expire/k", &[JSON], b"{\"expires_at\":null}");
    for (event, _) in all("set", "k") {
        assert_eq!(
            (&event.data["etag"], &event.data["expires_at"]),
            (&json!(tag), &Null)
        );
    }
    let ending = server.put("/set/k2?ttl_ms=1500", &[], b"3").etag();
    for (event, _) in all("set", "k2") {
        assert_eq!(event.data["etag"], ending);
        assert!(event.data["expires_at"].is_string());
    }
    for (event, _) in all("expire", "k2") {
        assert_eq!(event.data, json!({"key": "k2"}));
    }
    server.delete("/delete/k");
    for (event, _) in all("delete", "k") {
        assert_eq!(event.data, json!({"key": "k"}));
    }
}

#[test]
fn long_values_come_whole_whether_they_are_there_or_set_later() {
    let server = Server::start();
    let text = format!("\"{}\"", "j".repeat(300_000));
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
    server.put("/set/there", &[JSON], text.as_bytes());
    let mut watch = Watch::open(&server, "prefix=&values=true&from=start");
    let there = watch.next().unwrap();
    assert!(there.data["value"].as_str().unwrap().len() == 300_000);
    assert_eq!(watch.next().unwrap().name, "ready");
    for round in 0..3 {
        server.put("/set/json", &[JSON], text.as_bytes());
        server.put("/set/small", &[JSON], round.to_string().as_bytes());
        server.put("/set/bytes", &[("Content-Type", "a/b")], &bytes);
        for _ in 0..3 {
            let event = watch.next_change();
            match event.data["key"].as_str().unwrap() {
                "json" => assert!(event.data["value"].as_str().unwrap().len() == 300_000),
                "small" => assert_eq!(event.data["value"], round),
                "bytes" => {
                    let text = event.data["base64"].as_str().unwrap();
                    assert!(STANDARD.decode(text).unwrap() == bytes);
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn what_is_malformed_is_a_400_that_says_what_to_do() {
    if !is_first() {
        return;
    }
    fn last(id: &str) -> (&'static str, &str) {
        ("Last-Event-ID", id)
    }
    let server = in_memory(&[]);
    let mut watch = Watch::open(&server, "prefix=");
    let id = watch.next().unwrap().id.unwrap();
    for (query, code, says) in [
        ("", "missing_filter", "prefix="),
        ("from=start", "missing_filter", "prefix="),
        ("values=true", "missing_filter", "suffix"),
        ("prefix=&prefix=", "repeated_parameter", "twice"),
        (
            "prefix=&limit=1",
            "unknown_parameter",
            "prefix, suffix, values, from, after",
        ),
        ("prefix=%FF", "invalid_encoding", "UTF-8"),
        (
            "prefix=&values=yes",
            "invalid_parameter",
            "values takes true",
        ),
        ("prefix=&values", "invalid_parameter", "values takes true"),
        ("prefix=&from=now", "invalid_parameter", "from takes start"),
        ("prefix=&from=", "invalid_parameter", "from takes start"),
        ("prefix=&after=", "invalid_event_id", "after is \"\""),
        ("prefix=&after=1-2", "invalid_event_id", "1-2"),
        (
            "prefix=&after=0000000000000001-0-1-2",
            "invalid_event_id",
            "as it came",
        ),
        (
            "prefix=&after=0000000000000001-0-01",
            "invalid_event_id",
            "01",
        ),
        (
            "prefix=&after=000000000000000A-0-1",
            "invalid_event_id",
            "000A",
        ),
        (
            "prefix=&after=+00000000000000a-0-1",
            "invalid_event_id",
            "no id",
        ),
        ("prefix=&after=1-0-1", "invalid_event_id", "no id"),
    ] {
        let refused = server.get(&format!("/watch?{query}"));
        refused.assert_problem(400, code, &[says]);
    }
    let both = server.get(&format!("/watch?prefix=&from=start&after={id}"));
    both.assert_problem(400, "invalid_parameter", &["from=start"]);
    // A browser that comes back sends the header with the address that it had at first.
    let mut both = Watch::with(&server, "prefix=&from=start", &[last(&id)]);
    assert_eq!(both.next().unwrap().name, "bookmark");
    let none = server.get_with("/watch?prefix=", &[last("nothing")]);
    none.assert_problem(400, "invalid_event_id", &["Last-Event-ID is \"nothing\""]);
    let twice = server.get_with("/watch?prefix=", &[last(&id), last(&id)]);
    twice.assert_problem(400, "invalid_event_id", &["two"]);
    for method in ["HEAD", "POST", "DELETE"] {
        let refused = server.send(method, "/watch?prefix=", &[], b"");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET"))
        );
    }
    server
        .send("GET", "/watch?prefix=", &[], b"body")
        .assert_problem(400, "unexpected_body", &[]);
    // A filter that no key can match is one.
    let long = "x".repeat(2000);
    let mut watch = Watch::open(&server, &format!("prefix={long}&from=start"));
    assert_eq!(watch.next().unwrap().name, "ready");
}

#[test]
fn the_answer_goes_through_proxies_as_it_comes() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.send("GET", "/watch?prefix=", &[], b"");
    let head = connection.head();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("vary", "accept"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    let accept = |value| {
        let mut connection = server.connect();
        connection.send("GET", "/watch?prefix=", &[("Accept", value)], b"");
        connection.head().header("content-type").unwrap().to_owned()
    };
    for value in [
        "*/*",
        "text/event-stream",
        "application/x-ndjson, text/event-stream",
        "application/x-ndjson;q=0.5, text/event-stream",
        "application/json, text/event-stream",
        "application/x-ndjson;q=0",
        "application/json",
        "",
        "/",
    ] {
        assert_eq!(accept(value), "text/event-stream", "{value:?}");
    }
    for value in [
        "application/x-ndjson",
        "Application/X-NDJSON",
        "application/x-ndjson, */*",
        "application/x-ndjson, text/event-stream;q=0.5",
        "text/event-stream; q=0, application/x-ndjson",
        "application/json, application/x-ndjson; q=0.5",
    ] {
        assert_eq!(accept(value), "application/x-ndjson", "{value:?}");
    }
}

#[test]
fn so_many_watch_as_may_and_they_are_counted() {
    let server = Server::start_with(&["--watchers-max", "2"]);
    let mut first = Watch::open(&server, "prefix=a");
    let second = Watch::open(&server, "prefix=b");
    let third = server.get("/watch?prefix=c");
    third.assert_problem(503, "overloaded", &["watchers_max", "2 clients"]);
    assert_eq!(third.header("retry-after"), Some("1"));
    server.fill(["a1", "b1", "a2"]);
    first.next_change();
    first.next_change();
    let sample = |name: &str| -> f64 {
        let metrics = server.get("/metrics");
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    };
    assert_eq!(sample("kvstore_watchers"), 2.0);
    until("each was told", || {
        (sample("kvstore_watch_events_total") == 3.0).then_some(())
    });
    assert!(sample("kvstore_changes_bytes") > 0.0);
    assert!(sample("kvstore_store_bytes") > sample("kvstore_changes_bytes"));
    assert_eq!(sample("kvstore_watchers_cut_total"), 0.0);
    drop(second);
    // It is noticed at the next byte that is written.
    until("another may watch", || {
        server.fill(["b2"]);
        let mut connection = server.connect();
        connection.send("GET", "/watch?prefix=c", &[], b"");
        (connection.head().status == 200).then_some(())
    });
}

#[test]
fn a_watch_ends_at_once_with_an_id_when_the_process_is_told_to_stop() {
    let mut server = Server::start_with(&["--drain-ms", "3000"]);
    let mut watches = [
        Watch::open(&server, "prefix="),
        Watch::with(&server, "suffix=", &[("Accept", "application/x-ndjson")]),
    ];
    server.fill(["a"]);
    for watch in &mut watches {
        assert_eq!(watch.next_change().data["key"], "a");
    }
    server.signal(Signal::TERM);
    for watch in &mut watches {
        let last = watch.next().unwrap();
        assert_eq!((last.name.as_str(), last.id.is_some()), ("bookmark", true));
        assert!(watch.next().is_none());
        assert!(watch.closes());
    }
    let refused = server.get("/watch?prefix=");
    refused.assert_problem(503, "stopping", &[]);
    assert_eq!(server.wait().code(), Some(0));
}

/// A server on the engine that is tested, which has no say in whether updates are logged there, and what it was told of
/// its engine.
fn without_a_say() -> (Server, Vec<String>) {
    let (words, _) = crate::engine::arguments();
    let at = words.iter().position(|word| word == "--engine-watch");
    let mut words = words;
    words.drain(at.unwrap()..at.unwrap() + 2);
    (start(&words, &[]), words)
}

fn start(words: &[String], more: &[&str]) -> Server {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    Server::start_as(&words)
}

#[test]
fn over_an_engine_elsewhere_watching_is_switched_on_and_off_for_all_servers() {
    if is_memory() {
        return;
    }
    let (server, words) = without_a_say();
    server.fill(["before"]);
    for (query, status) in [
        ("prefix=", 501),
        ("prefix=&from=start", 501),
        ("prefix=&after=0000000000000001-0-1", 410),
        ("prefix=&after=0000000000000001-0-1-0000000000000001-1", 501),
    ] {
        let refused = server.get(&format!("/watch?{query}"));
        match status {
            410 => refused.assert_problem(410, "changes_gone", &["another store's"]),
            _ => refused.assert_problem(501, "watch_unsupported", &["engine_watch = true"]),
        };
    }
    let on = start(&words, &["--engine-watch", "true"]);
    let mut watch = Watch::open(&on, "prefix=&from=start");
    assert_eq!(watch.next().unwrap().data["key"], "before");
    assert_eq!(watch.next().unwrap().name, "ready");
    // One that has no say in it does as the namespace has it, without a restart.
    let tag = server.put("/set/before", &[], b"2").etag();
    assert_eq!(watch.next_change().data["etag"], tag);
    let mut other = Watch::open(&server, "prefix=b");
    let tag = on.put("/set/before", &[], b"3").etag();
    assert_eq!(other.next_change().data["etag"], tag);
    let reloads = server.get("/metrics");
    assert!(
        reloads
            .text()
            .contains("\nkvstore_engine_reloads_total 0\n")
    );
    // Switched off, those who watch are told so, and others are refused.
    drop(on);
    let off = start(&words, &["--engine-watch", "false"]);
    assert_eq!(other.next_change().name, "gone");
    assert!(other.next().is_none());
    for server in [&server, &off] {
        let refused = server.get("/watch?prefix=");
        refused.assert_problem(501, "watch_unsupported", &["engine_watch = true"]);
    }
    assert_eq!(off.get("/search?prefix=").keys(), ["before"]);
}
