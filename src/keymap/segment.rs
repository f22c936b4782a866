//! An immutable set of keys, found by either end.
//!
//! A prefix is a range of *ranks*, positions in byte order. A suffix is a range of *reverse
//! ranks*, positions in the byte order of the reversed keys. There is no dictionary of reversed
//! keys: the permutation leads from a reverse rank to the key itself, and separators over every
//! 16th reversed key narrow a search to 16 of them.

use super::blocks::{BLOCK_KEYS, Blocks, BlocksBuilder, Walk};
use super::bloom::Bloom;
use super::fsst::SymbolTable;
use super::matrix::WaveletMatrix;
use super::packed::Packed;
use super::separators::{Separators, SeparatorsBuilder};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// Up to so many reverse ranks, filtering the permutation beats walking the matrix.
const SCAN_MAX: u32 = 4096;

/// Keys with their slots, in both orders.
#[derive(Debug)]
pub(super) struct Segment {
    keys: Blocks,
    forward: Separators,
    reversed: Separators,
    /// Reverse rank to rank.
    permutation: Packed,
    matrix: WaveletMatrix,
    /// Rank to slot.
    slots: Packed,
    bloom: Bloom,
    key_bytes: u64,
}

/// Bytes that segments take on the heap, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartBytes {
    /// The compressed keys.
    pub keys: usize,
    /// Which block a key is in, in both orders.
    pub separators: usize,
    /// The reverse order.
    pub permutation: usize,
    /// Rectangles.
    pub matrix: usize,
    /// Where the values are.
    pub slots: usize,
    /// Which keys are surely absent.
    pub filter: usize,
    /// Which keys are deleted.
    pub dead: usize,
}

impl PartBytes {
    /// Each part's name and bytes.
    pub fn by_part(&self) -> [(&'static str, usize); 7] {
        [
            ("keys", self.keys),
            ("separators", self.separators),
            ("permutation", self.permutation),
            ("matrix", self.matrix),
            ("slots", self.slots),
            ("filter", self.filter),
            ("dead", self.dead),
        ]
    }

    /// All parts together.
    pub fn total(&self) -> usize {
        self.by_part().iter().map(|(_, bytes)| bytes).sum()
    }
}

impl std::ops::AddAssign for PartBytes {
    fn add_assign(&mut self, other: Self) {
        self.keys += other.keys;
        self.separators += other.separators;
        self.permutation += other.permutation;
        self.matrix += other.matrix;
        self.slots += other.slots;
        self.filter += other.filter;
        self.dead += other.dead;
    }
}

/// Takes the keys of a segment in byte order; the reverse order is given at the end.
pub(super) struct SegmentBuilder {
    keys: BlocksBuilder,
    forward: SeparatorsBuilder,
    slots: Vec<u32>,
    bloom: Bloom,
    key_bytes: u64,
}

impl SegmentBuilder {
    /// A builder with room for `keys` keys, which compresses them by `table` where there is one.
    pub(super) fn new(keys: usize, table: Option<Arc<SymbolTable>>) -> Self {
        Self {
            keys: BlocksBuilder::new(table),
            forward: SeparatorsBuilder::default(),
            slots: Vec::with_capacity(keys),
            bloom: Bloom::with_capacity(keys),
            key_bytes: 0,
        }
    }

    /// Appends a key, which must be greater than the one before it, and returns its rank.
    pub(super) fn push(&mut self, key: &[u8], slot: u32) -> u32 {
        let rank = self.keys.len();
        if rank > 0 && rank.is_multiple_of(BLOCK_KEYS) {
            self.forward.push(self.keys.last(), key);
        }
        self.keys.push(key);
        self.slots.push(slot);
        self.bloom.insert(super::bloom::hash(key));
        self.key_bytes += key.len() as u64;
        rank
    }

    /// Ends the segment. `permutation` leads from reverse rank to rank; `reversed` separates
    /// every 16th reversed key from the one before it.
    pub(super) fn finish(self, permutation: Vec<u32>, reversed: SeparatorsBuilder) -> Segment {
        let keys = self.keys.finish();
        debug_assert_eq!(keys.len() as usize, permutation.len());
        Segment {
            forward: self.forward.finish(),
            reversed: reversed.finish(),
            matrix: WaveletMatrix::new(&permutation, keys.len()),
            keys,
            permutation: Packed::new(permutation),
            slots: Packed::new(self.slots),
            bloom: self.bloom,
            key_bytes: self.key_bytes,
        }
    }
}

impl Segment {
    pub(super) fn len(&self) -> u32 {
        self.keys.len()
    }

    /// The bytes of all keys, as they would be uncompressed.
    pub(super) fn key_bytes(&self) -> u64 {
        self.key_bytes
    }

    /// Bytes on the heap, by part.
    pub(super) fn heap_bytes(&self) -> PartBytes {
        PartBytes {
            keys: self.keys.heap_bytes(),
            separators: self.forward.heap_bytes() + self.reversed.heap_bytes(),
            permutation: self.permutation.heap_bytes(),
            matrix: self.matrix.heap_bytes(),
            slots: self.slots.heap_bytes(),
            filter: self.bloom.heap_bytes(),
            dead: 0,
        }
    }

    /// The table by which the keys are compressed.
    pub(super) fn table(&self) -> Option<&Arc<SymbolTable>> {
        self.keys.table()
    }

    /// The rank of `key`, whose hash is `hash`, dead or alive. One block is decoded, and for an
    /// absent key mostly none.
    pub(super) fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        if !self.bloom.may_contain(hash) {
            return None;
        }
        let (rank, found) = self.keys.lower_bound(self.forward.floor(key), key);
        found.then_some(rank)
    }

    /// The slot of a rank.
    pub(super) fn slot(&self, rank: u32) -> u32 {
        self.slots.get(rank)
    }

    /// Decodes the key of a rank into `key`.
    pub(super) fn key_at(&self, rank: u32, key: &mut Vec<u8>) {
        self.keys.key_at(rank, key);
    }

    /// A walk over the keys from `rank` on.
    pub(super) fn walk(&self, rank: u32) -> Walk<'_> {
        self.keys.walk(rank)
    }

    /// The rank at a reverse rank.
    pub(super) fn rank_at(&self, reverse_rank: u32) -> u32 {
        self.permutation.get(reverse_rank)
    }

    /// The ranks of the keys above `key`.
    pub(super) fn ranks_above(&self, key: &[u8]) -> Range<u32> {
        let (rank, found) = self.keys.lower_bound(self.forward.floor(key), key);
        rank + u32::from(found)..self.len()
    }

    /// The ranks of the keys that begin with `prefix`. O(log n).
    pub(super) fn prefix_ranks(&self, prefix: &[u8]) -> Range<u32> {
        if prefix.is_empty() {
            return 0..self.len();
        }
        let bound = |key: &[u8]| self.keys.lower_bound(self.forward.floor(key), key).0;
        let end = after_all_with(prefix).map_or(self.len(), |end| bound(&end));
        bound(prefix)..end
    }

    /// The reverse ranks of the keys that end with `suffix`. O(log n).
    pub(super) fn suffix_ranks(&self, suffix: &[u8]) -> Range<u32> {
        if suffix.is_empty() {
            return 0..self.len();
        }
        let reversed: Vec<u8> = suffix.iter().rev().copied().collect();
        let end = after_all_with(&reversed).map_or(self.len(), |end| self.reverse_bound(&end));
        self.reverse_bound(&reversed)..end
    }

    /// The reverse rank of a key of this segment.
    pub(super) fn reverse_rank(&self, key: &[u8]) -> u32 {
        let reversed: Vec<u8> = key.iter().rev().copied().collect();
        self.reverse_bound(&reversed)
    }

    /// How many keys, dead or alive, lie in the rectangle. O(log n).
    pub(super) fn count(&self, ranks: &Range<u32>, reverse_ranks: &Range<u32>) -> u32 {
        if *reverse_ranks == (0..self.len()) {
            ranks.end.saturating_sub(ranks.start)
        } else if *ranks == (0..self.len()) {
            reverse_ranks.end.saturating_sub(reverse_ranks.start)
        } else {
            self.matrix.count(reverse_ranks.clone(), ranks.clone())
        }
    }

    /// Appends to `found` the smallest ranks that lie in the rectangle, ascending: at least
    /// `limit` of them where there are so many. Returns whether these are all.
    pub(super) fn first(
        &self,
        ranks: Range<u32>,
        reverse_ranks: Range<u32>,
        limit: usize,
        found: &mut Vec<u32>,
    ) -> bool {
        let before = found.len();
        if reverse_ranks.end.saturating_sub(reverse_ranks.start) <= SCAN_MAX {
            let inside = |rank: u32| ranks.contains(&rank);
            self.permutation.filter_into(reverse_ranks, inside, found);
            found[before..].sort_unstable();
            return true;
        }
        self.matrix.first(reverse_ranks, ranks, limit, found);
        found.len() - before < limit
    }

    /// The first reverse rank whose reversed key is not below `bound`.
    fn reverse_bound(&self, bound: &[u8]) -> u32 {
        let block = self.reversed.floor(bound) * BLOCK_KEYS;
        let (mut low, mut high) = (block, self.len().min(block.saturating_add(BLOCK_KEYS)));
        let mut key = Vec::new();
        while low < high {
            let middle = low + (high - low) / 2;
            self.keys.key_at(self.permutation.get(middle), &mut key);
            if key.iter().rev().cmp(bound) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// The smallest string above all that begin with `prefix`; `None` where there is none.
pub(super) fn after_all_with(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
