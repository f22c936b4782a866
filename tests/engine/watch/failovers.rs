//! Watches through failovers: what is lost is never kept, and where nothing is, nobody is cut off.

use super::folding::{Client, Ended, changing, settled, until_more_turns};
use super::{WATCHED, watched};
use crate::client::{State, Watch, equals_the_store};
use crate::redis::{Cluster, Redis, Sentinels};
use crate::support::until;
use crate::{metric, server};
use rustix::process::Signal;

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
