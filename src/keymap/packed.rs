//! Numbers of 24 bits where they fit, else of 32.

use std::ops::Range;

/// How many bytes a number takes where all are below 2²⁴.
const NARROW_BYTES: usize = 3;

/// An immutable list of numbers.
#[derive(Debug)]
pub(super) enum Packed {
    Narrow(Vec<u8>),
    Wide(Vec<u32>),
}

impl Packed {
    pub(super) fn new(numbers: Vec<u32>) -> Self {
        if numbers.iter().any(|number| *number >= 1 << 24) {
            let mut numbers = numbers;
            numbers.shrink_to_fit();
            return Self::Wide(numbers);
        }
        let mut bytes = Vec::with_capacity(numbers.len() * NARROW_BYTES);
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes()[..NARROW_BYTES]);
        }
        Self::Narrow(bytes)
    }

    /// The number at `index`.
    pub(super) fn get(&self, index: u32) -> u32 {
        match self {
            Self::Narrow(bytes) => {
                let at = index as usize * NARROW_BYTES;
                narrow(&bytes[at..at + NARROW_BYTES])
            }
            Self::Wide(numbers) => numbers[index as usize],
        }
    }

    /// The numbers at a range of indices that pass a test, appended to `found`.
    pub(super) fn filter_into(
        &self,
        range: Range<u32>,
        test: impl Fn(u32) -> bool,
        found: &mut Vec<u32>,
    ) {
        let range = range.start as usize..range.end as usize;
        match self {
            Self::Narrow(bytes) => {
                let bytes = &bytes[range.start * NARROW_BYTES..range.end * NARROW_BYTES];
                let numbers = bytes.chunks_exact(NARROW_BYTES).map(narrow);
                found.extend(numbers.filter(|number| test(*number)));
            }
            Self::Wide(numbers) => {
                found.extend(
                    numbers[range]
                        .iter()
                        .copied()
                        .filter(|number| test(*number)),
                );
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Narrow(bytes) => bytes.capacity(),
            Self::Wide(numbers) => numbers.capacity() * size_of::<u32>(),
        }
    }
}

fn narrow(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back_narrow_or_wide(
            numbers in prop::collection::vec(prop_oneof![0u32..1000, (1u32 << 24) - 2..(1 << 24) + 1], 1..50),
            range: [prop::sample::Index; 2],
        ) {
            let packed = Packed::new(numbers.clone());
            for (index, number) in (0..).zip(&numbers) {
                prop_assert_eq!(packed.get(index), *number);
            }
            let (a, b) = (range[0].index(numbers.len()), range[1].index(numbers.len()));
            let (start, end) = (a.min(b), a.max(b));
            let mut found = Vec::new();
            packed.filter_into(start as u32..end as u32, |number| number % 2 == 0, &mut found);
            let naive: Vec<u32> = numbers[start..end].iter().copied().filter(|n| n % 2 == 0).collect();
            prop_assert_eq!(found, naive);
        }
    }
}
