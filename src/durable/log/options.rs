//! How a log is set up.

use crate::durable::Position;
use std::path::PathBuf;
use std::time::Duration;

/// When what was written is put on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is told of.
    Always,
    /// So long after it was told of, at the most.
    Within(Duration),
}

/// How a log is set up.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Where its files are.
    pub directory: PathBuf,
    /// The store's id.
    pub store: [u8; 16],
    /// Which start of a process this is.
    pub start: u64,
    /// The position of the first record.
    pub first: Position,
    /// All before this position checkpoints have.
    pub needed: Position,
    /// How long the files may be together that only hold what is before that, in bytes.
    pub kept_bytes_max: u64,
    /// How large a file is, in bytes.
    pub file_bytes: u64,
    /// From so many bytes on that wait to be written the log is busy; a quarter of a file at the most.
    pub waiting_bytes_max: usize,
    /// When what was written is put on disk.
    pub sync: Sync,
}
