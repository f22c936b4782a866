//! Which numbers below a bound were seen: what tells a list of numbers from one in which some are there
//! twice.

/// A set of numbers, a bit for each.
#[derive(Debug)]
pub(super) struct Seen {
    words: Vec<u64>,
    bound: u32,
    len: usize,
}

impl Seen {
    /// None of the numbers below a bound.
    pub(super) fn below(bound: u32) -> Self {
        Self {
            words: vec![0; bound.div_ceil(64) as usize],
            bound,
            len: 0,
        }
    }

    /// Adds a number; `false` where it is there already, or not below the bound.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let is_new = number < self.bound && !self.contains(number);
        if is_new {
            self.words[number as usize / 64] |= 1 << (number % 64);
            self.len += 1;
        }
        is_new
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let word = self.words.get(number as usize / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Bytes of memory.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}
