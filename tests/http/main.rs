//! Black-box tests: the real binary on a free port, spoken to over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod authority;
mod bounds;
mod buffers;
mod bulk;
mod check;
mod command;
mod conditions;
mod described;
mod disk;
mod durable;
mod engine;
mod entries;
mod erase;
mod errors;
mod expiry;
mod faces;
mod framing;
mod gateway;
mod groups;
mod keys;
mod logs;
mod manual;
mod metrics;
mod original;
mod readme;
#[expect(dead_code, reason = "the tests of engines use all of it")]
mod redis;
mod refusals;
mod search;
mod security;
mod shell;
mod start;
mod stop;
mod support;
mod terminal;
mod tls;
mod tokens;
mod transfer;
mod values;
mod watch;
