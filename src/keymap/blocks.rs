//! Front-coded blocks: the keys of a segment in byte order, 16 to a block, each stored as the
//! length it shares with the key before it and the bytes that follow, these compressed where there
//! is a symbol table.
//!
//! An entry is one byte `shared:5 | length:3`, a varint for each of the two that does not fit, and
//! the rest of the key, whose length counts its codes.
//!
//! Source: Witten, Moffat and Bell, "Managing Gigabytes" (1999), section 4.1. A block's first key
//! is stored whole, so a rank is decoded from its block alone.

mod checked;
mod walk;

pub(super) use walk::Walk;

use super::fsst::{Encoder, SymbolTable};
use super::memory::CACHE_LINE_BYTES;
use super::part::{Buffer, Part, PartKind};
use prefetch_index::prefetch_index;
use std::cmp::Ordering;
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
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    entries: Part,
    /// Where each block starts in `entries`.
    starts: Part,
    len: u32,
    symbols: Option<Arc<SymbolTable>>,
}

/// Writes [`Blocks`], one key after the other.
pub(super) struct BlocksBuilder {
    entries: Buffer,
    starts: Buffer,
    len: u32,
    symbols: Option<Arc<SymbolTable>>,
    encoder: Option<Encoder>,
    last: Vec<u8>,
    entry: Vec<u8>,
    codes: Vec<u8>,
}

/// A decoded key, in memory that is used for the next one again.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyBuffer {
    /// The key, and what was there before.
    bytes: Vec<u8>,
    len: usize,
}

impl BlocksBuilder {
    /// A builder for about so many keys of so many bytes together, which compresses by a symbol table,
    /// where there is one.
    pub(super) fn new(keys: usize, key_bytes: usize, symbols: Option<Arc<SymbolTable>>) -> Self {
        Self {
            entries: Buffer::with_capacity(key_bytes + keys),
            starts: Buffer::with_capacity(keys.div_ceil(BLOCK_KEYS as usize) * size_of::<u32>()),
            len: 0,
            encoder: symbols.as_deref().map(Encoder::new),
            symbols,
            last: Vec::new(),
            entry: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Appends a key, which must be greater than the one before it.
    pub(super) fn push(&mut self, key: &[u8]) {
        let shared = shared_prefix(&self.last, key);
        assert!(
            self.len == 0 || self.last.get(shared) < key.get(shared),
            "keys are pushed in strictly ascending order"
        );
        let written = if self.len.is_multiple_of(BLOCK_KEYS) {
            let start = u32::try_from(self.entries.len());
            let start = start.expect("a segment's key data is under 4 GiB");
            self.starts.extend(&start.to_le_bytes());
            0
        } else {
            shared
        };
        let rest = &key[written..];
        let codes = match &self.encoder {
            Some(encoder) => {
                self.codes.clear();
                encoder.encode(rest, &mut self.codes);
                &self.codes
            }
            None => rest,
        };
        self.entry.clear();
        let length = codes.len();
        let head = written.min(SHARED_ESCAPE) << LENGTH_BITS | length.min(LENGTH_ESCAPE);
        self.entry
            .push(u8::try_from(head).expect("five and three bits fit a byte"));
        for (value, escape) in [(written, SHARED_ESCAPE), (length, LENGTH_ESCAPE)] {
            if value >= escape {
                write_varint(&mut self.entry, value - escape);
            }
        }
        self.entry.extend_from_slice(codes);
        self.entries.extend(&self.entry);
        self.len += 1;
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    /// The key pushed last; empty before the first.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// How many keys were pushed.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn finish(self) -> Blocks {
        let entries = self.entries.seal(PartKind::Keys);
        let starts = self.starts.seal(PartKind::Starts);
        Blocks::open(entries, starts, self.len, self.symbols)
    }
}

impl Blocks {
    /// The keys that two parts hold, `len` of them, compressed by a symbol table, where there is one.
    pub(super) fn open(
        entries: Part,
        starts: Part,
        len: u32,
        symbols: Option<Arc<SymbolTable>>,
    ) -> Self {
        Self {
            entries,
            starts,
            len,
            symbols,
        }
    }

    /// The parts that hold the keys, without the symbol table.
    pub(super) fn parts(&self) -> [(PartKind, &Part); 2] {
        [
            (PartKind::Keys, &self.entries),
            (PartKind::Starts, &self.starts),
        ]
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The table by which the keys are compressed.
    pub(super) fn symbols(&self) -> Option<&Arc<SymbolTable>> {
        self.symbols.as_ref()
    }

    /// Decodes the key of `rank` into `key`. At most 16 entries are read, and of these only those
    /// decoded that the key still has bytes of: about the logarithm of their number.
    pub(super) fn key_at(&self, rank: u32, key: &mut KeyBuffer) {
        let mut at = self.starts.number(rank / BLOCK_KEYS) as usize;
        self.decode_run(rank % BLOCK_KEYS + 1, &mut at, key);
    }

    /// Moves on past so many entries of a block, and makes of the key before them that of the last.
    fn decode_run(&self, count: u32, at: &mut usize, key: &mut KeyBuffer) {
        let mut entries = [Entry::default(); BLOCK_KEYS as usize];
        let entries = &mut entries[..count as usize];
        for entry in entries.iter_mut() {
            *entry = Entry::read(&self.entries, at);
        }
        // From the last on: an entry is needed where it shares less than what is known after it.
        let mut needed = 0_u16;
        let mut unknown = usize::MAX;
        for (index, entry) in entries.iter().enumerate().rev() {
            if entry.shared < unknown {
                needed |= 1 << index;
                unknown = entry.shared;
            }
        }
        while needed != 0 {
            let Entry { shared, rest } = entries[needed.trailing_zeros() as usize];
            key.set(shared, rest, self.symbols.as_deref());
            needed &= needed - 1;
        }
    }

    /// Fetches where a rank's block begins ahead of its use.
    pub(super) fn prefetch_start(&self, rank: u32) {
        let at = (rank / BLOCK_KEYS) as usize * size_of::<u32>();
        prefetch_index(&self.starts[..], at);
    }

    /// Fetches the first two cache lines of a rank's block ahead of their use, and no more: where many
    /// keys are to be decoded, they are fetched at once. Most blocks of short keys are within.
    pub(super) fn prefetch(&self, rank: u32) {
        let start = self.starts.number(rank / BLOCK_KEYS) as usize;
        prefetch_index(&self.entries[..], start);
        prefetch_index(&self.entries[..], start + CACHE_LINE_BYTES);
    }

    /// The first rank in `block` whose key is not less than `key`, and whether it is that key.
    /// One past the block's last rank where all its keys are less.
    ///
    /// Nothing is decoded: an entry that shares more with the one before than that one does with
    /// `key` compares as that one did, and one that shares less is greater.
    pub(super) fn lower_bound(&self, block: u32, key: &[u8]) -> (u32, bool) {
        let ranks = self.ranks(block);
        if ranks.is_empty() {
            return (ranks.end, false);
        }
        let mut at = self.starts.number(block) as usize;
        let mut matched = 0;
        for rank in ranks.clone() {
            let Entry { shared, rest } = Entry::read(&self.entries, &mut at);
            match shared.cmp(&matched) {
                Ordering::Greater => continue,
                Ordering::Less => return (rank, false),
                Ordering::Equal => {}
            }
            let (order, equal) = self.compare(rest, &key[matched..]);
            matched += equal;
            match order {
                Ordering::Less => {}
                order => return (rank, order.is_eq()),
            }
        }
        (ranks.end, false)
    }

    /// Whether the first key of `block` begins with the first `bytes` bytes of `key`.
    #[inline]
    fn begins_as(&self, block: u32, key: &KeyBuffer, bytes: usize) -> bool {
        let mut at = self.starts.number(block) as usize;
        let Entry { rest, .. } = Entry::read(&self.entries, &mut at);
        match &self.symbols {
            Some(symbols) => symbols.begins_with(rest, &key.bytes, bytes),
            None => rest.starts_with(&key.bytes[..bytes]),
        }
    }

    fn compare(&self, rest: &[u8], key: &[u8]) -> (Ordering, usize) {
        match &self.symbols {
            Some(symbols) => symbols.compare(rest, key),
            None => {
                let shared = shared_prefix(rest, key);
                (rest.get(shared).cmp(&key.get(shared)), shared)
            }
        }
    }

    /// The ranks of block `block`.
    fn ranks(&self, block: u32) -> Range<u32> {
        let start = block * BLOCK_KEYS;
        start.min(self.len)..self.len.min(start.saturating_add(BLOCK_KEYS))
    }
}

impl KeyBuffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Keeps the first `shared` bytes, and appends the rest of a key.
    fn set(&mut self, shared: usize, rest: &[u8], symbols: Option<&SymbolTable>) {
        // Room is made ahead and kept, so that most keys cost no more than their copy.
        let room = shared + rest.len() * 8;
        if self.bytes.len() < room {
            self.bytes.resize(room.next_power_of_two().max(64), 0);
        }
        self.len = shared
            + match symbols {
                Some(symbols) => symbols.decode(rest, &mut self.bytes[shared..]),
                None => {
                    self.bytes[shared..shared + rest.len()].copy_from_slice(rest);
                    rest.len()
                }
            };
    }
}

/// What is stored of a key.
#[derive(Clone, Copy, Default)]
struct Entry<'a> {
    /// How many bytes it shares with the key before it.
    shared: usize,
    /// The bytes that follow, compressed where there is a table.
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at `at`, and moves on to the next.
    #[inline]
    fn read(bytes: &'a [u8], at: &mut usize) -> Self {
        let head = usize::from(bytes[*at]);
        *at += 1;
        let mut shared = head >> LENGTH_BITS;
        if shared == SHARED_ESCAPE {
            shared += read_varint(bytes, at);
        }
        let mut length = head & LENGTH_ESCAPE;
        if length == LENGTH_ESCAPE {
            length += read_varint(bytes, at);
        }
        let rest = &bytes[*at..*at + length];
        *at += length;
        Self { shared, rest }
    }

    /// As [`read`](Self::read), but gives no more than how many bytes are shared.
    #[inline]
    fn skip(bytes: &'a [u8], at: &mut usize) -> usize {
        let head = usize::from(bytes[*at]);
        let (shared, length) = (head >> LENGTH_BITS, head & LENGTH_ESCAPE);
        if shared < SHARED_ESCAPE && length < LENGTH_ESCAPE {
            *at += 1 + length;
            return shared;
        }
        Self::read(bytes, at).shared
    }
}

/// The length of the longest common prefix.
pub(super) fn shared_prefix(left: &[u8], right: &[u8]) -> usize {
    // Eight bytes at a time, then what is left one by one.
    let (left_words, _) = left.as_chunks::<8>();
    let (right_words, _) = right.as_chunks::<8>();
    let mut shared = 0;
    for (left, right) in left_words.iter().zip(right_words) {
        let different = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if different != 0 {
            return shared + (different.trailing_zeros() / 8) as usize;
        }
        shared += 8;
    }
    let rest = left[shared..].iter().zip(&right[shared..]);
    shared + rest.take_while(|(a, b)| a == b).count()
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
mod tests;
