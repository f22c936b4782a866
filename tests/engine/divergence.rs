//! An index that is no longer what the engine holds is found out and made so again.

use crate::redis::Redis;
use crate::support::until;
use crate::{metric, server, until_keys};
use kvstore::valkey::Place;

const KEYS: usize = 3_000;

fn names() -> Vec<String> {
    (0..KEYS).map(|number| format!("key-{number:05}")).collect()
}

/// A server with keys, that compares a partition with the engine every few milliseconds.
fn filled(redis: &Redis) -> (crate::support::Server, Vec<String>) {
    let server = server(&redis.url(), &["--engine-scrub-interval-ms", "10"]);
    let names = names();
    server.fill(&names);
    assert_eq!(server.get("/search?prefix=").keys(), names);
    (server, names)
}

/// The engine's keys of one kind: `h`eads, `l`ogs or buckets (`v…`).
fn of_kind(redis: &Redis, kind: &str) -> Vec<String> {
    let all = redis.run(&["keys", &format!("kv:*:{kind}*")]);
    all.lines().map(String::from).collect()
}

#[test]
fn a_lost_store_leaves_an_empty_index() {
    let redis = Redis::start(&[]);
    let (server, _) = filled(&redis);
    redis.run(&["flushall"]);
    until_keys(&server, &[]);
    until("the metric says so", || {
        (metric(&server, "kvstore_keys") == 0.0).then_some(())
    });
    assert!(metric(&server, "kvstore_engine_reloads_total") > 0.0);
    // The layout is written again, and so are keys.
    server.fill(["a"]);
    until_keys(&server, &["a".into()]);
    until("the layout is written again", || {
        redis
            .run(&["hget", "kv:layout", "version"])
            .contains('1')
            .then_some(())
    });
}

#[test]
fn an_engine_that_comes_back_without_its_data_is_followed() {
    let mut redis = Redis::start(&[]);
    let (server, _) = filled(&redis);
    redis.restart();
    until_keys(&server, &[]);
    server.fill(["b"]);
    until_keys(&server, &["b".into()]);
}

#[test]
fn deleted_logs_and_heads_are_made_anew() {
    let redis = Redis::start(&[]);
    let (server, mut names) = filled(&redis);
    let other = crate::server(&redis.url(), &[]);
    for (kind, next) in [("l", "l-1"), ("h", "h-1")] {
        for key in of_kind(&redis, kind) {
            redis.run(&["del", &key]);
        }
        server.fill([next]);
        names.push(next.into());
        names.sort();
        until_keys(&server, &names);
        until_keys(&other, &names);
    }
    until("repairs are counted", || {
        (metric(&server, "kvstore_engine_repairs_total") > 0.0).then_some(())
    });
    // It ends: nothing is read again for ever.
    let deletes = server.delete("/delete/l-1");
    assert_eq!(deletes.status, 204);
    names.retain(|name| name != "l-1");
    until_keys(&server, &names);
    until_keys(&other, &names);
}

#[test]
fn logs_and_heads_of_a_wrong_type_are_made_anew() {
    let redis = Redis::start(&[]);
    let (server, mut names) = filled(&redis);
    for (kind, command) in [("l", "set"), ("h", "rpush"), ("h", "set")] {
        for key in of_kind(&redis, kind) {
            redis.run(&["del", &key]);
            redis.run(&[command, &key, "junk"]);
        }
        // A change that meets it first is refused in words, and goes through a moment later.
        let name = format!("after-{kind}-{command}");
        until("a key can be set again", || {
            let set = server.put(&format!("/set/{name}"), &[], b"1");
            if set.status != 200 {
                assert_eq!(set.status, 503, "{}", set.text());
                return None;
            }
            Some(())
        });
        names.push(name);
        names.sort();
        until_keys(&server, &names);
    }
}

#[test]
fn a_log_ahead_of_all_clocks_begins_again() {
    let redis = Redis::start(&[]);
    let (server, mut names) = filled(&redis);
    for key in of_kind(&redis, "l") {
        redis.run(&["xadd", &key, "9999999999999999999-0", "junk", "+ghost"]);
    }
    until("a key can be set again", || {
        let set = server.put("/set/after", &[], b"1");
        assert!(matches!(set.status, 200 | 503), "{}", set.text());
        (set.status == 200).then_some(())
    });
    names.push("after".into());
    names.sort();
    until_keys(&server, &names);
}

#[test]
fn a_bucket_that_was_edited_by_hand_is_found_by_the_scrub() {
    let redis = Redis::start(&[]);
    let (server, mut names) = filled(&redis);
    // The key that the log names last: replaying the log must not bring it back.
    let log = of_kind(&redis, "l").swap_remove(0);
    let last = redis.run(&["xrevrange", &log, "+", "-", "COUNT", "1"]);
    let gone = last
        .lines()
        .find_map(|line| line.strip_prefix('+'))
        .unwrap();
    for bucket in 0..64 {
        let bucket = log.replace(":l", &format!(":v{bucket}"));
        redis.run(&["hdel", &bucket, gone]);
    }
    names.retain(|name| name != gone);
    until_keys(&server, &names);
    assert!(metric(&server, "kvstore_engine_repairs_total") > 0.0);
    until("the count is true again", || {
        (metric(&server, "kvstore_keys") == names.len() as f64).then_some(())
    });
}

#[test]
fn a_bucket_of_a_wrong_type_is_said_and_the_rest_goes_on() {
    let redis = Redis::start(&[]);
    let (server, names) = filled(&redis);
    let bucket = of_kind(&redis, "v").swap_remove(0);
    let held = redis.run(&["hkeys", &bucket]);
    let lost = held.lines().next().unwrap().to_owned();
    redis.run(&["del", &bucket]);
    redis.run(&["set", &bucket, "junk"]);
    let read = server.get(&format!("/get/{lost}"));
    read.assert_problem(503, "engine_data", &["namespace"]);
    let set = server.put(&format!("/set/{lost}"), &[], b"1");
    set.assert_problem(503, "engine_data", &["nothing was done"]);
    assert!(metric(&server, "kvstore_engine_errors_total{kind=\"foreign\"}") >= 2.0);
    let elsewhere = names
        .iter()
        .find(|name| !held.contains(name.as_str()))
        .unwrap();
    assert_eq!(server.get(&format!("/get/{elsewhere}")).status, 200);
    redis.run(&["del", &bucket]);
    let left: Vec<String> = names
        .iter()
        .filter(|name| !held.lines().any(|line| line == *name))
        .cloned()
        .collect();
    until_keys(&server, &left);
}

#[test]
fn another_layout_at_run_time_stops_everything_but_health() {
    let redis = Redis::start(&[]);
    let (server, names) = filled(&redis);
    redis.run(&["hset", "kv:layout", "buckets", "7"]);
    until("the server is not ready", || {
        (server.get("/readyz").status == 503).then_some(())
    });
    for refused in [
        server.get("/get/key-00001"),
        server.put("/set/new", &[], b"1"),
        server.bulk("{\"key\":\"new\",\"value\":1}\n"),
        server.delete("/delete/key-00001"),
        server.get("/search?prefix=key"),
    ] {
        refused.assert_problem(503, "engine_data", &["another layout"]);
    }
    assert_eq!(server.get("/livez").status, 200);
    redis.run(&["hset", "kv:layout", "buckets", "64"]);
    until("the server is ready", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    until_keys(&server, &names);
}

#[test]
fn a_key_in_a_bucket_that_is_not_its_own_is_never_found() {
    let redis = Redis::start(&[]);
    let (server, mut names) = filled(&redis);
    let bucket = of_kind(&redis, "v").swap_remove(0);
    // One key cannot be in two places, so that at least one of these is misplaced.
    for ghost in ["ghost-1", "ghost-2", "ghost-3"] {
        redis.run(&["hset", &bucket, ghost, "junk"]);
    }
    let scrubs = metric(
        &server,
        "kvstore_engine_request_duration_seconds_count{operation=\"reload\"}",
    );
    until("every partition is compared", || {
        let name = "kvstore_engine_request_duration_seconds_count{operation=\"reload\"}";
        (metric(&server, name) > scrubs + 4.0 * 256.0).then_some(())
    });
    until_keys(&server, &names);
    redis.run(&["hdel", &bucket, "ghost-1", "ghost-2", "ghost-3"]);
    server.fill(["after"]);
    names.push("after".into());
    names.sort();
    until_keys(&server, &names);
    assert_eq!(metric(&server, "kvstore_engine_reloads_total"), 0.0);
}

#[test]
fn a_bucket_of_many_keys_is_read_in_steps() {
    let redis = Redis::start(&[]);
    let first = server(&redis.url(), &[]);
    let place = Place {
        partition: 7,
        bucket: 7,
    };
    // More than one script gives at a time.
    let of_place = (0_u32..).map(name).filter(|name| Place::of(name) == place);
    let names = of_place
        .take(4_500)
        .map(|name| String::from_utf8(name.to_vec()).unwrap());
    let mut names: Vec<String> = names.collect();
    first.fill(&names);
    names.sort();
    drop(first);
    until_keys(&server(&redis.url(), &[]), &names);
}

/// A short name for each number, cheap to make.
fn name(number: u32) -> [u8; 6] {
    std::array::from_fn(|digit| b'0' + (number >> (6 * digit) & 63) as u8)
}
