//! The store's side of its log: where shards hand their records over, and how they hear that these are
//! on disk.
//!
//! ```text
//! change → records of the turn ─ hand over → log ─ write, sync → Reached → answers of the shard
//! ```

use super::StoreError;
use super::abort::abort;
use super::durable::DurableOptions;
use super::message::{Reached, Snap};
use super::stream::Stream;
use crate::durable::{
    Append, Listener, Loaded, Log, LogCounts, LogError, LogOptions, LogRoom, Position,
};
use actix::Recipient;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// The size of a file of the log, in bytes.
pub const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// From so many bytes on that wait for the log, changes wait.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long those who wait have to hear that the log has failed, before the process ends.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Who hears how long syncs take.
pub trait SyncObserver: std::fmt::Debug + Send + std::marker::Sync {
    /// A sync took so long.
    fn synced(&self, took: Duration);
}

/// The log of a store, as its shards use it.
#[derive(Debug)]
pub(super) struct Journal {
    log: Log,
    /// How long the log was when it was begun, in bytes.
    loaded_bytes: u64,
    told: Arc<Told>,
}

/// What the log's thread tells whom.
#[derive(Debug)]
struct Told {
    shards: Vec<OnceLock<(Recipient<Reached>, Recipient<Snap>)>>,
    reached: watch::Sender<Position>,
    observer: Arc<dyn SyncObserver>,
    stream: Arc<Stream>,
}

/// The log's thread's own handle.
struct Teller(Arc<Told>);

/// What a store says of its log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JournalStats {
    /// Bytes and records.
    pub log: LogCounts,
    /// Whether sets are refused for the want of room on the disk.
    pub is_full: bool,
    /// How long the files are that are kept for those who follow the changes only, in bytes.
    pub kept_bytes: u64,
}

impl Journal {
    /// Begins the log after what was found.
    ///
    /// # Errors
    /// Where there is no room for two files, or no thread.
    pub(super) fn begin(
        options: &DurableOptions,
        loaded: &Loaded,
        stream: Arc<Stream>,
    ) -> Result<Self, LogError> {
        let directory = &options.directory;
        let layout = directory.layout();
        let needed = loaded.shards.iter().map(|shard| shard.checkpoint.1).min();
        let told = Arc::new(Told {
            shards: (0..layout.shards).map(|_| OnceLock::new()).collect(),
            reached: watch::Sender::new(loaded.end),
            observer: options.observer.clone(),
            stream,
        });
        let options = LogOptions {
            directory: directory.log_path(),
            store: layout.store,
            start: loaded.start,
            first: loaded.end,
            needed: needed.unwrap_or_default(),
            kept_bytes_max: options.changes_log_bytes,
            file_bytes: FILE_BYTES,
            waiting_bytes_max: WAITING_BYTES_MAX,
            sync: options.sync,
        };
        let log = Log::begin(directory.files(), options, Teller(told.clone()))?;
        Ok(Self {
            log,
            loaded_bytes: loaded.log_bytes,
            told,
        })
    }

    /// The log.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// How long the log is with what was loaded of it, in bytes.
    pub(super) fn log_bytes(&self) -> u64 {
        self.loaded_bytes + self.log.counts().bytes
    }

    /// Has a shard hear how far the log is, and be asked for checkpoints.
    pub(super) fn tell(&self, shard: usize, reached: Recipient<Reached>, snap: Recipient<Snap>) {
        let taken = self.told.shards[shard].set((reached, snap));
        taken.expect("each shard is started once");
    }

    /// Whether a shard is there, to be asked.
    pub(super) fn is_hosted(&self, shard: usize) -> bool {
        self.told.shards[shard].get().is_some()
    }

    /// Asks a shard for a part of a checkpoint. One that is not there does not answer.
    pub(super) fn snap(&self, shard: usize, message: Snap) {
        if let Some((_, snap)) = self.told.shards[shard].get() {
            snap.do_send(message);
        }
    }

    /// Hands records over, and returns the position after them.
    pub(super) fn append(&self, append: Append) -> Position {
        self.log.append(append)
    }

    /// Whether so much waits for the disk that changes should wait as well.
    pub(super) fn is_busy(&self) -> bool {
        self.log.room() == LogRoom::Busy
    }

    /// Whether there is room on the disk for a change.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn check_room(&self, is_removal: bool) -> Result<(), StoreError> {
        match self.log.room() {
            LogRoom::Open | LogRoom::Busy => Ok(()),
            LogRoom::Reserved if is_removal => Ok(()),
            LogRoom::Reserved | LogRoom::Full => Err(StoreError::DiskFull),
        }
    }

    /// Waits until all is on disk that was handed over before.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        let end = self.log.end();
        let mut reached = self.told.reached.subscribe();
        async move {
            // The sender is dropped by a process that ends.
            let _ = reached.wait_for(|reached| *reached >= end).await;
        }
    }

    /// Writes and syncs what waits, and marks that the store was stopped. Blocks.
    pub(super) fn close(&self) {
        self.log.close();
    }

    pub(super) fn stats(&self) -> JournalStats {
        JournalStats {
            log: self.log.counts(),
            is_full: self.log.room() >= LogRoom::Reserved,
            kept_bytes: self.log.kept_bytes(),
        }
    }
}

impl Told {
    fn send(&self, shard: u32, message: Reached) {
        // A shard that is not there has handed nothing over.
        if let Some((reached, _)) = self.shards.get(shard as usize).and_then(OnceLock::get) {
            reached.do_send(message);
        }
    }
}

impl Listener for Teller {
    fn reached(&mut self, position: Position, shards: &[u32]) {
        for shard in shards {
            self.0.send(*shard, Reached::Position(position));
        }
        self.0.reached.send_replace(position);
    }

    fn passed(&mut self, end: Position, appended: Vec<Append>) {
        self.0.stream.pass(end, appended);
    }

    fn synced(&mut self, took: Duration) {
        self.0.observer.synced(took);
    }

    fn room(&mut self, room: LogRoom) {
        match room {
            LogRoom::Open | LogRoom::Busy => log::info!("the disk has room again; sets go on"),
            LogRoom::Reserved => log::error!(
                "the disk of data_dir is full: sets get 507, reads and deletes go on; make room on it"
            ),
            LogRoom::Full => log::error!(
                "the disk of data_dir is full to the last: changes get 507, reads go on; make room on it"
            ),
        }
    }

    fn failed(&mut self, error: LogError) {
        log::error!("{error}; what of the last changes is on disk is not known");
        for shard in 0..self.0.shards.len() as u32 {
            self.0.send(shard, Reached::Nothing);
        }
        thread::sleep(LAST_WORDS);
        abort("the log has failed, and a restart finds what it holds")
    }
}
