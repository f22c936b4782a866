//! Masters that die, hang, change and hand slots over, under writers that remember what they were
//! told. Replication is asynchronous: what a failover loses is counted, not forbidden; that it is
//! never anything but loss is what is tested.

use crate::audit::{Loss, settle, until_more, write_during};
use crate::redis::{Cluster, Redis, Sentinels, cli};
use crate::server;
use crate::support::{Server, until};
use rustix::process::Signal;
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
fn a_cluster_is_followed_through_failovers_and_moving_slots() {
    let mut cluster = Cluster::start();
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
        let killed = cluster.masters()[0];
        cluster.nodes[killed].kill();
        other_master(&cluster, killed);
        can_write(&servers[1]);
        cluster.nodes[killed].restart();
        let stopped = cluster.masters()[0];
        cluster.nodes[stopped].signal(Signal::STOP);
        let begun = Instant::now();
        until("another node is master", || {
            (masters_but(&cluster, stopped) >= 3).then_some(())
        });
        println!("a hanging master was replaced after {:?}", begun.elapsed());
        can_write(&servers[1]);
        cluster.nodes[stopped].signal(Signal::CONT);
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

/// Makes a replica of the first master master in its place, without loss.
fn manual_failover(cluster: &Cluster) {
    let before = cluster.masters();
    let replica = (0..cluster.nodes.len()).find(|index| !before.contains(index));
    let replica = &cluster.nodes[replica.unwrap()];
    replica.run(&["cluster", "failover"]);
    until("the replica is master", || {
        replica.run(&["role"]).starts_with("master").then_some(())
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

fn masters_but(cluster: &Cluster, stopped: usize) -> usize {
    let others = cluster
        .nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != stopped);
    others
        .filter(|(_, node): &(usize, &Redis)| node.run(&["role"]).starts_with("master"))
        .count()
}

fn other_master(cluster: &Cluster, killed: usize) {
    until("another node is master", || {
        (masters_but(cluster, killed) >= 3).then_some(())
    });
}
