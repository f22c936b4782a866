//! Watches over an engine that servers share: on from one server to another without a gap, through kills and failovers; and
//! where something may have been lost, that is said.

mod failovers;
mod folding;
mod values;

use crate::client::Watch;
use crate::redis::Redis;
use crate::support::{Server, until};
use crate::{metric, server};
use folding::{Client, Ended, changing, settled, until_more_turns};
use rustix::process::Signal;
use std::collections::BTreeMap;

const WATCHED: [&str; 2] = ["--engine-watch", "true"];

/// A server on an engine that logs updates.
fn watched(url: &str) -> Server {
    server(url, &WATCHED)
}

#[test]
fn what_two_servers_change_is_told_by_both_and_a_client_goes_from_one_to_the_other() {
    let redis = Redis::start(&[]);
    let servers = [watched(&redis.url()), watched(&redis.url())];
    let both = [&servers[0], &servers[1]];
    let mut clients = [
        Client::new("prefix="),
        Client::new("prefix=a/&values=true"),
        Client::new("suffix=1"),
        Client::new("prefix=b/&suffix=7&values=true"),
    ];
    changing(&both, |turns| {
        for round in 0..12 {
            for (index, client) in clients.iter_mut().enumerate() {
                let mut events = 20 * round + 5;
                let at = &servers[(round + index) % 2];
                let ended = client.watch(at, |_| {
                    events -= 1;
                    events > 0
                });
                assert_eq!(ended, Ended::Enough);
            }
            until_more_turns(turns, 50);
        }
    });
    settled(&servers[0]);
    for (index, client) in clients.iter_mut().enumerate() {
        let filter = client.query.trim_end_matches("&values=true");
        client.equals(&servers[index % 2], filter);
        assert_eq!(client.begun, 1, "{filter}: it never had to begin anew");
    }
    // Nothing of this was a reason to read a partition again.
    for server in both {
        assert_eq!(metric(server, "kvstore_engine_reloads_total"), 0.0);
        assert_eq!(metric(server, "kvstore_engine_repairs_total"), 0.0);
        assert_eq!(metric(server, "kvstore_watchers_cut_total"), 0.0);
    }
}

#[test]
fn no_change_is_left_out_where_a_client_goes_on_at_another_server() {
    let redis = Redis::start(&[]);
    let servers = [watched(&redis.url()), watched(&redis.url())];
    let mut id = Watch::open(&servers[0], "prefix=k")
        .next()
        .unwrap()
        .id
        .unwrap();
    let mut next = 0;
    for round in 0..8 {
        let tags: Vec<String> = (0..200)
            .map(|_| servers[round % 2].put("/set/k", &[], b"1").etag())
            .collect();
        let mut watch = Watch::open(&servers[(round + 1) % 2], &format!("prefix=k&after={id}"));
        // Some that it had may come again, and then each of these, in their order.
        let mut expected = tags.iter().peekable();
        while let Some(tag) = expected.peek() {
            let event = watch.next_change();
            if event.data["etag"] == **tag {
                expected.next();
            } else {
                assert_eq!(expected.len(), tags.len(), "a change was left out");
            }
            id = event.id.unwrap();
            next += 1;
        }
    }
    assert!(next >= 1600);
}

#[test]
fn a_server_that_is_killed_in_the_middle_is_left_for_another() {
    let redis = Redis::start(&[]);
    let url = redis.url();
    let staying = watched(&url);
    let mut client = Client::new("prefix=");
    for round in 0..4 {
        let mut leaving = watched(&url);
        changing(&[&staying, &leaving], |turns| {
            until_more_turns(turns, 100);
            let mut events = 0;
            let ended = client.watch(&leaving, |_| {
                events += 1;
                if events == 100 {
                    leaving.signal(Signal::KILL);
                }
                true
            });
            assert_eq!(ended, Ended::Cut, "{round}");
        });
        leaving.wait();
    }
    settled(&staying);
    client.equals(&staying, "prefix=");
    assert_eq!(client.begun, 1);
}

#[test]
fn a_client_that_was_away_for_longer_than_the_log_goes_is_told_so_everywhere() {
    let redis = Redis::start(&[]);
    let more = [&WATCHED[..], &["--engine-watch-entries", "2000"]].concat();
    let first = server(&redis.url(), &more);
    let other = server(&redis.url(), &[]);
    let id = Watch::open(&first, "prefix=").next().unwrap().id.unwrap();
    // More than a partition's log keeps, with what the engine does not cut off at once.
    let lines = "{\"key\":\"k\",\"value\":1}\n".repeat(4000);
    assert_eq!(first.bulk(&lines).status, 200);
    let gone = other.get(&format!("/watch?prefix=&after={id}"));
    gone.assert_problem(410, "changes_gone", &["engine_watch_entries"]);
    // What its own server keeps is longer.
    let mut watch = Watch::open(&first, &format!("prefix=&after={id}"));
    assert_eq!(watch.next_change().data["key"], "k");
    let log = redis.run(&["eval", LOG_OF, "0", "k"]);
    assert!(log.trim().parse::<usize>().unwrap() < 2300, "{log}");
}

/// How long the longest log is.
const LOG_OF: &str = "local most = 0 for _, key in ipairs(redis.call('KEYS', 'kv:*:l')) do most = math.max(most, \
                      redis.call('XLEN', key)) end return most";

#[test]
fn another_namespace_and_another_engine_are_told_from_this_one() {
    let redis = Redis::start(&[]);
    let first = watched(&redis.url());
    let id = Watch::open(&first, "prefix=").next().unwrap().id.unwrap();
    let goes_on = |server: &Server| server_takes(server, &id);
    assert!(goes_on(&first) && goes_on(&watched(&redis.url())));
    let other = server(
        &redis.url(),
        &[&WATCHED[..], &["--namespace", "other"]].concat(),
    );
    assert!(!goes_on(&other));
    let elsewhere = Redis::start(&[]);
    assert!(!goes_on(&watched(&elsewhere.url())));
    // Nor is it what it was once all is gone.
    let mut watch = Watch::open(&first, "prefix=");
    redis.run(&["flushall"]);
    assert_eq!(watch.next_change().name, "gone");
    until("updates are logged again", || {
        let mut connection = first.connect();
        connection.send("GET", "/watch?prefix=", &[], b"");
        (connection.head().status == 200).then_some(())
    });
    assert!(!goes_on(&first));
    assert!(!goes_on(&watched(&redis.url())));
}

/// Whether a server goes on behind an event.
fn server_takes(server: &Server, id: &str) -> bool {
    until("it is said", || {
        let mut connection = server.connect();
        connection.send("GET", &format!("/watch?prefix=&after={id}"), &[], b"");
        match connection.head().status {
            200 => Some(true),
            410 => Some(false),
            status => {
                assert_eq!(status, 503);
                None
            }
        }
    })
}

#[test]
fn ids_never_fall_behind_what_was_promised() {
    let redis = Redis::start(&[]);
    let on_it = watched(&redis.url());
    let mut watch = Watch::open(&on_it, "prefix=");
    watch.next();
    // As where a server was promised something by a clock that was set back since: by an hour.
    let head = |key: &str| redis.run(&["get", key]).trim().to_owned();
    let heads = redis.run(&["keys", "kv:*:h"]);
    for key in heads.lines() {
        let text = head(key);
        let words: Vec<&str> = text.split(' ').collect();
        let [id, operation, keys, since, promise, kept, "~"] = words[..] else {
            panic!("{text}");
        };
        let ahead = promise.parse::<u64>().unwrap() + 3_600_000_000;
        redis.run(&[
            "set",
            key,
            &format!("{id} {operation} {keys} {since} {ahead} {kept} ~"),
        ]);
    }
    let before: BTreeMap<String, u64> = heads
        .lines()
        .map(|key| {
            (
                key.to_owned(),
                head(key).split(' ').nth(4).unwrap().parse().unwrap(),
            )
        })
        .collect();
    let id = until("the mark has it", || {
        let mut watch = Watch::open(&on_it, "prefix=");
        let id = watch.next().unwrap().id.unwrap();
        let mark = u64::from_str_radix(id.rsplit('-').next().unwrap(), 16).unwrap();
        (mark >= *before.values().min().unwrap()).then_some(id)
    });
    let keys: Vec<String> = (0..2000).map(|number| format!("k{number}")).collect();
    on_it.fill(&keys);
    for (key, promised) in &before {
        let text = head(key);
        let last = text.split('-').next().unwrap().parse::<u64>().unwrap();
        let was_changed = !text.contains(" 0 ");
        assert!(
            !was_changed || last > *promised,
            "{text} is behind {promised}"
        );
    }
    // So that nothing was missed by whoever goes on behind it, at another server.
    let other = watched(&redis.url());
    let mut watch = Watch::open(&other, &format!("prefix=k&after={id}"));
    let mut told = std::collections::BTreeSet::new();
    while told.len() < keys.len() {
        told.insert(watch.next_change().data["key"].as_str().unwrap().to_owned());
    }
}
