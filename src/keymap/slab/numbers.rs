//! The free ones of a list's numbers, of which the lowest is used again first, so that the end of the
//! list falls free when there is less to hold.
//!
//! A bit for each number, and above each 64 words a word that says which of them are not zero.

/// Words of a piece. Growth adds pieces and copies none.
const PIECE: usize = 512;

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct FreeNumbers {
    /// A bit for each number.
    words: Vec<Box<[u64; PIECE]>>,
    /// A bit for each of these words.
    filled: Vec<u64>,
    /// A bit for each of those.
    top: Vec<u64>,
    /// The words of `top` before this one are zero.
    from: usize,
}

impl FreeNumbers {
    /// Adds a number.
    pub(super) fn put(&mut self, number: u32) {
        let word = number as usize / 64;
        while self.words.len() * PIECE <= word {
            self.words.push(Box::new([0; PIECE]));
        }
        self.words[word / PIECE][word % PIECE] |= 1 << (number % 64);
        set_bit(&mut self.filled, word);
        set_bit(&mut self.top, word / 64);
        self.from = self.from.min(word / 64 / 64);
    }

    /// The lowest number.
    pub(super) fn lowest(&self) -> Option<u32> {
        let at = self.top[self.from.min(self.top.len())..]
            .iter()
            .position(|word| *word != 0)?
            + self.from;
        let filled = at * 64 + self.top[at].trailing_zeros() as usize;
        let word = filled * 64 + self.filled[filled].trailing_zeros() as usize;
        let bits = self.words[word / PIECE][word % PIECE];
        Some(word as u32 * 64 + bits.trailing_zeros())
    }

    /// Takes a number away that is there.
    pub(super) fn take(&mut self, number: u32) {
        let word = number as usize / 64;
        let bits = &mut self.words[word / PIECE][word % PIECE];
        *bits &= !(1 << (number % 64));
        if *bits != 0 {
            return;
        }
        let filled = &mut self.filled[word / 64];
        *filled &= !(1 << (word % 64));
        if *filled != 0 {
            return;
        }
        let (at, bit) = (word / 64 / 64, word / 64 % 64);
        self.top[at] &= !(1 << bit);
        if self.top[at] == 0 && at == self.from {
            self.from += 1;
        }
    }

    /// Whether a number is there.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.word(number as usize / 64) >> (number % 64) & 1 == 1
    }

    /// How many numbers from `from` to before `end` are there. O(`end - from`), by words.
    pub(super) fn count(&self, from: u32, end: u32) -> usize {
        let ones_before = |number: u32| match number % 64 {
            0 => 0,
            bits => (self.word(number as usize / 64) & ((1 << bits) - 1)).count_ones(),
        };
        let words = from as usize / 64..end as usize / 64;
        let whole: u32 = words.map(|word| self.word(word).count_ones()).sum();
        (whole + ones_before(end) - ones_before(from)) as usize
    }

    /// The first number after one that is not there, or the one that begins the next word, which may
    /// be there.
    pub(super) fn next_missing(&self, number: u32) -> u32 {
        let missing = !self.word(number as usize / 64) & (u64::MAX << (number % 64));
        let bit = missing & !(1 << (number % 64));
        number - number % 64 + bit.trailing_zeros()
    }

    /// The bits of a word.
    fn word(&self, word: usize) -> u64 {
        let piece = self.words.get(word / PIECE);
        piece.map_or(0, |piece| piece[word % PIECE])
    }

    /// Gives back the memory for numbers from `end` on, none of which is there.
    pub(super) fn shrink(&mut self, end: usize) {
        self.words.truncate(end.div_ceil(64 * PIECE));
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let summaries = self.filled.capacity() + self.top.capacity();
        (self.words.len() * PIECE + summaries) * size_of::<u64>()
    }
}

fn set_bit(words: &mut Vec<u64>, bit: usize) {
    if words.len() <= bit / 64 {
        words.resize(bit / 64 + 1, 0);
    }
    words[bit / 64] |= 1 << (bit % 64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_lowest_comes_first(
            steps in prop::collection::vec((prop_oneof![0_u32..200, 0_u32..1 << 20], 0_u8..4), 0..400),
        ) {
            let mut free = FreeNumbers::default();
            let mut model = BTreeSet::new();
            for (number, kind) in steps {
                if kind == 0 {
                    if let Some(lowest) = model.pop_first() {
                        free.take(lowest);
                    }
                } else if kind == 1 && model.remove(&number) {
                    free.take(number);
                } else {
                    free.put(number);
                    model.insert(number);
                }
                prop_assert_eq!(free.lowest(), model.first().copied());
                prop_assert_eq!(free.contains(number), model.contains(&number));
                let end = number + number % 1500;
                prop_assert_eq!(free.count(number, end), model.range(number..end).count());
                let next = free.next_missing(number);
                prop_assert!(next > number && next <= number - number % 64 + 64);
                prop_assert!((number + 1..next).all(|between| model.contains(&between)));
                prop_assert!(next % 64 == 0 || !model.contains(&next));
            }
            while let Some(highest) = model.pop_last() {
                free.take(highest);
                free.shrink(highest as usize);
                prop_assert_eq!(free.lowest(), model.first().copied());
            }
            free.shrink(0);
            prop_assert!(free.words.is_empty());
        }
    }
}
