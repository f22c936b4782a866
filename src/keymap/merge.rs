//! Makes one segment out of several: the keys are merged in byte order, and the reverse order is
//! merged through the inputs' permutations. Nothing is sorted but the few thousand keys that come
//! straight from the fresh part. O(n) in the keys, times the few inputs.
//!
//! The reverse order needs the keys uncompressed and in memory. Large merges therefore go through
//! it range by range, each with its share of the keys, so that the peak is bounded.
//!
//! From some size on a segment's symbol table is trained on its own keys; smaller ones take the one
//! that the index used last.

use super::blocks::{BLOCK_KEYS, Blocks, Walk, shared_prefix};
use super::dead::DeadBits;
use super::fsst::SymbolTable;
use super::packed::{Packed, PackedBuilder};
use super::part::{Buffer, PartError, PartKind};
use super::scratch::Scratch;
use super::segment::{Segment, SegmentBuilder, SegmentSize};
use super::separators::SeparatorsBuilder;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::{Bound, Range};
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

/// From so many keys on a segment's symbol table is trained on its own keys.
const TRAIN_KEYS: usize = 64 * 1024;

/// A table is trained on so many windows of so many neighbouring keys each.
const TRAIN_WINDOWS: usize = 64;
const WINDOW_KEYS: usize = 64;

/// From so many keys on, or so many bytes of them, the reverse order is merged in [`RANGES`] ranges.
const RANGED_KEYS_MIN: usize = 1_000_000;
const RANGED_BYTES_MIN: usize = 32 * 1024 * 1024;
const RANGES: u32 = 4;

/// How far ahead of its use memory is read, in keys: first where a key is, then the key.
const AHEAD_FAR: usize = 24;
const AHEAD_NEAR: usize = 12;

/// The live keys of the inputs as one segment. No key is alive in two inputs. A small segment is
/// compressed by `table`, where there is one.
///
/// # Errors
/// Where an input is not what was written: memory is damaged.
pub(super) fn merge(
    inputs: &[Input],
    table: Option<Arc<SymbolTable>>,
) -> Result<Segment, PartError> {
    inputs.iter().try_for_each(Input::verify)?;
    let size = SegmentSize {
        keys: inputs.iter().map(Input::live_len).sum(),
        key_bytes: inputs.iter().map(Input::key_bytes).sum(),
        slot_max: inputs.iter().map(Input::slot_max).max().unwrap_or(0),
    };
    let table = if size.keys >= TRAIN_KEYS {
        Some(Arc::new(train(inputs)))
    } else {
        table
    };
    let mut builder = SegmentBuilder::new(&size, table);
    let new_ranks = merge_forward(inputs, &mut builder, size.keys);
    let half = builder.finish();
    let reverse = merge_reverse(inputs, &half.keys, &size, &new_ranks);
    drop(new_ranks);
    Ok(half.finish(reverse.permutation, reverse.separators))
}

/// How much memory a merge takes besides its inputs and its result, about, in bytes.
pub(super) fn working_bytes(keys: usize, key_bytes: usize) -> usize {
    let is_ranged = is_ranged(keys, key_bytes);
    let ranges = if is_ranged { RANGES as usize } else { 1 };
    // New ranks, what the matrix is made from, and the range's share of the keys.
    keys * 4 + keys * 6 + (key_bytes + keys * 12) / ranges
}

fn is_ranged(keys: usize, key_bytes: usize) -> bool {
    keys >= RANGED_KEYS_MIN || key_bytes >= RANGED_BYTES_MIN
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

/// The reverse order of a segment.
struct Reverse {
    permutation: PackedBuilder,
    separators: SeparatorsBuilder,
    /// The last key so far, reversed.
    last: Vec<u8>,
    len: u32,
}

/// Merges the inputs' reverse orders, comparing the reversed keys.
fn merge_reverse(
    inputs: &[Input],
    keys: &Blocks,
    size: &SegmentSize,
    new_ranks: &[Packed],
) -> Reverse {
    let mut reverse = Reverse {
        permutation: PackedBuilder::new(size.keys, keys.len()),
        separators: SeparatorsBuilder::with_capacity(size.keys / BLOCK_KEYS as usize),
        last: Vec::new(),
        len: 0,
    };
    for stretches in reverse_ranges(inputs, size) {
        let mut orders: Vec<Scratch> = Vec::new();
        let mut chosen = Chosen::new(keys.len());
        for ((input, new_ranks), stretch) in inputs.iter().zip(new_ranks).zip(stretches) {
            let ranks = input.new_ranks(stretch, new_ranks);
            ranks.iter().for_each(|rank| chosen.add(*rank));
            orders.push(ranks);
        }
        let flat = chosen.reversed_keys(keys, size.key_bytes);
        for (input, order) in inputs.iter().zip(&mut orders) {
            if let Input::Tree { .. } = input {
                order.sort_unstable_by(|left, right| flat.get(*left).cmp(flat.get(*right)));
            }
        }
        merge_orders(&orders, &flat, &mut reverse);
    }
    reverse
}

/// Cuts the reverse order of all inputs at the same keys, and returns each input's reverse ranks in
/// each range. One range does where there are few keys.
fn reverse_ranges(inputs: &[Input], size: &SegmentSize) -> Vec<Vec<Range<u32>>> {
    let segments = inputs.iter().map(|input| match input {
        Input::Segment { segment, .. } => Some(segment),
        Input::Tree { .. } => None,
    });
    // Trees have no reverse order yet. They are merged when they are small, and so alone.
    let segments: Option<Vec<&Arc<Segment>>> = segments.collect();
    let segments = segments.filter(|_| is_ranged(size.keys, size.key_bytes));
    let Some(segments) = segments else {
        return vec![inputs.iter().map(|input| 0..input.len() as u32).collect()];
    };
    let largest = segments.iter().max_by_key(|segment| segment.len());
    let cuts = (1..RANGES).filter_map(|range| {
        let largest = largest?;
        let middle = u64::from(largest.len()) * u64::from(range) / u64::from(RANGES);
        Some(largest.reversed_key_at(middle as u32))
    });
    let mut starts: Vec<Vec<u32>> = vec![vec![0; segments.len()]];
    starts.extend(cuts.map(|cut| {
        let bounds = segments.iter().map(|segment| segment.reverse_bound(&cut));
        bounds.collect()
    }));
    starts.push(segments.iter().map(|segment| segment.len()).collect());
    let range = |pair: &[Vec<u32>]| {
        let bounds = pair[0].iter().zip(&pair[1]);
        bounds.map(|(start, end)| *start..*end).collect()
    };
    starts.windows(2).map(range).collect()
}

/// Merges lists of ranks, each in the order of the reversed keys, and appends them.
fn merge_orders(orders: &[Scratch], keys: &ReversedKeys, reverse: &mut Reverse) {
    let mut streams: Vec<(&[u32], &[u8])> = Vec::new();
    for order in orders {
        streams.extend(order.first().map(|first| (&order[..], keys.get(*first))));
    }
    let is_before = |left: &(&[u32], &[u8]), right: &(&[u32], &[u8])| left.1 < right.1;
    sort_descending(&mut streams, is_before);
    while let Some((ranks, key)) = streams.last_mut() {
        if let Some((rank, rest)) = ranks.split_first() {
            reverse.push(*rank, key);
            *ranks = rest;
        }
        let Some(next) = ranks.first() else {
            streams.pop();
            continue;
        };
        *key = keys.get(*next);
        if let Some(far) = ranks.get(AHEAD_FAR) {
            std::hint::black_box(keys.start(keys.position(*far)));
            std::hint::black_box(keys.get(ranks[AHEAD_NEAR]).first());
        }
        sink_last(&mut streams, is_before);
    }
}

impl Reverse {
    fn push(&mut self, rank: u32, reversed: &[u8]) {
        if self.len > 0 && self.len.is_multiple_of(BLOCK_KEYS) {
            self.separators.push(&self.last, reversed);
        }
        self.permutation.push(rank);
        self.len += 1;
        if self.len.is_multiple_of(BLOCK_KEYS) {
            self.last.clear();
            self.last.extend_from_slice(reversed);
        }
    }
}

/// Some ranks of a segment.
struct Chosen {
    bits: Vec<u64>,
}

/// The keys of some ranks, reversed.
struct ReversedKeys {
    chosen: Vec<u64>,
    /// How many are chosen before each word.
    counts: Scratch,
    bytes: Buffer,
    /// Where each ends in `bytes`.
    ends: Scratch,
}

impl Chosen {
    fn new(ranks: u32) -> Self {
        Self {
            bits: vec![0; ranks.div_ceil(64) as usize],
        }
    }

    fn add(&mut self, rank: u32) {
        self.bits[(rank / 64) as usize] |= 1 << (rank % 64);
    }

    /// The keys of the chosen ranks. `key_bytes` is a bound on their bytes.
    fn reversed_keys(self, keys: &Blocks, key_bytes: usize) -> ReversedKeys {
        let mut len = 0;
        let counts = self.bits.iter().map(|word| {
            let before = len;
            len += word.count_ones();
            before
        });
        let counts: Scratch = counts.collect();
        let mut bytes = Buffer::with_capacity(key_bytes);
        let mut ends = Scratch::zeroed(len as usize);
        let mut places = ends.iter_mut();
        let mut walk = keys.walk(0);
        let mut reversed = Vec::new();
        for word in &self.bits {
            let mut chosen = *word;
            while let Some(key) = walk.advance() {
                if chosen & 1 == 1 {
                    reversed.clear();
                    reversed.extend(key.iter().rev());
                    bytes.extend(&reversed);
                    let end = u32::try_from(bytes.len());
                    let end = end.expect("a merge is planned under 4 GiB of keys");
                    *places
                        .next()
                        .expect("there is a place for each chosen rank") = end;
                }
                chosen >>= 1;
                if walk.next_rank().is_multiple_of(64) {
                    break;
                }
            }
        }
        ReversedKeys {
            chosen: self.bits,
            counts,
            bytes,
            ends,
        }
    }
}

impl ReversedKeys {
    /// The reversed key of a chosen rank.
    fn get(&self, rank: u32) -> &[u8] {
        let position = self.position(rank);
        let (start, end) = (self.start(position), self.ends[position]);
        &self.bytes.bytes()[start as usize..end as usize]
    }

    /// How many chosen ranks are before a chosen one.
    fn position(&self, rank: u32) -> usize {
        let word = (rank / 64) as usize;
        let before = self.chosen[word] & ((1 << (rank % 64)) - 1);
        (self.counts[word] + before.count_ones()) as usize
    }

    fn start(&self, position: usize) -> u32 {
        position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before])
    }
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

/// Orders items so that the least is last.
pub(super) fn sort_descending<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for len in 1..=items.len() {
        sink_last(&mut items[..len], &is_before);
    }
}

/// Moves the last item down to its place, where all others are in descending order. It mostly stays
/// where it is, since a merge has few inputs and one of them has most of the keys.
pub(super) fn sink_last<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for at in (1..items.len()).rev() {
        if !is_before(&items[at - 1], &items[at]) {
            return;
        }
        items.swap(at - 1, at);
    }
}

impl Input {
    /// How many keys there are, the dead included.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Tree { keys, .. } => keys.len(),
            Self::Segment { segment, .. } => segment.len() as usize,
        }
    }

    /// How many keys are alive.
    pub(super) fn live_len(&self) -> usize {
        match self {
            Self::Tree { keys, dead } => keys.len() - dead.len(),
            Self::Segment { segment, dead } => (segment.len() - dead.len()) as usize,
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

    /// Bytes of memory of a segment; none for a tree.
    pub(super) fn heap_bytes(&self) -> usize {
        self.segment()
            .map_or(0, |segment| segment.heap_bytes().total())
    }

    fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Tree { .. } => None,
            Self::Segment { segment, .. } => Some(segment),
        }
    }

    fn slot_max(&self) -> u32 {
        match self {
            Self::Tree { keys, .. } => keys.values().copied().max().unwrap_or(0),
            Self::Segment { segment, .. } => segment.slot_max(),
        }
    }

    fn verify(&self) -> Result<(), PartError> {
        self.segment().map_or(Ok(()), Segment::verify)
    }

    /// The new ranks of the live keys of some reverse ranks, in that order; of a tree in the order
    /// of its keys.
    fn new_ranks(&self, reverse_ranks: Range<u32>, map: &Packed) -> Scratch {
        let mut found = Scratch::zeroed(reverse_ranks.len());
        let mut len = 0;
        match self {
            Self::Tree { keys, dead } => {
                for (rank, key) in (0..).zip(keys.keys()) {
                    if !dead.contains(key) {
                        found[len] = map.get(rank);
                        len += 1;
                    }
                }
            }
            Self::Segment { segment, dead } => {
                for reverse_rank in reverse_ranks {
                    let rank = segment.rank_at(reverse_rank);
                    if !dead.contains(rank) {
                        found[len] = map.get(rank);
                        len += 1;
                    }
                }
            }
        }
        found.truncate(len);
        found
    }
}

/// The live keys of an input in byte order.
enum Stream<'a> {
    Tree {
        keys: btree_map::Range<'a, Box<[u8]>, u32>,
        dead: &'a BTreeSet<Box<[u8]>>,
        current: Option<(&'a [u8], u32)>,
    },
    Segment {
        segment: &'a Segment,
        dead: &'a DeadBits,
        walk: Walk<'a>,
        is_at_key: bool,
    },
}

impl<'a> Stream<'a> {
    fn new(input: &'a Input) -> Self {
        Self::from(input, b"")
    }

    /// A stream that is before the first key not below `start`.
    fn from(input: &'a Input, start: &[u8]) -> Self {
        match input {
            Input::Tree { keys, dead } => Self::Tree {
                keys: keys.range::<[u8], _>((Bound::Included(start), Bound::Unbounded)),
                dead,
                current: None,
            },
            Input::Segment { segment, dead } => Self::Segment {
                segment,
                dead,
                walk: segment.walk(segment.lower_bound(start)),
                is_at_key: false,
            },
        }
    }

    /// Goes to the next live key and returns how many dead ones were passed.
    fn advance(&mut self) -> u32 {
        let mut passed = 0;
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
                        break;
                    }
                    passed += 1;
                }
            }
            Self::Segment {
                dead,
                walk,
                is_at_key,
                ..
            } => loop {
                let rank = walk.next_rank();
                *is_at_key = walk.advance().is_some();
                if !*is_at_key || !dead.contains(rank) {
                    break;
                }
                passed += 1;
            },
        }
        passed
    }

    /// The key that the stream is at.
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Tree { current, .. } => current.map(|(key, _)| key),
            Self::Segment {
                walk, is_at_key, ..
            } => is_at_key.then(|| walk.key()),
        }
    }

    /// The slot of the key that the stream is at.
    fn slot(&self) -> u32 {
        match self {
            Self::Tree { current, .. } => current.map_or(0, |(_, slot)| slot),
            Self::Segment { segment, walk, .. } => segment.slot(walk.next_rank() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::KeyBuffer;
    use super::super::bloom::hash;
    use super::super::dead::Dead;
    use super::*;
    use crate::model::Filter;
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
                segment: Arc::new(merge(&[input], table.clone()).unwrap()),
                dead: DeadBits::default(),
            };
            let inputs = [segment(tree(&groups[0])), tree(&groups[1]), segment(tree(&groups[2])), tree(&groups[3])];
            let merged = merge(&inputs, table.clone()).unwrap();
            prop_assert_eq!(merged.len() as usize, keys.len());
            let mut found = KeyBuffer::default();
            for (rank, key) in (0u32..).zip(&keys) {
                prop_assert_eq!(merged.find(key, hash(key)), Some(rank));
                prop_assert_eq!(merged.slot(rank), rank);
                merged.key_at(rank, &mut found);
                prop_assert_eq!(found.as_slice(), key);
                let reverse = merged.reverse_rank(key);
                prop_assert_eq!(merged.rank_at(reverse), rank);
            }
            let naive: Vec<u32> = (0u32..).zip(&keys)
                .filter(|(_, key)| key.starts_with(&prefix) && key.ends_with(&suffix))
                .map(|(rank, _)| rank).collect();
            let filter = Filter { prefix: prefix.clone(), suffix: suffix.clone() };
            let (count, _) = merged.matches(&filter, &Dead::default());
            prop_assert_eq!(count as usize, naive.len());
            let ranks = merged.prefix_ranks(&prefix);
            let reverse_ranks = merged.suffix_ranks(&suffix);
            let mut listed = Vec::new();
            prop_assert!(merged.first(ranks, reverse_ranks, 1000, |_, _| false, &mut listed));
            prop_assert_eq!(listed, naive);
        }
    }
}
