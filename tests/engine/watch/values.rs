//! Watches with values, which are read from the engine.

use super::{WATCHED, watched};
use crate::client::Watch;
use crate::redis::Redis;
use crate::support::{JSON, until};
use crate::{metric, server};
use rustix::process::Signal;

#[test]
fn a_watch_with_values_waits_for_an_engine_that_is_away_for_a_moment() {
    let redis = Redis::start(&[]);
    let on_it = watched(&redis.url());
    let mut watch = Watch::open(&on_it, "prefix=k&values=true");
    on_it.put("/set/k1", &[JSON], b"1");
    assert_eq!(watch.next_change().data["value"], 1);
    redis.signal(Signal::STOP);
    until("requests fail", || {
        (on_it.get("/get/k1").status != 200).then_some(())
    });
    redis.signal(Signal::CONT);
    until("a key can be set", || {
        (on_it.put("/set/k2", &[JSON], b"2").status == 200).then_some(())
    });
    let event = watch.next_change();
    assert_eq!(event.data["key"], "k2");
    assert_eq!(event.data["value"], 2);
}

/// Lines that set so many keys to a text of so many bytes.
fn long_lines(keys: std::ops::Range<usize>, bytes: usize) -> String {
    let value = "v".repeat(bytes);
    let line = |key| format!("{{\"key\":\"k{key}\",\"value\":\"{value}\"}}\n");
    keys.map(line).collect()
}

#[test]
fn one_who_takes_nothing_hears_last_where_to_go_on_when_the_process_stops() {
    let redis = Redis::start(&[]);
    let on_it = server(
        &redis.url(),
        &[&WATCHED[..], &["--drain-ms", "3000"]].concat(),
    );
    let mut watch = Watch::open(&on_it, "prefix=k&values=true");
    // More than fits a connection from which nobody reads.
    for begin in (0..5000).step_by(500) {
        let lines = long_lines(begin..begin + 500, 4000);
        assert_eq!(on_it.bulk(&lines).status, 200);
    }
    until("some of it was told", || {
        (metric(&on_it, "kvstore_watch_events_total") > 50.0).then_some(())
    });
    on_it.signal(Signal::TERM);
    let mut last = None;
    while let Some(event) = watch.next() {
        last = Some((event.name, event.id.is_some()));
    }
    // What it had found and not given then is given where it goes on.
    assert_eq!(last, Some(("bookmark".into(), true)));
}

#[test]
fn those_who_are_told_values_do_not_wait_for_room_that_others_hold_who_wait_too() {
    let redis = Redis::start(&[]);
    let little = ["--buffers-bytes-max", "4194304"];
    let on_it = server(&redis.url(), &[&WATCHED[..], &little].concat());
    let open = |_| Watch::open(&on_it, "prefix=k&values=true");
    let mut watches: Vec<Watch> = (0..12).map(open).collect();
    for begin in (0..300).step_by(60) {
        let lines = long_lines(begin..begin + 60, 3000);
        let set = on_it.bulk(&lines);
        assert_eq!(set.status, 200, "{}", set.text());
        // What all of them hold who read so many values at once is more than there is.
        for watch in &mut watches {
            for _ in 0..60 {
                assert_eq!(watch.next_change().name, "set");
            }
        }
    }
}

#[test]
fn long_values_are_given_as_they_are_from_the_start_and_afterwards() {
    let redis = Redis::start(&[]);
    let on_it = watched(&redis.url());
    // Those that are read with others, by themselves and in one piece, and in several.
    let lengths = [5, 4000, 5000, 30_000, 100_000];
    let put = |key: usize, length: usize| {
        let lines = long_lines(key..key + 1, length);
        assert_eq!(on_it.bulk(&lines).status, 200);
    };
    for (key, length) in lengths.into_iter().enumerate() {
        put(key, length);
    }
    let is_told = |watch: &mut Watch, key: usize, length: usize| {
        let event = watch.next_change();
        assert_eq!(event.data["key"], format!("k{key}"));
        assert_eq!(event.data["value"].as_str().unwrap().len(), length);
    };
    let mut watch = Watch::open(&on_it, "prefix=k&from=start&values=true");
    for (key, length) in lengths.into_iter().enumerate() {
        is_told(&mut watch, key, length);
    }
    assert_eq!(watch.next_change().name, "ready");
    for (key, length) in lengths.into_iter().enumerate() {
        put(key, length + 1);
        is_told(&mut watch, key, length + 1);
    }
}
