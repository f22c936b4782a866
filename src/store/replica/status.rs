//! What all shares of a server's index have come to.

use crate::valkey::{EngineError, PARTITIONS};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How far the shares are, shared by all threads.
#[derive(Debug)]
pub(in crate::store) struct ReplicaStatus {
    started: Instant,
    /// Whether the engine was found to be one that we can use.
    opened: AtomicBool,
    has_opened: Notify,
    /// Whether the engine holds data of another layout.
    is_foreign: AtomicBool,
    /// Partitions that were read at the start.
    loaded: AtomicUsize,
    /// When any partition last answered, in milliseconds since `started`.
    answered_ms: AtomicU64,
    /// For each share, when its last whole round began.
    synced_ms: Vec<AtomicU64>,
    reloads: AtomicU64,
    repairs: AtomicU64,
    /// Partitions that are known to differ from the engine, the ones to load included.
    suspects: Vec<AtomicUsize>,
}

/// What the index of an engine outside of this process says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStats {
    /// How old the state of the index may be: the time since the last whole round began.
    pub lag: Duration,
    /// Partitions that were read again since the index had diverged.
    pub reloads: u64,
    /// Reloads and scrubs that found the index, a head or a log to differ, and mended it.
    pub repairs: u64,
    /// Partitions that differ, or are not loaded yet.
    pub partitions_behind: usize,
    /// Connections that were lost and made again.
    pub reconnects: u64,
}

impl ReplicaStatus {
    pub(in crate::store) fn new(shares: usize) -> Self {
        Self {
            started: Instant::now(),
            opened: AtomicBool::new(false),
            has_opened: Notify::new(),
            is_foreign: AtomicBool::new(false),
            loaded: AtomicUsize::new(0),
            answered_ms: AtomicU64::new(0),
            synced_ms: (0..shares).map(|_| AtomicU64::new(0)).collect(),
            reloads: AtomicU64::new(0),
            repairs: AtomicU64::new(0),
            suspects: (0..shares).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Lets the shares begin.
    pub(in crate::store) fn open(&self) {
        self.opened.store(true, Ordering::Release);
        self.has_opened.notify_waiters();
    }

    /// Waits until the shares may begin.
    pub(super) async fn opened(&self) {
        loop {
            let opens = self.has_opened.notified();
            if self.opened.load(Ordering::Acquire) {
                return;
            }
            opens.await;
        }
    }

    pub(super) fn answered(&self) {
        self.answered_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    pub(super) fn synced(&self, share: usize, began: Instant) {
        let at = began.saturating_duration_since(self.started);
        self.synced_ms[share].store(millis(at), Ordering::Relaxed);
    }

    pub(super) fn suspects(&self, share: usize, partitions: usize) {
        self.suspects[share].store(partitions, Ordering::Relaxed);
    }

    pub(super) fn layout(&self, checked: Result<(), EngineError>) {
        match checked {
            Ok(()) => self.is_foreign.store(false, Ordering::Relaxed),
            Err(EngineError::Layout) => self.is_foreign.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
    }

    /// Counts a partition that was read at the start, and says now and then how many.
    pub(super) fn loaded(&self) {
        let loaded = self.loaded.fetch_add(1, Ordering::Relaxed) + 1;
        if loaded.is_multiple_of(PARTITIONS / 8) && loaded <= PARTITIONS {
            let took = self.started.elapsed().as_secs_f64();
            log::info!("the index has {loaded} of {PARTITIONS} partitions after {took:.1} s");
        }
    }

    pub(super) fn reloaded(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the engine holds data of another layout.
    pub(in crate::store) fn is_foreign(&self) -> bool {
        self.is_foreign.load(Ordering::Relaxed)
    }

    /// Whether all partitions were read.
    pub(in crate::store) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed) >= PARTITIONS
    }

    /// How long ago any partition answered.
    pub(in crate::store) fn silence(&self) -> Duration {
        let answered = self.answered_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.now_ms().saturating_sub(answered))
    }

    pub(in crate::store) fn stats(&self, reconnects: u64) -> ReplicaStats {
        let synced = self.synced_ms.iter().map(|at| at.load(Ordering::Relaxed));
        let oldest = synced.min().unwrap_or(0);
        let suspects = self
            .suspects
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        ReplicaStats {
            lag: Duration::from_millis(self.now_ms().saturating_sub(oldest)),
            reloads: self.reloads.load(Ordering::Relaxed),
            repairs: self.repairs.load(Ordering::Relaxed),
            partitions_behind: suspects.sum(),
            reconnects,
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a process runs for less than 2^64 ms")
}
