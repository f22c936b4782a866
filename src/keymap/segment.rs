//! An immutable set of keys, found by either end.
//!
//! A prefix is a range of *ranks*, positions in byte order. A suffix is a range of *reverse
//! ranks*, positions in the byte order of the reversed keys. There is no dictionary of reversed
//! keys: the permutation leads from a reverse rank to the key itself, and separators over every
//! 16th reversed key narrow a search to 16 of them.

mod builder;
mod bytes;
mod stored;

pub(super) use builder::{SegmentBuilder, SegmentSize};
pub use bytes::PartBytes;
pub use stored::{OpenError, SEGMENT_PARTS};

use super::blocks::{BLOCK_KEYS, Blocks, KeyBuffer, Walk};
use super::dead::{DeadBits, Grave};
use super::fsst::SymbolTable;
use super::hash::{KeyHash, Seed};
use super::matrix::{Ascent, WaveletMatrix};
use super::packed::Packed;
use super::part::{Part, PartError, PartKind};
use super::separators::Separators;
use super::table::Table;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

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
    /// From the hash of a key to its rank.
    by_hash: Table,
    /// Of that hash.
    seed: Seed,
    key_bytes: u64,
}

impl Segment {
    pub(super) fn len(&self) -> u32 {
        self.keys.len()
    }

    /// The bytes of all keys, as they would be uncompressed.
    pub(super) fn key_bytes(&self) -> u64 {
        self.key_bytes
    }

    /// What no slot is above.
    pub(super) fn slot_max(&self) -> u32 {
        self.slots.max()
    }

    /// Bytes of memory, by part. A symbol table that several segments share counts for each.
    pub(super) fn heap_bytes(&self) -> PartBytes {
        let mut bytes = PartBytes::default();
        for (kind, part) in self.parts() {
            *bytes.of(kind) += part.heap_bytes();
        }
        bytes
    }

    /// All that there is to store of a segment but for its number of keys and their bytes.
    fn parts(&self) -> impl Iterator<Item = (PartKind, &Part)> {
        let symbols = self
            .keys
            .symbols()
            .map(|table| (PartKind::Symbols, table.part()));
        let others = [
            (PartKind::Separators, self.forward.part()),
            (PartKind::ReverseSeparators, self.reversed.part()),
            (PartKind::Permutation, self.permutation.part()),
            (PartKind::Matrix, self.matrix.part()),
            (PartKind::Slots, self.slots.part()),
            (PartKind::Table, self.by_hash.part()),
        ];
        self.keys.parts().into_iter().chain(others).chain(symbols)
    }

    /// Checks that no part has changed since it was written. About 0.1 ns a byte.
    ///
    /// # Errors
    /// Where one has: memory is damaged.
    pub(super) fn verify(&self) -> Result<(), PartError> {
        self.parts().try_for_each(|(kind, part)| part.verify(kind))
    }

    /// The table by which the keys are compressed.
    pub(super) fn symbols(&self) -> Option<&Arc<SymbolTable>> {
        self.keys.symbols()
    }

    /// Fetches what leads to a rank ahead of its use.
    pub(super) fn prefetch_hash(&self, hash: u64) {
        self.by_hash.prefetch(hash);
    }

    /// A rank that the key of a hash may have, and mostly has.
    pub(super) fn likely_rank(&self, hash: u64) -> Option<u32> {
        self.by_hash.find(hash, Some)
    }

    /// The rank of `key`, whose hash is `hash`, dead or alive. One block is read, and for an absent
    /// key mostly none. `ahead` is given the slot that the key likely has before its block is read.
    pub(super) fn find(&self, key: &[u8], hash: u64, mut ahead: impl FnMut(u32)) -> Option<u32> {
        self.by_hash.find(hash, |rank| {
            ahead(self.slots.get(rank));
            self.is_at(rank, key).then_some(rank)
        })
    }

    /// The rank that leads to a slot, of those that `is_meant` says may be it. `hash` is of its key.
    pub(super) fn find_slot(
        &self,
        slot: u32,
        hash: KeyHash,
        is_meant: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        self.by_hash.find_at(hash.hash(), |rank| {
            (self.slots.get(rank) == slot && is_meant(rank)).then_some(rank)
        })
    }

    /// The rank of `key`, dead or alive.
    pub(super) fn rank(&self, key: &[u8]) -> Option<u32> {
        self.find(key, self.seed.hash(key), |_| ())
    }

    /// Whether a rank's key is `key`.
    pub(super) fn is_at(&self, rank: u32, key: &[u8]) -> bool {
        self.keys.lower_bound(rank / BLOCK_KEYS, key) == (rank, true)
    }

    /// The slot of a rank.
    pub(super) fn slot(&self, rank: u32) -> u32 {
        self.slots.get(rank)
    }

    /// Decodes the key of a rank into `key`.
    pub(super) fn key_at(&self, rank: u32, key: &mut KeyBuffer) {
        self.keys.key_at(rank, key);
    }

    /// Fetches a rank's slot, and where its key is, ahead of their use.
    pub(super) fn prefetch_slot(&self, rank: u32) {
        self.slots.prefetch(rank);
        self.keys.prefetch_start(rank);
    }

    /// Fetches a rank's key ahead of its use.
    pub(super) fn prefetch(&self, rank: u32) {
        self.keys.prefetch(rank);
    }

    /// Where the keys of some ranks are in both orders, by rank. O(n).
    pub(super) fn graves(&self, dead: &DeadBits) -> Vec<Grave> {
        let mut graves = Vec::with_capacity(dead.len() as usize);
        if dead.len() > 0 {
            for reverse_rank in 0..self.len() {
                let rank = self.rank_at(reverse_rank);
                if dead.contains(rank) {
                    graves.push(Grave { rank, reverse_rank });
                }
            }
        }
        graves
    }

    /// A walk over the keys from `rank` on.
    pub(super) fn walk(&self, rank: u32) -> Walk<'_> {
        self.keys.walk(rank)
    }

    /// The rank at a reverse rank.
    pub(super) fn rank_at(&self, reverse_rank: u32) -> u32 {
        self.permutation.get(reverse_rank)
    }

    /// The first rank whose key is not below `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> u32 {
        self.keys.lower_bound(self.forward.floor(key), key).0
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
        let end = after_all_with(prefix).map_or(self.len(), |end| self.lower_bound(&end));
        self.lower_bound(prefix)..end
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

    /// The reverse rank of a key of this segment, whose rank this is. Of the reverse ranks that it may have,
    /// 16, the one that leads to its rank: so no key is decoded.
    pub(super) fn reverse_rank(&self, key: &[u8], rank: u32) -> u32 {
        let reversed: Vec<u8> = key.iter().rev().copied().collect();
        let block = self.reversed.floor(&reversed) * BLOCK_KEYS;
        let end = self.len().min(block.saturating_add(BLOCK_KEYS));
        let mut likely = block..end;
        let found = likely.find(|reverse_rank| self.permutation.get(*reverse_rank) == rank);
        // Separators that were stored may be those of other keys.
        found.unwrap_or_else(|| self.reverse_bound(&reversed))
    }

    /// How many keys are in a rectangle. O(log n).
    pub(super) fn count(&self, ranks: &Range<u32>, reverse_ranks: &Range<u32>) -> u32 {
        if ranks.len() as u32 == self.len() {
            reverse_ranks.len() as u32
        } else {
            self.matrix.count(reverse_ranks.clone(), ranks.clone())
        }
    }

    /// The ranks at some reverse ranks, of which those that match.
    pub(super) fn ranks_at(
        &self,
        reverse_ranks: Range<u32>,
        is_match: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        self.permutation.filter(reverse_ranks, is_match)
    }

    /// Appends to `found` the smallest ranks of a rectangle, ascending: at least `limit` of them
    /// where there are so many. Returns whether these are all. Where `is_void` holds for a range of
    /// ranks and how many of them are in the rectangle, these may be left out. O(`limit` log n).
    pub(super) fn first(
        &self,
        ranks: Range<u32>,
        reverse_ranks: Range<u32>,
        limit: usize,
        is_void: impl FnMut(Range<u32>, u32) -> bool,
        found: &mut Vec<u32>,
    ) -> bool {
        self.matrix
            .first(reverse_ranks, ranks, limit, is_void, found)
    }

    /// An ascent over the ranks of those at some reverse ranks.
    pub(super) fn ascent(&self, reverse_ranks: Range<u32>) -> Ascent<'_> {
        self.matrix.ascent(reverse_ranks)
    }

    /// The reversed key of a reverse rank.
    pub(super) fn reversed_key_at(&self, reverse_rank: u32) -> Vec<u8> {
        let mut key = KeyBuffer::default();
        self.keys
            .key_at(self.permutation.get(reverse_rank), &mut key);
        key.as_slice().iter().rev().copied().collect()
    }

    /// The first reverse rank whose reversed key is not below `bound`.
    pub(super) fn reverse_bound(&self, bound: &[u8]) -> u32 {
        let block = self.reversed.floor(bound) * BLOCK_KEYS;
        let (mut low, mut high) = (block, self.len().min(block.saturating_add(BLOCK_KEYS)));
        let mut key = KeyBuffer::default();
        while low < high {
            let middle = low + (high - low) / 2;
            self.keys.key_at(self.permutation.get(middle), &mut key);
            if key.as_slice().iter().rev().cmp(bound) == Ordering::Less {
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

#[cfg(test)]
mod tests {
    use super::super::dead::{Counting, Dead};
    use super::super::live::{self, Matches};
    use super::super::merge::{Input, merge};
    use super::*;
    use crate::model::Filter;
    use std::collections::BTreeSet;

    fn segment(keys: u32) -> Segment {
        let name = |number: u32| format!("user:{:07}:name", number * 7);
        let keys = (0..keys).map(|number| (name(number).into_bytes().into_boxed_slice(), number));
        let input = Input::Tree {
            keys: Arc::new(keys.collect()),
            dead: BTreeSet::new(),
        };
        merge(&[input], None, Seed::default()).unwrap()
    }

    /// The segment that the stored parts of another hold.
    fn reopened(segment: &Segment) -> Segment {
        let stored = segment.stored();
        let read = |part: usize, bytes: &mut [u8]| {
            bytes.copy_from_slice(stored[part]);
            Ok::<_, std::convert::Infallible>(())
        };
        let bytes = stored.map(<[u8]>::len);
        Segment::open(segment.len(), bytes, Seed::default(), read).unwrap()
    }

    #[test]
    fn a_stored_segment_answers_as_the_one_in_memory_does() {
        // Without and with a symbol table of its own.
        for keys in [1, 100, 70_000, 300_000] {
            let written = segment(keys);
            let read = reopened(&written);
            let filter = Filter {
                prefix: "user:00".into(),
                suffix: "7:name".into(),
            };
            let (count, matches) = live::matches(&read, &Dead::default(), &filter, Counting::Exact);
            let (expected, _) = live::matches(&written, &Dead::default(), &filter, Counting::Exact);
            assert_eq!(count, expected);
            if let Matches::Rectangle(ranks, reverse_ranks) = matches {
                let mut found = Vec::new();
                read.first(ranks, reverse_ranks, usize::MAX, |_, _| false, &mut found);
                assert_eq!(found.len(), count as usize);
            }
            for rank in (0..keys).step_by(997) {
                let mut key = KeyBuffer::default();
                written.key_at(rank, &mut key);
                let key = key.as_slice();
                assert_eq!(read.rank(key), Some(rank));
                assert_eq!(read.slot(rank), rank);
                assert_eq!(read.rank_at(read.reverse_rank(key, rank)), rank);
            }
        }
    }

    #[test]
    fn a_damaged_part_is_found_and_fails_a_merge() {
        let mut segment = segment(1000);
        assert_eq!(segment.verify(), Ok(()));
        let mut damaged = segment.slots.part().stored().to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        segment.slots = Packed::open(Part::unchecked(damaged), 1000).unwrap();
        let error = PartError::Checksum(PartKind::Slots);
        assert_eq!(segment.verify(), Err(error.clone()));
        let input = Input::Segment {
            segment: Arc::new(segment),
            dead: Default::default(),
        };
        assert_eq!(merge(&[input], None, Seed::default()).unwrap_err(), error);
    }
}
