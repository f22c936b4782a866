//! Why the store did not do what it was asked.

pub use crate::valkey::EngineError;
use std::time::Duration;

/// Why a message was not carried out. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too many messages wait for a shard.
    #[error(
        "too many requests wait for a shard of the store (setting messages_in_flight_max); \
         nothing was done, try again after a pause"
    )]
    Overloaded,
    /// Not all shards are there yet.
    #[error("the store is starting; nothing was done, try again in a moment")]
    Starting,
    /// The shard has ended, since the process is about to.
    #[error("the server is stopping; nothing was done, try again at another replica")]
    Stopping,
    /// No answer came in time.
    #[error(
        "the store did not answer within {} ms (setting request_timeout_ms; bulk bodies wait for \
         merges, two minutes at the most); whether a change was \
         made is unknown: read the key, or repeat the request if repeating it does no harm",
        .0.as_millis()
    )]
    Timeout(Duration),
    /// There is no room for the value.
    #[error(
        "the store is full at {bytes_max} bytes (setting store_bytes_max); delete keys or raise \
         the setting"
    )]
    Full {
        /// The bound on the store's memory.
        bytes_max: usize,
    },
    /// There is no room on the disk.
    #[error(
        "the disk of the server's data (setting data_dir) has no room for the change; nothing was done: \
         delete keys, or make room on the disk, and try again"
    )]
    DiskFull,
    /// The disk has failed.
    #[error(
        "the disk of the server's data (setting data_dir) has failed, and the server restarts; whether a \
         change was made is unknown: read the key, or repeat the request if repeating it does no harm"
    )]
    DiskFailed,
    /// The engine outside of this process did not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The handler panicked; no key was lost.
    #[error("the request met a defect of the server; the log has its place")]
    Panicked,
}
