//! What the shards of a store share: how much they hold together, and that each is alive.

use super::StoreError;
use super::abort::abort;
use super::merger::Merger;
use super::stream::Stream;
use crate::clock::Clock;
use crate::lifecycle::{Lifecycle, Stage};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often an actor shows that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(500);

/// How old a heartbeat may be before its actor counts as stuck.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(10);

/// What the shards of a store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lifecycle: Arc<Lifecycle>,
    /// By which values end.
    pub(super) clock: Clock,
    pub(super) merger: Merger,
    /// What all shards change, in one order.
    pub(super) stream: Arc<Stream>,
    /// The bound on what all shards hold and on the changes that are kept, together, in bytes.
    pub(super) bytes_max: usize,
    /// Bytes that all shards hold together.
    bytes: AtomicUsize,
    /// What of `bytes` running merges take.
    merging_bytes: AtomicUsize,
    /// What of `bytes` compaction would give back.
    reclaimable_bytes: AtomicUsize,
    /// When a write last waited for room, in milliseconds since `started`; 0 where none has lately.
    room_wanted: AtomicU64,
    /// When each shard last showed that it is alive, in milliseconds since `started`.
    heartbeats: Vec<AtomicU64>,
    started: Instant,
}

/// How much may be held, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// By all shards, and with the changes that are kept.
    pub(super) bytes_max: usize,
    /// Of these changes.
    pub(super) changes_bytes_max: usize,
}

/// What of the bytes of all shards is one's own, as it was counted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Bytes.
    pub(super) bytes: usize,
    /// What of these running merges take.
    pub(super) merging_bytes: usize,
    /// What of these compaction would give back.
    pub(super) reclaimable_bytes: usize,
}

/// Whether something is within the bound on the memory of all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Now,
    /// Not while merges take what they do.
    AfterMerges,
    /// Not before values are moved together, and perhaps not while merges take what they do.
    AfterCompaction,
    Never,
}

impl Shared {
    /// What so many shards share that hold nothing yet.
    ///
    /// # Errors
    /// Where the system gives no threads for merges.
    pub(super) fn new(
        shards: usize,
        bounds: Bounds,
        lifecycle: Arc<Lifecycle>,
        clock: Clock,
    ) -> io::Result<Self> {
        let Bounds {
            bytes_max,
            changes_bytes_max,
        } = bounds;
        Ok(Self {
            lifecycle,
            clock,
            merger: Merger::start()?,
            stream: Arc::new(Stream::new(changes_bytes_max)),
            bytes_max,
            bytes: AtomicUsize::new(0),
            merging_bytes: AtomicUsize::new(0),
            reclaimable_bytes: AtomicUsize::new(0),
            room_wanted: AtomicU64::new(0),
            heartbeats: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
        })
    }

    /// Shows that a shard is alive.
    pub(super) fn beat(&self, shard: usize) {
        self.heartbeats[shard].store(self.now(), Ordering::Relaxed);
    }

    /// Asks all shards for what memory they can do without: a write waits for it.
    pub(super) fn want_room(&self) {
        self.room_wanted.store(self.now().max(1), Ordering::Relaxed);
    }

    /// Whether a write waited for room within the last heartbeats.
    pub(super) fn is_room_wanted(&self) -> bool {
        let wanted = self.room_wanted.load(Ordering::Relaxed);
        let age_max = 4 * HEARTBEAT.as_millis() as u64;
        wanted != 0 && self.now().saturating_sub(wanted) < age_max
    }

    /// Milliseconds since the store was made.
    fn now(&self) -> u64 {
        let now = u64::try_from(self.started.elapsed().as_millis());
        now.expect("a process runs for less than 2^64 ms")
    }

    /// When a shard last showed that it is alive, in milliseconds since the store was made.
    #[cfg(test)]
    pub(super) fn last_beat(&self, shard: usize) -> u64 {
        self.heartbeats[shard].load(Ordering::Relaxed)
    }

    /// Whether all shards have shown within the last seconds that they are alive.
    pub(super) fn is_alive(&self) -> bool {
        let now = self.started.elapsed();
        self.heartbeats.iter().all(|beat| {
            let beat = Duration::from_millis(beat.load(Ordering::Relaxed));
            now.saturating_sub(beat) < HEARTBEAT_AGE_MAX
        })
    }

    /// What an actor says when it is dropped, since its thread or it itself ends. Before the process
    /// is told to stop that cannot be mended here; an orchestrator restarts us.
    pub(super) fn end(&self, shard: usize) {
        if self.lifecycle.stage() < Stage::Stopping {
            abort(&format!("shard {shard} ended while serving"));
        }
    }

    /// Bytes that all shards hold together, and those of the changes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) + self.stream.bytes()
    }

    /// Counts what a shard holds `now` instead of what it did.
    pub(super) fn recount(&self, held: &mut Footprint, now: Footprint) {
        let before = std::mem::replace(held, now);
        adjust(&self.bytes, before.bytes, now.bytes);
        adjust(&self.merging_bytes, before.merging_bytes, now.merging_bytes);
        let sum = &self.reclaimable_bytes;
        adjust(sum, before.reclaimable_bytes, now.reclaimable_bytes);
    }

    /// Whether so many bytes more are within the bound as it is.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes().saturating_add(bytes) <= self.bytes_max
    }

    /// That there is no room.
    pub(super) fn full(&self) -> StoreError {
        let bytes_max = self.bytes_max;
        StoreError::Full { bytes_max }
    }

    /// Whether so many bytes more are within the bound.
    pub(super) fn fit(&self, bytes: usize) -> Fit {
        let after = self.bytes().saturating_add(bytes);
        let merging = self.merging_bytes.load(Ordering::Relaxed);
        let reclaimable = self.reclaimable_bytes.load(Ordering::Relaxed);
        let at_rest = after.saturating_sub(merging);
        if after <= self.bytes_max {
            Fit::Now
        } else if reclaimable > 0 && at_rest.saturating_sub(reclaimable) <= self.bytes_max {
            Fit::AfterCompaction
        } else if at_rest <= self.bytes_max {
            Fit::AfterMerges
        } else {
            Fit::Never
        }
    }
}

/// Adjusts a part of a sum.
fn adjust(sum: &AtomicUsize, before: usize, now: usize) {
    if now >= before {
        sum.fetch_add(now - before, Ordering::Relaxed);
    } else {
        sum.fetch_sub(before - now, Ordering::Relaxed);
    }
}
