//! How a store is found in its directory: each shard's keys and values, by the records of the log.
//!
//! One thread reads the log; each shard has one that applies its records, so that all cores are used.
//! Records are the whole state of a key, so that applying one again changes nothing.

use super::recovery::{self, RecoveryError};
use super::{Directory, Position, Records, State};
use crate::keymap::{Decision, KeyMap};
use crate::model::ContentTypes;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Frames that wait for a shard's thread.
const FRAMES_WAITING: usize = 64;

/// Revisions that are left out after a start: those of changes whose records were lost are among them, so
/// that none is given twice.
const REVISIONS_SKIPPED: u64 = 1 << 32;

/// How far a store is loaded.
#[derive(Debug, Default)]
pub struct Progress {
    records: AtomicU64,
}

impl Progress {
    /// Records of the log that were applied.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// What was in a directory.
#[derive(Debug)]
pub struct Loaded {
    /// By number.
    pub shards: Vec<LoadedShard>,
    /// The position after the last record.
    pub end: Position,
    /// Which start of a process this is.
    pub start: u64,
    /// Records of the log that were applied.
    pub records: u64,
    /// Bytes of a torn end that were cut off, none of which was acknowledged.
    pub torn_bytes: u64,
}

/// A shard of what was in a directory.
#[derive(Debug, Default)]
pub struct LoadedShard {
    /// Keys and values.
    pub map: KeyMap,
    /// The revision after which those of new changes come; `None` where there never was one.
    pub last_revision: Option<u64>,
}

/// Why a directory is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log is not as it was written, or cannot be read.
    #[error(transparent)]
    Log(#[from] RecoveryError),
    /// A frame is whole, and what is in it makes no sense.
    #[error(
        "the log in {directory} holds no records at position {}, though its checksum holds: it was written \
         by a newer version, or memory was damaged; nothing was changed", position.0
    )]
    Records {
        /// Where the log is.
        directory: PathBuf,
        /// The frame's position.
        position: Position,
    },
    /// The torn end cannot be cut, or the system gives no threads.
    #[error("{0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
}

/// A frame on its way to the thread of its shard.
struct Work {
    position: Position,
    content: Vec<u8>,
}

impl Directory {
    /// Where the log is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Loads all that is there, and makes sure that it is found again. Takes as long as reading it does.
    ///
    /// # Errors
    /// Where what is there is not all that was acknowledged, or cannot be read. Nothing is changed then.
    pub fn load(
        &self,
        content_types: &ContentTypes,
        progress: &Progress,
    ) -> Result<Loaded, LoadError> {
        let log = self.log_path();
        let shards = self.layout().shards as usize;
        let (recovered, shards) = thread::scope(|scope| {
            let mut queues: Vec<SyncSender<Work>> = Vec::with_capacity(shards);
            let mut threads = Vec::with_capacity(shards);
            for _ in 0..shards {
                let (queue, works) = sync_channel(FRAMES_WAITING);
                let shard = LoadedShard::default();
                let apply = move || apply(shard, works, content_types, progress);
                threads.push(scope.spawn(apply));
                queues.push(queue);
            }
            let store = self.layout().store;
            let nothing = Position(0);
            let recovered =
                recovery::recover(&*self.files, &log, store, nothing, nothing, |found| {
                    let Some(queue) = queues.get(found.shard as usize) else {
                        return false;
                    };
                    let work = Work {
                        position: found.position,
                        content: found.content.to_vec(),
                    };
                    // A thread that ended has met an error, which it tells below.
                    let _ = queue.send(work);
                    true
                });
            drop(queues);
            let shards = threads.into_iter().map(|thread| match thread.join() {
                Ok(shard) => shard,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            let shards: Result<Vec<LoadedShard>, Position> = shards.collect();
            (recovered, shards)
        });
        let recovered = recovered?;
        let shards = shards.map_err(|position| LoadError::Records {
            directory: log.clone(),
            position,
        })?;
        self.files
            .make_directory(&log)
            .and_then(|()| self.files.sync_directory(&self.path))
            .and_then(|()| recovered.settle(&*self.files))
            .map_err(|error| LoadError::Io(log, error))?;
        Ok(Loaded {
            shards,
            end: recovered.end,
            start: recovered.start,
            records: progress.records(),
            torn_bytes: recovered.torn_bytes,
        })
    }
}

/// Applies the records of a shard, in order.
///
/// # Errors
/// The position of a frame that holds no records.
fn apply(
    mut shard: LoadedShard,
    works: Receiver<Work>,
    content_types: &ContentTypes,
    progress: &Progress,
) -> Result<LoadedShard, Position> {
    let mut highest: Option<u64> = None;
    for Work { position, content } in works {
        for record in Records::new(&content, content_types) {
            let record = record.map_err(|_| position)?;
            let (revision, decision) = match record.state {
                State::Set(value) => (value.revision, Decision::Set(value)),
                State::Removed(revision) => (revision, Decision::Remove),
            };
            highest = highest.max(Some(revision.0));
            let Ok(_) = shard
                .map
                .change(&record.key, |_| Ok::<_, Infallible>(decision));
            progress.records.fetch_add(1, Ordering::Relaxed);
        }
        shard.map.settle();
    }
    shard.last_revision = highest.map(|highest| highest.wrapping_add(REVISIONS_SKIPPED));
    Ok(shard)
}
