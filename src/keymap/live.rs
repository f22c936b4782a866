//! A segment in use: with the keys of it that are dead, and the jobs that read it.

use super::dead::{Counting, Dead, Grave};
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
            segment,
            dead,
            merge: None,
            fold: None,
            failures: 0,
            retry_at: 0,
            wasted: AtomicU32::new(0),
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

/// Buries a key that was alive in an input of the merge that made a segment.
pub(super) fn carry_over(segment: &Segment, dead: &mut Dead, key: &[u8]) {
    let rank = segment.rank(key);
    let rank = rank.expect("a key that was alive in an input is in the result");
    let reverse_rank = segment.reverse_rank(key, rank);
    dead.bury(Grave { rank, reverse_rank });
}
