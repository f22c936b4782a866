//! The engine that the contract is tested on: by `KVSTORE_TEST_ENGINE`, which is `memory`, `node`,
//! `sentinel` or `cluster`. One engine serves all tests; each server has a namespace of its own.

use crate::redis::{Cluster, Redis, Sentinels};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

enum Engine {
    Memory,
    Node(Redis),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let wanted = std::env::var("KVSTORE_TEST_ENGINE").unwrap_or_default();
    match wanted.as_str() {
        "" | "memory" => Engine::Memory,
        "node" => Engine::Node(Redis::start(&[])),
        "sentinel" => Engine::Sentinel(Sentinels::start()),
        "cluster" => Engine::Cluster(Cluster::start()),
        other => panic!("there is no engine {other}"),
    }
});

/// Whether the server's own memory has the data.
pub fn is_memory() -> bool {
    matches!(*ENGINE, Engine::Memory)
}

/// What a server is told of its engine.
pub fn arguments() -> Vec<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let url = match &*ENGINE {
        Engine::Memory => return Vec::new(),
        Engine::Node(node) => node.url(),
        Engine::Sentinel(sentinels) => sentinels.url(),
        Engine::Cluster(cluster) => cluster.url(),
    };
    let namespace = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let words = ["--engine", &url, "--namespace", &namespace];
    words.map(String::from).into()
}
