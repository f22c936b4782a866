//! The engine that the contract is tested on: by `KVSTORE_TEST_ENGINE`, which is `memory`, `durable`,
//! `node`, `sentinel` or `cluster`. One engine serves all tests; each server has a namespace of its own,
//! or a data directory.

use crate::redis::{Cluster, Redis, Sentinels};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

enum Engine {
    Memory,
    Durable,
    Node(Redis),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let wanted = std::env::var("KVSTORE_TEST_ENGINE").unwrap_or_default();
    match wanted.as_str() {
        "" | "memory" => Engine::Memory,
        "durable" => Engine::Durable,
        "node" => Engine::Node(Redis::start(&[])),
        "sentinel" => Engine::Sentinel(Sentinels::start()),
        "cluster" => Engine::Cluster(Cluster::start()),
        other => panic!("there is no engine {other}"),
    }
});

/// Whether the server's own memory has the data.
pub fn is_memory() -> bool {
    matches!(*ENGINE, Engine::Memory | Engine::Durable)
}

/// Whether a directory has the data too.
pub fn is_kept() -> bool {
    matches!(*ENGINE, Engine::Durable)
}

/// What a server is told of its engine, and the directory that goes with it.
pub fn arguments() -> (Vec<String>, Option<TempDir>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let url = match &*ENGINE {
        Engine::Memory => return (Vec::new(), None),
        Engine::Durable => {
            let directory = TempDir::new().unwrap();
            let path = directory.path().to_str().unwrap();
            return (vec!["--data-dir".into(), path.into()], Some(directory));
        }
        Engine::Node(node) => node.url(),
        Engine::Sentinel(sentinels) => sentinels.url(),
        Engine::Cluster(cluster) => cluster.url(),
    };
    let namespace = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let words = ["--engine", &url, "--namespace", &namespace];
    (words.map(String::from).into(), None)
}
