//! Histories of clients that ask at once, and whether each is linearizable: whether its operations have an order in
//! which each is done between its request and its answer, and is answered as the contract says.
//!
//! # Layout
//! - `model`: a key by the contract; `check`: whether a history of one is linearizable
//!   - `known`, `simulated`: the checker on histories of which the verdict is known
//! - `plan`: what clients ask

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod check;
mod known;
mod model;
mod plan;
mod simulated;

