//! Whether the engine can be used, and why it never will be.

use super::EngineError;
use crate::durable::{LoadError, LogError};
use std::sync::Arc;

/// Whether requests can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They can, if not all as well as others.
    Ready(Troubles),
    /// Not all shards are there.
    Starting,
    /// The keys of the engine are being read, or are to be once it does not fail any more.
    Loading(Option<EngineError>),
    /// The engine has not answered for a while.
    EngineSilent(Option<EngineError>),
    /// The index of keys of a share does not go on.
    IndexStuck,
    /// The engine holds data of another layout.
    EngineForeign,
}

/// What is wrong with an engine that can be used all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Why it fails, if it does.
    pub engine: Option<EngineError>,
    /// Whether it drops keys when it is full.
    pub evicts: bool,
    /// Partitions that the index does not hold as the engine does.
    pub partitions_behind: usize,
}

/// Why an engine outside of this process can never be used as it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// It says no, and always will.
    #[error("{0}")]
    Refused(EngineError),
    /// It may drop keys.
    #[error(
        "the engine drops keys when it is full (maxmemory-policy allkeys-…), and would drop many \
         at once without a trace: set its maxmemory-policy to noeviction"
    )]
    Evicts,
    /// The data directory does not hold what was acknowledged, or cannot be used.
    #[error("{0}")]
    Directory(Arc<LoadError>),
    /// The log of the data directory cannot be begun.
    #[error("{0}")]
    Log(Arc<LogError>),
    /// The client does not take its address.
    #[error("the engine's address is of no use: {0}")]
    Address(String),
}
