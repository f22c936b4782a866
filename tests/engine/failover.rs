//! Masters that die, hang, change and hand slots over, under writers that remember what they were
//! told. Replication is asynchronous: what a failover loses is counted, not forbidden; that it is
//! never anything but loss is what is tested.

use crate::audit::{Loss, settle, until_more, write_during};
use crate::redis::{Cluster, Redis, Sentinels, cli};
use crate::server;
use crate::support::{Server, until};
use kvstore::valkey::Place;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Every request ends by its deadline; the rest is what a busy machine adds.
const DEADLINE: &str = "5000";
const LONGEST: Duration = Duration::from_millis(6_000);

/// Waits until keys of all masters can be set: fifty are of every one.
fn can_write(server: &Server) {
    until("keys of every master can be set", || {
        let mut connection = server.connect();
        let mut set = |number: u32| {
            let path = format!("/set/probe-{number}");
            connection.request("PUT", &path, &[], b"1").status == 200
                && connection
                    .request("DELETE", &path.replace("set", "delete"), &[], b"")
                    .status
                    == 204
        };
        (0..50).all(&mut set).then_some(())
    });
}

#[test]
fn a_killed_master_is_followed_by_sentinels() {
    let mut sentinels = Sentinels::start();
    let servers = [server(&sentinels.url(), &[]), server(&sentinels.url(), &[])];
    let before = sentinels.master();
    let seen = write_during(&servers[0], "s", Loss::Possible, || {
        until_more(&servers[1]);
        let master = sentinels
            .nodes
            .iter_mut()
            .find(|node| node.port() == before);
        master.unwrap().kill();
        until("the Sentinels have another master", || {
            (sentinels.master() != before).then_some(())
        });
        can_write(&servers[1]);
    });
    let lost = settle(&[&servers[0], &servers[1]], &seen);
    assert!(seen.longest < LONGEST, "{:?}", seen.longest);
    println!(
        "killed behind Sentinels: {lost} lost of {}",
        seen.acknowledged.len()
    );
}

#[test]
fn a_cluster_is_followed_through_a_handover_and_moving_slots() {
    let cluster = Cluster::start();
    let limits = ["--request-timeout-ms", DEADLINE];
    let servers = [
        server(&cluster.url(), &limits),
        server(&cluster.url(), &limits),
    ];
    let seen = write_during(&servers[0], "c", Loss::Possible, || {
        until_more(&servers[1]);
        manual_failover(&cluster);
        can_write(&servers[1]);
        move_slots(&cluster);
        can_write(&servers[1]);
    });
    can_write(&servers[0]);
    let lost = settle(&[&servers[0], &servers[1]], &seen);
    assert!(seen.longest < LONGEST, "{:?}", seen.longest);
    println!(
        "cluster: {} acknowledged, {lost} lost, {} unknown, {} refused, longest gap {:?}",
        seen.acknowledged.len(),
        seen.unknown.len(),
        seen.refused,
        seen.gap
    );
}

#[test]
fn changes_of_a_cluster_are_acknowledged_once_its_replicas_have_them() {
    let cluster = Cluster::start();
    let limits = ["--engine-wait-timeout-ms", "500"];
    let wait = ["--engine-wait-replicas", "2"];
    let server = server(&cluster.url(), &[wait, limits].concat());
    can_write(&server);
    // Another node has the slots then, which the client learns from the first answer.
    manual_failover(&cluster);
    can_write(&server);
    cluster.wait_whole();
    let lines: String = (0..50)
        .map(|key| format!("{{\"key\":\"{key}\",\"value\":1}}\n"))
        .collect();
    until("a bulk body is confirmed", || {
        (server.bulk(&lines).status == 200).then_some(())
    });
    let is_replica = |node: &&Redis| node.run(&["role"]).starts_with("slave");
    let hanging = cluster.nodes.iter().find(is_replica).unwrap();
    hanging.signal(Signal::STOP);
    // Its master has one other; the other masters have two.
    until("changes are confirmed but for one master's", || {
        let mut connection = server.connect();
        let mut set = |key: u32| {
            let set = connection.request("PUT", &format!("/set/{key}"), &[], b"2");
            if set.status == 504 {
                set.assert_problem(504, "engine_unreplicated", &["engine_wait_replicas"]);
            }
            set.status
        };
        let statuses: BTreeSet<u16> = (0..20).map(&mut set).collect();
        (statuses == [200, 504].into()).then_some(())
    });
    // What was not confirmed was made all the same.
    for key in 0..20 {
        assert_eq!(server.get(&format!("/get/{key}")).text(), "2");
    }
    hanging.signal(Signal::CONT);
    can_write(&server);
}

/// What fails in a round.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Handover,
    Death,
    Hang,
}

/// How long a master hangs.
const HANG: Duration = Duration::from_secs(10);

#[test]
fn after_each_of_many_failovers_the_indexes_equal_the_store() {
    let rounds = std::env::var("KVSTORE_TEST_FAILOVERS").map_or(3, |text| text.parse().unwrap());
    let mut cluster = Cluster::start();
    let limits = ["--request-timeout-ms", DEADLINE];
    let servers = [
        server(&cluster.url(), &limits),
        server(&cluster.url(), &limits),
    ];
    let mut pauses = Vec::new();
    let mut longest = Duration::ZERO;
    let (mut acknowledged, mut all_lost, mut unknown, mut refused) = (0, 0, 0, 0);
    for round in 0..rounds {
        cluster.wait_whole();
        let failure = [Failure::Death, Failure::Hang, Failure::Handover][round % 3];
        let [writing, other] = [&servers[round % 2], &servers[1 - round % 2]];
        let seen = write_during(writing, &format!("{round:03}"), Loss::Possible, || {
            until_more(other);
            pauses.push(fail(&mut cluster, failure, other));
            until_more(other);
        });
        let lost = settle(&[writing, other], &seen);
        println!(
            "{round}: {failure:?}: {} acknowledged, {lost} lost, {} unknown, {} refused, writes \
             resumed after {:?}, longest request {:?}",
            seen.acknowledged.len(),
            seen.unknown.len(),
            seen.refused,
            pauses[round],
            seen.longest
        );
        assert!(seen.longest < LONGEST, "{:?}", seen.longest);
        longest = longest.max(seen.longest);
        acknowledged += seen.acknowledged.len();
        all_lost += lost;
        unknown += seen.unknown.len();
        refused += seen.refused;
        empty(&servers[0]);
        for server in &servers {
            crate::until_keys(server, &[]);
        }
    }
    pauses.sort_unstable();
    let pause = |percent: usize| pauses[(pauses.len() * percent).div_ceil(100) - 1];
    println!(
        "{rounds} failovers: {acknowledged} acknowledged, {all_lost} lost, {unknown} unknown, \
         {refused} refused; writes resumed after p50 {:?}, p99 {:?}; longest request {longest:?}",
        pause(50),
        pause(99)
    );
}

/// Has a master fail until another is in its place, and then come back. Returns how long it was until
/// keys of every master could be set.
fn fail(cluster: &mut Cluster, failure: Failure, server: &Server) -> Duration {
    let failing = cluster.masters()[0];
    let begun = Instant::now();
    let resumed = || {
        can_write(server);
        begun.elapsed()
    };
    match failure {
        Failure::Handover => {
            manual_failover(cluster);
            resumed()
        }
        Failure::Death => {
            cluster.nodes[failing].kill();
            let resumed = resumed();
            cluster.nodes[failing].restart();
            resumed
        }
        Failure::Hang => {
            cluster.nodes[failing].signal(Signal::STOP);
            let resumed = resumed();
            until("the time is over", || {
                (begun.elapsed() > HANG).then_some(())
            });
            cluster.nodes[failing].signal(Signal::CONT);
            resumed
        }
    }
}

/// Deletes all keys.
fn empty(server: &Server) {
    let mut connection = server.connect();
    for key in server.get("/search?prefix=").keys() {
        until("the key is deleted", || {
            let deleted = connection.request("DELETE", &format!("/delete/{key}"), &[], b"");
            matches!(deleted.status, 204 | 404).then_some(())
        });
    }
}

/// Makes a replica of the first master master in its place, without loss.
fn manual_failover(cluster: &Cluster) {
    let before = cluster.masters();
    let replica = (0..cluster.nodes.len()).find(|index| !before.contains(index));
    let replica = &cluster.nodes[replica.unwrap()];
    // A node gives a handover up after 5 s, such as where others do not agree in time, and then has to
    // be asked again.
    const GIVEN_UP: Duration = Duration::from_secs(6);
    let mut asked: Option<Instant> = None;
    until("the replica is master", || {
        if replica.run(&["role"]).starts_with("master") {
            return Some(());
        }
        if asked.is_none_or(|asked| asked.elapsed() > GIVEN_UP) {
            replica.run(&["cluster", "failover"]);
            asked = Some(Instant::now());
        }
        None
    });
}

/// Moves slots with their keys from one master to another.
fn move_slots(cluster: &Cluster) {
    let masters = cluster.masters();
    let id = |index: usize| {
        cluster.nodes[index]
            .run(&["cluster", "myid"])
            .trim()
            .to_owned()
    };
    let (from, to) = (id(masters[0]), id(masters[1]));
    let node = &cluster.nodes[masters[0]];
    let address = format!("127.0.0.1:{}", node.port());
    let moved = until("the slots are moved", || {
        let said = cli(
            node.port(),
            &[
                "--cluster",
                "reshard",
                &address,
                "--cluster-from",
                &from,
                "--cluster-to",
                &to,
                "--cluster-slots",
                "700",
                "--cluster-yes",
            ],
        );
        // Nodes may not agree yet after a failover.
        (!said.contains("ERR") && said.contains("Moving slot")).then_some(said)
    });
    assert!(moved.contains("Moving slot"));
}

/// Has a partition's slot moved from one master to another, and meanwhile does something: when all of its
/// keys have moved, and the cluster does not know yet.
pub fn until_slot_moves(cluster: &Cluster, place: Place, meanwhile: impl FnOnce()) {
    let slot = (place.partition * 64).to_string();
    let masters = cluster.masters();
    let owner = |index: usize| {
        let keys = cluster.nodes[index].run(&["cluster", "getkeysinslot", &slot, "1"]);
        !keys.trim().is_empty()
    };
    let from = masters.iter().copied().find(|index| owner(*index)).unwrap();
    let to = masters
        .iter()
        .copied()
        .find(|index| *index != from)
        .unwrap();
    let (from, to) = (&cluster.nodes[from], &cluster.nodes[to]);
    let id = |node: &Redis| node.run(&["cluster", "myid"]).trim().to_owned();
    let (from_id, to_id) = (id(from), id(to));
    to.run(&["cluster", "setslot", &slot, "importing", &from_id]);
    from.run(&["cluster", "setslot", &slot, "migrating", &to_id]);
    let keys = from.run(&["cluster", "getkeysinslot", &slot, "1000"]);
    let port = to.port().to_string();
    let mut migrate = vec!["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"];
    let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
    assert!(!keys.is_empty(), "the slot has keys");
    migrate.extend(&keys);
    let said = from.run(&migrate);
    assert!(said.contains("OK"), "{said}");
    meanwhile();
    for node in [to, from] {
        node.run(&["cluster", "setslot", &slot, "node", &to_id]);
    }
    cluster.wait_whole();
}
