//! The engine's commands that are used, so that a user who has no others can be made, and what lacks be
//! named.

/// What every server needs to read.
pub(super) const READS: [&str; 12] = [
    "HGET", "HMGET", "HKEYS", "HLEN", "HSCAN", "GET", "MGET", "XRANGE", "ZRANGE", "TYPE", "EVAL",
    "EVALSHA",
];

/// What it needs besides, to make changes.
pub(super) const CHANGES: [&str; 12] = [
    "HSET",
    "HSETNX",
    "HDEL",
    "HEXISTS",
    "SET",
    "XADD",
    "XREVRANGE",
    "ZADD",
    "ZREM",
    "ZSCORE",
    "DEL",
    "TIME",
];

/// What it needs where the setting says so: of a cluster, of a database, of replicas.
pub(super) const SOMETIMES: [&str; 4] = ["CLUSTER", "ASKING", "SELECT", "WAIT"];

/// What it uses where it may.
pub(super) const OPTIONAL: [&str; 3] = ["PING", "INFO", "GETBIT"];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    READS
        .into_iter()
        .chain(CHANGES)
        .chain(SOMETIMES)
        .chain(OPTIONAL)
}
