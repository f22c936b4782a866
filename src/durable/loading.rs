//! How a store is found in its directory: each shard as its checkpoint has it, and over that the records
//! of the log from there on.
//!
//! One thread reads the log; each shard has one that applies its records, so that all cores are used.
//! Records are the whole state of a key, so that applying one again changes nothing.

use super::checkpoint::{self, Previous, ShardFiles};
use super::recovery::{self, Recovered};
use super::{Directory, Position, Record, Records, RecoveryError, State};
use crate::keymap::{Finish, KeyMap, MergeRoom};
use crate::model::ContentTypes;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use xxhash_rust::xxh3::xxh3_64;

/// Frames that wait for a shard's thread.
const FRAMES_WAITING: usize = 64;

/// Fewer revisions than these are given between two starts, and not found again at the second.
const REVISIONS_A_START: u64 = 1 << 32;

/// As the place of a start among all of a directory, in a revision: a start's own are above those of all
/// before it, whatever of these is still known.
const START_BITS: u32 = 40;

/// So many new keys are gathered in a tree and then made a segment at once, which is far less work than to
/// go through all merges on the way.
const GATHERED_KEYS: usize = if cfg!(test) { 64 } else { 1 << 20 };

/// Records are gathered up to so many bytes of all shards, and then applied in the order of their keys: one
/// key's way through a tree is then nearly the next one's, and memory that was just read is read again.
const GATHERED_BYTES: usize = if cfg!(test) { 16 << 10 } else { 32 << 20 };

/// Of each shard so many, however many there are.
const GATHERED_BYTES_MIN: usize = GATHERED_BYTES / 128;

/// How far a store is loaded.
#[derive(Debug, Default)]
pub struct Progress {
    keys: AtomicU64,
    records: AtomicU64,
}

impl Progress {
    /// Keys of checkpoints that are in memory.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

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
    /// How long the log is that was gone through, in bytes.
    pub log_bytes: u64,
    /// Bytes of a torn end that were cut off, none of which was acknowledged.
    pub torn_bytes: u64,
}

/// A shard of what was in a directory.
#[derive(Debug, Default)]
pub struct LoadedShard {
    /// Keys and values.
    pub map: KeyMap,
    /// The revision after which those of new changes come; `None` where there is no directory.
    pub last_revision: Option<u64>,
    /// The files of its checkpoint, and from where on the log is needed with it.
    pub checkpoint: (Previous, Position),
}

/// Why a directory is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log or a checkpoint is not as it was written, or cannot be read.
    #[error(transparent)]
    Found(#[from] RecoveryError),
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

    /// Where the files of a shard are.
    pub fn shard_files(&self, shard: u32) -> ShardFiles {
        let layout = self.layout();
        ShardFiles {
            files: self.files.clone(),
            directory: self.path.clone(),
            store: layout.store,
            seed: layout.seed,
            shard,
        }
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
        let shards = self.load_checkpoints(content_types, progress)?;
        let (recovered, shards) = self.replay(shards, content_types, progress);
        let recovered = recovered?;
        // Changes of any start since the last that is known of may be lost, and somebody may have seen their
        // revisions, if answers do not wait for the disk. What is known is of the first start that wrote what
        // is needed of the log, or a later one; a checkpoint may be of the start before that.
        let starts = recovered.start.saturating_sub(recovered.first_start) + 1;
        let skipped = REVISIONS_A_START.wrapping_mul(starts);
        let mut shards = shards;
        for (number, shard) in (0_u32..).zip(shards.iter_mut().flatten()) {
            let known = shard.last_revision.map(|last| last.wrapping_add(skipped));
            let own = self.revisions_of(number, recovered.start);
            shard.last_revision = Some(known.map_or(own, |known| known.max(own)));
        }
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
            log_bytes: recovered.bytes,
            torn_bytes: recovered.torn_bytes,
        })
    }

    /// Before which revisions those of a start are: where the directory's begin for a shard, which nobody
    /// guesses, and so much for each start. Numbers last for four million of them.
    fn revisions_of(&self, shard: u32, start: u64) -> u64 {
        let name = [&self.layout().store[..], &shard.to_le_bytes()].concat();
        let begin = xxh3_64(&name) >> 2;
        begin.wrapping_add(start << START_BITS)
    }

    /// Loads the checkpoints of all shards, as many at a time as there are cores.
    fn load_checkpoints(
        &self,
        content_types: &ContentTypes,
        progress: &Progress,
    ) -> Result<Vec<LoadedShard>, RecoveryError> {
        let shards = self.layout().shards;
        let next = AtomicU32::new(0);
        let load_some = || {
            let mut loaded = Vec::new();
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= shards {
                    return loaded;
                }
                loaded.push((shard, self.load_checkpoint(shard, content_types, progress)));
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut loaded = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores.min(shards as usize))
                .map(|_| scope.spawn(load_some))
                .collect();
            let loaded = threads.into_iter().flat_map(|thread| joined(thread.join()));
            loaded.collect::<Vec<_>>()
        });
        loaded.sort_by_key(|(shard, _)| *shard);
        loaded.into_iter().map(|(_, loaded)| loaded).collect()
    }

    fn load_checkpoint(
        &self,
        shard: u32,
        content_types: &ContentTypes,
        progress: &Progress,
    ) -> Result<LoadedShard, RecoveryError> {
        let checkpoint = checkpoint::load(&self.shard_files(shard), content_types)?;
        let Some(checkpoint) = checkpoint else {
            return Ok(LoadedShard {
                map: KeyMap::with_seed(self.layout().seed),
                ..LoadedShard::default()
            });
        };
        let keys = checkpoint.map.len() as u64;
        progress.keys.fetch_add(keys, Ordering::Relaxed);
        Ok(LoadedShard {
            map: checkpoint.map,
            last_revision: Some(checkpoint.moment.revision.0),
            checkpoint: (checkpoint.previous, checkpoint.moment.position),
        })
    }

    /// Applies to each shard the records of the log that its checkpoint needs.
    fn replay(
        &self,
        shards: Vec<LoadedShard>,
        content_types: &ContentTypes,
        progress: &Progress,
    ) -> (
        Result<Recovered, RecoveryError>,
        Result<Vec<LoadedShard>, Position>,
    ) {
        let needed: Vec<Position> = shards.iter().map(|shard| shard.checkpoint.1).collect();
        let from = needed.iter().copied().min().unwrap_or_default();
        // The log was synced up to there before the checkpoint was one.
        let synced = needed.iter().copied().max().unwrap_or_default();
        let bytes_max = (GATHERED_BYTES / shards.len().max(1)).max(GATHERED_BYTES_MIN);
        thread::scope(|scope| {
            let (queues, threads): (Vec<SyncSender<Work>>, Vec<_>) = shards
                .into_iter()
                .map(|shard| {
                    let (queue, works) = sync_channel(FRAMES_WAITING);
                    let gathered = Gathered::new(bytes_max);
                    let apply = move || apply(shard, works, gathered, content_types, progress);
                    (queue, scope.spawn(apply))
                })
                .unzip();
            let (log, store) = (self.log_path(), self.layout().store);
            let recovered = recovery::recover(&*self.files, &log, store, from, synced, |found| {
                let Some(queue) = queues.get(found.shard as usize) else {
                    return false;
                };
                if found.position >= needed[found.shard as usize] {
                    let work = Work {
                        position: found.position,
                        content: found.content.to_vec(),
                    };
                    // A thread that ended has met an error, which it tells below.
                    let _ = queue.send(work);
                }
                true
            });
            drop(queues);
            let shards = threads.into_iter().map(|thread| joined(thread.join()));
            (recovered, shards.collect())
        })
    }
}

/// Applies the records of a shard, as if one after the other.
///
/// # Errors
/// The position of a frame that holds no records.
fn apply(
    mut shard: LoadedShard,
    works: Receiver<Work>,
    mut gathered: Gathered,
    content_types: &ContentTypes,
    progress: &Progress,
) -> Result<LoadedShard, Position> {
    let mut highest = shard.last_revision;
    for Work { position, content } in works {
        for record in Records::new(&content, content_types) {
            let record = record.map_err(|_| position)?;
            highest = highest.max(Some(record.state.revision().0));
            gathered.add(record);
        }
        if gathered.is_full() {
            gathered.apply(&mut shard.map, progress);
        }
    }
    gathered.apply(&mut shard.map, progress);
    settle(&mut shard.map);
    shard.last_revision = highest;
    Ok(shard)
}

/// Records that are applied together.
#[derive(Debug)]
struct Gathered {
    records: Vec<Record>,
    bytes: usize,
    bytes_max: usize,
}

impl Gathered {
    fn new(bytes_max: usize) -> Self {
        Self {
            records: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    fn add(&mut self, record: Record) {
        let body = match &record.state {
            State::Set(value) => value.body.len(),
            State::Removed(_) | State::Expired(_) => 0,
        };
        self.bytes += size_of::<Record>() + record.key.as_bytes().len() + body;
        self.records.push(record);
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Applies the last record of each key, in the order of keys.
    fn apply(&mut self, map: &mut KeyMap, progress: &Progress) {
        let order = order_by_key(&self.records);
        let key = |at: u32| &self.records[at as usize].key;
        let mut lasts = vec![true; self.records.len()];
        for pair in order.windows(2) {
            if key(pair[0]) == key(pair[1]) {
                lasts[pair[0] as usize] = false;
            }
        }
        // In the same memory.
        let records = std::mem::take(&mut self.records).into_iter();
        let mut records: Vec<Option<Record>> = records.map(Some).collect();
        for at in order {
            let record = records[at as usize].take();
            if let Some(record) = record.filter(|_| lasts[at as usize]) {
                checkpoint::replay(record, map);
            }
        }
        progress
            .records
            .fetch_add(records.len() as u64, Ordering::Relaxed);
        self.bytes = 0;
        settle_many(map);
    }
}

/// The numbers of some records by their keys, and those of one key as they came. Few comparisons go
/// further than eight bytes after what all keys begin with, which lie beside the numbers.
fn order_by_key(records: &[Record]) -> Vec<u32> {
    let Some(first) = records.first() else {
        return Vec::new();
    };
    let first = first.key.as_bytes();
    let common = records.iter().fold(first.len(), |common, record| {
        let pairs = first[..common].iter().zip(record.key.as_bytes());
        pairs.take_while(|(left, right)| left == right).count()
    });
    let head = |record: &Record| {
        let mut head = [0; 8];
        let rest = &record.key.as_bytes()[common..];
        let len = rest.len().min(head.len());
        head[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(head)
    };
    let heads = records.iter().map(head);
    let mut order: Vec<(u64, u32)> = heads.zip(0..).collect();
    order.sort_unstable_by(|left, right| {
        let keys = || {
            let key = |at: u32| &records[at as usize].key;
            key(left.1).cmp(key(right.1))
        };
        let heads = left.0.cmp(&right.0);
        heads.then_with(keys).then(left.1.cmp(&right.1))
    });
    order.into_iter().map(|(_, at)| at).collect()
}

/// As [`settle`], once there are many new keys.
pub(super) fn settle_many(map: &mut KeyMap) {
    if map.stats().fresh_keys >= GATHERED_KEYS {
        settle(map);
    }
}

/// Makes segments of all new keys, and drops what these were in, which may be hundreds of megabytes. To merge them with
/// others is left for when the map is served.
pub(super) fn settle(map: &mut KeyMap) {
    loop {
        map.freeze();
        let Some(job) = map.next_job_within(MergeRoom::NONE) else {
            map.look_again();
            return;
        };
        let mut outcome = job.run();
        while let Finish::Again(again) = map.finish(outcome) {
            outcome = again.run();
        }
    }
}

/// What a thread gave. Its panic is ours.
fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Key, Revision, Value};

    #[test]
    fn trees_that_were_made_segments_are_dropped_while_more_is_loaded() {
        let mut map = KeyMap::default();
        for number in 0..1000 {
            let value = Value {
                content_type: ContentType::JSON,
                body: "1".into(),
                revision: Revision(number),
                expires_at: None,
            };
            let key = Key::parse(number.to_string().into(), 16).unwrap();
            map.set(&key, value);
            settle_many(&mut map);
            assert_eq!(map.merging_bytes(), 0, "{number}");
        }
        settle(&mut map);
        let stats = map.stats();
        assert_eq!((stats.fresh_keys, stats.merging_bytes), (0, 0));
        // They are for when the map is served.
        assert!(stats.segments > 10, "{stats:?}");
        assert!(map.next_job().is_some(), "there are merges to be done");
    }
}
