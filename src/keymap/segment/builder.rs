//! Writes a segment: first its keys in byte order, then the reverse order.

use super::Segment;
use crate::keymap::blocks::{BLOCK_KEYS, Blocks, BlocksBuilder};
use crate::keymap::fsst::SymbolTable;
use crate::keymap::hash::Seed;
use crate::keymap::matrix::WaveletMatrix;
use crate::keymap::packed::{Packed, PackedBuilder};
use crate::keymap::part::PartKind;
use crate::keymap::separators::{Separators, SeparatorsBuilder};
use crate::keymap::table::{Table, TableBuilder};
use std::sync::Arc;

/// Takes the keys of a segment in byte order.
pub(in crate::keymap) struct SegmentBuilder {
    keys: BlocksBuilder,
    forward: SeparatorsBuilder,
    slots: PackedBuilder,
    by_hash: TableBuilder,
    seed: Seed,
    key_bytes: u64,
}

/// What a segment is made for.
#[derive(Clone, Debug, Default)]
pub(in crate::keymap) struct SegmentSize {
    /// How many keys there are.
    pub(in crate::keymap) keys: usize,
    /// Their bytes, about.
    pub(in crate::keymap) key_bytes: usize,
    /// What no slot is above.
    pub(in crate::keymap) slot_max: u32,
}

/// A segment that has its keys, but not their reverse order.
pub(in crate::keymap) struct HalfSegment {
    pub(in crate::keymap) keys: Blocks,
    forward: Separators,
    slots: Packed,
    by_hash: Table,
    seed: Seed,
    key_bytes: u64,
}

impl SegmentBuilder {
    /// A builder which compresses the keys by a symbol table, where there is one.
    pub(in crate::keymap) fn new(
        size: &SegmentSize,
        symbols: Option<Arc<SymbolTable>>,
        seed: Seed,
    ) -> Self {
        let blocks = size.keys.div_ceil(BLOCK_KEYS as usize);
        let keys = u32::try_from(size.keys).expect("a segment has fewer than 2^32 keys");
        Self {
            keys: BlocksBuilder::new(size.keys, size.key_bytes, symbols),
            forward: SeparatorsBuilder::with_capacity(blocks),
            slots: PackedBuilder::new(size.keys, size.slot_max),
            by_hash: TableBuilder::with_capacity(keys),
            seed,
            key_bytes: 0,
        }
    }

    /// Appends a key, which must be greater than the one before it, and returns its rank.
    pub(in crate::keymap) fn push(&mut self, key: &[u8], slot: u32) -> u32 {
        let rank = self.keys.len();
        if rank > 0 && rank.is_multiple_of(BLOCK_KEYS) {
            self.forward.push(self.keys.last(), key);
        }
        self.keys.push(key);
        self.slots.push(slot);
        self.by_hash.insert(self.seed.hash(key), rank);
        self.key_bytes += key.len() as u64;
        rank
    }

    pub(in crate::keymap) fn finish(self) -> HalfSegment {
        HalfSegment {
            keys: self.keys.finish(),
            forward: self.forward.finish(PartKind::Separators),
            slots: self.slots.finish(PartKind::Slots),
            by_hash: self.by_hash.finish(),
            seed: self.seed,
            key_bytes: self.key_bytes,
        }
    }
}

impl HalfSegment {
    /// Ends the segment. `permutation` leads from reverse rank to rank; `reversed` separates
    /// every 16th reversed key from the one before it.
    pub(in crate::keymap) fn finish(
        self,
        permutation: PackedBuilder,
        reversed: SeparatorsBuilder,
    ) -> Segment {
        let len = self.keys.len();
        let permutation = permutation.finish(PartKind::Permutation);
        let values = (0..len).map(|reverse_rank| permutation.get(reverse_rank));
        Segment {
            matrix: WaveletMatrix::new(values.collect(), len),
            keys: self.keys,
            forward: self.forward,
            reversed: reversed.finish(PartKind::ReverseSeparators),
            permutation,
            slots: self.slots,
            by_hash: self.by_hash,
            seed: self.seed,
            key_bytes: self.key_bytes,
        }
    }
}
