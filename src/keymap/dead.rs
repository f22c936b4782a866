//! The deleted keys of a segment, which is immutable: which they are, and how many of them lie in
//! a rectangle, so that counts stay exact without walking.
//!
//! A delete sets a bit and digs a *grave*. Counts subtract the graves that match, by a scan. Once
//! there are [`GRAVES_MIN`] of them the background folds them into a [`DeadIndex`]; a grave stays
//! in the scan until its fold is in place.

mod bits;

pub(super) use bits::{DeadBits, NextAlive};

use super::matrix::WaveletMatrix;
use std::ops::Range;
use std::sync::Arc;

/// Graves are folded once there are so many, and one for so many folded ones. A scan of as many
/// takes about 4 µs, and 30 µs where a million are folded.
pub(super) const GRAVES_MIN: usize = 4096;
const GRAVES_SHARE: usize = 32;
const GRAVES_MAX: usize = 64 * 1024;

/// What a fold takes for each key of its result, while it sorts them and makes a matrix, in bytes.
const FOLD_BYTES: usize = 24;

/// So many graves may lie unsorted after those that are, and one for so many sorted ones: each is moved by so many sorts
/// then at the most, however long a fold has to wait behind merges.
const UNSORTED_MIN: usize = 512;
const UNSORTED_SHARE: usize = 16;

/// The place of a deleted key: its rank among the keys and among the reversed keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grave {
    pub(super) rank: u32,
    pub(super) reverse_rank: u32,
}

/// The deleted keys of one segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Dead {
    bits: DeadBits,
    /// Those that no fold has taken. The first `sorted` of them are in the order of their ranks.
    graves: Vec<Grave>,
    sorted: usize,
    /// Those that a fold is taking, in that order.
    folding: Arc<Vec<Grave>>,
    folded: Option<Arc<DeadIndex>>,
}

/// How exactly the dead are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// All of them.
    Exact,
    /// Those that are folded: a total is not asked for, and an estimate is enough.
    Folded,
}

/// Deleted keys in both orders, with a matrix over them. Immutable.
#[derive(Debug)]
pub(super) struct DeadIndex {
    /// Ascending.
    ranks: Vec<u32>,
    /// The reverse rank of each.
    reverse_ranks: Vec<u32>,
    matrix: WaveletMatrix,
}

impl Dead {
    /// The dead that all these graves are of, at once.
    pub(super) fn of(graves: Vec<Grave>) -> Self {
        let mut dead = Self::default();
        graves.iter().for_each(|grave| dead.bits.insert(grave.rank));
        dead.graves = graves;
        dead.sort_graves();
        dead.fold();
        dead
    }

    pub(super) fn len(&self) -> u32 {
        self.bits.len()
    }

    pub(super) fn contains(&self, rank: u32) -> bool {
        self.bits.contains(rank)
    }

    /// Buries a live key, and returns how many bytes more that takes.
    pub(super) fn bury(&mut self, grave: Grave) -> usize {
        debug_assert!(!self.contains(grave.rank), "a key dies once");
        let before = self.own_bytes();
        self.bits.insert(grave.rank);
        self.graves.push(grave);
        if self.graves.len() - self.sorted >= UNSORTED_MIN.max(self.sorted / UNSORTED_SHARE) {
            self.sort_graves();
        }
        self.own_bytes() - before
    }

    /// Sorts the graves: a stable sort takes a sorted run and a short tail together in O(n).
    fn sort_graves(&mut self) {
        self.graves.sort_by_key(|grave| grave.rank);
        self.sorted = self.graves.len();
    }

    /// Folds the graves here and now, where they are worth it.
    pub(super) fn fold(&mut self) {
        if self.wants_fold() {
            let graves = std::mem::take(&mut self.graves);
            self.sorted = 0;
            self.folded = Some(Arc::new(DeadIndex::fold(self.folded.as_deref(), &graves)));
        }
    }

    /// The first live rank from `rank` on.
    pub(super) fn next_alive(&self, rank: u32) -> NextAlive {
        self.bits.next_alive(rank)
    }

    /// How many of the dead lie in the rectangle: O(log n) for the folded, and a scan of the graves
    /// within the ranks.
    pub(super) fn count(
        &self,
        ranks: &Range<u32>,
        reverse_ranks: &Range<u32>,
        counting: Counting,
    ) -> u32 {
        if self.bits.len() == 0 {
            return 0;
        }
        let folded = self.count_folded(ranks, reverse_ranks);
        match counting {
            Counting::Folded => folded,
            Counting::Exact => {
                let (sorted, rest) = self.graves.split_at(self.sorted);
                let within = within(sorted, ranks).iter();
                let within = within.chain(self::within(&self.folding, ranks));
                let within = within.filter(|grave| reverse_ranks.contains(&grave.reverse_rank));
                let in_rest = rest.iter().filter(|grave| {
                    ranks.contains(&grave.rank) && reverse_ranks.contains(&grave.reverse_rank)
                });
                folded + (within.count() + in_rest.count()) as u32
            }
        }
    }

    /// How many of some ranks are dead: exact, and no grave is looked at.
    pub(super) fn count_ranks(&self, ranks: &Range<u32>) -> u32 {
        self.bits.count_in(ranks)
    }

    /// As `count`, without the graves that are not folded yet.
    pub(super) fn count_folded(&self, ranks: &Range<u32>, reverse_ranks: &Range<u32>) -> u32 {
        let index = self.folded.as_ref();
        index.map_or(0, |index| index.count(ranks, reverse_ranks))
    }

    /// Which ranks are dead now.
    pub(super) fn snapshot(&self) -> DeadBits {
        self.bits.clone()
    }

    /// Whether the graves are worth a fold: so many that all folds together cost O(n log n).
    pub(super) fn wants_fold(&self) -> bool {
        let folded = self.folded.as_ref().map_or(0, |index| index.len());
        self.graves.len() >= (folded / GRAVES_SHARE).clamp(GRAVES_MIN, GRAVES_MAX)
    }

    /// What a fold takes now, about, in bytes.
    pub(super) fn fold_bytes(&self) -> usize {
        let folded = self.folded.as_ref().map_or(0, |index| index.len());
        (folded + self.graves.len()) * FOLD_BYTES
    }

    /// What a fold starts from: the index so far and the graves to add.
    pub(super) fn fold_input(&mut self) -> (Option<Arc<DeadIndex>>, Arc<Vec<Grave>>) {
        debug_assert!(self.folding.is_empty(), "one fold at a time");
        self.sort_graves();
        self.folding = Arc::new(std::mem::take(&mut self.graves));
        self.sorted = 0;
        (self.folded.clone(), self.folding.clone())
    }

    /// Takes back what a fold was to take that came to nothing.
    pub(super) fn give_up_fold(&mut self) {
        let folding = std::mem::take(&mut self.folding);
        self.graves.extend_from_slice(&folding);
        self.sort_graves();
    }

    /// Puts a fold in place, and returns what it replaces.
    pub(super) fn finish_fold(&mut self, index: Arc<DeadIndex>) -> Option<Arc<DeadIndex>> {
        self.folding = Arc::default();
        self.folded.replace(index)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let index = self.folded.as_ref().map_or(0, |index| index.heap_bytes());
        self.own_bytes() + self.folding.capacity() * size_of::<Grave>() + index
    }

    /// Bytes of what every delete adds to.
    fn own_bytes(&self) -> usize {
        self.bits.heap_bytes() + self.graves.capacity() * size_of::<Grave>()
    }
}

impl DeadIndex {
    /// The index of `before` and `graves` together. O(n log n).
    pub(super) fn fold(before: Option<&Self>, graves: &[Grave]) -> Self {
        let new = graves.iter().map(|grave| (grave.rank, grave.reverse_rank));
        let old = before.into_iter().flat_map(|before| {
            let ranks = before.ranks.iter().copied();
            ranks.zip(before.reverse_ranks.iter().copied())
        });
        let folded = before.map_or(0, Self::len);
        let mut points: Vec<(u32, u32)> = Vec::with_capacity(folded + graves.len());
        points.extend(old.chain(new));
        // A stable sort takes two sorted runs together without sorting them anew.
        points[folded..].sort_unstable();
        points.sort();
        let ranks = points.iter().map(|(rank, _)| *rank).collect();
        let reverse_ranks: Vec<u32> = points.iter().map(|(_, reverse)| *reverse).collect();
        drop(points);
        let bound = reverse_ranks.iter().max().map_or(0, |max| max + 1);
        let matrix = WaveletMatrix::new(reverse_ranks.iter().copied().collect(), bound);
        Self {
            ranks,
            reverse_ranks,
            matrix,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ranks.len()
    }

    fn count(&self, ranks: &Range<u32>, reverse_ranks: &Range<u32>) -> u32 {
        let position = |bound: u32| self.ranks.partition_point(|rank| *rank < bound) as u32;
        self.matrix.count(
            position(ranks.start)..position(ranks.end),
            reverse_ranks.clone(),
        )
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.ranks.capacity() + self.reverse_ranks.capacity()) * 4
            + self.matrix.part().heap_bytes()
    }
}

/// Those of sorted graves whose ranks are in a range.
fn within<'a>(graves: &'a [Grave], ranks: &Range<u32>) -> &'a [Grave] {
    let position = |bound: u32| graves.partition_point(|grave| grave.rank < bound);
    let (start, end) = (position(ranks.start), position(ranks.end));
    &graves[start..end.max(start)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_dead_that_no_fold_has_taken_are_counted() {
        const KEYS: u32 = 20_011;
        // Each once, in no order.
        let place =
            |number: u32, step: u32| (u64::from(number) * u64::from(step) % u64::from(KEYS)) as u32;
        let mut dead = Dead::default();
        for number in 0..KEYS {
            let rank = place(number, 7_919);
            let reverse_rank = place(rank, 104_729);
            dead.bury(Grave { rank, reverse_rank });
            let unsorted = dead.graves.len() - dead.sorted;
            assert!(unsorted < UNSORTED_MIN.max(dead.sorted / UNSORTED_SHARE));
            if number % 1_000 == 999 {
                let (ranks, reverse) = (3_000..15_000, 5_000..11_000);
                let buried = (0..=number).map(|number| place(number, 7_919));
                let within = buried.filter(|rank| {
                    ranks.contains(rank) && reverse.contains(&place(*rank, 104_729))
                });
                let counted = dead.count(&ranks, &reverse, Counting::Exact);
                assert_eq!(counted as usize, within.count());
            }
        }
        assert!(dead.sorted / UNSORTED_SHARE > UNSORTED_MIN);
    }

    proptest! {
        #[test]
        fn the_dead_count_like_a_naive_filter_before_and_after_folds(
            permutation in (1u32..400).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle()),
            deaths in prop::collection::vec(any::<prop::sample::Index>(), 0..300),
            folds in prop::collection::vec(any::<bool>(), 300),
            corners: [u32; 4],
        ) {
            let n = permutation.len() as u32;
            let mut dead = Dead::default();
            let mut naive = std::collections::BTreeSet::new();
            for (death, fold) in deaths.iter().zip(folds) {
                let rank = death.index(permutation.len()) as u32;
                if naive.insert(rank) {
                    dead.bury(Grave { rank, reverse_rank: permutation[rank as usize] });
                }
                if fold {
                    let (before, graves) = dead.fold_input();
                    let index = DeadIndex::fold(before.as_deref(), &graves);
                    // Some die while a fold is under way, and some folds come to nothing.
                    match naive.len() % 5 {
                        0 => dead.give_up_fold(),
                        _ => drop(dead.finish_fold(Arc::new(index))),
                    }
                }
            }
            let range = |a: u32, b: u32| (a % (n + 1)).min(b % (n + 1))..(a % (n + 1)).max(b % (n + 1));
            let (ranks, reverse) = (range(corners[0], corners[1]), range(corners[2], corners[3]));
            let in_ranks = naive.iter().filter(|rank| ranks.contains(rank)).count();
            prop_assert_eq!(dead.count_ranks(&ranks) as usize, in_ranks);
            let expected = naive.iter()
                .filter(|rank| ranks.contains(rank) && reverse.contains(&permutation[**rank as usize]))
                .count();
            prop_assert_eq!(dead.count(&ranks, &reverse, Counting::Exact) as usize, expected);
            prop_assert!(dead.count(&ranks, &reverse, Counting::Folded) as usize <= expected);
            prop_assert_eq!(dead.len() as usize, naive.len());
            for rank in 0..n {
                prop_assert_eq!(dead.contains(rank), naive.contains(&rank));
                let alive = (rank..n).find(|rank| !naive.contains(rank));
                prop_assert_eq!(Some(dead.next_alive(rank).rank).filter(|found| *found < n), alive);
            }
        }
    }
}
