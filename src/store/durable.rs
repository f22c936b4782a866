//! Where the memory engine's data is kept: how shards come by what a directory holds, its log, and its
//! checkpoints.

use super::checkpointer::{CheckpointStats, Checkpointer};
use super::journal::{Journal, JournalStats, SyncObserver};
use super::readiness::OpenError;
use super::shared::Shared;
use super::stream::Origin;
use crate::durable::{Directory, LoadError, Loaded, LoadedShard, LogError, Progress, Sync};
use crate::model::ContentTypes;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

/// How often it is logged how far the store is loaded.
const PROGRESS_LOG: Duration = Duration::from_secs(2);

/// How data is kept.
#[derive(Clone, Debug)]
pub struct DurableOptions {
    /// Where.
    pub directory: Arc<Directory>,
    /// When what was written is put on disk.
    pub sync: Sync,
    /// Who hears how long syncs take.
    pub observer: Arc<dyn SyncObserver>,
    /// How long the log may get before a checkpoint is taken, in bytes, where that is set.
    pub log_bytes_max: Option<u64>,
    /// How long the files of the log may be together that no checkpoint needs, in bytes.
    pub changes_log_bytes: u64,
}

/// Where data is kept.
#[derive(Debug)]
pub(super) struct Durable {
    options: DurableOptions,
    shared: Arc<Shared>,
    open: OnceLock<Open>,
    /// By shard, both ends of how it comes by its keys.
    senders: Vec<Mutex<Option<oneshot::Sender<Start>>>>,
    receivers: Vec<Mutex<Option<oneshot::Receiver<Start>>>>,
}

/// What there is once the directory was loaded.
#[derive(Debug)]
struct Open {
    journal: Arc<Journal>,
    checkpointer: Arc<Checkpointer>,
    loaded: LoadStats,
}

/// What loading came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadStats {
    /// Keys that there are.
    pub keys: usize,
    /// How long it took.
    pub took: Duration,
    /// Records of the log that were applied.
    pub records: u64,
}

/// What a store says of its data directory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataStats {
    /// How it was loaded.
    pub loaded: LoadStats,
    /// Its log.
    pub journal: JournalStats,
    /// Its checkpoints, and its disk.
    pub checkpoints: CheckpointStats,
}

/// What a shard starts with.
type Start = (LoadedShard, Arc<Journal>);

impl Durable {
    pub(super) fn new(options: DurableOptions, shared: Arc<Shared>) -> Self {
        let shards = options.directory.layout().shards;
        let (senders, receivers) = (0..shards)
            .map(|_| {
                let (sender, receiver) = oneshot::channel();
                (Mutex::new(Some(sender)), Mutex::new(Some(receiver)))
            })
            .unzip();
        Self {
            options,
            shared,
            open: OnceLock::new(),
            senders,
            receivers,
        }
    }

    /// What a shard starts with, once it is there; `None` where it never will be.
    pub(super) fn loaded(&self, shard: usize) -> impl Future<Output = Option<Start>> + use<> {
        let receiver = take(&self.receivers[shard]);
        async move { receiver?.await.ok() }
    }

    /// The log, once it was begun.
    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        self.open.get().map(|open| &open.journal)
    }

    /// What is measured, once it was loaded.
    pub(super) fn stats(&self) -> Option<DataStats> {
        let open = self.open.get()?;
        Some(DataStats {
            loaded: open.loaded,
            journal: open.journal.stats(),
            checkpoints: open.checkpointer.stats(),
        })
    }

    /// Loads what is there, begins the log, and lets the shards start.
    ///
    /// # Errors
    /// Where what is there is not what was acknowledged.
    pub(super) async fn load(&self) -> Result<LoadStats, OpenError> {
        let result = self.try_load().await;
        if result.is_err() {
            // Nobody is to wait for what does not come.
            self.senders.iter().for_each(|sender| drop(take(sender)));
        }
        result
    }

    async fn try_load(&self) -> Result<LoadStats, OpenError> {
        let begun = Instant::now();
        let loaded = self.read(begun).await;
        let mut loaded = loaded.map_err(|error| OpenError::Directory(Arc::new(error)))?;
        let Loaded {
            records,
            torn_bytes,
            ..
        } = loaded;
        let keys: usize = loaded.shards.iter().map(|shard| shard.map.len()).sum();
        if torn_bytes > 0 {
            log::info!(
                "{torn_bytes} bytes at the end of the log were not written whole when the process \
                 ended, and are cut off; none of them was acknowledged"
            );
        }
        let directory = &self.options.directory;
        let journal = Journal::begin(&self.options, &loaded, self.shared.stream.clone());
        let unbegun = |error| OpenError::Log(Arc::new(error));
        let journal = Arc::new(journal.map_err(unbegun)?);
        let origin = origin_of(directory, &loaded, &journal);
        self.shared.stream.begin(origin);
        let mut shards = std::mem::take(&mut loaded.shards);
        let checkpoints = shards.iter_mut();
        let checkpoints = checkpoints.map(|shard| std::mem::take(&mut shard.checkpoint));
        let checkpointer = Checkpointer::start(
            directory.clone(),
            journal.clone(),
            self.shared.clone(),
            self.options.log_bytes_max,
            checkpoints.collect(),
        );
        let checkpointer = checkpointer.map_err(|error| unbegun(LogError::Thread(error)))?;
        let stats = LoadStats {
            keys,
            took: begun.elapsed(),
            records,
        };
        self.open.get_or_init(|| Open {
            journal: journal.clone(),
            checkpointer: Arc::new(checkpointer),
            loaded: stats,
        });
        for (sender, shard) in self.senders.iter().zip(shards) {
            if let Some(sender) = take(sender) {
                // A thread that has ended meanwhile is told of elsewhere.
                let _ = sender.send((shard, journal.clone()));
            }
        }
        Ok(stats)
    }

    /// Logs what was loaded, once it is served.
    pub(super) fn tell(&self, stats: &LoadStats) {
        log::info!(
            "{} keys were loaded from {} in {} ms, {} records of the log applied",
            stats.keys,
            self.options.directory.path().display(),
            stats.took.as_millis(),
            stats.records
        );
    }

    async fn read(&self, begun: Instant) -> Result<Loaded, LoadError> {
        let directory = self.options.directory.clone();
        let progress = Arc::new(Progress::default());
        let seen = progress.clone();
        let reading = tokio::task::spawn_blocking(move || {
            directory.load(&ContentTypes::default(), &progress)
        });
        tokio::pin!(reading);
        let mut ticks = tokio::time::interval_at((begun + PROGRESS_LOG).into(), PROGRESS_LOG);
        loop {
            tokio::select! {
                read = &mut reading => return read.unwrap_or_else(|panic| {
                    let path = self.options.directory.path().to_owned();
                    Err(LoadError::Io(path, io::Error::other(panic)))
                }),
                _ = ticks.tick() => log::info!(
                    "loading: {} keys of checkpoints and {} records of the log so far",
                    seen.keys(),
                    seen.records()
                ),
            }
        }
    }

    /// Takes the last checkpoints where there is time, writes what waits for the disk, and marks that the
    /// store was stopped.
    pub(super) async fn close(&self, until: Instant) {
        if let Some(open) = self.open.get() {
            let (journal, checkpointer) = (open.journal.clone(), open.checkpointer.clone());
            let closed = tokio::task::spawn_blocking(move || {
                checkpointer.close(until);
                journal.close();
            });
            if closed.await.is_err() {
                log::error!("the log could not be ended; a restart finds what it holds");
            }
        }
    }
}

/// Whose changes are told of, over restarts too.
fn origin_of(directory: &Directory, loaded: &Loaded, journal: &Journal) -> Origin {
    Origin {
        // The id itself is nobody's but the directory's.
        incarnation: xxh3_64(&directory.layout().store),
        start: loaded.start,
        first: loaded.end,
        log: Some(journal.log().files().clone()),
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}
