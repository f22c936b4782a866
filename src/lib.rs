//! An HTTP key-value store that finds keys by prefix, by suffix and by both.
//!
//! # Layout
//! Data flows one way; no module reaches back:
//!
//! ```text
//! bytes → http → model → store → message → actor → keymap → reply → response
//! ```
//!
//! - [`config`]: flags, variables, file and defaults, checked once
//! - `misread`: where a TOML text is wrong, without what stands there
//! - [`server`]: the server as a value: bound, run, stopped without dropping a request
//! - `descriptors`: for how many connections there are any
//! - [`http`]: a file for each route, and what happens around every request
//! - [`model`]: keys, values, queries and changes, valid by construction
//! - [`clock`]: what time it is, for what has a deadline
//! - `archive`: compressed files; `csv`: records of fields between commas; both for import and export
//! - `entry`: the JSON object in which a key and its value travel
//! - [`store`]: the handle, its messages, and the actors that own the keys
//! - [`keymap`]: the ordered map that is searched from both ends of its keys
//! - [`durable`]: a log of all changes, checkpoints, and what of both is found after a crash; [`check`]:
//!   the command that looks at them
//! - [`valkey`]: the engine outside of this process, which several servers share
//! - [`metrics`]: what is measured
//! - [`tokens`]: who may do what; [`tls`]: what clients are shown, and must show; `reload`: files that are taken anew when they change; `digest`: SHA-256
//! - [`lifecycle`]: whether the process is stopping, and what it owes an answer
//! - `patience`: how long is waited for answers; `trace`: what a request is known by in the log, and where its time goes; [`log_format`]: the form of the log's lines
//! - [`logger`]: the log of a server
//! - [`import`]: the client that sets many keys from a file; [`export`]: the one that writes it;
//!   [`shell`]: commands that ask for one thing each; [`client`]: how all of them reach a server
//! - [`manual`]: completions and man pages of all commands

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod archive;
pub mod check;
pub mod client;
pub mod clock;
pub mod config;
mod csv;
mod descriptors;
mod digest;
pub mod durable;
#[cfg(test)]
mod effort;
mod entry;
pub mod export;
pub mod http;
pub mod import;
pub mod keymap;
pub mod lifecycle;
pub mod log_format;
pub mod logger;
pub mod manual;
pub mod metrics;
mod misread;
pub mod model;
mod patience;
mod reload;
pub mod server;
pub mod shell;
pub mod store;
pub mod tls;
pub mod tokens;
mod trace;
pub mod valkey;
