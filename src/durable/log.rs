//! The log as it is written: by one thread, for all shards, in one order.
//!
//! Whoever appends gets the position after its records at once, and is told of it by the listener once
//! the log is on disk up to there. The thread takes all that has gathered, writes it in one go and syncs
//! it (group commit), so that what a sync costs is shared by all who wait for it.
//!
//! The next file is made, with all its room, while the one before is written: so a full disk shows before
//! a record has no place, and [`Log::room`] says so while there is still room for what waits. Where all the
//! same no file can be had for what waits, it waits until one can; nothing is lost, and nobody is told.
//!
//! # Layout
//! - `options`: how a log is set up; `listener`: what is appended, and what is told of it
//! - `queue`: what waits to be written; `writer`: the thread that writes; `room`: the room on the disk

mod listener;
mod options;
mod queue;
mod room;
mod writer;

pub use listener::{Append, Listener, LogError, LogRoom};
pub use options::{LogOptions, Sync};

use super::kept::KeptFiles;
use super::{Files, LogFiles, Position};
use queue::Shared;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use writer::Writer;

/// What a log has done since it was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Bytes that were written.
    pub bytes: u64,
    /// Records that were appended.
    pub records: u64,
    /// Records that were appended and not told of yet.
    pub waiting: u64,
}

/// The log, for those who append. It ends with the last handle, when all that waits was written.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    files: LogFiles,
    kept: Arc<KeptFiles>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Begins a file and the thread that writes.
    ///
    /// # Errors
    /// Where there is no room for two files, or no thread.
    pub fn begin(
        files: Arc<dyn Files>,
        options: LogOptions,
        listener: impl Listener,
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared::new(options.first, options.waiting_bytes_max));
        let LogOptions {
            directory,
            store,
            needed,
            kept_bytes_max,
            ..
        } = options.clone();
        let read = LogFiles::new(files.clone(), directory.clone(), store);
        let kept = KeptFiles::new(files, directory, kept_bytes_max, needed);
        let kept = Arc::new(kept);
        let writer = Writer::begin(options, shared.clone(), (&read, kept.clone()), listener)?;
        let thread = thread::Builder::new()
            .name("kvstore-log".into())
            .spawn(move || writer.run())
            .map_err(LogError::Thread)?;
        Ok(Self {
            shared,
            files: read,
            kept,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Its files, to be read while they are written.
    pub fn files(&self) -> &LogFiles {
        &self.files
    }

    /// Removes files all of whose records are before a position, which checkpoints have: the oldest, until the others
    /// are no longer than was set.
    ///
    /// # Errors
    /// As the system has them. What was removed until then is of no use to anybody.
    pub fn trim(&self, needed: Position) -> io::Result<()> {
        self.kept.trim(needed)
    }

    /// Removes the oldest of the files that are kept though no checkpoint needs them, until so many bytes are free.
    ///
    /// # Errors
    /// As the system has them.
    pub fn give_way(&self, free_bytes: u64) -> io::Result<()> {
        self.kept.give_way(free_bytes)
    }

    /// How long the files are together that are kept though no checkpoint needs them, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        self.kept.bytes()
    }

    /// Adds records to the end, and returns the position after them. They are written in the order of
    /// these calls.
    pub fn append(&self, append: Append) -> Position {
        self.shared.append(append)
    }

    /// The position after the last record that was appended.
    pub fn end(&self) -> Position {
        Position(self.shared.end.load(Ordering::Acquire))
    }

    /// Up to where the log is on disk.
    pub fn synced(&self) -> Position {
        Position(self.shared.synced.load(Ordering::Acquire))
    }

    /// Whether more should be appended.
    pub fn room(&self) -> LogRoom {
        let waiting = self.shared.waiting_bytes.load(Ordering::Relaxed);
        match self.shared.room() {
            LogRoom::Open | LogRoom::Busy if waiting > self.shared.waiting_bytes_max => {
                LogRoom::Busy
            }
            room => room,
        }
    }

    /// Has so many bytes be left free on the disk, besides two files.
    pub fn reserve(&self, bytes: u64) {
        self.shared.reserved_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What was done since the log was begun.
    pub fn counts(&self) -> LogCounts {
        let end = self.end().0;
        LogCounts {
            bytes: self.shared.written_bytes.load(Ordering::Relaxed),
            records: end - self.shared.first.0,
            waiting: end.saturating_sub(self.shared.reached.load(Ordering::Relaxed)),
        }
    }

    /// Ends the log: what waits is written and synced, and then the mark of a clean stop. What is appended
    /// later is not written.
    pub fn close(&self) {
        self.shared.finish();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic there was told of by its hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}
