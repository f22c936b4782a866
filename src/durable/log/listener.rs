//! What passes between the log and who has it: the records of a turn, and what is told of them and of the disk.

use crate::durable::Position;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The records of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Whose they are.
    pub shard: u32,
    /// How many.
    pub records: u32,
    /// Their bytes.
    pub content: Vec<u8>,
}

/// Whether more should be appended. Whoever appends all the same is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogRoom {
    /// Whatever there is.
    Open,
    /// Not before some of what waits was written.
    Busy,
    /// Only what gives room back: what is free on the disk is needed for checkpoints.
    Reserved,
    /// Nothing: no file can be made after the one that is written.
    Full,
}

/// Why a log goes on no more.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file could not be begun.
    #[error("no file of the log can be begun in {0}: {1}")]
    Begin(PathBuf, io::Error),
    /// What was to be written may be on disk or not.
    #[error("the log in {0} could not be written: {1}")]
    Write(PathBuf, io::Error),
    /// The system gives no thread.
    #[error("there is no thread for the log: {0}")]
    Thread(io::Error),
}

/// Who is told how far the log is, on its thread.
pub trait Listener: Send + 'static {
    /// All up to a position is as safe as it was to be, for those of the shards that had records in it.
    fn reached(&mut self, position: Position, shards: &[u32]);

    /// What was told of, in order: all up to a position, and all since this was called last.
    fn passed(&mut self, end: Position, appended: Vec<Append>);

    /// A sync took so long.
    fn synced(&mut self, took: Duration);

    /// The disk has room for another file again, or has none any more.
    fn room(&mut self, room: LogRoom);

    /// The log goes on no more, and nobody knows what of the last records is on disk. The process must
    /// end: what is in memory may be more than what a restart finds.
    fn failed(&mut self, error: LogError);
}
