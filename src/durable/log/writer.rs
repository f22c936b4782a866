//! The log's thread: it takes all that has gathered, writes it in one go, syncs it, and tells of it.

use super::listener::{Append, Listener, LogError};
use super::options::{LogOptions, Sync};
use super::queue::Shared;
use super::room::DiskRoom;
use crate::durable::frame::{self, FrameHead, Seal};
use crate::durable::index::LogIndex;
use crate::durable::kept::KeptFiles;
use crate::durable::{LogFiles, Position, Written, segment};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Whose the mark of a clean stop is.
const NO_SHARD: u32 = u32::MAX;

/// After so many records were written together it is waited for as long as their sync took, and this at the
/// most, so that more come together: those whose askers have just been answered. It saves syncs and wakes, of
/// which each takes as much of a processor as some changes. Fewer records than that never wait.
const GATHERED_MIN: u64 = 8;
const GATHERING_MAX: Duration = Duration::from_micros(500);

/// So much ahead of small writes the file is filled with zeros, in bytes: the first write to a block that
/// is only set aside costs the file system an entry in its journal, and so each sync as much again.
const ZEROED: u64 = 256 * 1024;

/// Writes of so many bytes cost more than that entry.
const LARGE_WRITE: u64 = 64 * 1024;

/// The thread's own.
pub(super) struct Writer<L> {
    options: LogOptions,
    shared: Arc<Shared>,
    listener: L,
    file: Box<dyn Written>,
    /// Where the next frame goes.
    at: u64,
    /// What frames are put together in.
    buffer: Vec<u8>,
    position: Position,
    synced: Position,
    /// Whose records are written and were not told of.
    shards: Vec<u32>,
    /// These records, for who takes them behind the log.
    passing: Vec<Append>,
    /// When the oldest of what is written and not synced was.
    unsynced_since: Option<Instant>,
    /// Up to where the file was written, be it with zeros.
    zeroed: u64,
    /// How long the last sync took.
    sync_took: Duration,
    room: DiskRoom,
    /// Where who reads the file may begin; the file, by its first position, and up to where that was noted.
    index: Arc<LogIndex>,
    first: Position,
    noted: u64,
}

impl<L: Listener> Writer<L> {
    /// Begins a file.
    ///
    /// # Errors
    /// Where there is no room for two.
    pub(super) fn begin(
        options: LogOptions,
        shared: Arc<Shared>,
        (read, kept): (&LogFiles, Arc<KeptFiles>),
        listener: L,
    ) -> Result<Self, LogError> {
        let begun = DiskRoom::begin(&options, shared.clone(), (read, kept));
        let (room, file) =
            begun.map_err(|error| LogError::Begin(options.directory.clone(), error))?;
        Ok(Self {
            position: options.first,
            synced: options.first,
            shared,
            listener,
            file,
            at: segment::HEAD_BYTES as u64,
            buffer: Vec::new(),
            shards: Vec::new(),
            passing: Vec::new(),
            unsynced_since: None,
            zeroed: segment::HEAD_BYTES as u64,
            sync_took: Duration::ZERO,
            room,
            index: read.index.clone(),
            first: options.first,
            noted: segment::HEAD_BYTES as u64,
            options,
        })
    }

    /// Writes what is appended, until the log is to end or nobody knows what is on disk.
    pub(super) fn run(mut self) {
        while let Some(appended) = self.shared.take(self.wake_at()) {
            let begun = self.position;
            let done = self.write(appended).and_then(|()| self.sync_if_due());
            if let Err(error) = done {
                let error = LogError::Write(self.options.directory, error);
                return self.listener.failed(error);
            }
            // Before: who hears that a write is done knows what room is left.
            self.room.look(self.at, &mut self.listener);
            self.tell();
            if self.position.0 - begun.0 >= GATHERED_MIN {
                thread::sleep(self.sync_took.min(GATHERING_MAX));
            }
        }
        if let Err(error) = self.end() {
            let error = LogError::Write(self.options.directory, error);
            self.listener.failed(error);
        }
    }

    /// Tells of what was written, and synced where it was to be.
    fn tell(&mut self) {
        if self.shards.is_empty() {
            return;
        }
        // Before answers, so that who has one and looks finds the change.
        let passing = std::mem::take(&mut self.passing);
        self.listener.passed(self.position, passing);
        self.shared
            .reached
            .store(self.position.0, Ordering::Relaxed);
        self.shards.sort_unstable();
        self.shards.dedup();
        self.listener.reached(self.position, &self.shards);
        self.shards.clear();
    }

    /// Writes what was appended, in as few goes as files have room for.
    fn write(&mut self, appended: Vec<Append>) -> io::Result<()> {
        for append in appended {
            let bytes = (frame::HEAD_BYTES + append.content.len()) as u64;
            let end = self.at + self.buffer.len() as u64 + bytes;
            let is_first = self.at + self.buffer.len() as u64 == segment::HEAD_BYTES as u64;
            // One that is larger than a file has one for itself.
            if end > self.options.file_bytes && !is_first {
                self.write_buffer()?;
                self.next_file()?;
            }
            self.put(append.shard, append.records, &append.content);
            self.shards.push(append.shard);
            self.passing.push(append);
        }
        self.write_buffer()
    }

    /// Adds a frame to the buffer.
    fn put(&mut self, shard: u32, records: u32, content: &[u8]) {
        let seal = Seal {
            store: self.options.store,
            start: self.options.start,
        };
        let head = FrameHead {
            position: self.position,
            records,
            synced: self.synced,
            shard,
        };
        let at = self.at + self.buffer.len() as u64;
        let place = (self.position, at);
        self.index.note(self.first, place, &mut self.noted);
        frame::write(&head, content, &seal, at, &mut self.buffer);
        self.position = head.end();
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.len() as u64;
        let end = self.at + bytes;
        if bytes < LARGE_WRITE && end > self.zeroed {
            let zeroed = (end + ZEROED).min(self.options.file_bytes);
            let zeros = zeroed.saturating_sub(end) as usize;
            self.buffer.resize(self.buffer.len() + zeros, 0);
        }
        self.file.write_at(&self.buffer, self.at)?;
        self.zeroed = self.zeroed.max(self.at + self.buffer.len() as u64);
        self.at = end;
        self.shared
            .written_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.buffer.clear();
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Ends the file that is written, and goes on in the next. Waits for room where there is none.
    fn next_file(&mut self) -> io::Result<()> {
        // A later file proves that all of this one was synced.
        self.sync()?;
        self.tell();
        self.file = self.room.next_file(self.position, &mut self.listener)?;
        self.first = self.position;
        self.at = segment::HEAD_BYTES as u64;
        self.zeroed = self.at;
        self.noted = self.at;
        self.room.make(self.at, &mut self.listener);
        Ok(())
    }

    /// When there is something to do though nothing was appended.
    fn wake_at(&self) -> Option<Instant> {
        self.due().into_iter().chain(self.room.look_at()).min()
    }

    /// When what was written is to be synced.
    fn due(&self) -> Option<Instant> {
        match self.options.sync {
            Sync::Always => None,
            Sync::Within(interval) => self.unsynced_since.map(|since| since + interval),
        }
    }

    fn sync_if_due(&mut self) -> io::Result<()> {
        let is_due = self.due().is_none_or(|due| Instant::now() >= due);
        match self.unsynced_since {
            Some(_) if is_due => self.sync(),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced_since.take().is_some() {
            let begun = Instant::now();
            self.file.sync()?;
            self.sync_took = begun.elapsed();
            self.listener.synced(self.sync_took);
            self.synced = self.position;
            self.shared.synced.store(self.synced.0, Ordering::Release);
        }
        Ok(())
    }

    /// Syncs what was written, and marks that it was: a frame without records, which says that all before
    /// it was synced.
    fn end(&mut self) -> io::Result<()> {
        self.sync()?;
        self.tell();
        self.put(NO_SHARD, 0, &[]);
        self.write_buffer()?;
        self.sync()
    }
}
