//! Takes checkpoints of the shards, one after the other, on a thread at low priority, so that the log
//! before them can go.
//!
//! A shard gives an image of its keys in one message, and then its values, some hundred in each, while it
//! goes on: so it is never stopped, and of what is copied only one message's worth is in memory.

use super::journal::{FILE_BYTES, Journal};
use super::message::Snap;
use super::shared::Shared;
use crate::durable::{
    CheckpointWriter, Committed, Directory, LogRoom, Position, Previous, ShardFiles,
};
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked for what is to be done.
const TICK: Duration = Duration::from_millis(500);

/// How long an actor may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is waited before an image is asked for again, and the log looked at.
const POLL: Duration = Duration::from_millis(5);

/// How long after a failure the next try is, at first and at most.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The bounds on how long the log gets where nothing is set, in bytes.
const LOG_BYTES_LEAST: u64 = 64 * 1024 * 1024;
const LOG_BYTES_MOST: u64 = 512 * 1024 * 1024;

/// What a disk writes at least in a second where none has been measured, in bytes.
const BYTES_PER_SECOND: f64 = 100e6;

/// How far the thread stands back, in steps of `nice`.
const NICENESS: i32 = 10;

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Checkpointer {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Until when all must be done, once that is so.
    ending: Mutex<Option<Instant>>,
    woken: Condvar,
    stats: Mutex<CheckpointStats>,
}

/// What checkpoints came to since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CheckpointStats {
    /// Checkpoints of a shard that were taken.
    pub taken: u64,
    /// Checkpoints that came to nothing.
    pub failed: u64,
    /// How long those took that were taken.
    pub took: Duration,
    /// What was written for them, in bytes.
    pub bytes: u64,
    /// When the last was taken, or the store was loaded.
    pub last: Option<Instant>,
    /// What all files in the directory take, in bytes, and what its disk has left.
    pub disk_bytes: u64,
    /// What the directory's disk has left, in bytes.
    pub free_bytes: u64,
}

/// A shard, as the thread knows it.
#[derive(Debug)]
struct Shard {
    place: ShardFiles,
    /// The files of its last checkpoint, and from where on the log is needed with it.
    previous: Previous,
    position: Position,
    /// How long the log was at that position, in bytes.
    log_bytes: u64,
    /// When the next try is, after one that failed, and how long was waited for it.
    retry: Option<(Instant, Duration)>,
}

/// What the thread works with.
struct Worker {
    inner: Arc<Inner>,
    directory: Arc<Directory>,
    journal: Arc<Journal>,
    shared: Arc<Shared>,
    log_bytes_max: Option<u64>,
    shards: Vec<Shard>,
}

/// Why a checkpoint came to nothing.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The shard does not answer, or there is no time.
    #[error("it was given up, since the process ends or a shard does not answer")]
    GivenUp,
}

impl Checkpointer {
    /// Begins to take checkpoints, after those that were loaded.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn start(
        directory: Arc<Directory>,
        journal: Arc<Journal>,
        shared: Arc<Shared>,
        log_bytes_max: Option<u64>,
        loaded: Vec<(Previous, Position)>,
    ) -> io::Result<Self> {
        let inner = Arc::new(Inner::default());
        inner.stats().last = Some(Instant::now());
        let shards = (0..)
            .zip(loaded)
            .map(|(shard, (previous, position))| Shard {
                place: directory.shard_files(shard),
                previous,
                position,
                log_bytes: 0,
                retry: None,
            });
        let worker = Worker {
            inner: inner.clone(),
            journal,
            shared,
            log_bytes_max,
            shards: shards.collect(),
            directory,
        };
        let thread = thread::Builder::new()
            .name("kvstore-checkpt".into())
            .spawn(move || worker.run())?;
        Ok(Self {
            inner,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes the last checkpoints where there is time for them, and ends. Blocks, until a moment and a
    /// little longer.
    pub(super) fn close(&self, until: Instant) {
        *lock(&self.inner.ending) = Some(until);
        self.inner.woken.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic there was told of by its hook.
            let _ = thread.join();
        }
    }

    pub(super) fn stats(&self) -> CheckpointStats {
        *self.inner.stats()
    }
}

impl Inner {
    fn stats(&self) -> std::sync::MutexGuard<'_, CheckpointStats> {
        lock(&self.stats)
    }

    /// Waits for the next tick; the moment at which all must have ended, if that has been said.
    fn wait(&self) -> Option<Instant> {
        let ending = lock(&self.ending);
        let woken = self
            .woken
            .wait_timeout_while(ending, TICK, |ending| ending.is_none());
        *woken.unwrap_or_else(PoisonError::into_inner).0
    }

    fn ending(&self) -> Option<Instant> {
        *lock(&self.ending)
    }
}

impl Worker {
    fn run(mut self) {
        if let Err(error) = rustix::process::nice(NICENESS) {
            log::warn!("checkpoints run at normal priority: {error}");
        }
        // What one left that came to nothing before a start.
        for shard in &self.shards {
            if let Err(error) = shard.previous.remove_others(&shard.place) {
                log::warn!("old files of a checkpoint could not be removed: {error}");
            }
        }
        self.trim();
        loop {
            self.measure();
            let ending = self.inner.wait();
            if let Some(until) = ending {
                return self.end(until);
            }
            for shard in 0..self.shards.len() {
                if self.is_due(shard) && self.inner.ending().is_none() {
                    self.take(shard, None);
                }
            }
        }
    }

    /// Takes the last checkpoints, where they can be expected to be done in time: else a start goes
    /// through more of the log.
    fn end(&mut self, until: Instant) {
        let stats = self.inner.stats();
        let rate = match stats.took.as_secs_f64() {
            took if stats.taken > 0 && took > 0.1 => stats.bytes as f64 / took,
            _ => BYTES_PER_SECOND,
        };
        drop(stats);
        let expected = Duration::from_secs_f64(self.shared.bytes() as f64 / rate.max(1.0));
        let left = until.saturating_duration_since(Instant::now());
        if left < expected * 2 {
            log::info!("no last checkpoint, since it may not be done in time: the log has all");
            return;
        }
        for shard in 0..self.shards.len() {
            if self.journal.log().end() > self.shards[shard].position {
                self.take(shard, Some(until));
            }
        }
    }

    fn is_due(&self, number: usize) -> bool {
        let shard = &self.shards[number];
        if shard.retry.is_some_and(|(at, _)| Instant::now() < at) || !self.journal.is_hosted(number)
        {
            return false;
        }
        let third = self.shared.bytes() as u64 / 3;
        let bytes_max = self.log_bytes_max;
        let bytes_max = bytes_max.unwrap_or(third.clamp(LOG_BYTES_LEAST, LOG_BYTES_MOST));
        let bytes_max = match self.journal.log().room() {
            LogRoom::Open | LogRoom::Busy => bytes_max,
            // Nothing else gives room back.
            LogRoom::Reserved | LogRoom::Full => bytes_max.min(FILE_BYTES / 4),
        };
        self.journal.log_bytes() - shard.log_bytes > bytes_max
    }

    /// Takes a checkpoint of a shard.
    fn take(&mut self, shard: usize, until: Option<Instant>) {
        let begun = Instant::now();
        let log_bytes = self.journal.log_bytes();
        self.give_way();
        match self.try_take(shard, until) {
            Ok(committed) => {
                let mut stats = self.inner.stats();
                stats.taken += 1;
                stats.took += begun.elapsed();
                stats.bytes += committed.bytes_written;
                stats.last = Some(Instant::now());
                drop(stats);
                let shard = &mut self.shards[shard];
                shard.previous = committed.previous;
                shard.position = committed.moment.position;
                shard.log_bytes = log_bytes;
                shard.retry = None;
                self.trim();
            }
            Err(error) => {
                self.inner.stats().failed += 1;
                let shard = &mut self.shards[shard];
                let pause = shard.retry.map_or(RETRY, |(_, pause)| pause * 2);
                let pause = pause.min(RETRY_MAX);
                shard.retry = Some((Instant::now() + pause, pause));
                log::error!(
                    "a checkpoint came to nothing: {error}; nothing is lost, the log grows; the next \
                     try is in {} s",
                    pause.as_secs()
                );
                // Its files take room that may be what is missing.
                if let Err(error) = shard.previous.remove_others(&shard.place) {
                    log::warn!("its files could not be removed: {error}");
                }
            }
        }
    }

    fn try_take(
        &self,
        number: usize,
        until: Option<Instant>,
    ) -> Result<Committed, CheckpointError> {
        let shard = &self.shards[number];
        let check = || match until.or(self.inner.ending()) {
            Some(until) if Instant::now() >= until => Err(CheckpointError::GivenUp),
            Some(_) | None => Ok(()),
        };
        let begun = Instant::now();
        let (image, moment) = loop {
            if let Some(image) = self.ask(number, Snap::Image)? {
                break image;
            }
            check()?;
            if begun.elapsed() > PATIENCE {
                return Err(CheckpointError::GivenUp);
            }
            thread::sleep(POLL);
        };
        let mut writer = CheckpointWriter::begin(&shard.place, &shard.previous, image, moment)?;
        let wanted: Vec<_> = writer.wanted().collect();
        for mut slots in wanted {
            while slots.start < slots.end {
                check()?;
                let values = self.ask(number, |reply| Snap::Values(slots.clone(), reply))?;
                slots.start = values.slots().end;
                writer.values(&values)?;
            }
        }
        let prepared = writer.prepare()?;
        // A value that was copied must not outlive its record.
        let end = self.journal.log().end();
        while self.journal.log().synced() < end {
            check()?;
            thread::sleep(POLL);
        }
        Ok(prepared.commit()?)
    }

    /// Asks a shard.
    fn ask<T>(
        &self,
        shard: usize,
        message: impl FnOnce(SyncSender<T>) -> Snap,
    ) -> Result<T, CheckpointError> {
        let (reply, answer) = sync_channel(1);
        self.journal.snap(shard, message(reply));
        let answer = answer.recv_timeout(PATIENCE);
        answer.map_err(|_| CheckpointError::GivenUp)
    }

    /// Removes what of the log no shard needs any more, but for as much as is kept for those who follow the changes.
    fn trim(&self) {
        let needed = self.shards.iter().map(|shard| shard.position).min();
        if let Err(error) = self.journal.log().trim(needed.unwrap_or_default()) {
            log::warn!("an old file of the log could not be removed: {error}");
        }
    }

    /// Has what is kept for those who follow the changes give way to the next checkpoint and a file of the log.
    fn give_way(&self) {
        let needed = self.shared.bytes() as u64 + FILE_BYTES;
        if let Err(error) = self.journal.log().give_way(needed) {
            log::warn!("an old file of the log could not make room on the disk: {error}");
        }
    }

    /// Looks what there is on the disk, and has left on it what the next checkpoint may take.
    fn measure(&self) {
        self.journal.log().reserve(self.shared.bytes() as u64);
        self.give_way();
        if let (Ok(used), Ok(free)) = (self.directory.bytes(), self.directory.free_bytes()) {
            let mut stats = self.inner.stats();
            stats.disk_bytes = used;
            stats.free_bytes = free;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
