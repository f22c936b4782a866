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
const KEYS_PER_SAMPLE: u32 = 1024;

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
        let permutation = part(2)?;
        // First, since it has a byte for each key at least: no list is made for a number alone.
        let matrix = WaveletMatrix::open_checked(part(3)?, len, len);
        let matrix = matrix.ok_or(damaged(3, "it is no matrix of so many keys"))?;
        let permutation = Packed::open(permutation, len as usize);
        let permutation = permutation.filter(|permutation| permutation.is_permutation(len));
        let permutation = permutation.ok_or(damaged(2, "it is no permutation"))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keymap::dead::{Counting, Dead, DeadBits};
    use crate::keymap::live::matches;
    use crate::keymap::merge::{Input, merge};
    use crate::keymap::part::Buffer;
    use crate::model::Filter;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const HEADER_BYTES: usize = 64;

    fn segment(keys: u32, is_compressed: bool) -> Segment {
        let key =
            |number: u32| format!("user:{}:{}", number * 7, "name".repeat(number as usize % 5));
        let keys: Vec<String> = (0..keys).map(key).collect();
        let sample = keys.iter().map(String::as_bytes);
        let symbols = is_compressed.then(|| Arc::new(SymbolTable::train(sample)));
        let keys = keys.iter().zip(0..);
        let keys = keys.map(|(key, slot)| (key.as_bytes().into(), slot));
        let input = Input::Tree {
            keys: Arc::new(keys.collect()),
            dead: BTreeSet::new(),
        };
        merge(&[input], symbols, Seed::default()).unwrap()
    }

    /// Asks all that a segment can be asked.
    fn ask(segment: &Segment, original: &Segment) {
        let len = segment.len();
        let mut bits = DeadBits::default();
        (0..len).step_by(3).for_each(|rank| bits.insert(rank));
        let dead = Dead::of(segment.graves(&bits));
        let mut buffer = KeyBuffer::default();
        let mut walk = original.walk(0);
        while let Some(key) = walk.advance() {
            if let Some(rank) = segment.rank(key) {
                segment.slot(rank);
                segment.key_at(rank, &mut buffer);
            }
            let rank = segment.rank(key).unwrap_or(0);
            assert!(segment.reverse_rank(key, rank) <= len);
            segment.ranks_above(key);
            for end in [1, key.len() / 2, key.len()] {
                let filter = Filter {
                    prefix: key[..end].into(),
                    suffix: key[end / 2..].into(),
                };
                matches(segment, &dead, &filter, Counting::Exact);
                let ranks = segment.prefix_ranks(&filter.prefix);
                let reverse_ranks = segment.suffix_ranks(&filter.suffix);
                segment.count(&ranks, &reverse_ranks);
                dead.count(&ranks, &reverse_ranks, Counting::Exact);
                let mut ascent = segment.ascent(reverse_ranks.clone());
                let mut bound = ranks.start;
                while let Some(next) = ascent.to(bound).0.next.filter(|next| *next < ranks.end) {
                    assert!(next >= bound);
                    segment.key_at(next, &mut buffer);
                    bound = next + 1;
                }
                let mut found = Vec::new();
                segment.first(ranks, reverse_ranks, 50, |_, _| false, &mut found);
                found
                    .iter()
                    .for_each(|rank| segment.key_at(*rank, &mut buffer));
            }
        }
        for part in 1..4 {
            let mut walk = segment.walk(0);
            while let Some(bytes) = walk.advance().map(|key| key.len() / part) {
                let rank = walk.next_rank();
                walk.pass_alike(bytes);
                assert!((rank..=len).contains(&walk.next_rank()));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn whatever_parts_hold_under_right_checksums_no_lookup_fails(
            keys in prop_oneof![5 => 1_u32..40, 1 => Just(400)],
            is_compressed: bool,
            edits in prop::collection::vec(
                (0..SEGMENT_PARTS, any::<prop::sample::Index>(), any::<u8>(), 0_u8..8),
                0..4,
            ),
            len in prop_oneof![4 => Just(None), 1 => any::<u32>().prop_map(Some)],
        ) {
            let original = segment(keys, is_compressed);
            let mut parts = original.stored().map(<[u8]>::to_vec);
            for (part, at, byte, kind) in &edits {
                if parts[*part].is_empty() {
                    continue;
                }
                let mut content = parts[*part].split_off(HEADER_BYTES);
                match (content.is_empty(), kind) {
                    (true, _) | (false, 0) => content.push(*byte),
                    (false, 1) => content.truncate(at.index(content.len())),
                    (false, _) => {
                        let at = at.index(content.len());
                        content[at] = *byte;
                    }
                }
                let mut buffer = Buffer::with_capacity(content.len());
                buffer.extend(&content);
                parts[*part] = buffer.seal(KINDS[*part]).stored().to_vec();
            }
            let len = len.map_or(keys, |len| len % (2 * keys) + 1);
            let bytes = parts.each_ref().map(Vec::len);
            let opened = Segment::open(len, bytes, Seed::default(), |part, bytes| {
                bytes.copy_from_slice(&parts[part]);
                Ok::<_, std::convert::Infallible>(())
            });
            match opened {
                Ok(segment) => ask(&segment, &original),
                Err(_) => prop_assert!(!edits.is_empty() || len != keys),
            }
        }
    }
}
