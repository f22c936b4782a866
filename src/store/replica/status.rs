//! What all shares of a server's index have come to.

use crate::valkey::{EngineError, PARTITIONS};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// For so long a partition is not doubted again. If its log and head are not what is wrong, reading them
/// does not help, and what is found otherwise is looked at all the same.
const DOUBT_PAUSE: Duration = Duration::from_secs(60);

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
    /// Partitions of each share that are not read yet, since their masters fail.
    unreachable: Vec<AtomicUsize>,
    /// When the engine was found to be usable, in milliseconds since `started`.
    opened_ms: AtomicU64,
    /// When any partition last answered, in milliseconds since `started`.
    answered_ms: AtomicU64,
    /// For each share, when its follower last went on.
    turned_ms: Vec<AtomicU64>,
    /// For each partition, when a change last made somebody doubt its log and head; 0 for never.
    doubted_ms: Vec<AtomicU64>,
    /// Whether a master may drop keys.
    evicts: AtomicBool,
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
    /// Why the engine fails, if it does.
    pub outage: Option<EngineError>,
    /// Whether it may drop keys when it is full.
    pub evicts: bool,
}

impl ReplicaStatus {
    pub(in crate::store) fn new(shares: usize) -> Self {
        Self {
            started: Instant::now(),
            opened: AtomicBool::new(false),
            has_opened: Notify::new(),
            is_foreign: AtomicBool::new(false),
            loaded: AtomicUsize::new(0),
            unreachable: (0..shares).map(|_| AtomicUsize::new(0)).collect(),
            opened_ms: AtomicU64::new(0),
            answered_ms: AtomicU64::new(0),
            turned_ms: (0..shares).map(|_| AtomicU64::new(0)).collect(),
            doubted_ms: (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect(),
            evicts: AtomicBool::new(false),
            synced_ms: (0..shares).map(|_| AtomicU64::new(0)).collect(),
            reloads: AtomicU64::new(0),
            repairs: AtomicU64::new(0),
            suspects: (0..shares).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Lets the shares begin.
    pub(in crate::store) fn open(&self) {
        let now = self.now_ms();
        self.opened_ms.store(now, Ordering::Relaxed);
        for turned in &self.turned_ms {
            turned.store(now, Ordering::Relaxed);
        }
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

    /// The follower of a share goes on.
    pub(super) fn turned(&self, share: usize) {
        self.turned_ms[share].store(self.now_ms(), Ordering::Relaxed);
    }

    /// So many partitions of a share cannot be read at the start.
    pub(super) fn unreachable(&self, share: usize, partitions: usize) {
        self.unreachable[share].store(partitions, Ordering::Relaxed);
    }

    /// Takes note of whether a master may drop keys, and says when that changes.
    pub(super) fn policy(&self, evicts: bool) {
        if self.evicts.swap(evicts, Ordering::Relaxed) == evicts {
            return;
        }
        match evicts {
            true => log::error!("{}", crate::store::OpenError::Evicts),
            false => log::warn!("the engine does not drop keys any more when it is full"),
        }
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

    /// Whether all partitions were read; or, after so long, all whose masters answer.
    pub(in crate::store) fn is_loaded(&self, patience: Duration) -> bool {
        let loaded = self.loaded.load(Ordering::Relaxed);
        let unreachable = self.unreachable.iter();
        let unreachable: usize = unreachable.map(|count| count.load(Ordering::Relaxed)).sum();
        let is_patient = self.since(&self.opened_ms) <= patience;
        loaded >= PARTITIONS || (!is_patient && loaded > 0 && loaded + unreachable >= PARTITIONS)
    }

    /// Whether the follower of a share has not gone on for so long.
    pub(in crate::store) fn is_stuck(&self, patience: Duration) -> bool {
        let mut turned = self.turned_ms.iter();
        let is_open = self.opened.load(Ordering::Acquire);
        is_open && turned.any(|at| self.since(at) > patience)
    }

    /// Whether a partition may be doubted now; then not again for a while.
    pub(in crate::store) fn may_doubt(&self, partition: usize) -> bool {
        let doubted = &self.doubted_ms[partition];
        let is_fresh = doubted.load(Ordering::Relaxed) != 0 && self.since(doubted) < DOUBT_PAUSE;
        if !is_fresh {
            doubted.store(self.now_ms().max(1), Ordering::Relaxed);
        }
        !is_fresh
    }

    /// Whether a master may drop keys.
    pub(in crate::store) fn evicts(&self) -> bool {
        self.evicts.load(Ordering::Relaxed)
    }

    /// Partitions that the index does not hold as the engine does.
    pub(in crate::store) fn behind(&self) -> usize {
        let suspects = self.suspects.iter();
        suspects.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// How long ago any partition answered.
    pub(in crate::store) fn silence(&self) -> Duration {
        self.since(&self.answered_ms)
    }

    pub(in crate::store) fn stats(
        &self,
        reconnects: u64,
        outage: Option<EngineError>,
    ) -> ReplicaStats {
        let synced = self.synced_ms.iter().map(|at| at.load(Ordering::Relaxed));
        let oldest = synced.min().unwrap_or(0);
        ReplicaStats {
            lag: Duration::from_millis(self.now_ms().saturating_sub(oldest)),
            reloads: self.reloads.load(Ordering::Relaxed),
            repairs: self.repairs.load(Ordering::Relaxed),
            partitions_behind: self.behind(),
            reconnects,
            outage,
            evicts: self.evicts(),
        }
    }

    /// How long ago a moment was, in milliseconds since `started`.
    fn since(&self, moment_ms: &AtomicU64) -> Duration {
        let moment = moment_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.now_ms().saturating_sub(moment))
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a process runs for less than 2^64 ms")
}
