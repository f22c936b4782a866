//! What the memory engine acknowledged, on disk: a log of all changes, and checkpoints.
//!
//! Plain Rust and a thread; it knows no actors and no HTTP.
//!
//! # Layout
//! - `files`: the few operations on files that everything goes through
//! - `error`: why what is there is not taken
//! - `record`: the state of a key after a change; `frame`: the records of a turn, with a checksum
//! - `segment`: the files of the log: how one begins, and what is in it
//! - `layout`: what belongs to a directory; `loading`: how a store is found in it
//! - `log`: who writes it; `recovery`: what of it is there after a crash, and what is damage; `reading`: what
//!   of it is there while it is written; `index`: where to begin to read; `kept`: which files no checkpoint needs, and
//!   how many of them stay
//! - `inspection`: what a directory holds, without serving it
//! - `checkpoint`: all of a shard at one position of the log, so that what is before can go
//!
//! # Promises
//! What was synced is found again, in order and whole. What was not may be lost, from some position on
//! and nothing before it. Where bytes differ that were synced, that is said, with file and offset, and
//! nothing is repaired by dropping them.

mod checkpoint;
mod error;
mod files;
mod frame;
mod index;
mod inspection;
mod kept;
mod layout;
mod loading;
mod log;
mod reading;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub use checkpoint::{
    CheckpointWriter, Committed, Moment, Prepared, Previous, ShardFiles, Survey, SurveyedFile,
    salvage, survey,
};
pub use error::RecoveryError;
pub use files::{Files, Lock, LockError, SystemFiles, Written};
pub use inspection::Inspection;
pub use layout::{Directory, DirectoryError, Layout, Purpose};
pub use loading::{LoadError, Loaded, LoadedShard, Progress};
pub use log::{Append, Listener, Log, LogCounts, LogError, LogOptions, LogRoom, Sync};
pub use reading::{LogFiles, LogRead, LogReader};
pub use record::{
    NoRecord, Record, RecordView, RecordViews, Records, State, write_expired, write_removed,
    write_set,
};
pub use recovery::{Found, Recovered, recover};

/// A place in the log: how many records are before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);
