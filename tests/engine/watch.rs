//! Watches over an engine that servers share: on from one server to another without a gap, through kills and failovers; and
//! where something may have been lost, that is said.

use crate::audit::Ending;
use crate::client::{State, Watch, equals_the_store, state};
use crate::redis::{Cluster, Redis, Sentinels};
use crate::support::{JSON, Server, until};
use crate::{metric, server};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const WATCHED: [&str; 2] = ["--engine-watch", "true"];

/// A server on an engine that logs updates.
fn watched(url: &str) -> Server {
    server(url, &WATCHED)
}

/// A watch that goes on behind its last event wherever it is told to, and what it was told, folded.
struct Client {
    query: &'static str,
    id: Option<String>,
    folded: State,
    /// How often it had to begin anew.
    begun: usize,
}

/// What came of a watch.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Enough,
    Gone,
    Cut,
}

impl Client {
    fn new(query: &'static str) -> Self {
        Self {
            query,
            id: None,
            folded: State::new(),
            begun: 0,
        }
    }

    /// Watches at a server, from the start where it cannot go on, for as long as it is wanted, or until it has to begin
    /// anew.
    fn watch(&mut self, server: &Server, mut is_wanted: impl FnMut(&State) -> bool) -> Ended {
        let query = match &self.id {
            Some(id) => format!("{}&after={id}", self.query),
            None => format!("{}&from=start", self.query),
        };
        let mut connection = server.connect();
        connection.send("GET", &format!("/watch?{query}"), &[], b"");
        let Ok(head) = connection.try_head() else {
            return Ended::Cut;
        };
        match head.status {
            200 => {}
            410 => return self.begin_anew(),
            status => {
                assert!(matches!(status, 503 | 504), "{status}");
                return Ended::Cut;
            }
        }
        if self.id.is_none() {
            self.folded.clear();
            self.begun += 1;
        }
        let mut watch = Watch::of(connection, &head);
        while let Ok(Some(event)) = watch.try_next() {
            let text = |member: &str| event.data[member].as_str().map(str::to_owned);
            match event.name.as_str() {
                "set" => {
                    let tag = text("etag").unwrap();
                    let ends = text("expires_at");
                    self.folded.insert(text("key").unwrap(), (tag, ends));
                }
                "delete" | "expire" => drop(self.folded.remove(&text("key").unwrap())),
                "gone" => return self.begin_anew(),
                "ready" | "bookmark" => {}
                other => panic!("{other}"),
            }
            self.id = event.id.or(self.id.take());
            if self.id.is_some() && !is_wanted(&self.folded) {
                return Ended::Enough;
            }
        }
        Ended::Cut
    }

    fn begin_anew(&mut self) -> Ended {
        self.id = None;
        Ended::Gone
    }

    /// Watches until what it has is what the store has, which nobody changes meanwhile.
    fn equals(&mut self, server: &Server, filter: &str) {
        let expected = until("the store can be read", || {
            let found = server.get(&format!("/search?{filter}"));
            (found.status == 200).then(|| state(server, filter))
        });
        // A bookmark comes at once, so that it is looked at in any case.
        until("it has what the store has", || {
            self.watch(server, |folded| *folded != expected);
            (self.folded == expected).then_some(())
        });
        assert_eq!(state(server, filter), expected, "nobody changed it");
    }
}

/// Changes keys that begin with a letter, in all ways there are, until it is over. What fails is left.
fn change(server: &Server, letter: char, is_over: &AtomicBool, turns: &AtomicUsize) {
    let mut connection = server.connect();
    for turn in 0_usize.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{letter}/{}", turn * 7 % 41);
        let (method, path) = match turn % 7 {
            0 | 1 => ("PUT", format!("/set/{key}")),
            2 => ("PUT", format!("/set/{key}?ttl_ms=20")),
            3 => ("PUT", format!("/set/{key}?ttl_ms=86400000")),
            4 => ("DELETE", format!("/delete/{key}")),
            5 => ("POST", format!("/expire/{key}")),
            _ => ("PUT", format!("/set/{letter}/more-{}", turn % 500)),
        };
        let body: &[u8] = match method {
            "POST" => b"{\"ttl_ms\":43200000}",
            "PUT" => b"1",
            _ => b"",
        };
        let headers: &[(&str, &str)] = if method == "POST" { &[JSON] } else { &[] };
        match connection.try_request(method, &path, headers, body) {
            Ok(_) => {
                turns.fetch_add(1, Ordering::Relaxed);
            }
            // The server was killed.
            Err(_) => return,
        }
    }
}

/// Has writers at some servers while something is done.
fn changing(servers: &[&Server], during: impl FnOnce(&AtomicUsize)) {
    let (is_over, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        for (server, letter) in servers.iter().zip('a'..) {
            let (is_over, turns) = (&is_over, &turns);
            scope.spawn(move || change(server, letter, is_over, turns));
        }
        during(&turns);
        drop(ending);
    });
}

fn until_more_turns(turns: &AtomicUsize, more: usize) {
    let begun = turns.load(Ordering::Relaxed);
    until("more is changed", || {
        (turns.load(Ordering::Relaxed) > begun + more).then_some(())
    });
}

/// Waits until what ends within the next hours has ended.
fn settled(server: &Server) {
    until("all that ends soon has ended", || {
        let far = server.put("/set/far?ttl_ms=40000000", &[], b"1");
        if far.status != 200 || server.get("/search?prefix=&limit=1").status != 200 {
            return None;
        }
        let found = state(server, "prefix=");
        let far = found.get("far")?.1.clone()?;
        let mut ends = found.values().filter_map(|(_, ends)| ends.as_ref());
        let is_quiet = ends.all(|ends| *ends >= far);
        let listed = server.get("/search?prefix=").total();
        (is_quiet && listed == found.len()).then_some(())
    });
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

#[test]
fn what_a_failover_behind_sentinels_loses_is_never_kept_by_who_watches() {
    let mut sentinels = Sentinels::start();
    let url = sentinels.url();
    let servers = [watched(&url), watched(&url)];
    let before = sentinels.master();
    let replica = sentinels
        .nodes
        .iter()
        .position(|node| node.port() != before);
    let replica = replica.unwrap();
    let mut clients = [Client::new("prefix="), Client::new("prefix=a/&values=true")];
    for client in &mut clients {
        client.watch(&servers[0], |_| false);
    }
    // What is acknowledged and told from here on is lost: the replica hears of nothing any more.
    let master = 1 - replica;
    sentinels.nodes[replica].signal(Signal::STOP);
    sentinels.nodes[master].run(&["client", "kill", "type", "replica"]);
    changing(&[&servers[0]], |turns| {
        until_more_turns(turns, 200);
        for client in &mut clients {
            let mut events = 100;
            let ended = client.watch(&servers[1], |_| {
                events -= 1;
                events > 0
            });
            assert_eq!(ended, Ended::Enough);
        }
    });
    sentinels.nodes[master].kill();
    sentinels.nodes[replica].signal(Signal::CONT);
    until("the Sentinels have another master", || {
        (sentinels.master() != before).then_some(())
    });
    until("keys can be set", || {
        (servers[0].put("/set/a/after", &[], b"1").status == 200).then_some(())
    });
    settled(&servers[0]);
    for client in &mut clients {
        let filter = client.query.trim_end_matches("&values=true");
        client.equals(&servers[1], filter);
        assert!(client.begun >= 2, "it heard that something may be lost");
    }
}

#[test]
fn through_failovers_of_a_cluster_what_is_folded_comes_to_what_is_stored() {
    let mut cluster = Cluster::start();
    let url = cluster.url();
    let limits = ["--request-timeout-ms", "5000"];
    let more = [&WATCHED[..], &limits].concat();
    let servers = [server(&url, &more), server(&url, &more)];
    let mut clients = [Client::new("prefix="), Client::new("suffix=1&values=true")];
    for round in 0..2 {
        cluster.wait_whole();
        let failing = cluster.masters()[0];
        changing(&[&servers[0], &servers[1]], |turns| {
            until_more_turns(turns, 100);
            for (index, client) in clients.iter_mut().enumerate() {
                let mut events = 100;
                until("it is told of something", || {
                    client.watch(&servers[(round + index) % 2], |_| {
                        events -= 1;
                        events > 0
                    });
                    (events <= 0).then_some(())
                });
            }
            cluster.nodes[failing].kill();
            until("keys of every master can be set", || {
                let mut connection = servers[0].connect();
                let mut set = |number: u32| {
                    let path = format!("/set/probe-{number}");
                    connection.request("PUT", &path, &[], b"1").status == 200
                };
                (0..50).all(&mut set).then_some(())
            });
            until_more_turns(turns, 100);
        });
        cluster.nodes[failing].restart();
        cluster.wait_whole();
        settled(&servers[1]);
        for (index, client) in clients.iter_mut().enumerate() {
            let filter = client.query.trim_end_matches("&values=true");
            client.equals(&servers[index], filter);
        }
    }
}

#[test]
fn a_handover_without_loss_cuts_off_nobody_who_watches() {
    let master = Redis::start(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let on_it = watched(&master.url());
    let mut watch = Watch::open(&on_it, "prefix=");
    let mut folded = State::new();
    on_it.fill((0..100).map(|number| format!("k{number}")));
    // Its first replica makes it begin another history, as a failover does: what was told is there all the same.
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    until("the replica has all data", || {
        let says = replica.run(&["info", "replication"]);
        says.contains("master_link_status:up").then_some(())
    });
    on_it.fill((50..150).map(|number| format!("k{number}")));
    equals_the_store(&on_it, "prefix=", &mut watch, &mut folded);
    assert_eq!(metric(&on_it, "kvstore_watchers_cut_total"), 0.0);
}

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
