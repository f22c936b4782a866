//! Numbers of 24 bits where they fit, else of 32, and of none where all are 0: an index without values
//! has no slots to tell apart.

use super::part::{Buffer, Part, PartKind};
use super::seen::Seen;
use prefetch_index::prefetch_index;
use std::ops::Range;

/// How many bytes a number takes where all are below 2²⁴.
const NARROW_BYTES: usize = 3;

/// How many bytes any number takes.
const WIDE_BYTES: usize = 4;

/// An immutable list of numbers. The part holds them one after the other.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    numbers: Part,
    width: usize,
}

/// Writes [`Packed`], one number after the other.
#[derive(Debug)]
pub(super) struct PackedBuilder {
    numbers: Buffer,
    width: usize,
}

impl PackedBuilder {
    /// A builder for so many numbers, all up to `max`.
    pub(super) fn new(count: usize, max: u32) -> Self {
        let width = match max {
            0 => 0,
            _ if max < 1 << 24 => NARROW_BYTES,
            _ => WIDE_BYTES,
        };
        Self {
            numbers: Buffer::with_capacity(count * width),
            width,
        }
    }

    /// Appends a number.
    pub(super) fn push(&mut self, number: u32) {
        self.numbers.extend(&number.to_le_bytes()[..self.width]);
    }

    pub(super) fn finish(self, kind: PartKind) -> Packed {
        Packed {
            numbers: self.numbers.seal(kind),
            width: self.width,
        }
    }
}

impl Packed {
    /// The list of `count` numbers that a part holds; `None` where it is of another length.
    pub(super) fn open(numbers: Part, count: usize) -> Option<Self> {
        let width = numbers.len().checked_div(count).unwrap_or(NARROW_BYTES);
        let is_one = matches!(width, 0 | NARROW_BYTES | WIDE_BYTES);
        let is_whole = numbers.len() == width * count;
        (is_one && is_whole).then_some(Self { numbers, width })
    }

    /// Whether the numbers are all those below their count, each once.
    pub(super) fn is_permutation(&self, count: u32) -> bool {
        let mut seen = Seen::below(count);
        (0..count).all(|index| seen.insert(self.get(index)))
    }

    /// The part that holds the numbers.
    pub(super) fn part(&self) -> &Part {
        &self.numbers
    }

    /// What no number is above.
    pub(super) fn max(&self) -> u32 {
        match self.width {
            0 => 0,
            NARROW_BYTES => (1 << 24) - 1,
            _ => u32::MAX,
        }
    }

    /// The number at `index`.
    pub(super) fn get(&self, index: u32) -> u32 {
        let at = index as usize * self.width;
        read(&self.numbers[at..at + self.width])
    }

    /// Fetches the number at `index` ahead of its use.
    pub(super) fn prefetch(&self, index: u32) {
        prefetch_index(&self.numbers[..], index as usize * self.width);
    }

    /// The numbers at a range of indices that pass a test.
    pub(super) fn filter(&self, range: Range<u32>, test: impl Fn(u32) -> bool) -> Vec<u32> {
        let bytes =
            &self.numbers[range.start as usize * self.width..range.end as usize * self.width];
        // One loop for each width, so that all are free of branches on it.
        match self.width {
            0 => range.map(|_| 0).filter(|number| test(*number)).collect(),
            NARROW_BYTES => passing::<NARROW_BYTES>(bytes, test),
            _ => passing::<WIDE_BYTES>(bytes, test),
        }
    }
}

/// The numbers of so many bytes each that pass a test.
fn passing<const BYTES: usize>(bytes: &[u8], test: impl Fn(u32) -> bool) -> Vec<u32> {
    let numbers = bytes.as_chunks::<BYTES>().0.iter();
    numbers
        .map(|bytes| read(bytes))
        .filter(|number| test(*number))
        .collect()
}

/// A number of three or four bytes, or none.
fn read(bytes: &[u8]) -> u32 {
    if bytes.is_empty() {
        return 0;
    }
    let high = bytes.get(NARROW_BYTES).copied().unwrap_or(0);
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back_whatever_they_take(
            numbers in prop_oneof![
                prop::collection::vec(Just(0_u32), 1..50),
                prop::collection::vec(prop_oneof![0u32..1000, (1u32 << 24) - 2..(1 << 24) + 1], 1..50),
            ],
            range: [prop::sample::Index; 2],
        ) {
            let mut builder = PackedBuilder::new(numbers.len(), numbers.iter().copied().max().unwrap_or(0));
            numbers.iter().for_each(|number| builder.push(*number));
            let packed = builder.finish(PartKind::Slots);
            let packed = Packed::open(packed.part().clone(), numbers.len()).unwrap();
            for (index, number) in (0..).zip(&numbers) {
                prop_assert_eq!(packed.get(index), *number);
            }
            let (a, b) = (range[0].index(numbers.len()), range[1].index(numbers.len()));
            let (start, end) = (a.min(b), a.max(b));
            let found = packed.filter(start as u32..end as u32, |number| number % 2 == 0);
            let naive: Vec<u32> = numbers[start..end].iter().copied().filter(|n| n % 2 == 0).collect();
            prop_assert_eq!(found, naive);
        }
    }
}
