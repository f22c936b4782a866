//! Front-coded blocks: the keys of a segment in byte order, 16 to a block, each stored as the
//! length it shares with the key before it and the bytes that follow, these compressed where there
//! is a symbol table.
//!
//! An entry is one byte `shared:5 | length:3`, a varint for each of the two that does not fit, and
//! the rest of the key, whose length counts its codes.
//!
//! Source: Witten, Moffat and Bell, "Managing Gigabytes" (1999), section 4.1. A block's first key
//! is stored whole, so a rank is decoded from its block alone.

use super::fsst::{Encoder, SymbolTable};
use std::ops::Range;
use std::sync::Arc;

/// Keys in a block. 32 would save about half a byte a key and make a page about 10 % slower.
pub(super) const BLOCK_KEYS: u32 = 16;

/// The bits of an entry's head that hold the length of the rest.
const LENGTH_BITS: usize = 3;

/// From this on the shared length, or the length of the rest, goes on in a varint.
const SHARED_ESCAPE: usize = 31;
const LENGTH_ESCAPE: usize = 7;

/// An immutable list of keys in byte order, addressed by rank.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    /// Where each block starts in `bytes`.
    starts: Vec<u32>,
    len: u32,
    table: Option<Arc<SymbolTable>>,
}

/// Writes [`Blocks`], one key after the other.
#[derive(Default)]
pub(super) struct BlocksBuilder {
    blocks: Blocks,
    encoder: Option<Encoder>,
    last: Vec<u8>,
    codes: Vec<u8>,
}

impl BlocksBuilder {
    /// A builder that compresses by `table`, where there is one.
    pub(super) fn new(table: Option<Arc<SymbolTable>>) -> Self {
        Self {
            encoder: table.as_deref().map(Encoder::new),
            blocks: Blocks {
                table,
                ..Blocks::default()
            },
            ..Self::default()
        }
    }

    /// Appends a key, which must be greater than the one before it.
    pub(super) fn push(&mut self, key: &[u8]) {
        let blocks = &mut self.blocks;
        let first_of_block = blocks.len.is_multiple_of(BLOCK_KEYS);
        assert!(
            blocks.len == 0 || self.last.as_slice() < key,
            "keys are pushed in strictly ascending order"
        );
        let shared = if first_of_block {
            let start = u32::try_from(blocks.bytes.len());
            blocks
                .starts
                .push(start.expect("a segment's key data is under 4 GiB"));
            0
        } else {
            shared_prefix(&self.last, key)
        };
        let rest = &key[shared..];
        self.codes.clear();
        match &self.encoder {
            Some(encoder) => encoder.encode(rest, &mut self.codes),
            None => self.codes.extend_from_slice(rest),
        }
        let length = self.codes.len();
        let head = shared.min(SHARED_ESCAPE) << LENGTH_BITS | length.min(LENGTH_ESCAPE);
        blocks
            .bytes
            .push(u8::try_from(head).expect("five and three bits fit a byte"));
        for (value, escape) in [(shared, SHARED_ESCAPE), (length, LENGTH_ESCAPE)] {
            if value >= escape {
                write_varint(&mut blocks.bytes, value - escape);
            }
        }
        blocks.bytes.extend_from_slice(&self.codes);
        blocks.len += 1;
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
    }

    /// The key pushed last; empty before the first.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// How many keys were pushed.
    pub(super) fn len(&self) -> u32 {
        self.blocks.len
    }

    pub(super) fn finish(mut self) -> Blocks {
        self.blocks.bytes.shrink_to_fit();
        self.blocks.starts.shrink_to_fit();
        self.blocks
    }
}

impl Blocks {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The table by which the keys are compressed.
    pub(super) fn table(&self) -> Option<&Arc<SymbolTable>> {
        self.table.as_ref()
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>()
    }

    /// The ranks of block `block`.
    pub(super) fn ranks(&self, block: u32) -> Range<u32> {
        let start = block * BLOCK_KEYS;
        start..self.len.min(start.saturating_add(BLOCK_KEYS))
    }

    /// Decodes the key of `rank` into `key`. At most 16 entries are read.
    pub(super) fn key_at(&self, rank: u32, key: &mut Vec<u8>) {
        let mut walk = self.walk(rank);
        walk.advance();
        std::mem::swap(key, &mut walk.key);
    }

    /// A walk over the keys from `rank` on; an exhausted one where `rank` is past the end.
    pub(super) fn walk(&self, rank: u32) -> Walk<'_> {
        let mut walk = Walk {
            blocks: self,
            next: rank.min(self.len),
            at: 0,
            key: Vec::with_capacity(64),
        };
        if rank < self.len {
            let block = rank / BLOCK_KEYS;
            walk.at = self.starts[block as usize] as usize;
            for _ in block * BLOCK_KEYS..rank {
                walk.decode();
            }
        }
        walk
    }

    /// The first rank in `block` whose key is not less than `key`, and whether it is that key.
    /// One past the block's last rank where all its keys are less.
    pub(super) fn lower_bound(&self, block: u32, key: &[u8]) -> (u32, bool) {
        let ranks = self.ranks(block);
        let mut walk = self.walk(ranks.start);
        for rank in ranks.clone() {
            match walk.advance().map(|found| found.cmp(key)) {
                Some(std::cmp::Ordering::Less) => {}
                Some(order) => return (rank, order.is_eq()),
                None => break,
            }
        }
        (ranks.end, false)
    }
}

/// A forward walk over [`Blocks`].
#[derive(Debug)]
pub(super) struct Walk<'a> {
    blocks: &'a Blocks,
    /// The rank that the next call of `advance` yields.
    next: u32,
    at: usize,
    key: Vec<u8>,
}

impl Walk<'_> {
    /// The next key, or `None` at the end. About 10 ns.
    pub(super) fn advance(&mut self) -> Option<&[u8]> {
        if self.next == self.blocks.len {
            return None;
        }
        self.decode();
        self.next += 1;
        Some(&self.key)
    }

    /// The key that `advance` yielded last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The rank that `advance` will yield.
    pub(super) fn next_rank(&self) -> u32 {
        self.next
    }

    /// Moves on to `rank`, which must not be behind, without decoding whole blocks in between.
    pub(super) fn skip_to(&mut self, rank: u32) {
        if rank / BLOCK_KEYS != self.next / BLOCK_KEYS {
            *self = self.blocks.walk(rank);
        } else {
            while self.next < rank && self.advance().is_some() {}
        }
    }

    fn decode(&mut self) {
        let bytes = &self.blocks.bytes;
        let head = usize::from(bytes[self.at]);
        self.at += 1;
        let mut shared = head >> LENGTH_BITS;
        if shared == SHARED_ESCAPE {
            shared += read_varint(bytes, &mut self.at);
        }
        let mut length = head & LENGTH_ESCAPE;
        if length == LENGTH_ESCAPE {
            length += read_varint(bytes, &mut self.at);
        }
        let rest = &bytes[self.at..self.at + length];
        self.at += length;
        self.key.truncate(shared);
        match &self.blocks.table {
            Some(table) => table.decode(rest, &mut self.key),
            None => self.key.extend_from_slice(rest),
        }
    }
}

/// The length of the longest common prefix.
pub(super) fn shared_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(a, b)| a == b).count()
}

fn write_varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &[u8], at: &mut usize) -> usize {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let key = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            prop::collection::vec(prop_oneof![Just(0), Just(0xff), Just(b'a')], 0..40),
            (0usize..1025).prop_map(|n| vec![b'x'; n]),
        ];
        prop::collection::btree_set(key, 0..100)
            .prop_map(|keys: BTreeSet<Vec<u8>>| keys.into_iter().collect())
    }

    fn table(keys: &[Vec<u8>], compressed: bool) -> Option<Arc<SymbolTable>> {
        let sample = keys.iter().map(Vec::as_slice);
        compressed.then(|| Arc::new(SymbolTable::train(sample)))
    }

    proptest! {
        #[test]
        fn every_key_reads_back_by_rank_by_walk_and_by_search(keys in keys(), probe: Vec<u8>, compressed: bool) {
            let mut builder = BlocksBuilder::new(table(&keys, compressed));
            keys.iter().for_each(|key| builder.push(key));
            let blocks = builder.finish();
            prop_assert_eq!(blocks.len() as usize, keys.len());
            let mut walk = blocks.walk(0);
            for (rank, key) in (0..).zip(&keys) {
                let mut found = Vec::new();
                blocks.key_at(rank, &mut found);
                prop_assert_eq!(&found, key);
                prop_assert_eq!(walk.advance(), Some(key.as_slice()));
                prop_assert_eq!(blocks.lower_bound(rank / BLOCK_KEYS, key), (rank, true));
            }
            prop_assert_eq!(walk.advance(), None);
            if !keys.is_empty() {
                let naive = keys[..keys.len().min(16)].partition_point(|key| *key < probe) as u32;
                prop_assert_eq!(blocks.lower_bound(0, &probe).0, naive);
            }
        }

        #[test]
        fn a_walk_skips_to_any_rank_ahead(keys in keys(), from in 0u32..100, by in 0u32..100, compressed: bool) {
            let mut builder = BlocksBuilder::new(table(&keys, compressed));
            keys.iter().for_each(|key| builder.push(key));
            let blocks = builder.finish();
            let mut walk = blocks.walk(from);
            walk.skip_to(from.saturating_add(by).max(walk.next_rank()));
            let expected = keys.get((from + by).max(from) as usize).map(Vec::as_slice);
            prop_assert_eq!(walk.advance(), expected);
        }
    }
}
