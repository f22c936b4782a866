//! An engine that refuses, is full, is gone or hangs.

use crate::audit::Ending;
use crate::proxy::{Proxy, Weather};
use crate::redis::Redis;
use crate::support::until;
use crate::{metric, server};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_full_engine_says_so_and_can_be_emptied() {
    let redis = Redis::start(&["--maxmemory", "4mb"]);
    let server = server(&redis.url(), &[]);
    let value = vec![b'v'; 10_000];
    let mut stored = 0;
    let full = loop {
        let set = server.put(&format!("/set/{stored:04}"), &[], &value);
        if set.status != 200 {
            break set;
        }
        stored += 1;
        assert!(stored < 1_000, "the engine is full at some point");
    };
    full.assert_problem(507, "engine_full", &["maxmemory", "nothing was done"]);
    assert_eq!(server.get("/get/0000").body, value);
    assert_eq!(server.get("/search?prefix=").total(), stored);
    assert!(metric(&server, "kvstore_engine_errors_total{kind=\"full\"}") >= 1.0);
    // What the engine had for its answers is free by now, and one more may fit.
    let long = "v".repeat(10_000);
    let bulk = loop {
        let bulk = server.bulk(&format!(
            "{{\"key\":\"{stored:04}\",\"value\":\"{long}\"}}\n"
        ));
        if bulk.status != 200 {
            break bulk;
        }
        stored += 1;
        assert!(stored < 1_000, "the engine is full at some point");
    };
    assert_eq!(bulk.status, 507);
    assert_eq!(bulk.json()["line"], 1);
    // A server that starts now reads what there is.
    let late = crate::server(&redis.url(), &[]);
    assert_eq!(late.get("/search?prefix=").total(), stored);
    for number in 0..stored {
        assert_eq!(server.delete(&format!("/delete/{number:04}")).status, 204);
    }
    assert_eq!(server.get("/search?prefix=").total(), 0);
    assert_eq!(server.put("/set/again", &[], b"1").status, 200);
}

#[test]
fn a_server_whose_index_is_full_takes_no_new_keys_and_goes_on() {
    let redis = Redis::start(&[]);
    let server = server(&redis.url(), &["--store-bytes-max", "1000000"]);
    let line = |number: usize| format!("{{\"key\":\"{number:0100}\",\"value\":1}}\n");
    let mut stored = 0;
    let full = loop {
        let lines: String = (stored..stored + 500).map(line).collect();
        let bulk = server.bulk(&lines);
        if bulk.status != 200 {
            break bulk;
        }
        stored += 500;
        // A round tells the index what is new.
        assert_eq!(server.get("/search?prefix=&limit=1").total(), stored);
        assert!(stored < 100_000, "the index is full at some point");
    };
    let problem = full.assert_problem(507, "store_full", &["1000000", "store_bytes_max"]);
    stored += problem["created"].as_u64().unwrap() as usize;
    // What a merge had reserved is there again once it is over: short keys may fit for a while.
    let mut late = Vec::new();
    let refused = loop {
        let key = format!("late-{}", late.len());
        let set = server.put(&format!("/set/{key}"), &[], b"1");
        if set.status != 200 {
            break set;
        }
        late.push(key);
        assert!(late.len() < 100_000, "the index is full at some point");
    };
    refused.assert_problem(507, "store_full", &["delete"]);
    stored += late.len();
    let known = format!("/set/{:0100}", 0);
    assert_eq!(server.put(&known, &[], b"2").status, 200);
    assert_eq!(server.bulk(&line(1)).json()["updated"], 1);
    assert_eq!(server.get("/search?prefix=&limit=1").total(), stored);
    // One with more room adds a key, which is found here too.
    let larger = crate::server(&redis.url(), &[]);
    assert_eq!(larger.put("/set/new", &[], b"1").status, 200);
    assert_eq!(server.get("/search?prefix=new").keys(), ["new"]);
    // And what is there may be set, however little the index knows of it yet.
    for number in 0..20 {
        let path = format!("/set/there-{number}");
        assert_eq!(larger.put(&path, &[], b"1").status, 200);
        let set = server.put(&path, &[], b"2");
        assert_eq!(set.status, 200, "{}", set.text());
    }
    let deleted = server.delete("/delete?prefix=0");
    assert_eq!(deleted.json()["deleted"], stored - late.len());
    until("there is room again", || {
        (server.put("/set/other", &[], b"1").status == 200).then_some(())
    });
}

#[test]
fn a_bulk_load_fills_the_index_whatever_merges_take_meanwhile() {
    const BYTES_MAX: usize = 6_000_000;
    let redis = Redis::start(&[]);
    let server = server(&redis.url(), &["--store-bytes-max", &BYTES_MAX.to_string()]);
    let mut digits = 1_u64;
    let mut key = || {
        let mut word = || {
            digits = digits.wrapping_mul(6_364_136_223_846_793_005) + 1;
            digits
        };
        format!("{:016x}{:016x}{:016x}", word(), word(), word())
    };
    let mut lines = || -> String {
        let line = |_| format!("{{\"key\":\"{}\",\"value\":1}}\n", key());
        (0..5000).map(line).collect()
    };
    let problem = loop {
        let bulk = server.bulk(&lines());
        if bulk.status != 200 {
            break bulk;
        }
    };
    problem.assert_problem(507, "store_full", &["6000000"]);
    until("merges have ended", || {
        (metric(&server, "kvstore_index_merges_running") == 0.0).then_some(())
    });
    let held = metric(&server, "kvstore_store_bytes");
    assert!(held > BYTES_MAX as f64 * 0.75, "{held} bytes are held");
}

#[test]
fn an_engine_that_takes_no_writes_is_read() {
    let redis = Redis::start(&[]);
    let server = server(&redis.url(), &["--request-timeout-ms", "500"]);
    server.fill(["a"]);
    redis.run(&["config", "set", "min-replicas-to-write", "1"]);
    let refused = server.put("/set/b", &[], b"1");
    refused.assert_problem(503, "engine_read_only", &["nothing was done"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.get("/get/a").text(), "1");
    assert_eq!(server.get("/search?prefix=").keys(), ["a"]);
    let late = crate::server(&redis.url(), &[]);
    assert_eq!(late.get("/search?prefix=").keys(), ["a"]);
    redis.run(&["config", "set", "min-replicas-to-write", "0"]);
    assert_eq!(server.put("/set/b", &[], b"1").status, 200);
    let master = Redis::start(&[]);
    redis.run(&["replicaof", "127.0.0.1", &master.port().to_string()]);
    until("it is a replica", || {
        let set = server.put("/set/c", &[], b"1");
        (set.status == 503).then(|| set.assert_problem(503, "engine_read_only", &["a replica"]))
    });
}

#[test]
fn credentials_that_are_refused_at_run_time_are_said() {
    let redis = Redis::start(&[]);
    let server = server(&redis.url(), &[]);
    server.fill(["a"]);
    redis.run(&["config", "set", "requirepass", "geheim"]);
    redis.run(&["-a", "geheim", "client", "kill", "type", "normal"]);
    let denied = until("it is denied", || {
        let read = server.get("/get/a");
        (read.status != 200 && read.json()["code"] == "engine_denied").then_some(read)
    });
    denied.assert_problem(503, "engine_denied", &["credentials"]);
    assert_eq!(server.get("/livez").status, 200);
    redis.run(&["-a", "geheim", "config", "set", "requirepass", ""]);
    until("it is let in again", || {
        (server.get("/get/a").status == 200).then_some(())
    });
}

#[test]
fn an_engine_that_is_gone_and_back_is_used_again_within_two_seconds() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let server = server(&redis.url(), &["--engine-unready-after-ms", "300"]);
    server.fill(["a", "b"]);
    redis.kill();
    let refused = until("requests are refused", || {
        let read = server.get("/get/a");
        (read.status != 200).then_some(read)
    });
    assert!(matches!(refused.status, 503 | 504), "{}", refused.text());
    server
        .get("/get/a")
        .assert_problem(503, "engine_unavailable", &["cannot be reached"]);
    server
        .put("/set/c", &[], b"1")
        .assert_problem(503, "engine_unavailable", &["nothing"]);
    assert_eq!(server.get("/search?prefix=").status, 503);
    until("the server is not ready", || {
        let unready = server.get("/readyz");
        (unready.status == 503)
            .then(|| unready.assert_problem(503, "engine_unavailable", &[redis.url().as_str()]))
    });
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/metrics").status, 200);
    redis.restart();
    let back = Instant::now();
    until("it is used again", || {
        (server.get("/get/a").status == 200).then_some(())
    });
    until("searches are answered", || {
        let found = server.get("/search?prefix=");
        (found.status == 200).then(|| assert_eq!(found.keys(), ["a", "b"]))
    });
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(server.get("/readyz").status, 200);
    assert!(metric(&server, "kvstore_engine_reconnects_total") >= 1.0);
}

/// Whoever finds no connection makes one, for which all others of its thread wait: also a scrub, which
/// must go on while searches are asked without pause.
#[test]
fn a_link_that_was_cut_is_used_again_at_once_whoever_connects() {
    const OUTAGES: usize = 20;
    let redis = Redis::start(&[]);
    let proxy = Proxy::to(redis.port());
    let limits = ["--workers", "1", "--request-timeout-ms", "5000"];
    let scrub = ["--engine-scrub-interval-ms", "1"];
    let server = server(&proxy.url(), &[limits.as_slice(), &scrub].concat());
    server.fill(["a"]);
    let done = AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        let ending = Ending(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut connection = server.connect();
                while !done.load(Ordering::Relaxed) {
                    connection.request("GET", "/search?prefix=", &[], b"");
                }
            });
        }
        let mut longest = Duration::ZERO;
        for _ in 0..OUTAGES {
            proxy.set(Weather::Cut);
            until("reads are refused", || {
                (server.get("/get/a").status != 200).then_some(())
            });
            // So that others come while one connects.
            proxy.set(Weather::Slow(Duration::from_millis(5)));
            let back = Instant::now();
            for path in ["/get/a", "/search?prefix="] {
                until("it is answered again", || {
                    (server.get(path).status == 200).then_some(())
                });
            }
            longest = longest.max(back.elapsed());
        }
        drop(ending);
        longest
    });
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[test]
fn an_engine_that_hangs_holds_no_request_past_its_deadline() {
    let redis = Redis::start(&[]);
    let limits = [
        "--request-timeout-ms",
        "700",
        "--engine-response-timeout-ms",
        "300",
    ];
    let server = server(&redis.url(), &limits);
    server.fill(["a"]);
    redis.signal(Signal::STOP);
    let timed = |ask: &dyn Fn() -> crate::support::Response| {
        let begun = Instant::now();
        let response = ask();
        // What the machine takes for other things is not the server's doing.
        assert!(
            begun.elapsed() < Duration::from_millis(2_000),
            "{:?}",
            begun.elapsed()
        );
        response
    };
    // On a connection that was just used it is sent; else it is found out first that nobody answers.
    let set = timed(&|| server.put("/set/b", &[], b"1"));
    match set.status {
        504 => set.assert_problem(504, "timeout", &["unknown"]),
        _ => set.assert_problem(503, "engine_unavailable", &["nothing was done"]),
    };
    let read = timed(&|| server.get("/get/a"));
    assert!(matches!(read.status, 503 | 504), "{}", read.text());
    let found = timed(&|| server.get("/search?prefix="));
    assert!(matches!(found.status, 503 | 504), "{}", found.text());
    assert_eq!(timed(&|| server.get("/livez")).status, 200);
    redis.signal(Signal::CONT);
    until("it is used again", || {
        (server.get("/get/a").status == 200).then_some(())
    });
    until("searches are answered", || {
        (server.get("/search?prefix=").status == 200).then_some(())
    });
}

#[test]
fn a_change_is_acknowledged_once_as_many_replicas_have_it_as_asked() {
    let master = Redis::start(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    // Confirmations of one that the master does not take for online are not counted.
    until("the master knows that the replica has all data", || {
        let says = master.run(&["info", "replication"]);
        says.contains("state=online").then_some(())
    });
    let waiting = |replicas: &str| {
        let limits = ["--engine-wait-timeout-ms", "800"];
        let wait = ["--engine-wait-replicas", replicas];
        server(&master.url(), &[wait, limits].concat())
    };
    let (one, two) = (waiting("1"), waiting("2"));
    assert_eq!(one.put("/set/a", &[], b"1").status, 200);
    assert_eq!(one.bulk("{\"key\":\"b\",\"value\":1}\n").status, 200);
    assert_eq!(one.delete("/delete/b").status, 204);
    // There is one replica, so that two never have it: it was made all the same.
    let unsafe_set = two.put("/set/c", &[], b"2");
    unsafe_set.assert_problem(
        504,
        "engine_unreplicated",
        &["engine_wait_replicas", "made"],
    );
    assert_eq!(two.get("/get/c").text(), "2");
    assert_eq!(one.get("/search?prefix=").keys(), ["a", "c"]);
    replica.signal(Signal::STOP);
    let set = one.put("/set/d", &[], b"1");
    set.assert_problem(504, "engine_unreplicated", &["replicas"]);
    // Many at once do not wait for each other's confirmations, one after the other.
    std::thread::scope(|scope| {
        let sets: Vec<_> = (0..24)
            .map(|number| {
                let one = &one;
                scope.spawn(move || one.put(&format!("/set/many-{number}"), &[], b"1"))
            })
            .collect();
        for set in sets {
            let set = set.join().unwrap();
            set.assert_problem(504, "engine_unreplicated", &["made"]);
        }
    });
    assert_eq!(one.get("/search?prefix=many-").total(), 24);
    let bulk = one.bulk("{\"key\":\"e\",\"value\":1}\n");
    assert_eq!(bulk.status, 504, "{}", bulk.text());
    assert_eq!(one.get("/get/d").text(), "1");
    replica.signal(Signal::CONT);
    until("changes are confirmed again", || {
        (one.put("/set/d", &[], b"1").status == 200).then_some(())
    });
    let errors = "kvstore_engine_errors_total{kind=\"unreplicated\"}";
    assert!(metric(&one, errors) >= 2.0);
}
