//! A wavelet matrix: counts and lists the values of a sequence that lie in a rectangle of
//! positions and values, in time that does not depend on how many the rectangle's sides hold.
//!
//! Source: Claude and Navarro, "The Wavelet Matrix" (SPIRE 2012). A segment holds one over the
//! permutation from reverse to forward ranks, which makes a suffix a range of positions, a prefix
//! a range of values, and both together a rectangle.

use std::ops::Range;

/// Bits of a block: with the count of ones before them they fill a cache line.
const BLOCK_BITS: u32 = 448;

/// A sequence of `u32` values, decomposed by bit, most significant first.
#[derive(Debug)]
pub(super) struct WaveletMatrix {
    levels: Vec<Level>,
    len: u32,
}

/// One bit of each value, in the order that the levels above leave.
#[derive(Debug)]
struct Level {
    bits: Bits,
    /// How many values have a zero here: where the ones start on the level below.
    zeros: u32,
}

/// A node of the implicit tree: the values that share the bits above `level`.
#[derive(Clone, Copy, Debug)]
struct Node {
    level: u32,
    positions: (u32, u32),
    /// The smallest value that the node can hold.
    low: u32,
}

impl WaveletMatrix {
    /// Builds the matrix of `values`, all below `bound`. O(n log `bound`).
    pub(super) fn new(values: &[u32], bound: u32) -> Self {
        let len = u32::try_from(values.len()).expect("a segment has fewer than 2^32 keys");
        let height = u32::BITS - bound.saturating_sub(1).leading_zeros();
        let mut current = values.to_vec();
        let mut ones = Vec::new();
        let levels = (0..height)
            .rev()
            .map(|bit| {
                let bits = Bits::new(current.iter().map(|value| value >> bit & 1 == 1));
                ones.clear();
                current.retain(|&value| {
                    let is_one = value >> bit & 1 == 1;
                    if is_one {
                        ones.push(value);
                    }
                    !is_one
                });
                let zeros = current.len() as u32;
                current.extend_from_slice(&ones);
                Level { bits, zeros }
            })
            .collect();
        Self { levels, len }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let bits = |level: &Level| level.bits.blocks.capacity() * size_of::<[u64; 8]>();
        self.levels.iter().map(bits).sum()
    }

    /// How many of the values at `positions` lie in `values`. O(log bound).
    pub(super) fn count(&self, positions: Range<u32>, values: Range<u32>) -> u32 {
        if positions.is_empty() || values.is_empty() {
            return 0;
        }
        self.count_below(&positions, values.end) - self.count_below(&positions, values.start)
    }

    /// How many of the values at `positions` are below `value`.
    fn count_below(&self, positions: &Range<u32>, value: u32) -> u32 {
        if u64::from(value) >= 1 << self.levels.len() {
            return positions.end - positions.start;
        }
        let (mut start, mut end) = (positions.start, positions.end);
        let mut below = 0;
        for (level, bit) in self.levels.iter().zip((0..self.levels.len()).rev()) {
            let (start_ones, end_ones) =
                (level.bits.ones_before(start), level.bits.ones_before(end));
            if value >> bit & 1 == 1 {
                below += (end - end_ones) - (start - start_ones);
                (start, end) = (level.zeros + start_ones, level.zeros + end_ones);
            } else {
                (start, end) = (start - start_ones, end - end_ones);
            }
        }
        below
    }

    /// Appends to `found` the smallest `limit` of the values at `positions` that lie in `values`,
    /// ascending. O(log bound) for each, and once more at the most.
    pub(super) fn first(
        &self,
        positions: Range<u32>,
        values: Range<u32>,
        limit: usize,
        found: &mut Vec<u32>,
    ) {
        debug_assert!(positions.end <= self.len);
        let enough = found.len() + limit;
        let mut stack = vec![Node {
            level: 0,
            positions: (positions.start, positions.end),
            low: 0,
        }];
        while let Some(node) = stack.pop() {
            if found.len() == enough {
                return;
            }
            let (start, end) = node.positions;
            let width = self.levels.len() as u32 - node.level;
            let above = u64::from(node.low) + (1u64 << width);
            if start == end || node.low >= values.end || above <= u64::from(values.start) {
                continue;
            }
            let Some(level) = self.levels.get(node.level as usize) else {
                let times = ((end - start) as usize).min(enough - found.len());
                found.extend(std::iter::repeat_n(node.low, times));
                continue;
            };
            let (start_ones, end_ones) =
                (level.bits.ones_before(start), level.bits.ones_before(end));
            stack.push(Node {
                level: node.level + 1,
                positions: (level.zeros + start_ones, level.zeros + end_ones),
                low: node.low | 1 << (width - 1),
            });
            stack.push(Node {
                level: node.level + 1,
                positions: (start - start_ones, end - end_ones),
                low: node.low,
            });
        }
    }
}

/// A bit vector with constant-time rank: blocks of one count word and seven words of bits, so
/// that a rank touches one cache line.
#[derive(Debug)]
struct Bits {
    blocks: Vec<[u64; 8]>,
}

impl Bits {
    fn new(bits: impl ExactSizeIterator<Item = bool>) -> Self {
        // One block more than needed, so that the rank at the very end finds its count.
        let mut blocks = vec![[0u64; 8]; bits.len() / BLOCK_BITS as usize + 1];
        for (position, bit) in (0u32..).zip(bits) {
            let within = position % BLOCK_BITS;
            blocks[(position / BLOCK_BITS) as usize][1 + (within / 64) as usize] |=
                u64::from(bit) << (within % 64);
        }
        let mut ones = 0;
        for block in &mut blocks {
            block[0] = ones;
            ones += block[1..]
                .iter()
                .map(|word| u64::from(word.count_ones()))
                .sum::<u64>();
        }
        Self { blocks }
    }

    /// How many ones there are before `position`.
    fn ones_before(&self, position: u32) -> u32 {
        let block = &self.blocks[(position / BLOCK_BITS) as usize];
        let within = position % BLOCK_BITS;
        let word = (within / 64) as usize;
        let whole: u32 = block[1..=word].iter().map(|word| word.count_ones()).sum();
        let rest = block.get(1 + word).map_or(0, |bits| {
            (bits & ((1u64 << (within % 64)) - 1)).count_ones()
        });
        block[0] as u32 + whole + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes() -> impl Strategy<Value = usize> {
        prop_oneof![
            Just(0usize),
            Just(1),
            Just(2),
            Just(63),
            Just(64),
            Just(65),
            Just(447),
            Just(448),
            Just(449),
            Just(1023),
            Just(1024),
            Just(1025),
            0usize..700
        ]
    }

    fn sequence() -> impl Strategy<Value = (Vec<u32>, u32)> {
        prop_oneof![
            // A permutation, as a segment's.
            sizes()
                .prop_flat_map(|n| Just((0..n as u32).collect::<Vec<_>>()).prop_shuffle())
                .prop_map(|values| {
                    let bound = values.len() as u32;
                    (values, bound)
                }),
            // Some values of a larger range, as a dead index's.
            (1u32..5000, sizes())
                .prop_flat_map(|(bound, n)| { (prop::collection::vec(0..bound, n), Just(bound)) }),
        ]
    }

    proptest! {
        #[test]
        fn rectangles_count_and_list_as_a_naive_filter_does(
            (values, bound) in sequence(),
            corners: [u32; 4],
            limit in 0usize..40,
        ) {
            let matrix = WaveletMatrix::new(&values, bound);
            let n = values.len() as u32 + 1;
            let positions = (corners[0] % n).min(corners[1] % n)..(corners[0] % n).max(corners[1] % n);
            let edge = bound + 2;
            let wanted = (corners[2] % edge).min(corners[3] % edge)..(corners[2] % edge).max(corners[3] % edge);
            let mut naive: Vec<u32> = values[positions.start as usize..positions.end as usize]
                .iter().copied().filter(|value| wanted.contains(value)).collect();
            naive.sort_unstable();
            prop_assert_eq!(matrix.count(positions.clone(), wanted.clone()) as usize, naive.len());
            let mut found = vec![7];
            matrix.first(positions, wanted, limit, &mut found);
            naive.truncate(limit);
            prop_assert_eq!(&found[1..], &naive[..]);
        }
    }
}
