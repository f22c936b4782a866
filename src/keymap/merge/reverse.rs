//! The reverse order of a merge: the inputs' orders are merged by comparing the reversed keys, range
//! by range where there are many.

use super::{Input, RANGES, is_ranged};
use crate::keymap::blocks::{BLOCK_KEYS, Blocks};
use crate::keymap::descending::{sink_last, sort_descending};
use crate::keymap::packed::{Packed, PackedBuilder};
use crate::keymap::part::Buffer;
use crate::keymap::scratch::Scratch;
use crate::keymap::segment::{Segment, SegmentSize};
use crate::keymap::separators::SeparatorsBuilder;
use std::ops::Range;
use std::sync::Arc;

/// How far ahead of its use memory is read, in keys: first where a key is, then the key.
const AHEAD_FAR: usize = 24;
const AHEAD_NEAR: usize = 12;

/// The reverse order of a segment.
pub(super) struct Reverse {
    pub(super) permutation: PackedBuilder,
    pub(super) separators: SeparatorsBuilder,
    /// The last key so far, reversed.
    last: Vec<u8>,
    len: u32,
}

/// Merges the inputs' reverse orders, comparing the reversed keys.
pub(super) fn merge_reverse(
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
            let ranks = input.ranks_in_result(stretch, new_ranks);
            ranks.iter().for_each(|rank| chosen.add(*rank));
            orders.push(ranks);
        }
        let flat = chosen.reversed_keys(keys, size.key_bytes);
        for (input, order) in inputs.iter().zip(&mut orders) {
            if let Input::Tree { .. } = input {
                flat.sort(order);
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
    /// Puts chosen ranks into the order of their reversed keys. Few comparisons go further than the first
    /// eight bytes, which lie beside the ranks.
    fn sort(&self, ranks: &mut [u32]) {
        let head = |rank: &u32| {
            let key = self.get(*rank);
            let mut head = [0; 8];
            let len = key.len().min(head.len());
            head[..len].copy_from_slice(&key[..len]);
            (u64::from_be_bytes(head), *rank)
        };
        let mut heads: Vec<(u64, u32)> = ranks.iter().map(head).collect();
        heads.sort_unstable_by(|left, right| {
            let keys = || self.get(left.1).cmp(self.get(right.1));
            left.0.cmp(&right.0).then_with(keys)
        });
        for (rank, (_, sorted)) in ranks.iter_mut().zip(heads) {
            *rank = sorted;
        }
    }

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
