//! Makes one segment out of several: the keys are merged in byte order, and the reverse order is
//! merged through the inputs' permutations. Nothing is sorted but the few thousand keys that come
//! straight from the fresh part. O(n) in the keys, times the few inputs.
//!
//! From some size on a segment's symbol table is trained on its own keys; smaller ones take the one
//! that the index used last.

use super::blocks::{BLOCK_KEYS, Walk, shared_prefix};
use super::dead::DeadBits;
use super::fsst::SymbolTable;
use super::segment::{Segment, SegmentBuilder};
use super::separators::SeparatorsBuilder;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Range;
use std::sync::Arc;

/// Keys and their slots in a tree: the newest part of an index.
pub(super) type Tree = BTreeMap<Box<[u8]>, u32>;

/// What a merge reads: immutable, with what was dead when the merge began.
#[derive(Debug)]
pub(super) enum Input {
    Tree {
        keys: Arc<Tree>,
        dead: BTreeSet<Box<[u8]>>,
    },
    Segment {
        segment: Arc<Segment>,
        dead: DeadBits,
    },
}

/// An old rank that has no new one, since its key is dead.
const DROPPED: u32 = u32::MAX;

/// From so many keys on a segment's symbol table is trained on its own keys.
const TRAIN_KEYS: u32 = 64 * 1024;

/// How many keys a table is trained on.
const SAMPLE_KEYS: u32 = 4000;

/// The live keys of the inputs as one segment. No key is alive in two inputs. A small segment is
/// compressed by `table`, where there is one.
pub(super) fn merge(inputs: &[Input], table: Option<Arc<SymbolTable>>) -> Segment {
    let (keys, slots, new_ranks) = merge_forward(inputs);
    let table = if keys.len() >= TRAIN_KEYS {
        Some(Arc::new(SymbolTable::train(keys.sample())))
    } else {
        table
    };
    let mut builder = SegmentBuilder::new(slots.len(), table);
    for (rank, slot) in (0..).zip(slots) {
        builder.push(keys.get(rank), slot);
    }
    let (permutation, reversed) = merge_reverse(inputs, &keys, &new_ranks);
    builder.finish(permutation, reversed)
}

/// The merged keys, uncompressed, addressed by new rank.
struct FlatKeys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl FlatKeys {
    fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// What some keys, evenly spread, do not share with the one before them.
    fn sample(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let step = (self.len() / SAMPLE_KEYS).max(1) as usize;
        (1..self.len()).step_by(step).map(|rank| {
            let key = self.get(rank);
            &key[shared_prefix(self.get(rank - 1), key)..]
        })
    }

    fn get(&self, rank: u32) -> &[u8] {
        let rank = rank as usize;
        let start = rank.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[rank] as usize]
    }
}

/// Merges the keys in byte order. Returns them uncompressed, their slots, and each input's map from
/// old to new ranks.
fn merge_forward(inputs: &[Input]) -> (FlatKeys, Vec<u32>, Vec<Vec<u32>>) {
    let keys_max: usize = inputs.iter().map(Input::len).sum();
    let mut slots = Vec::with_capacity(keys_max);
    let mut flat = FlatKeys {
        bytes: Vec::new(),
        ends: Vec::with_capacity(keys_max),
    };
    let mut new_ranks: Vec<Vec<u32>> = inputs
        .iter()
        .map(|input| Vec::with_capacity(input.len()))
        .collect();
    let mut streams: Vec<Stream<'_>> = inputs.iter().map(Stream::new).collect();
    for (stream, ranks) in streams.iter_mut().zip(&mut new_ranks) {
        stream.advance(ranks);
    }
    while let Some(least) = least_by(&streams, |stream| stream.current()) {
        let stream = &mut streams[least];
        if let Some((key, slot)) = stream.current_with_slot() {
            let rank = flat.len();
            slots.push(slot);
            flat.bytes.extend_from_slice(key);
            let end = u32::try_from(flat.bytes.len());
            flat.ends
                .push(end.expect("a merge is planned under 4 GiB of keys"));
            new_ranks[least].push(rank);
        }
        stream.advance(&mut new_ranks[least]);
    }
    (flat, slots, new_ranks)
}

/// Merges the inputs' reverse orders, comparing reversed keys.
fn merge_reverse(
    inputs: &[Input],
    keys: &FlatKeys,
    new_ranks: &[Vec<u32>],
) -> (Vec<u32>, SeparatorsBuilder) {
    let mut orders: Vec<ReverseOrder<'_>> = inputs
        .iter()
        .zip(new_ranks)
        .map(|(input, ranks)| ReverseOrder::new(input, keys, ranks))
        .collect();
    orders.iter_mut().for_each(|order| order.advance(keys));
    let mut permutation: Vec<u32> = Vec::with_capacity(keys.ends.len());
    let mut separators = SeparatorsBuilder::default();
    while let Some(least) = least_by(&orders, |order| {
        order.rank.map(|_| order.reversed.as_slice())
    }) {
        let order = &mut orders[least];
        if let (0, Some(&last)) = (permutation.len() % BLOCK_KEYS as usize, permutation.last()) {
            let last: Vec<u8> = keys.get(last).iter().rev().copied().collect();
            separators.push(&last, &order.reversed);
        }
        permutation.extend(order.rank);
        order.advance(keys);
    }
    (permutation, separators)
}

/// The index of the item whose key is least, of those that have one. Linear, since a merge has
/// few inputs.
fn least_by<'a, T, K: Ord>(items: &'a [T], key: impl Fn(&'a T) -> Option<K>) -> Option<usize> {
    items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| key(item).map(|key| (key, index)))
        .min()
        .map(|(_, index)| index)
}

impl Input {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Tree { keys, .. } => keys.len(),
            Self::Segment { segment, .. } => segment.len() as usize,
        }
    }

    pub(super) fn is_segment(&self) -> bool {
        matches!(self, Self::Segment { .. })
    }

    /// The bytes of all keys, uncompressed.
    pub(super) fn key_bytes(&self) -> usize {
        match self {
            Self::Tree { keys, .. } => keys.keys().map(|key| key.len()).sum(),
            Self::Segment { segment, .. } => segment.key_bytes() as usize,
        }
    }
}

/// The live keys of an input in byte order.
enum Stream<'a> {
    Tree {
        keys: btree_map::Iter<'a, Box<[u8]>, u32>,
        dead: &'a BTreeSet<Box<[u8]>>,
        current: Option<(&'a [u8], u32)>,
    },
    Segment {
        segment: &'a Segment,
        dead: &'a DeadBits,
        walk: Walk<'a>,
        alive: bool,
    },
}

impl<'a> Stream<'a> {
    fn new(input: &'a Input) -> Self {
        match input {
            Input::Tree { keys, dead } => Self::Tree {
                keys: keys.iter(),
                dead,
                current: None,
            },
            Input::Segment { segment, dead } => Self::Segment {
                segment,
                dead,
                walk: segment.walk(0),
                alive: false,
            },
        }
    }

    /// Goes to the next live key; every dead one on the way is noted as dropped in `ranks`.
    fn advance(&mut self, ranks: &mut Vec<u32>) {
        match self {
            Self::Tree {
                keys,
                dead,
                current,
            } => {
                *current = None;
                for (key, slot) in keys.by_ref() {
                    if !dead.contains(key) {
                        *current = Some((key, *slot));
                        return;
                    }
                    ranks.push(DROPPED);
                }
            }
            Self::Segment {
                dead, walk, alive, ..
            } => loop {
                let rank = walk.next_rank();
                *alive = walk.advance().is_some();
                if !*alive || !dead.contains(rank) {
                    return;
                }
                ranks.push(DROPPED);
            },
        }
    }

    fn current(&self) -> Option<&[u8]> {
        self.current_with_slot().map(|(key, _)| key)
    }

    fn current_with_slot(&self) -> Option<(&[u8], u32)> {
        match self {
            Self::Tree { current, .. } => *current,
            Self::Segment {
                segment,
                walk,
                alive,
                ..
            } => alive.then(|| (walk.key(), segment.slot(walk.next_rank() - 1))),
        }
    }
}

/// The live keys of an input in the order of the reversed keys, as new ranks.
struct ReverseOrder<'a> {
    old_ranks: OldRanks<'a>,
    new_ranks: &'a [u32],
    /// The new rank of the current key.
    rank: Option<u32>,
    /// The current key, reversed.
    reversed: Vec<u8>,
}

/// An input's ranks in reverse order: a segment has them, a tree's are sorted.
enum OldRanks<'a> {
    Sorted(std::vec::IntoIter<u32>),
    Stored(&'a Segment, Range<u32>),
}

impl<'a> ReverseOrder<'a> {
    fn new(input: &'a Input, keys: &FlatKeys, new_ranks: &'a [u32]) -> Self {
        let old_ranks = match input {
            Input::Segment { segment, .. } => OldRanks::Stored(segment, 0..segment.len()),
            Input::Tree { .. } => {
                let alive = |rank: &u32| new_ranks[*rank as usize] != DROPPED;
                let mut ranks: Vec<u32> = (0..new_ranks.len() as u32).filter(alive).collect();
                let key = |rank: u32| keys.get(new_ranks[rank as usize]).iter().rev();
                ranks.sort_unstable_by(|left, right| key(*left).cmp(key(*right)));
                OldRanks::Sorted(ranks.into_iter())
            }
        };
        Self {
            old_ranks,
            new_ranks,
            rank: None,
            reversed: Vec::new(),
        }
    }

    fn advance(&mut self, keys: &FlatKeys) {
        self.rank = loop {
            let old = match &mut self.old_ranks {
                OldRanks::Sorted(ranks) => ranks.next(),
                OldRanks::Stored(segment, reverse_ranks) => {
                    reverse_ranks.next().map(|rank| segment.rank_at(rank))
                }
            };
            let Some(old) = old else { break None };
            let new = self.new_ranks[old as usize];
            if new != DROPPED {
                break Some(new);
            }
        };
        if let Some(rank) = self.rank {
            self.reversed.clear();
            self.reversed.extend(keys.get(rank).iter().rev());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bloom::hash;
    use super::*;
    use proptest::prelude::*;

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
                segment: Arc::new(merge(&[input], table.clone())),
                dead: DeadBits::default(),
            };
            let inputs = [segment(tree(&groups[0])), tree(&groups[1]), segment(tree(&groups[2])), tree(&groups[3])];
            let merged = merge(&inputs, table.clone());
            prop_assert_eq!(merged.len() as usize, keys.len());
            let mut found = Vec::new();
            for (rank, key) in (0u32..).zip(&keys) {
                prop_assert_eq!(merged.find(key, hash(key)), Some(rank));
                prop_assert_eq!(merged.slot(rank), rank);
                merged.key_at(rank, &mut found);
                prop_assert_eq!(&found, key);
                let reverse = merged.reverse_rank(key);
                prop_assert_eq!(merged.rank_at(reverse), rank);
            }
            let ranks = merged.prefix_ranks(&prefix);
            let reverse_ranks = merged.suffix_ranks(&suffix);
            let naive: Vec<u32> = (0u32..).zip(&keys)
                .filter(|(_, key)| key.starts_with(&prefix) && key.ends_with(&suffix))
                .map(|(rank, _)| rank).collect();
            prop_assert_eq!(merged.count(&ranks, &reverse_ranks) as usize, naive.len());
            let mut listed = Vec::new();
            prop_assert!(merged.first(ranks, reverse_ranks, 1000, &mut listed));
            prop_assert_eq!(listed, naive);
        }
    }
}
