//! What an engine outside of the process adds: servers that share data, indexes that diverge, and
//! engines that fail. The contract itself is tested on every engine by `tests/http`.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod audit;
mod divergence;
mod failover;
mod failure;
mod hardened;
mod link;
mod outage;
mod proxy;
mod sharing;
mod start;
mod watch;

#[path = "../http/authority.rs"]
mod authority;
#[path = "../http/watch/client.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod client;
#[path = "../http/described.rs"]
mod described;
#[path = "../http/redis.rs"]
mod redis;
#[path = "../http/support.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod support;

/// Servers here are told of their engine by each test.
mod engine {
    pub fn arguments() -> (Vec<String>, Option<tempfile::TempDir>) {
        (Vec::new(), None)
    }

    pub fn variables() -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

use support::{Server, until};

/// A server on an engine.
fn server(url: &str, more: &[&str]) -> Server {
    Server::start_as(&[&["--engine", url], more].concat())
}

/// The value of a metric without labels, or with these.
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics");
    let line = text
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is a metric {name}"))
        .parse()
        .unwrap()
}

/// Waits until a search for all keys gives just these.
fn until_keys(server: &Server, expected: &[String]) {
    until("the index equals the store", || {
        let found = server.get("/search?prefix=");
        if found.status != 200 {
            assert!(matches!(found.status, 503 | 504), "{}", found.text());
            return None;
        }
        (found.keys() == expected && found.total() == expected.len()).then_some(())
    });
}
