//! What the shards of a store share: how much they hold together, and that each is alive.

use super::merger::Merger;
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
    pub(super) merger: Merger,
    /// The bound on what all shards hold, in bytes.
    pub(super) bytes_max: usize,
    /// Bytes that all shards hold together.
    bytes: AtomicUsize,
    /// What of `bytes` running merges take.
    merging_bytes: AtomicUsize,
    /// When each shard last showed that it is alive, in milliseconds since `started`.
    heartbeats: Vec<AtomicU64>,
    started: Instant,
}

/// What of the bytes of all shards is one's own, as it was counted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Bytes.
    pub(super) bytes: usize,
    /// What of these running merges take.
    pub(super) merging_bytes: usize,
}

/// Whether something is within the bound on the memory of all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Now,
    /// Not while merges take what they do.
    AfterMerges,
    Never,
}

impl Shared {
    /// What so many shards share that hold nothing yet.
    ///
    /// # Errors
    /// Where the system gives no threads for merges.
    pub(super) fn new(
        shards: usize,
        bytes_max: usize,
        lifecycle: Arc<Lifecycle>,
    ) -> io::Result<Self> {
        Ok(Self {
            lifecycle,
            merger: Merger::start()?,
            bytes_max,
            bytes: AtomicUsize::new(0),
            merging_bytes: AtomicUsize::new(0),
            heartbeats: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
        })
    }

    /// Shows that a shard is alive.
    pub(super) fn beat(&self, shard: usize) {
        let now = u64::try_from(self.started.elapsed().as_millis());
        let now = now.expect("a process runs for less than 2^64 ms");
        self.heartbeats[shard].store(now, Ordering::Relaxed);
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
            super::abort(&format!("shard {shard} ended while serving"));
        }
    }

    /// Bytes that all shards hold together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts what a shard holds `now` instead of what it did.
    pub(super) fn recount(&self, held: &mut Held, now: Held) {
        let before = std::mem::replace(held, now);
        adjust(&self.bytes, before.bytes, now.bytes);
        adjust(&self.merging_bytes, before.merging_bytes, now.merging_bytes);
    }

    /// Whether so many bytes more are within the bound.
    pub(super) fn fit(&self, bytes: usize) -> Fit {
        let held = self.bytes();
        let merging = self.merging_bytes.load(Ordering::Relaxed);
        if held.saturating_add(bytes) <= self.bytes_max {
            Fit::Now
        } else if held.saturating_sub(merging).saturating_add(bytes) <= self.bytes_max {
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
