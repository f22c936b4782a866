//! Rectangles over a sequence of numbers: how many of the values at some positions lie in a range,
//! and which are the smallest of them.
//!
//! Source: Claude and Navarro, "The Wavelet Matrix" (2012). The upper bits of the values are a
//! level each; the low eight of all values are bytes in the order that the levels leave, which
//! takes as much memory and spares eight dependent reads a value.

mod ascent;

pub(super) use ascent::{Ascent, Reached};

use super::part::{Buffer, Part, PartKind};
use super::scratch::Scratch;
use std::ops::Range;

/// Bits of a block of a level. With the count of ones before them they fill a cache line.
const BLOCK_BITS: u32 = 448;

/// What a block takes, in bytes: one count word and seven words of bits.
const BLOCK_BYTES: usize = 64;

/// How many bits of each value are a byte of the bottom level.
const LOW_BITS: u32 = 8;

/// From so many values on a node is worth asking whether it can be left out.
const PRUNED_MIN: u32 = 32;

/// An immutable sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct WaveletMatrix {
    /// The levels' blocks, then the low bytes.
    part: Part,
    /// For each level, how many values have a zero there: where the ones start on the next.
    zeros: Vec<u32>,
    len: u32,
    /// All values are below.
    bound: u32,
}

/// The values of some positions of a level, which share the bits above it.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    end: u32,
    /// The bits that they share.
    bits: u32,
}

impl Node {
    fn len(self) -> u32 {
        self.end - self.start
    }

    /// The values that such a node can hold where `below` bits are not decided yet.
    fn values(self, below: u32) -> Range<u64> {
        u64::from(self.bits) << below..(u64::from(self.bits) + 1) << below
    }
}

impl WaveletMatrix {
    /// Builds the matrix of `values`, all below `bound`. O(n log `bound`).
    pub(super) fn new(mut values: Scratch, bound: u32) -> Self {
        let len = u32::try_from(values.len()).expect("a segment has fewer than 2^32 keys");
        let levels = levels_for(bound);
        let level_bytes = level_bytes(len);
        let mut buffer = Buffer::zeroed(levels as usize * level_bytes + len as usize);
        let mut ones = Scratch::default();
        for level in 0..levels {
            let shift = levels - 1 - level + LOW_BITS;
            let start = level as usize * level_bytes;
            let bytes = &mut buffer.bytes_mut()[start..start + level_bytes];
            partition(&mut values, &mut ones, shift, bytes.as_chunks_mut().0);
        }
        let start = levels as usize * level_bytes;
        for (low, value) in buffer.bytes_mut()[start..].iter_mut().zip(values.iter()) {
            *low = *value as u8;
        }
        Self::open(buffer.seal(PartKind::Matrix), len, bound)
    }

    /// The matrix that a part holds.
    pub(super) fn open(part: Part, len: u32, bound: u32) -> Self {
        let mut matrix = Self {
            part,
            zeros: Vec::new(),
            len,
            bound,
        };
        let ones = |level| matrix.level(level).ones_before(len);
        matrix.zeros = (0..levels_for(bound))
            .map(|level| len - ones(level))
            .collect();
        matrix
    }

    /// As [`open`](Self::open), of a part that may be anything; `None` where a walk might leave it.
    pub(super) fn open_checked(part: Part, len: u32, bound: u32) -> Option<Self> {
        let level_bytes = level_bytes(len);
        let levels = levels_for(bound) as usize;
        if part.len() != levels * level_bytes + len as usize {
            return None;
        }
        for level in part[..levels * level_bytes].chunks_exact(level_bytes) {
            let mut ones = 0;
            for block in level.as_chunks::<BLOCK_BYTES>().0 {
                let (words, _) = block.as_chunks::<8>();
                if u64::from_le_bytes(words[0]) != ones {
                    return None;
                }
                let counts = words[1..].iter();
                let counts = counts.map(|word| u64::from_le_bytes(*word).count_ones());
                ones += u64::from(counts.sum::<u32>());
            }
        }
        Some(Self::open(part, len, bound))
    }

    /// The part that holds the matrix.
    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    /// How many of the values at `positions` lie in `values`. O(log bound).
    pub(super) fn count(&self, positions: Range<u32>, values: Range<u32>) -> u32 {
        if positions.is_empty() || values.is_empty() {
            return 0;
        }
        let above = match values.start {
            0 => 0,
            start => self.count_below(&positions, start),
        };
        self.count_below(&positions, values.end) - above
    }

    /// How many of the values at `positions` are below `value`.
    fn count_below(&self, positions: &Range<u32>, value: u32) -> u32 {
        let (mut start, mut end) = (positions.start, positions.end);
        if value >= self.bound {
            return end - start;
        }
        let mut below = 0;
        let levels = self.zeros.len() as u32;
        for level in 0..levels {
            if start == end {
                return below;
            }
            let bits = self.level(level);
            let (start_ones, end_ones) = (bits.ones_before(start), bits.ones_before(end));
            if value >> (levels - 1 - level + LOW_BITS) & 1 == 1 {
                below += (end - end_ones) - (start - start_ones);
                let zeros = self.zeros[level as usize];
                (start, end) = (zeros + start_ones, zeros + end_ones);
            } else {
                (start, end) = (start - start_ones, end - end_ones);
            }
        }
        let low = value as u8;
        let smaller = self
            .low(start, end)
            .iter()
            .map(|byte| u32::from(*byte < low));
        below + smaller.sum::<u32>()
    }

    /// Appends to `found` the smallest of the values at `positions` that lie in `values`,
    /// ascending: at least `limit` of them where there are so many, and seldom many more. Returns
    /// whether these are all. Where `is_void` holds for a range of values and how many of them
    /// there are, these are left out.
    ///
    /// Goes through the levels breadth first, over at most about `limit` nodes of each, so that
    /// their cache misses overlap. O(`limit` log bound).
    pub(super) fn first(
        &self,
        positions: Range<u32>,
        values: Range<u32>,
        limit: usize,
        mut is_void: impl FnMut(Range<u32>, u32) -> bool,
        found: &mut Vec<u32>,
    ) -> bool {
        let wanted = u64::from(values.start)..u64::from(values.end);
        let capacity = limit.min(positions.len()) + 2;
        let mut nodes = Vec::with_capacity(capacity);
        let mut below = Vec::with_capacity(capacity);
        if !positions.is_empty() && !values.is_empty() {
            nodes.push(Node {
                start: positions.start,
                end: positions.end,
                bits: 0,
            });
        }
        let mut complete = true;
        let levels = self.zeros.len() as u32;
        for level in 0..levels {
            let undecided = levels - 1 - level + LOW_BITS;
            let bits = self.level(level);
            // How many values surely lie in the range.
            let mut sure = 0;
            below.clear();
            for (at, node) in nodes.iter().enumerate() {
                for child in self.children(level, bits, *node) {
                    let held = child.values(undecided);
                    if child.len() == 0 || held.end <= wanted.start || held.start >= wanted.end {
                        continue;
                    }
                    // A node's highest value may be over 32 bits, but none that is there is.
                    let last = held.end.min(self.bound.into());
                    if child.len() >= PRUNED_MIN
                        && is_void(held.start as u32..last as u32, child.len())
                    {
                        continue;
                    }
                    if wanted.start <= held.start && held.end <= wanted.end {
                        sure += child.len() as usize;
                    }
                    below.push(child);
                }
                if sure >= limit {
                    complete &= at + 1 == nodes.len();
                    break;
                }
            }
            std::mem::swap(&mut nodes, &mut below);
        }
        let before = found.len();
        for (at, node) in nodes.iter().enumerate() {
            let first = found.len();
            let high = node.bits << LOW_BITS;
            let low = self.low(node.start, node.end).iter();
            let held = low.map(|low| high | u32::from(*low));
            found.extend(held.filter(|value| values.contains(value)));
            found[first..].sort_unstable();
            if found.len() - before >= limit {
                return complete && at + 1 == nodes.len();
            }
        }
        complete
    }

    /// The zeros and the ones of a node of a level.
    fn children(&self, level: u32, bits: Bits<'_>, node: Node) -> [Node; 2] {
        let start_ones = bits.ones_before(node.start);
        let end_ones = bits.ones_before(node.end);
        let zeros = self.zeros[level as usize];
        [
            Node {
                start: node.start - start_ones,
                end: node.end - end_ones,
                bits: node.bits << 1,
            },
            Node {
                start: zeros + start_ones,
                end: zeros + end_ones,
                bits: node.bits << 1 | 1,
            },
        ]
    }

    fn level(&self, level: u32) -> Bits<'_> {
        let bytes = level_bytes(self.len);
        let start = level as usize * bytes;
        Bits {
            blocks: self.part[start..start + bytes].as_chunks().0,
        }
    }

    /// The low bits of the values at some positions of the bottom.
    fn low(&self, start: u32, end: u32) -> &[u8] {
        let bottom = self.zeros.len() * level_bytes(self.len);
        &self.part[bottom + start as usize..bottom + end as usize]
    }
}

/// The bits of values below `bound` that are levels.
fn levels_for(bound: u32) -> u32 {
    let height = u32::BITS - bound.saturating_sub(1).leading_zeros();
    height.saturating_sub(LOW_BITS)
}

/// What a level of so many bits takes: one block more than needed, so that a count up to the very
/// end finds its block.
fn level_bytes(len: u32) -> usize {
    (len / BLOCK_BITS + 1) as usize * BLOCK_BYTES
}

/// Writes bit `shift` of all values, and puts the values with a zero before those with a one, both
/// in their order. Without a branch on the bits, which are random.
fn partition(
    values: &mut Scratch,
    ones: &mut Scratch,
    shift: u32,
    blocks: &mut [[u8; BLOCK_BYTES]],
) {
    let ones_max = values.iter().filter(|value| **value >> shift & 1 == 1);
    // One more, since every value is written to both sides and only one of them moves on.
    let ones_max = ones_max.count() + 1;
    if ones.len() < ones_max {
        *ones = Scratch::zeroed(ones_max);
    }
    let (mut zeros_len, mut ones_len) = (0, 0);
    let values_len = values.len();
    let mut at = 0;
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        words[0] = (ones_len as u64).to_le_bytes();
        for word in &mut words[1..] {
            let end = values_len.min(at + 64);
            let mut bits = 0;
            for position in at..end {
                let value = values[position];
                let bit = value >> shift & 1;
                bits |= u64::from(bit) << (position - at);
                values[zeros_len] = value;
                ones[ones_len] = value;
                zeros_len += 1 - bit as usize;
                ones_len += bit as usize;
            }
            *word = bits.to_le_bytes();
            at = end;
        }
    }
    values[zeros_len..].copy_from_slice(&ones[..ones_len]);
}

/// A bit vector with constant-time rank: a rank touches one cache line.
#[derive(Clone, Copy)]
struct Bits<'a> {
    blocks: &'a [[u8; BLOCK_BYTES]],
}

impl Bits<'_> {
    /// How many ones there are before `position`.
    fn ones_before(self, position: u32) -> u32 {
        let (words, _) = self.blocks[(position / BLOCK_BITS) as usize].as_chunks::<8>();
        let word = |index: usize| u64::from_le_bytes(words[index]);
        let within = position % BLOCK_BITS;
        let last = (within / 64) as usize;
        // Whole words are masked rather than left out: their number is random.
        let whole = (0..6).map(|index| {
            let mask = if index < last { u64::MAX } else { 0 };
            (word(1 + index) & mask).count_ones()
        });
        let rest = word(1 + last) & ((1 << (within % 64)) - 1);
        word(0) as u32 + whole.sum::<u32>() + rest.count_ones()
    }

    /// How many ones there are before the start and before the end of a range: of a short one at hardly
    /// more than the price of either.
    fn ones_before_both(self, start: u32, end: u32) -> (u32, u32) {
        let before = self.ones_before(start);
        let block = start / BLOCK_BITS;
        let (first, last) = (start % BLOCK_BITS / 64, end % BLOCK_BITS / 64);
        if end / BLOCK_BITS != block || last > first + 1 {
            return (before, self.ones_before(end));
        }
        let (words, _) = self.blocks[block as usize].as_chunks::<8>();
        let word = |index: u32| u64::from_le_bytes(words[1 + index as usize]);
        let below = |position: u32| (1 << (position % BLOCK_BITS % 64)) - 1;
        let within = if first == last {
            (word(first) & !below(start) & below(end)).count_ones()
        } else {
            (word(first) & !below(start)).count_ones() + (word(last) & below(end)).count_ones()
        };
        (before, before + within)
    }
}

#[cfg(test)]
mod tests;
