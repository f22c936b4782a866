//! Checkpoints: all keys and values of a shard as files, so that the log before them can go.
//!
//! ```text
//! shard-<n>/checkpoint         which of the files below it is made of, and at which position of the log
//! shard-<n>/<number>.segment   a segment of the key map
//! shard-<n>/<number>.values    the values of 65,536 slots
//! ```
//!
//! A file is written once, under a number that no file had, and synced; then the directory is, then a
//! checkpoint that names it is written beside the one before and put in its place. So at any moment there
//! is one checkpoint, the one before or the next, and all that it names. What none names goes after that.
//! Segments that have a file, and ranges of slots that nothing changed, are named again.
//!
//! Keys are those of the moment of an image. Values are copied after it, while they go on changing: all
//! records from the position of that moment on are to be replayed over what [`load()`] gives. Whatever a
//! slot holds that it did not at that moment, they set or remove. So the log must be synced past the end
//! of the copy before [`Prepared::commit`]: a value that was copied must not outlive its record.
//!
//! # Layout
//! - `contents`: the checkpoint itself; `keys`: the file of a segment; `values`: that of values
//! - `writer`: how they are written; `load`: how they are read; `survey`: what of them is whole

mod contents;
mod keys;
mod load;
mod survey;
#[cfg(test)]
mod tests;
mod values;
mod writer;

pub use load::{load, replay};
pub use survey::{Survey, SurveyedFile, salvage, survey};
pub use writer::{CheckpointWriter, Committed, Prepared, Previous};

use super::{Files, Position, RecoveryError};
use crate::model::Revision;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Where a shard's files are.
#[derive(Clone, Debug)]
pub struct ShardFiles {
    /// Of all shards.
    pub files: Arc<dyn Files>,
    /// The store's directory.
    pub directory: PathBuf,
    /// The store's id. A file of another store is damage.
    pub store: [u8; 16],
    /// The seed of the tables, which is the store's as well.
    pub seed: u64,
    /// The shard's number.
    pub shard: u32,
}

/// The moment of a shard that a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How many records of all shards the log had.
    pub position: Position,
    /// The shard's last revision. Removals have one too, so it is not among the values.
    pub revision: Revision,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    Values,
}

/// A file that a checkpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    /// Its own name.
    number: u64,
    bytes: u64,
    sum: u64,
}

/// The name of the checkpoint, and that under which it is written.
const CHECKPOINT: &str = "checkpoint";
const CHECKPOINT_NEW: &str = "checkpoint.new";

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Values => "values",
        }
    }
}

impl ShardFiles {
    fn directory(&self) -> PathBuf {
        self.directory.join(format!("shard-{}", self.shard))
    }

    fn checkpoint(&self) -> PathBuf {
        self.directory().join(CHECKPOINT)
    }

    fn path(&self, kind: Kind, number: u64) -> PathBuf {
        let name = format!("{number:020}.{}", kind.extension());
        self.directory().join(name)
    }

    /// What all checksums begin with.
    fn hasher(&self) -> Xxh3 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.store);
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&self.shard.to_le_bytes());
        hasher
    }
}

/// The number in the name of a file of a checkpoint; `None` where it is no such name.
fn number_of(name: &str) -> Option<u64> {
    let (digits, extension) = name.split_once('.')?;
    let kinds = [Kind::Segment, Kind::Values];
    let is_one = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = is_one && kinds.iter().any(|kind| kind.extension() == extension);
    is_one.then(|| digits.parse().ok()).flatten()
}

/// Why a file that a checkpoint names cannot be read.
fn unread(path: PathBuf, error: io::Error) -> RecoveryError {
    match error.kind() {
        io::ErrorKind::NotFound => RecoveryError::MissingFile(path),
        _ => RecoveryError::Read(path, error),
    }
}

/// Bytes that are read field by field.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}
