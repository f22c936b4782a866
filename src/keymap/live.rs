//! A segment in use: with the keys of it that are dead, and the jobs that read it.

use super::blocks::KeyBuffer;
use super::dead::{Counting, Dead, DeadBits, Grave};
use super::merge::MergeSize;
use super::segment::Segment;
use crate::model::Filter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Up to so many keys of a prefix, decoding and testing each beats looking for the suffix.
const DECODE_MAX: usize = 64;

/// Up to so many reverse ranks, filtering the permutation beats walking the matrix.
const SCAN_MAX: usize = 4096;

/// A segment in use.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) segment: Arc<Segment>,
    /// What the segment takes, in bytes.
    bytes: usize,
    pub(super) dead: Dead,
    /// The merge that reads it.
    pub(super) merge: Option<u64>,
    /// The fold of its graves.
    pub(super) fold: Option<u64>,
    /// How often a job with it came to nothing, and how many jobs of the index must have ended
    /// before it is tried again: twice as many each time, so that what always fails costs little.
    failures: u32,
    retry_at: u64,
    /// How many dead ranks searches met on their way that had few live ones between them.
    wasted: AtomicU32,
}

impl Live {
    /// A segment that no job reads.
    pub(super) fn new(id: u64, segment: Arc<Segment>, dead: Dead) -> Self {
        Self {
            id,
            bytes: segment.heap_bytes().total(),
            segment,
            dead,
            merge: None,
            fold: None,
            failures: 0,
            retry_at: 0,
            wasted: AtomicU32::new(0),
        }
    }

    /// Bytes of memory, those of the dead included.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes + self.dead.heap_bytes()
    }

    /// What a merge writes of it now.
    pub(super) fn live_size(&self) -> MergeSize {
        let whole = self.whole_size();
        let alive = whole.keys - self.dead.len() as usize;
        // Bytes times keys could be more than 64 bits hold.
        let share = |bytes: usize| {
            let (each, rest) = (bytes / whole.keys, bytes % whole.keys);
            each * alive + rest * alive / whole.keys
        };
        match whole.keys {
            0 => whole,
            _ => MergeSize {
                keys: alive,
                key_bytes: share(whole.key_bytes),
                result_bytes: share(whole.result_bytes),
            },
        }
    }

    /// What a merge would write of it were no key dead.
    pub(super) fn whole_size(&self) -> MergeSize {
        MergeSize {
            keys: self.segment.len() as usize,
            key_bytes: self.segment.key_bytes() as usize,
            result_bytes: self.bytes,
        }
    }

    /// As [`matches()`], of this segment.
    pub(super) fn matches(&self, filter: &Filter, counting: Counting) -> (u32, Matches) {
        matches(&self.segment, &self.dead, filter, counting)
    }

    /// Buries the key of a rank that is alive. Returns how many bytes more that takes.
    pub(super) fn bury(&mut self, rank: u32, key: &[u8]) -> usize {
        let reverse_rank = self.segment.reverse_rank(key, rank);
        self.dead.bury(Grave { rank, reverse_rank })
    }

    /// Whether a job may take it, after so many of the index ended.
    pub(super) fn may_try(&self, jobs_ended: u64) -> bool {
        jobs_ended >= self.retry_at
    }

    /// Notes that a job with it came to nothing.
    pub(super) fn failed(&mut self, jobs_ended: u64) {
        self.retry_at = jobs_ended + (1 << self.failures.min(16));
        self.failures += 1;
    }

    /// Notes that a search met so many dead ranks too many.
    pub(super) fn waste(&self, ranks: u32) {
        if ranks > 0 {
            let more = |wasted: u32| Some(wasted.saturating_add(ranks));
            let _ = self
                .wasted
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// How many dead ranks searches met too many.
    pub(super) fn wasted(&self) -> u32 {
        self.wasted.load(Ordering::Relaxed)
    }
}

/// The keys of a segment that match a filter.
#[derive(Debug)]
pub(super) enum Matches {
    None,
    /// All of some ranks.
    Ranks(Range<u32>),
    /// These ranks, none of which is dead, in no order.
    Listed(Vec<u32>),
    /// The ranks that are in the first range and whose reverse ranks are in the second.
    Rectangle(Range<u32>, Range<u32>),
}

/// How many keys match, the `dead` left out as far as they are counted, and which.
/// O(log n), and at most some thousand steps more where one side of the filter is narrow.
pub(super) fn matches(
    segment: &Segment,
    dead: &Dead,
    filter: &Filter,
    counting: Counting,
) -> (u32, Matches) {
    let ranks = segment.prefix_ranks(&filter.prefix);
    if ranks.is_empty() {
        return (0, Matches::None);
    }
    let all = 0..segment.len();
    if filter.suffix.is_empty() {
        let count = ranks.len() as u32 - dead.count(&ranks, &all, counting);
        return (count, Matches::Ranks(ranks));
    }
    let listed = |found: Vec<u32>| (found.len() as u32, Matches::Listed(found));
    if ranks.len() <= DECODE_MAX {
        let mut walk = segment.walk(ranks.start);
        let is_match = |rank: &u32| {
            let key = walk.advance();
            key.is_some_and(|key| key.ends_with(&filter.suffix)) && !dead.contains(*rank)
        };
        return listed(ranks.filter(is_match).collect());
    }
    let reverse_ranks = segment.suffix_ranks(&filter.suffix);
    if reverse_ranks.is_empty() {
        (0, Matches::None)
    } else if reverse_ranks.len() <= SCAN_MAX {
        let is_match = |rank| ranks.contains(&rank) && !dead.contains(rank);
        listed(segment.ranks_at(reverse_ranks, is_match))
    } else {
        let count = segment.count(&ranks, &reverse_ranks);
        // More are dead than there are where a matrix was stored that is not of these keys.
        let count = count.saturating_sub(dead.count(&ranks, &reverse_ranks, counting));
        (count, Matches::Rectangle(ranks, reverse_ranks))
    }
}

/// What was deleted from the inputs of a merge while it ran.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// Keys of a tree.
    pub(super) keys: Vec<Box<[u8]>>,
    /// Of segments: no key is kept, since its rank leads to it.
    pub(super) ranks: Vec<DeadRanks>,
}

/// Which ranks of a segment died between two moments.
#[derive(Debug)]
pub(super) struct DeadRanks {
    pub(super) segment: Arc<Segment>,
    pub(super) before: DeadBits,
    pub(super) now: DeadBits,
}

impl Deaths {
    pub(super) fn len(&self) -> usize {
        let ranks = self.ranks.iter();
        let ranks = ranks.map(|died| (died.now.len() - died.before.len()) as usize);
        self.keys.len() + ranks.sum::<usize>()
    }

    /// Buries what died in the merge's result, 2 µs for each, and calls `buried` after each.
    pub(super) fn carry_over(&self, result: &Segment, dead: &mut Dead, buried: impl Fn(&mut Dead)) {
        let mut bury = |key: &[u8]| {
            let rank = result.rank(key);
            let rank = rank.expect("a key that was alive in an input is in the result");
            let reverse_rank = result.reverse_rank(key, rank);
            dead.bury(Grave { rank, reverse_rank });
            buried(dead);
        };
        self.keys.iter().for_each(|key| bury(key));
        let mut key = KeyBuffer::default();
        for DeadRanks {
            segment,
            before,
            now,
        } in &self.ranks
        {
            now.each_since(before, |rank| {
                segment.key_at(rank, &mut key);
                bury(key.as_slice());
            });
        }
    }
}
