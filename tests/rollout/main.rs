//! Rolling updates under load: three servers on one engine behind a load balancer are replaced one
//! by one, as Kubernetes does it, and no request may fail.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod balancer;
mod clients;
mod deployment;

#[path = "../http/described.rs"]
mod described;
#[path = "../http/redis.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod redis;
#[path = "../http/support.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod support;

/// Servers here are told of their engine by the deployment.
mod engine {
    pub fn arguments() -> (Vec<String>, Option<tempfile::TempDir>) {
        (Vec::new(), None)
    }

    pub fn variables() -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

use clients::load_during;
use deployment::{Deployment, Manners};
use redis::Redis;

#[test]
fn a_rollout_fails_no_request_and_loses_no_write() {
    let rollouts = std::env::var("KVSTORE_TEST_ROLLOUTS").map_or(2, |text| text.parse().unwrap());
    let redis = Redis::start(&[]);
    let mut deployment = Deployment::start(&redis.url(), Manners::Kubernetes);
    let urls = deployment.urls();
    let seen = load_during(&urls, || {
        for _ in 0..rollouts {
            deployment.roll();
        }
    });
    println!("{rollouts} rollouts of 3 servers: {seen}");
    assert_eq!(seen.failures, [""; 0]);
    assert_eq!(seen.lost, 0);
    assert!(seen.sent > 1_000 && seen.audited > 100, "{seen}");
}

/// The test above can fail.
#[test]
fn a_rollout_without_a_drain_fails_requests() {
    let redis = Redis::start(&[]);
    let mut deployment = Deployment::start(&redis.url(), Manners::Bad);
    let urls = deployment.urls();
    let seen = load_during(&urls, || deployment.roll());
    println!("a rollout without a drain: {seen}");
    assert!(!seen.failures.is_empty());
    // What was acknowledged is in the engine all the same.
    assert_eq!(seen.lost, 0);
}
