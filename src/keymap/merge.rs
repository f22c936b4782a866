//! Makes one segment out of several: the keys are merged in byte order, and the reverse order is
//! merged through the inputs' permutations. Nothing is sorted but the few thousand keys that come
//! straight from the fresh part. O(n) in the keys, times the few inputs.
//!
//! The reverse order needs the keys uncompressed and in memory. Large merges therefore go through
//! it range by range, each with its share of the keys, so that the peak is bounded.
//!
//! From some size on a segment's symbol table is trained on its own keys; smaller ones take the one
//! that the index used last.

mod input;
mod reverse;

pub(super) use input::Input;

use super::blocks::shared_prefix;
use super::descending::{sink_last, sort_descending};
use super::fsst::SymbolTable;
use super::hash::Seed;
use super::packed::{Packed, PackedBuilder};
use super::part::{PartError, PartKind};
use super::segment::{Segment, SegmentBuilder, SegmentSize};
use input::Stream;
use reverse::merge_reverse;
use std::sync::Arc;

/// From so many keys on a segment's symbol table is trained on its own keys.
const TRAIN_KEYS: usize = 64 * 1024;

/// A table is trained on so many windows of so many neighbouring keys each.
const TRAIN_WINDOWS: usize = 64;
const WINDOW_KEYS: usize = 64;

/// From so many keys on, or so many bytes of them, the reverse order is merged in [`RANGES`] ranges; of long
/// keys, which are most of what a merge takes then, from fewer bytes on.
const RANGED_KEYS_MIN: usize = 1_000_000;
const RANGED_BYTES_MIN: usize = 32 * 1024 * 1024;
const RANGED_LONG_BYTES_MIN: usize = 1024 * 1024;
const LONG_KEY_BYTES: usize = 64;
const RANGES: u32 = 4;

/// The live keys of the inputs as one segment. No key is alive in two inputs. A small segment is
/// compressed by `symbols`, where there is one.
///
/// # Errors
/// Where an input is not what was written: memory is damaged.
pub(super) fn merge(
    inputs: &[Input],
    symbols: Option<Arc<SymbolTable>>,
    seed: Seed,
) -> Result<Segment, PartError> {
    inputs.iter().try_for_each(Input::verify)?;
    let size = SegmentSize {
        keys: inputs.iter().map(Input::live_len).sum(),
        key_bytes: inputs.iter().map(Input::key_bytes).sum(),
        slot_max: inputs.iter().map(Input::slot_max).max().unwrap_or(0),
    };
    let symbols = if size.keys >= TRAIN_KEYS {
        Some(Arc::new(train(inputs)))
    } else {
        symbols
    };
    let mut builder = SegmentBuilder::new(&size, symbols, seed);
    let new_ranks = merge_forward(inputs, &mut builder, size.keys);
    let half = builder.finish();
    let reverse = merge_reverse(inputs, &half.keys, &size, &new_ranks);
    drop(new_ranks);
    Ok(half.finish(reverse.permutation, reverse.separators))
}

/// What a merge of segments is about to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MergeSize {
    /// How many keys.
    pub(super) keys: usize,
    /// Their bytes, uncompressed.
    pub(super) key_bytes: usize,
    /// What the result takes, about, in bytes.
    pub(super) result_bytes: usize,
}

impl MergeSize {
    /// What the merge takes besides its inputs while it runs, about, in bytes: its result, and what it
    /// works with.
    pub(super) fn needed_bytes(&self) -> usize {
        let Self {
            keys,
            key_bytes,
            result_bytes,
        } = *self;
        let is_ranged = is_ranged(keys, key_bytes);
        let ranges = if is_ranged { RANGES as usize } else { 1 };
        // New ranks, what the matrix is made from, and the range's share of the keys.
        let working_bytes = keys * 4 + keys * 6 + (key_bytes + keys * 12) / ranges;
        result_bytes + working_bytes
    }
}

impl std::ops::Add for MergeSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            key_bytes: self.key_bytes + other.key_bytes,
            result_bytes: self.result_bytes + other.result_bytes,
        }
    }
}

impl std::iter::Sum for MergeSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |sum, size| sum + size)
    }
}

fn is_ranged(keys: usize, key_bytes: usize) -> bool {
    let are_long = key_bytes >= RANGED_LONG_BYTES_MIN && key_bytes / LONG_KEY_BYTES >= keys;
    keys >= RANGED_KEYS_MIN || key_bytes >= RANGED_BYTES_MIN || are_long
}

/// Whether a segment of so many keys has a table of its own.
pub(super) fn is_trained(keys: u32) -> bool {
    keys as usize >= TRAIN_KEYS
}

/// Merges the keys into `builder`, in byte order. Returns each input's map from old to new ranks;
/// those of the dead mean nothing.
fn merge_forward(inputs: &[Input], builder: &mut SegmentBuilder, keys: usize) -> Vec<Packed> {
    let rank_max = u32::try_from(keys).expect("a segment has fewer than 2^32 keys");
    let map = |input: &Input| PackedBuilder::new(input.len(), rank_max);
    let mut new_ranks: Vec<PackedBuilder> = inputs.iter().map(map).collect();
    let mut streams: Vec<(usize, Stream<'_>)> =
        inputs.iter().map(Stream::new).enumerate().collect();
    let skip = |(input, stream): &mut (usize, Stream<'_>), maps: &mut [PackedBuilder]| {
        for _ in 0..stream.advance() {
            maps[*input].push(0);
        }
        stream.key().is_some()
    };
    streams.retain_mut(|stream| skip(stream, &mut new_ranks));
    let is_before =
        |left: &(usize, Stream<'_>), right: &(usize, Stream<'_>)| left.1.key() < right.1.key();
    sort_descending(&mut streams, is_before);
    while let Some(least) = streams.last_mut() {
        if let Some(key) = least.1.key() {
            new_ranks[least.0].push(builder.push(key, least.1.slot()));
        }
        if skip(least, &mut new_ranks) {
            sink_last(&mut streams, is_before);
        } else {
            streams.pop();
        }
    }
    let finish = |map: PackedBuilder| map.finish(PartKind::Permutation);
    new_ranks.into_iter().map(finish).collect()
}

/// A table for keys like those of the inputs, once they are merged.
fn train(inputs: &[Input]) -> SymbolTable {
    let largest = inputs
        .iter()
        .filter_map(Input::segment)
        .max_by_key(|segment| segment.len());
    let mut sample: Vec<Vec<u8>> = Vec::new();
    for window in 0..TRAIN_WINDOWS {
        let from = largest.map_or(Vec::new(), |largest| {
            let rank = u64::from(largest.len()) * window as u64 / TRAIN_WINDOWS as u64;
            largest
                .walk(rank as u32)
                .advance()
                .map_or(Vec::new(), <[u8]>::to_vec)
        });
        let mut streams: Vec<Stream<'_>> = inputs
            .iter()
            .map(|input| Stream::from(input, &from))
            .collect();
        streams.retain_mut(|stream| {
            stream.advance();
            stream.key().is_some()
        });
        let is_before = |left: &Stream<'_>, right: &Stream<'_>| left.key() < right.key();
        sort_descending(&mut streams, is_before);
        let mut last: Option<Vec<u8>> = None;
        for _ in 0..WINDOW_KEYS {
            let Some(least) = streams.last_mut() else {
                break;
            };
            let key = least.key().unwrap_or_default().to_vec();
            if let Some(last) = last {
                sample.push(key[shared_prefix(&last, &key)..].to_vec());
            }
            last = Some(key);
            least.advance();
            if least.key().is_some() {
                sink_last(&mut streams, is_before);
            } else {
                streams.pop();
            }
        }
    }
    SymbolTable::train(sample.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::super::blocks::KeyBuffer;
    use super::super::dead::{Counting, Dead, DeadBits};
    use super::super::live::matches;
    use super::*;
    use crate::model::Filter;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Keys of few distinct bytes, so that prefixes and suffixes repeat.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(
                prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(0xff)],
                0..7
            ),
            (0usize..40).prop_map(|n| vec![b'a'; n]),
        ]
    }

    fn tree(keys: &[(Vec<u8>, u32)]) -> Input {
        Input::Tree {
            keys: Arc::new(
                keys.iter()
                    .map(|(key, slot)| (key.as_slice().into(), *slot))
                    .collect(),
            ),
            dead: BTreeSet::new(),
        }
    }

    proptest! {
        #[test]
        fn a_merge_of_merges_answers_as_the_sorted_keys_do(
            keys in prop::collection::btree_set(key(), 1..200),
            places in prop::collection::vec(0usize..4, 200),
            prefix in key(),
            suffix in key(),
            compressed: bool,
        ) {
            let keys: Vec<Vec<u8>> = keys.into_iter().collect();
            let mut groups = vec![Vec::new(); 4];
            for (slot, (key, place)) in keys.iter().zip(&places).enumerate() {
                groups[*place].push((key.clone(), slot as u32));
            }
            let sample = keys.iter().map(Vec::as_slice);
            let table = compressed.then(|| Arc::new(SymbolTable::train(sample)));
            let segment = |input: Input| Input::Segment {
                segment: Arc::new(merge(&[input], table.clone(), Seed::default()).unwrap()),
                dead: DeadBits::default(),
            };
            let inputs = [segment(tree(&groups[0])), tree(&groups[1]), segment(tree(&groups[2])), tree(&groups[3])];
            let merged = merge(&inputs, table.clone(), Seed::default()).unwrap();
            prop_assert_eq!(merged.len() as usize, keys.len());
            let mut found = KeyBuffer::default();
            for (rank, key) in (0u32..).zip(&keys) {
                prop_assert_eq!(merged.rank(key), Some(rank));
                prop_assert_eq!(merged.slot(rank), rank);
                merged.key_at(rank, &mut found);
                prop_assert_eq!(found.as_slice(), key);
                let reverse = merged.reverse_rank(key, rank);
                prop_assert_eq!(merged.rank_at(reverse), rank);
                let reversed: Vec<u8> = key.iter().rev().copied().collect();
                prop_assert_eq!(merged.reverse_bound(&reversed), reverse);
            }
            let naive: Vec<u32> = (0u32..).zip(&keys)
                .filter(|(_, key)| key.starts_with(&prefix) && key.ends_with(&suffix))
                .map(|(rank, _)| rank).collect();
            let filter = Filter { prefix: prefix.clone(), suffix: suffix.clone() };
            let (count, _) = matches(&merged, &Dead::default(), &filter, Counting::Exact);
            prop_assert_eq!(count as usize, naive.len());
            let ranks = merged.prefix_ranks(&prefix);
            let reverse_ranks = merged.suffix_ranks(&suffix);
            let mut listed = Vec::new();
            prop_assert!(merged.first(ranks, reverse_ranks, 1000, |_, _| false, &mut listed));
            prop_assert_eq!(listed, naive);
        }
    }
}
