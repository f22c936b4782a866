//! What the shards of a store share: how much they hold together, and that each is alive.
//!
//! ```text
//! 0          held at rest        │ for freezes │       for merges       bytes_max
//! ├──────────────────────────────┼─────────────┼───────────────────────────┤
//! ```
//!
//! A merge writes its result beside its inputs. So growth ends where the next freezes and merges would have no room
//! any more, and a merge is begun only where it has: what is held stays within the bound while they run.

use super::StoreError;
use super::abort::abort;
use super::merger::Merger;
use super::stream::Stream;
use crate::clock::Clock;
use crate::keymap::{MergeRoom, Upcoming};
use crate::lifecycle::{Lifecycle, Stage};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often an actor shows that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(500);

/// How old a heartbeat may be before its actor counts as stuck.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(10);

/// The share of the bound that one merge of several segments takes at the most. Half of it would make twice as many
/// segments of a full store; twice, a third less room for keys and values.
const MERGE_SHARE: usize = 6;

/// The share of the bound that the fresh trees of all shards take at the most, where that is not too little for them to
/// be of use. With the room to make segments of them it is three times that.
const TREES_SHARE: usize = 24;

/// Growth leaves room for such a merge and this share of it more: what deletes take until it is done.
const DELETES_SHARE: usize = 8;

/// The share of the bound that jobs may take together where more is held than there should be: a store that
/// was loaded under a lower bound, or an index of keys that others set.
const OVER_SHARE: usize = 16;

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
    /// What of `bytes` running jobs take.
    merging_bytes: AtomicUsize,
    /// What of `bytes` they do not. Were it told by these two, who reads while another shard begins a job would take
    /// what that takes for what is held, and refuse what there is room for.
    resting_bytes: AtomicUsize,
    /// What of `bytes` compaction would give back.
    reclaimable_bytes: AtomicUsize,
    /// What making segments of all trees would take.
    freezing_bytes: AtomicUsize,
    /// What merging all segments of each shard would take.
    rewriting_bytes: AtomicUsize,
    /// Held while a shard begins jobs, so that no two take the same room.
    beginning: Mutex<()>,
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
    /// What of these running jobs take.
    pub(super) merging_bytes: usize,
    /// What of these compaction would give back.
    pub(super) reclaimable_bytes: usize,
    /// What the next jobs would take.
    pub(super) upcoming: Upcoming,
}

/// What is taken of the bound.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// What is held but for what jobs take, and what making segments of the trees would.
    at_rest: usize,
    /// What running jobs take.
    merging: usize,
    /// What is kept free for merges, which those that run use.
    for_merges: usize,
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

impl Footprint {
    /// Bytes that are not running jobs'.
    fn resting_bytes(&self) -> usize {
        self.bytes - self.merging_bytes
    }
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
            resting_bytes: AtomicUsize::new(0),
            reclaimable_bytes: AtomicUsize::new(0),
            freezing_bytes: AtomicUsize::new(0),
            rewriting_bytes: AtomicUsize::new(0),
            beginning: Mutex::default(),
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
        adjust(
            &self.resting_bytes,
            before.resting_bytes(),
            now.resting_bytes(),
        );
        let sum = &self.reclaimable_bytes;
        adjust(sum, before.reclaimable_bytes, now.reclaimable_bytes);
        let (old, new) = (before.upcoming, now.upcoming);
        adjust(&self.freezing_bytes, old.freezing, new.freezing);
        adjust(&self.rewriting_bytes, old.rewriting, new.rewriting);
        // After the room that was kept for it is given up, so that nobody sees both.
        adjust(&self.merging_bytes, before.merging_bytes, now.merging_bytes);
    }

    /// Bytes that are taken: what is held at rest, and the room that jobs have, whether they run or not.
    pub(super) fn taken_bytes(&self) -> usize {
        let taken = self.taken();
        taken.at_rest + taken.merging.max(taken.for_merges)
    }

    fn taken(&self) -> Taken {
        // In this order: what jobs were given meanwhile is not seen twice.
        let merging = self.merging_bytes.load(Ordering::Relaxed);
        let freezing = self.freezing_bytes.load(Ordering::Relaxed);
        let resting = self.resting_bytes.load(Ordering::Relaxed);
        let rewriting = self.rewriting_bytes.load(Ordering::Relaxed);
        let for_merges = rewriting.min(self.bytes_max / MERGE_SHARE);
        Taken {
            at_rest: resting + self.stream.bytes() + freezing,
            merging,
            for_merges: for_merges + for_merges / DELETES_SHARE,
        }
    }

    /// Has no other shard begin jobs, so that the room for them stays what it is.
    pub(super) fn begin_jobs(&self) -> MutexGuard<'_, ()> {
        let beginning = self.beginning.lock();
        beginning.unwrap_or_else(PoisonError::into_inner)
    }

    /// What jobs may take besides those that run. All that the bound leaves them; where that is less than it should
    /// be, as much as small ones need, so that there is always one that can be done.
    pub(super) fn merge_room(&self) -> MergeRoom {
        let Taken {
            at_rest, merging, ..
        } = self.taken();
        let left = self.bytes_max.saturating_sub(at_rest);
        let held = self.bytes_max.max(at_rest);
        MergeRoom {
            now: left.max(held / OVER_SHARE).saturating_sub(merging),
            most: held / MERGE_SHARE,
            is_alone: merging == 0,
        }
    }

    /// What the fresh tree of each shard is to take at the most, in bytes.
    pub(super) fn tree_bytes(&self) -> usize {
        self.bytes_max / TREES_SHARE / self.heartbeats.len().max(1)
    }

    /// Whether so many bytes more are within the bound as it is.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.taken_bytes().saturating_add(bytes) <= self.bytes_max
    }

    /// That there is no room.
    pub(super) fn full(&self) -> StoreError {
        let bytes_max = self.bytes_max;
        StoreError::Full { bytes_max }
    }

    /// Whether so many bytes more are within the bound.
    pub(super) fn fit(&self, bytes: usize) -> Fit {
        let taken = self.taken();
        let reclaimable = self.reclaimable_bytes.load(Ordering::Relaxed);
        let at_rest = (taken.at_rest + taken.for_merges).saturating_add(bytes);
        let after = at_rest.saturating_add(taken.merging.saturating_sub(taken.for_merges));
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
    if now > before {
        sum.fetch_add(now - before, Ordering::Relaxed);
    } else if now < before {
        sum.fetch_sub(before - now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effort::effort;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn growth_leaves_room_for_the_next_jobs_and_they_take_no_more() {
        let bounds = Bounds {
            bytes_max: 6_000,
            changes_bytes_max: 0,
        };
        let shared = Shared::new(1, bounds, Arc::default(), Clock::running()).unwrap();
        let mut held = Footprint::default();
        let mut hold = |at_rest: usize, merging: usize, upcoming: Upcoming| {
            let now = Footprint {
                bytes: at_rest + merging,
                merging_bytes: merging,
                reclaimable_bytes: 0,
                upcoming,
            };
            shared.recount(&mut held, now);
        };
        let room = |now: usize, most: usize, is_alone: bool| MergeRoom {
            now,
            most,
            is_alone,
        };

        let mut upcoming = Upcoming {
            freezing: 200,
            rewriting: 80,
        };
        hold(4_000, 0, upcoming);
        assert_eq!(shared.taken_bytes(), 4_000 + 200 + 80 + 10);
        upcoming.rewriting = 100_000;
        hold(4_000, 0, upcoming);
        assert_eq!(shared.taken_bytes(), 4_000 + 200 + 1_000 + 125);
        assert_eq!([shared.fit(675), shared.fit(676)], [Fit::Now, Fit::Never]);
        assert!(shared.has_room(675) && !shared.has_room(676));
        assert_eq!(shared.merge_room(), room(1_800, 1_000, true));

        // Jobs have what is kept for them, and then what is left.
        hold(4_000, 1_000, upcoming);
        assert_eq!([shared.fit(675), shared.fit(676)], [Fit::Now, Fit::Never]);
        assert_eq!(shared.merge_room(), room(800, 1_000, false));
        hold(4_000, 1_800, upcoming);
        assert_eq!(
            [shared.fit(0), shared.fit(675)],
            [Fit::Now, Fit::AfterMerges]
        );
        assert_eq!(shared.merge_room(), room(0, 1_000, false));

        // Over the bound some still are done.
        hold(19_200, 200, Upcoming::default());
        assert_eq!(shared.fit(1), Fit::Never);
        assert_eq!(shared.merge_room(), room(1_000, 3_200, false));
    }
    #[test]
    fn what_a_shard_finds_room_for_it_finds_room_for_while_another_begins_and_ends_jobs() {
        let bounds = Bounds {
            bytes_max: 6_000,
            changes_bytes_max: 0,
        };
        let shared = Shared::new(2, bounds, Arc::default(), Clock::running()).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut held = Footprint::default();
                for merging_bytes in [0, 1_000].repeat(effort(100_000, 1_000_000)) {
                    let now = Footprint {
                        bytes: 4_000 + merging_bytes,
                        merging_bytes,
                        reclaimable_bytes: 0,
                        upcoming: Upcoming {
                            freezing: 0,
                            rewriting: 1_000,
                        },
                    };
                    shared.recount(&mut held, now);
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                assert!(shared.has_room(800));
                assert_eq!(shared.fit(800), Fit::Now);
            }
        });
    }
}
