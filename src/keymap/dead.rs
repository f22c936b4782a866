//! The deleted keys of a segment, which is immutable: which they are, and how many of them lie in
//! a rectangle, so that counts stay exact without walking.
//!
//! A delete sets a bit and digs a *grave*. Counts subtract the graves that match, by a scan. Once
//! there are [`GRAVES_MAX`] of them the background folds them into a [`DeadIndex`]; a grave stays
//! in the scan until its fold is in place.

use super::matrix::WaveletMatrix;
use std::ops::Range;
use std::sync::Arc;

/// How many graves are scanned before they are folded: a scan of so many takes about 4 µs.
pub(super) const GRAVES_MAX: usize = 4096;

/// The place of a deleted key: its rank among the keys and among the reversed keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grave {
    pub(super) rank: u32,
    pub(super) reverse_rank: u32,
}

/// The deleted keys of one segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Dead {
    /// A bit for each rank; empty until the first delete. Shared with a running merge, and copied
    /// by the first delete during one.
    bits: Arc<Vec<u64>>,
    count: u32,
    graves: Vec<Grave>,
    folded: Option<Arc<DeadIndex>>,
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

/// A snapshot of which ranks are dead.
#[derive(Clone, Debug, Default)]
pub(super) struct DeadBits(Arc<Vec<u64>>);

impl DeadBits {
    pub(super) fn contains(&self, rank: u32) -> bool {
        bit(&self.0, rank)
    }
}

impl Dead {
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, rank: u32) -> bool {
        bit(&self.bits, rank)
    }

    /// Buries a live key of a segment of `keys` keys.
    pub(super) fn bury(&mut self, grave: Grave, keys: u32) {
        debug_assert!(!self.contains(grave.rank), "a key dies once");
        let bits = Arc::make_mut(&mut self.bits);
        if bits.is_empty() {
            bits.resize(keys.div_ceil(64) as usize, 0);
        }
        bits[(grave.rank / 64) as usize] |= 1 << (grave.rank % 64);
        self.count += 1;
        self.graves.push(grave);
    }

    /// The first live rank from `rank` on; a segment's length where all are dead up to its end.
    pub(super) fn next_alive(&self, rank: u32) -> u32 {
        if !self.contains(rank) {
            return rank;
        }
        let mut word = (rank / 64) as usize;
        let mut alive = !self.bits[word] & (u64::MAX << (rank % 64));
        while alive == 0 {
            word += 1;
            let Some(bits) = self.bits.get(word) else {
                return u32::MAX;
            };
            alive = !bits;
        }
        word as u32 * 64 + alive.trailing_zeros()
    }

    /// How many of the dead lie in the rectangle.
    pub(super) fn count(&self, ranks: &Range<u32>, reverse_ranks: &Range<u32>) -> u32 {
        let in_graves = self
            .graves
            .iter()
            .filter(|grave| {
                ranks.contains(&grave.rank) && reverse_ranks.contains(&grave.reverse_rank)
            })
            .count() as u32;
        let in_index = self
            .folded
            .as_ref()
            .map_or(0, |index| index.count(ranks, reverse_ranks));
        in_graves + in_index
    }

    /// Which ranks are dead now.
    pub(super) fn snapshot(&self) -> DeadBits {
        DeadBits(self.bits.clone())
    }

    /// Whether the graves are worth a fold.
    pub(super) fn wants_fold(&self) -> bool {
        self.graves.len() >= GRAVES_MAX
    }

    /// What a fold starts from: the index so far and the graves to add.
    pub(super) fn fold_input(&self) -> (Option<Arc<DeadIndex>>, Vec<Grave>) {
        (self.folded.clone(), self.graves.clone())
    }

    /// Puts a fold of the first `graves` graves in place, and returns what it replaces.
    pub(super) fn finish_fold(
        &mut self,
        index: Arc<DeadIndex>,
        graves: usize,
    ) -> Option<Arc<DeadIndex>> {
        self.graves.drain(..graves);
        self.folded.replace(index)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let index = self.folded.as_ref().map_or(0, |index| index.heap_bytes());
        self.bits.capacity() * 8 + self.graves.capacity() * size_of::<Grave>() + index
    }
}

impl DeadIndex {
    /// The index of `before` and `graves` together. O(n log n).
    pub(super) fn fold(before: Option<&Self>, graves: &[Grave]) -> Self {
        let mut points: Vec<(u32, u32)> = graves
            .iter()
            .map(|grave| (grave.rank, grave.reverse_rank))
            .collect();
        if let Some(before) = before {
            points.extend(
                before
                    .ranks
                    .iter()
                    .copied()
                    .zip(before.reverse_ranks.iter().copied()),
            );
        }
        points.sort_unstable();
        let (ranks, reverse_ranks): (Vec<u32>, Vec<u32>) = points.into_iter().unzip();
        let bound = reverse_ranks.iter().max().map_or(0, |max| max + 1);
        let matrix = WaveletMatrix::new(&reverse_ranks, bound);
        Self {
            ranks,
            reverse_ranks,
            matrix,
        }
    }

    fn count(&self, ranks: &Range<u32>, reverse_ranks: &Range<u32>) -> u32 {
        let position = |bound: u32| self.ranks.partition_point(|rank| *rank < bound) as u32;
        self.matrix.count(
            position(ranks.start)..position(ranks.end),
            reverse_ranks.clone(),
        )
    }

    fn heap_bytes(&self) -> usize {
        (self.ranks.capacity() + self.reverse_ranks.capacity()) * 4 + self.matrix.heap_bytes()
    }
}

fn bit(bits: &[u64], rank: u32) -> bool {
    bits.get((rank / 64) as usize)
        .is_some_and(|word| word >> (rank % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
                    dead.bury(Grave { rank, reverse_rank: permutation[rank as usize] }, n);
                }
                if fold {
                    let (before, graves) = dead.fold_input();
                    let index = DeadIndex::fold(before.as_deref(), &graves);
                    dead.finish_fold(Arc::new(index), graves.len());
                }
            }
            let range = |a: u32, b: u32| (a % (n + 1)).min(b % (n + 1))..(a % (n + 1)).max(b % (n + 1));
            let (ranks, reverse) = (range(corners[0], corners[1]), range(corners[2], corners[3]));
            let expected = naive.iter()
                .filter(|rank| ranks.contains(rank) && reverse.contains(&permutation[**rank as usize]))
                .count();
            prop_assert_eq!(dead.count(&ranks, &reverse) as usize, expected);
            prop_assert_eq!(dead.len() as usize, naive.len());
            for rank in 0..n {
                prop_assert_eq!(dead.contains(rank), naive.contains(&rank));
                let alive = (rank..n).find(|rank| !naive.contains(rank));
                prop_assert_eq!(Some(dead.next_alive(rank)).filter(|found| *found < n), alive);
            }
        }
    }
}
