//! Where the memory engine's data is kept: how shards come by what a directory holds, and its log.

use super::journal::Journal;
use super::readiness::OpenError;
use crate::durable::{Directory, LoadError, Loaded, LoadedShard, Progress, Sync};
use crate::model::ContentTypes;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often it is logged how far the store is loaded.
const PROGRESS_LOG: Duration = Duration::from_secs(2);

/// How data is kept.
#[derive(Clone, Debug)]
pub struct DurableOptions {
    /// Where.
    pub directory: Arc<Directory>,
    /// When what was written is put on disk.
    pub sync: Sync,
}

/// Where data is kept.
#[derive(Debug)]
pub(super) struct Durable {
    options: DurableOptions,
    journal: OnceLock<Arc<Journal>>,
    /// By shard, both ends of how it comes by its keys.
    senders: Vec<Mutex<Option<oneshot::Sender<Start>>>>,
    receivers: Vec<Mutex<Option<oneshot::Receiver<Start>>>>,
}

/// What a shard starts with.
type Start = (LoadedShard, Arc<Journal>);

impl Durable {
    pub(super) fn new(options: DurableOptions) -> Self {
        let shards = options.directory.layout().shards;
        let (senders, receivers) = (0..shards)
            .map(|_| {
                let (sender, receiver) = oneshot::channel();
                (Mutex::new(Some(sender)), Mutex::new(Some(receiver)))
            })
            .unzip();
        Self {
            options,
            journal: OnceLock::new(),
            senders,
            receivers,
        }
    }

    /// How many shards the keys are divided into, and by the hash of which key.
    pub(super) fn division(&self) -> (usize, [u64; 2]) {
        let layout = self.options.directory.layout();
        (layout.shards as usize, layout.hash_key)
    }

    /// What a shard starts with, once it is there; `None` where it never will be.
    pub(super) fn loaded(&self, shard: usize) -> impl Future<Output = Option<Start>> + use<> {
        let receiver = take(&self.receivers[shard]);
        async move { receiver?.await.ok() }
    }

    /// The log, once it was begun.
    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.get()
    }

    /// Loads what is there, begins the log, and lets the shards start.
    ///
    /// # Errors
    /// Where what is there is not what was acknowledged.
    pub(super) async fn load(&self) -> Result<(), OpenError> {
        let result = self.try_load().await;
        if result.is_err() {
            // Nobody is to wait for what does not come.
            self.senders.iter().for_each(|sender| drop(take(sender)));
        }
        result
    }

    async fn try_load(&self) -> Result<(), OpenError> {
        let begun = Instant::now();
        let loaded = self.read(begun).await;
        let mut loaded = loaded.map_err(|error| OpenError::Directory(Arc::new(error)))?;
        let shards = std::mem::take(&mut loaded.shards);
        let Loaded {
            records,
            torn_bytes,
            ..
        } = loaded;
        let keys: usize = shards.iter().map(|shard| shard.map.len()).sum();
        if torn_bytes > 0 {
            log::info!(
                "{torn_bytes} bytes at the end of the log were not written whole when the process \
                 ended, and are cut off; none of them was acknowledged"
            );
        }
        let (directory, sync) = (&self.options.directory, self.options.sync);
        let journal = Journal::begin(directory, &loaded, sync);
        let journal = journal.map_err(|error| OpenError::Log(Arc::new(error)))?;
        let journal = self.journal.get_or_init(|| Arc::new(journal));
        for (sender, shard) in self.senders.iter().zip(shards) {
            if let Some(sender) = take(sender) {
                // A thread that has ended meanwhile is told of elsewhere.
                let _ = sender.send((shard, journal.clone()));
            }
        }
        log::info!(
            "{keys} keys were loaded from {} in {} ms, {records} records of the log applied",
            directory.path().display(),
            begun.elapsed().as_millis()
        );
        Ok(())
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
                    "loading: {} records of the log so far", seen.records()
                ),
            }
        }
    }

    /// Writes what waits for the disk, and marks that the store was stopped.
    pub(super) async fn close(&self) {
        if let Some(journal) = self.journal.get().cloned() {
            let closed = tokio::task::spawn_blocking(move || journal.close());
            if closed.await.is_err() {
                log::error!("the log could not be ended; a restart finds what it holds");
            }
        }
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}
