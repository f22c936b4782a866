//! A segment as it is stored: parts, in one order. Separators are not among them: they are made anew from
//! the keys, which is quick, and leaves no foreign automaton to be believed.
//!
//! Nothing that is read is believed beyond its checksum: all keys are decoded and compared, all numbers
//! are within their bounds. What only makes answers wrong, but no lookup fail, is looked at in samples: the
//! order of the reversed keys, and which rank the table has for a key.

use super::{PartKind, Segment};
use crate::keymap::blocks::{BLOCK_KEYS, Blocks, KeyBuffer};
use crate::keymap::fsst::SymbolTable;
use crate::keymap::hash::Seed;
use crate::keymap::matrix::WaveletMatrix;
use crate::keymap::packed::Packed;
use crate::keymap::part::{Part, PartError};
use crate::keymap::separators::{Separators, SeparatorsBuilder};
use crate::keymap::table::Table;
use std::sync::Arc;

/// How many parts a segment is stored as.
pub const SEGMENT_PARTS: usize = 7;

/// What they are, in their order. The last may be missing.
const KINDS: [PartKind; SEGMENT_PARTS] = [
    PartKind::Keys,
    PartKind::Starts,
    PartKind::Permutation,
    PartKind::Matrix,
    PartKind::Slots,
    PartKind::Table,
    PartKind::Symbols,
];

/// Of so many keys one is looked up.
const KEYS_PER_SAMPLE: u32 = 64;

/// How far ahead of its use memory is read, in blocks: first where a key is, then the key.
const AHEAD_FAR: u32 = 12;
const AHEAD_NEAR: u32 = 6;

/// Why a stored segment cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// A part cannot be read.
    #[error("{0}")]
    Read(E),
    /// A part is not what was stored.
    #[error("{what} in part {part}")]
    Damaged {
        /// Its number.
        part: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

enum Unread<E> {
    Read(E),
    Part(PartError),
}

impl<E> From<PartError> for Unread<E> {
    fn from(error: PartError) -> Self {
        Self::Part(error)
    }
}

impl Segment {
    /// The bytes that are stored, part by part; none for one that is missing.
    pub(in crate::keymap) fn stored(&self) -> [&[u8]; SEGMENT_PARTS] {
        KINDS.map(|wanted| {
            let mut parts = self.parts();
            let part = parts.find(|(kind, _)| *kind == wanted);
            part.map_or(&[][..], |(_, part)| part.stored())
        })
    }

    /// The segment of so many keys whose parts have so many bytes each, which are read by number.
    pub(in crate::keymap) fn open<E>(
        len: u32,
        bytes: [usize; SEGMENT_PARTS],
        seed: Seed,
        mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        let mut part = |number: usize| {
            let part = Part::read(KINDS[number], bytes[number], |bytes| {
                read(number, bytes).map_err(Unread::Read)
            });
            part.map_err(|error| match error {
                Unread::Read(error) => OpenError::Read(error),
                Unread::Part(error) => {
                    let what = match error {
                        PartError::Checksum(_) => "the checksum does not hold",
                        PartError::Header(_) => "the header is that of something else",
                        PartError::Length { .. } => "the length is not what the header says",
                        PartError::Version(_) => "the layout is another version's",
                    };
                    damaged(number, what)
                }
            })
        };
        let [entries, starts] = [part(0)?, part(1)?];
        let permutation = Packed::open(part(2)?, len as usize);
        let permutation = permutation.filter(|permutation| permutation.is_permutation(len));
        let permutation = permutation.ok_or(damaged(2, "it is no permutation"))?;
        let matrix = WaveletMatrix::open_checked(part(3)?, len, len);
        let matrix = matrix.ok_or(damaged(3, "it is no matrix of so many keys"))?;
        let slots = Packed::open(part(4)?, len as usize);
        let slots = slots.ok_or(damaged(4, "it has not a slot for each key"))?;
        let by_hash = Table::open(part(5)?, len);
        let by_hash = by_hash.ok_or(damaged(5, "it is no table of so many keys"))?;
        let symbols = match bytes[6] {
            0 => None,
            _ => {
                let symbols = SymbolTable::open_checked(part(6)?);
                Some(Arc::new(symbols.ok_or(damaged(6, "it holds no symbols"))?))
            }
        };
        let keys = Blocks::open(entries, starts, len, symbols);
        let mut forward = SeparatorsBuilder::with_capacity((len / BLOCK_KEYS) as usize);
        let mut key_bytes = 0;
        let checked = keys.check(|rank, last, key| {
            if rank > 0 && rank.is_multiple_of(BLOCK_KEYS) {
                forward.push(last, key);
            }
            key_bytes += key.len() as u64;
            if rank.is_multiple_of(KEYS_PER_SAMPLE) {
                by_hash.find(seed.hash(key), |found| (found == rank).then_some(()))?;
            }
            Some(())
        });
        checked.ok_or(damaged(
            0,
            "it holds no ascending keys as the others have them",
        ))?;
        let reversed = reverse_separators(&keys, &permutation);
        let reversed = reversed.ok_or(damaged(2, "it is not the order of reversed keys"))?;
        Ok(Self {
            keys,
            forward: forward.finish(PartKind::Separators),
            reversed,
            permutation,
            matrix,
            slots,
            by_hash,
            seed,
            key_bytes,
        })
    }
}

fn damaged<E>(part: usize, what: &'static str) -> OpenError<E> {
    OpenError::Damaged { part, what }
}

/// The separators over every 16th reversed key; `None` where these do not ascend.
fn reverse_separators(keys: &Blocks, permutation: &Packed) -> Option<Separators> {
    let len = keys.len();
    let mut separators = SeparatorsBuilder::with_capacity((len / BLOCK_KEYS) as usize);
    let mut buffer = KeyBuffer::default();
    let mut reversed_key = |reverse_rank: u32| -> Vec<u8> {
        keys.key_at(permutation.get(reverse_rank), &mut buffer);
        buffer.as_slice().iter().rev().copied().collect()
    };
    let ahead = |start: u32, blocks: u32, fetch: &dyn Fn(u32)| {
        let start = start.saturating_add(blocks * BLOCK_KEYS);
        if start < len {
            fetch(permutation.get(start - 1));
            fetch(permutation.get(start));
        }
    };
    let mut before = reversed_key(0);
    for start in (BLOCK_KEYS..len).step_by(BLOCK_KEYS as usize) {
        ahead(start, AHEAD_FAR, &|rank| keys.prefetch_start(rank));
        ahead(start, AHEAD_NEAR, &|rank| keys.prefetch(rank));
        let (last, first) = (reversed_key(start - 1), reversed_key(start));
        if before > last || last >= first {
            return None;
        }
        separators.push(&last, &first);
        before = first;
    }
    Some(separators.finish(PartKind::ReverseSeparators))
}
