//! Histories of clients that ask a real server at once, and whether each is linearizable: whether its operations
//! have an order in which each is done between its request and its answer, and is answered as the contract says.
//!
//! # Layout
//! - `model`: a key by the contract; `check`: whether a history of one is linearizable
//!   - `known`, `simulated`: the checker on histories of which the verdict is known
//! - `plan`: what clients ask; `client`: how, over HTTP; `history`: what they are told; `tally`: of what kinds that is
//! - `contract`: histories on the engine of the contract, by `KVSTORE_TEST_ENGINE` as `tests/http` has it
//! - `kills`: histories through kills of a server with a data directory
//! - `planted`: defects that must be found

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod check;
mod client;
mod contract;
mod history;
mod kills;
mod known;
mod model;
mod plan;
mod planted;
mod simulated;
mod tally;

#[path = "../http/authority.rs"]
mod authority;
#[path = "../http/described.rs"]
mod described;
#[path = "../http/engine.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod engine;
#[path = "../http/redis.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod redis;
#[path = "../http/support.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod support;

/// How many histories there are on an engine (`KVSTORE_TEST_HISTORIES`), and half as many through kills.
fn histories() -> usize {
    std::env::var("KVSTORE_TEST_HISTORIES").map_or(200, |text| text.parse().unwrap())
}
