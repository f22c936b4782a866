//! A link to one node that is slow, silent or cut, and a node that is killed, under writers and
//! searches that remember what they were told. Nothing that was acknowledged may be lost.

use crate::audit::{Loss, settle, until_more, write_during};
use crate::proxy::{Proxy, Weather};
use crate::redis::Redis;
use crate::support::{Server, until};
use crate::{metric, server};
use std::time::Duration;

#[test]
fn a_slow_silent_or_cut_link_loses_nothing() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::to(redis.port());
    let limits = [
        "--request-timeout-ms",
        "1500",
        "--engine-response-timeout-ms",
        "500",
    ];
    let far = server(&proxy.url(), &limits);
    let near = server(&redis.url(), &[]);
    let seen = write_during(&far, "l", Loss::Never, || {
        until_more(&near);
        proxy.set(Weather::Slow(Duration::from_millis(50)));
        until_more(&near);
        // Slower than an answer may be: what is asked is in doubt, and then no connection is made,
        // since its greeting takes as long.
        let before = far_errors(&far);
        proxy.set(Weather::Slow(Duration::from_millis(700)));
        until("writers are not answered", || {
            (far_errors(&far) >= before + 1.0).then_some(())
        });
        for weather in [Weather::Silent, Weather::Cut] {
            proxy.set(Weather::Fair);
            until_more(&near);
            let before = far_errors(&far);
            proxy.set(weather);
            until("requests fail", || {
                (far_errors(&far) >= before + 4.0).then_some(())
            });
        }
        proxy.set(Weather::Fair);
        until_more(&near);
    });
    assert_eq!(settle(&[&far, &near], &seen), 0);
    assert!(seen.refused + seen.unknown.len() > 0);
    // What came of it is in doubt at the most: no log, head or index was harmed.
    assert_eq!(metric(&near, "kvstore_engine_repairs_total"), 0.0);
}

/// What failed so far, for whatever reason.
fn far_errors(server: &Server) -> f64 {
    let text = server.get("/metrics");
    let of_errors = text.text().lines().filter_map(|line| {
        let rest = line.strip_prefix("kvstore_engine_errors_total{")?;
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    of_errors.sum()
}

#[test]
fn a_node_that_is_killed_and_started_again_loses_nothing() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let servers = [server(&redis.url(), &[]), server(&redis.url(), &[])];
    let seen = write_during(&servers[0], "r", Loss::Never, || {
        for _ in 0..3 {
            until_more(&servers[1]);
            redis.restart();
        }
        until_more(&servers[1]);
    });
    assert_eq!(settle(&[&servers[0], &servers[1]], &seen), 0);
}
