//! The engine that the contract is tested on: by `KVSTORE_TEST_ENGINE`, which is `memory`, `durable`,
//! `node`, `hardened`, `sentinel` or `cluster`. One engine serves all tests; each server has a namespace of
//! its own, or a data directory.

use crate::authority::Authority;
use crate::redis::{Cluster, Redis, Sentinels, free_port};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

enum Engine {
    Memory,
    Durable,
    Node(Redis),
    /// A node as its own security page says one should be.
    Hardened {
        node: Redis,
        authority: Authority,
    },
    Sentinel(Sentinels),
    Cluster(Cluster),
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let wanted = std::env::var("KVSTORE_TEST_ENGINE").unwrap_or_default();
    match wanted.as_str() {
        "" | "memory" => Engine::Memory,
        "durable" => Engine::Durable,
        "node" => Engine::Node(Redis::start(&[])),
        "hardened" => hardened(),
        "sentinel" => Engine::Sentinel(Sentinels::start()),
        "cluster" => Engine::Cluster(Cluster::start()),
        other => panic!("there is no engine {other}"),
    }
});

/// TLS with certificates on both sides, a user with the documented permissions and no others on the keys of
/// the tests, commands that are off, few connections, and none that is idle.
fn hardened() -> Engine {
    let authority = Authority::new("DNS:localhost,IP:127.0.0.1");
    let mut arguments = authority.engine_arguments(free_port(), true);
    arguments.extend(["--port", "0", "--timeout", "2", "--maxclients", "64"].map(String::from));
    for command in [
        "FLUSHALL", "FLUSHDB", "KEYS", "CONFIG", "DEBUG", "SHUTDOWN", "SAVE", "MONITOR",
    ] {
        arguments.extend(["--rename-command", command, ""].map(String::from));
    }
    let page = include_str!("../../docs/operations.md");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER "));
    let user = line.expect("the page has the user's permissions");
    let user = user
        .replace(">PASSWORD", ">geheim")
        .replace("~kv:*", "~test-*");
    arguments.push("--user".into());
    arguments.extend(user.split(' ').map(String::from));
    arguments.extend(["--user", "default", "off"].map(String::from));
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Engine::Hardened {
        node: Redis::start(&words),
        authority,
    }
}

/// The variables that every command under test is given.
pub fn variables() -> Vec<(&'static str, String)> {
    match &*ENGINE {
        Engine::Hardened { authority, .. } => vec![
            ("SSL_CERT_FILE", authority.text("ca.crt")),
            ("KVSTORE_ENGINE_PASSWORD", "geheim".into()),
        ],
        _ => Vec::new(),
    }
}

/// Whether the server's own memory has the data.
pub fn is_memory() -> bool {
    matches!(*ENGINE, Engine::Memory | Engine::Durable)
}

/// Whether it is the engine that is tested where none is asked for: what no engine has a part in is tested once.
pub fn is_first() -> bool {
    matches!(*ENGINE, Engine::Memory)
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
        Engine::Hardened { node, .. } => {
            format!("rediss://kvstore@localhost:{}", node.tls_port().unwrap())
        }
        Engine::Sentinel(sentinels) => sentinels.url(),
        Engine::Cluster(cluster) => cluster.url(),
    };
    let namespace = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let watch = ["--engine-watch", "true"];
    let engine = ["--engine", &url, "--namespace", &namespace];
    let mut words: Vec<String> = engine.into_iter().chain(watch).map(String::from).collect();
    if let Engine::Hardened { authority, .. } = &*ENGINE {
        words.extend([
            "--engine-tls-cert-file".into(),
            authority.text("client.crt"),
        ]);
        words.extend(["--engine-tls-key-file".into(), authority.text("client.key")]);
    }
    (words, None)
}
