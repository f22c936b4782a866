//! What is made of an engine that goes and comes back, or that does less than it did: changes that are not
//! lost for it, one line in the log, and words where people look.

use crate::failover::until_slot_moves;
use crate::redis::{Cluster, Redis};
use crate::support::{Server, until};
use crate::{metric, server};
use kvstore::valkey::Place;
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[test]
fn an_outage_is_one_line_when_it_begins_and_one_when_it_is_over() {
    let mut redis = Redis::start(&[]);
    let on_it = server(&redis.url(), &[]);
    on_it.fill(["a"]);
    redis.kill();
    until("reads are refused", || {
        (on_it.get("/get/a").status == 503).then_some(())
    });
    for _ in 0..20 {
        on_it
            .get("/get/a")
            .assert_problem(503, "engine_unavailable", &["nothing was done"]);
        assert_eq!(on_it.put("/set/a", &[], b"1").status, 503);
        on_it
            .get("/search?prefix=")
            .assert_problem(503, "engine_unavailable", &["reached"]);
    }
    let warnings = on_it.get("/readyz").json()["warnings"].to_string();
    assert!(warnings.contains("cannot be reached"), "{warnings}");
    let unreachable = "kvstore_engine_outage{kind=\"unreachable\"}";
    until("the metric says why", || {
        (metric(&on_it, unreachable) == 1.0).then_some(())
    });
    let of_engine = |log: &str| {
        log.lines()
            .filter(|line| line.contains("the engine at"))
            .count()
    };
    redis.restart();
    let over = until("it is over", || {
        let log = on_it.log();
        let line = log.lines().find(|line| line.contains("is back after"))?;
        Some(line.to_owned())
    });
    let (_, count) = over.split_once("in which ").unwrap();
    let count: usize = count.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= 60, "{over}");
    assert!(over.contains("unreachable"), "{over}");
    // When it began, when it was over, and that it is where the data is.
    assert_eq!(of_engine(&on_it.log()), 3, "{}", on_it.log());
    assert_eq!(metric(&on_it, unreachable), 0.0);
    assert_eq!(
        on_it.get("/readyz").json()["warnings"],
        serde_json::Value::Null
    );
}

#[test]
fn a_cluster_that_is_gone_does_not_fill_the_log() {
    let mut cluster = Cluster::start();
    let on_it = server(&cluster.url(), &[]);
    on_it.fill(["a"]);
    // That reads take long meanwhile is told of apart, and bounded.
    let lines = || {
        let log = on_it.log();
        log.lines().filter(|line| !line.contains(" slow]")).count()
    };
    let before = lines();
    cluster.nodes.iter_mut().for_each(Redis::kill);
    let errors = "kvstore_engine_errors_total{kind=\"unreachable\"}";
    until("it was tried many times", || {
        on_it.get("/get/a");
        (metric(&on_it, errors) > 50.0).then_some(())
    });
    let more = lines() - before;
    assert_eq!(more, 1, "{}", on_it.log());
}

/// Ends all connections of clients, once those that change something have been idle for a second. The
/// node counts turns of its clock, the first of which may come at once: two are a second and more.
fn end_idle_connections(redis: &Redis) {
    until("connections are idle", || {
        let list = redis.run(&["client", "list", "type", "normal"]);
        let wrote = |line: &&str| {
            let commands = ["cmd=evalsha", "cmd=wait", "cmd=eval ", "cmd=ping"];
            commands.iter().any(|command| line.contains(command))
        };
        let mut writers = list.lines().filter(wrote);
        let is_recent = |line: &str| line.contains(" idle=0 ") || line.contains(" idle=1 ");
        writers.all(|line| !is_recent(line)).then_some(())
    });
    redis.run(&["client", "kill", "type", "normal", "skipme", "yes"]);
}

/// Makes changes of all partitions on each worker, all of which must be made.
fn all_are_made(on_it: &Server, round: &str) {
    let mut connections: Vec<_> = (0..8).map(|_| on_it.connect()).collect();
    for number in 0..24 {
        let path = format!("/set/{round}-{number}");
        let set = connections[number % 8].request("PUT", &path, &[], b"1");
        assert_eq!(set.status, 200, "{round}: {}", set.text());
    }
    assert_eq!(on_it.get(&format!("/search?prefix={round}-")).total(), 24);
}

#[test]
fn a_change_on_a_connection_that_ended_while_idle_is_made() {
    let master = Redis::start(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let _replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    until("the master knows that the replica has all data", || {
        let says = master.run(&["info", "replication"]);
        says.contains("state=online").then_some(())
    });
    for more in [
        &["--workers", "4", "--shards", "1"][..],
        &["--engine-wait-replicas", "1"],
        &[],
    ] {
        let on_it = server(&master.url(), more);
        all_are_made(&on_it, "before");
        for round in ["one", "two", "three"] {
            end_idle_connections(&master);
            all_are_made(&on_it, round);
        }
        for key in on_it.get("/search?prefix=").keys() {
            assert_eq!(on_it.delete(&format!("/delete/{key}")).status, 204);
        }
    }
    let cluster = Cluster::start();
    let on_it = server(&cluster.url(), &[]);
    all_are_made(&on_it, "before");
    for round in ["one", "two"] {
        for master in cluster.masters() {
            end_idle_connections(&cluster.nodes[master]);
        }
        all_are_made(&on_it, round);
    }
}

#[test]
fn reads_do_not_wait_behind_changes_that_are_paused() {
    let redis = Redis::start(&[]);
    let on_it = server(&redis.url(), &[]);
    on_it.fill(["a"]);
    redis.run(&["client", "pause", "3000", "write"]);
    let begun = Instant::now();
    let mut writer = on_it.connect();
    writer.send("PUT", "/set/b", &[], b"1");
    for _ in 0..50 {
        assert_eq!(on_it.get("/get/a").status, 200);
    }
    assert!(
        begun.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        begun.elapsed()
    );
    assert!(writer.is_silent(), "the change waits");
}

#[test]
fn a_policy_that_drops_keys_is_noticed_while_it_is_set() {
    let redis = Redis::start(&["--maxmemory", "100mb"]);
    let on_it = server(&redis.url(), &["--engine-scrub-interval-ms", "10"]);
    redis.run(&["config", "set", "maxmemory-policy", "allkeys-random"]);
    until("it is in the log", || {
        on_it.log().contains("noeviction").then_some(())
    });
    let ready = on_it.get("/readyz");
    assert_eq!(ready.status, 200);
    assert!(
        ready.text().contains("maxmemory-policy"),
        "{}",
        ready.text()
    );
    assert_eq!(metric(&on_it, "kvstore_engine_evicts"), 1.0);
    redis.run(&["config", "set", "maxmemory-policy", "noeviction"]);
    until("that is over", || {
        (metric(&on_it, "kvstore_engine_evicts") == 0.0).then_some(())
    });
    assert_eq!(
        on_it.log().matches("noeviction").count(),
        1,
        "{}",
        on_it.log()
    );
}

#[test]
fn what_is_no_value_of_ours_is_said_and_not_looked_for_again_and_again() {
    let redis = Redis::start(&[]);
    let on_it = server(&redis.url(), &[]);
    on_it.fill(["junk", "newer"]);
    let put = |key: &str, blob: &str| {
        let bucket = format!("kv:*:v{}", Place::of(key.as_bytes()).bucket);
        for bucket in redis.run(&["keys", &bucket]).lines() {
            if redis.run(&["hexists", bucket, key]).trim() == "1" {
                redis.run(&["hset", bucket, key, blob]);
            }
        }
    };
    put("junk", "whatever somebody has put here");
    let head = "\u{2}\u{1}12345678";
    put("newer", &format!("{head}a value"));
    for _ in 0..50 {
        on_it
            .get("/get/junk")
            .assert_problem(503, "engine_data", &["did not write"]);
        on_it
            .get("/get/newer")
            .assert_problem(503, "engine_data", &["newer version"]);
    }
    let errors = |kind: &str| {
        metric(
            &on_it,
            &format!("kvstore_engine_errors_total{{kind=\"{kind}\"}}"),
        )
    };
    assert_eq!((errors("foreign"), errors("newer")), (50.0, 50.0));
    assert_eq!(metric(&on_it, "kvstore_engine_reloads_total"), 0.0);
    assert_eq!(on_it.get("/search?prefix=").keys(), ["junk", "newer"]);
    // It can be mended by setting it.
    assert_eq!(on_it.put("/set/junk", &[], b"1").status, 200);
    assert_eq!(on_it.get("/get/junk").text(), "1");
}

#[test]
fn fields_that_are_no_keys_are_left_out_and_counted() {
    let redis = Redis::start(&[]);
    let on_it = server(&redis.url(), &["--engine-scrub-interval-ms", "1"]);
    on_it.fill(["a"]);
    let all = redis.run(&["keys", "kv:*:v*"]);
    let bucket = all.lines().next().unwrap();
    let tag = bucket.rsplit_once(":v").unwrap().0;
    // In all buckets of a partition: one of them is where this would belong.
    for number in 0..64 {
        let script =
            "redis.call('HSET', KEYS[1], 'k\\255\\254', 'v'); redis.call('HSET', KEYS[1], '', 'v')";
        redis.run(&["eval", script, "1", &format!("{tag}:v{number}")]);
    }
    // And as the log has them.
    let log = format!("{tag}:l");
    let script = "redis.call('XADD', KEYS[1], '*', '1', '+k\\255\\254')";
    redis.run(&["eval", script, "1", &log]);
    until("they are counted", || {
        (metric(&on_it, "kvstore_engine_repairs_total") >= 2.0).then_some(())
    });
    assert_eq!(on_it.get("/search?prefix=").keys(), ["a"]);
    assert_eq!(on_it.get("/search?suffix=").total(), 1);
    let second = server(&redis.url(), &[]);
    assert_eq!(second.get("/search?prefix=").keys(), ["a"]);
    assert_eq!(
        on_it.log().matches("are left out").count(),
        1,
        "{}",
        on_it.log()
    );
}

#[test]
fn a_server_starts_while_a_master_is_down_and_says_what_it_cannot_answer() {
    std::thread::scope(|scope| {
        // One of them has the layout, another the first partitions.
        for down in 0..3 {
            scope.spawn(move || starts_without(down));
        }
    });
}

fn starts_without(down: usize) {
    let mut cluster = Cluster::start();
    for node in &cluster.nodes {
        node.run(&["config", "set", "cluster-require-full-coverage", "no"]);
        node.run(&["config", "set", "cluster-replica-no-failover", "yes"]);
    }
    let names: Vec<String> = (0..60).map(|number| format!("key-{number}")).collect();
    server(&cluster.url(), &[]).fill(&names);
    let master = cluster.masters()[down];
    cluster.nodes[master].kill();
    let alive = cluster.nodes.iter().enumerate();
    let alive = alive.filter(|(index, _)| *index != master);
    let alive: Vec<String> = alive
        .map(|(_, node)| format!("127.0.0.1:{}", node.port()))
        .collect();
    let url = format!("redis+cluster://{}", alive[..3].join(","));
    let on_it = Server::launch(&["--engine", &url, "--engine-unready-after-ms", "1500"]);
    until("it is ready without it", || {
        (on_it.get("/readyz").status == 200).then_some(())
    });
    let ready = on_it.get("/readyz");
    let says = "partitions are not read yet";
    assert!(ready.text().contains(says), "{}", ready.text());
    let (mut there, mut away) = (0, 0);
    for name in &names {
        let got = on_it.get(&format!("/get/{name}"));
        match got.status {
            200 => there += 1,
            503 | 504 => away += 1,
            _ => panic!("{}", got.text()),
        }
        if there > 5 && away > 0 {
            break;
        }
    }
    assert!(there > 5 && away > 0, "{there} {away}");
    let found = on_it.get("/search?prefix=");
    assert!(matches!(found.status, 503 | 504), "{}", found.text());
    // It comes back, though with nothing.
    cluster.nodes[master].restart();
    until("searches are answered", || {
        let found = on_it.get("/search?prefix=");
        (found.status == 200 && found.total() > 20).then_some(())
    });
    until("nothing is amiss", || {
        on_it.get("/readyz").json()["warnings"]
            .is_null()
            .then_some(())
    });
}

#[test]
fn a_slot_on_its_way_is_followed_to_a_node_without_a_name() {
    let cluster = Cluster::start();
    for node in &cluster.nodes {
        node.run(&[
            "config",
            "set",
            "cluster-preferred-endpoint-type",
            "unknown-endpoint",
        ]);
    }
    for more in [&[][..], &["--engine-wait-replicas", "1"]] {
        let on_it = server(&cluster.url(), more);
        on_it.fill(["a", "b", "c", "moving"]);
        until_slot_moves(&cluster, Place::of(b"moving"), || {
            for body in [b"1", b"2"] {
                let set = on_it.put("/set/moving", &[], body);
                assert_eq!(set.status, 200, "{}", set.text());
                assert_eq!(on_it.get("/get/moving").body, body);
            }
            assert_eq!(
                on_it.get("/search?prefix=").keys(),
                ["a", "b", "c", "moving"]
            );
        });
        assert_eq!(on_it.put("/set/moving", &[], b"3").status, 200);
        assert_eq!(on_it.get("/get/moving").text(), "3");
        assert_eq!(on_it.delete("/delete/moving").status, 204);
    }
}

#[test]
fn a_place_is_taken_until_the_engine_has_answered_whoever_has_gone() {
    let redis = Redis::start(&[]);
    let more = [
        "--messages-in-flight-max",
        "1",
        "--shards",
        "1",
        "--request-timeout-ms",
        "20000",
    ];
    let response = ["--engine-response-timeout-ms", "15000"];
    let on_it = server(&redis.url(), &[&more[..], &response].concat());
    on_it.fill(["a"]);
    redis.signal(Signal::STOP);
    let mut gone = on_it.connect();
    gone.send("GET", "/get/a", &[], b"");
    until("its place is taken", || {
        (metric(&on_it, "kvstore_messages_in_flight") == 1.0).then_some(())
    });
    drop(gone);
    for _ in 0..20 {
        on_it
            .get("/get/a")
            .assert_problem(503, "overloaded", &["nothing was done"]);
    }
    redis.signal(Signal::CONT);
    until("it is free again", || {
        (on_it.get("/get/a").status == 200).then_some(())
    });
}
