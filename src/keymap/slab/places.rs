//! A growing list of numbers that never copies what is there: in small pieces at first, then in
//! large ones, which lie on huge pages.

use crate::keymap::memory::HUGE_PAGE_BYTES;
use crate::keymap::scratch::Scratch;
use prefetch_index::prefetch_index;

/// Numbers of a small piece: of each only the pages that are written take memory.
const SMALL: usize = 16 * 1024;

/// How many small pieces there are at the most.
const SMALL_PIECES: usize = 64;

/// Numbers of a large piece.
const LARGE: usize = 4 * 1024 * 1024;

/// Where in the list the large pieces begin.
const LARGE_START: usize = SMALL * SMALL_PIECES;

/// A growing list of numbers.
#[derive(Debug, Default)]
pub(super) struct Places {
    small: Vec<Scratch>,
    large: Vec<Scratch>,
    len: usize,
    /// Numbers of the pieces from here on were never written.
    written: usize,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, number: u32) {
        match self.len.checked_sub(LARGE_START) {
            None if self.len / SMALL == self.small.len() => {
                self.small.push(Scratch::zeroed(SMALL));
            }
            Some(len) if len / LARGE == self.large.len() => {
                self.large.push(Scratch::zeroed(LARGE));
            }
            None | Some(_) => {}
        }
        self.len += 1;
        self.written = self.written.max(self.len);
        *self.get_mut(self.len as u32 - 1) = number;
    }

    /// The last number.
    pub(super) fn last(&self) -> Option<u32> {
        let last = self.len.checked_sub(1)?;
        Some(self.get(last as u32))
    }

    /// Takes the last number away. A piece is given back once it is some way off the end, so that a
    /// list whose length goes up and down by a few asks the system for none.
    pub(super) fn pop(&mut self) {
        self.len -= 1;
        let needed = self.len + SMALL;
        let small = self.small.len().saturating_sub(1) * SMALL;
        let large = LARGE_START + self.large.len().saturating_sub(1) * LARGE;
        if !self.large.is_empty() && needed <= large {
            self.large.pop();
            self.written = self.written.min(large);
        } else if self.large.is_empty() && needed <= small {
            self.small.pop();
            self.written = self.written.min(small);
        }
    }

    /// The number at an index that there is.
    pub(super) fn get(&self, index: u32) -> u32 {
        let index = index as usize;
        match index.checked_sub(LARGE_START) {
            None => self.small[index / SMALL][index % SMALL],
            Some(index) => self.large[index / LARGE][index % LARGE],
        }
    }

    /// The number at any index; `None` where there is none.
    pub(super) fn look(&self, index: u32) -> Option<u32> {
        ((index as usize) < self.len).then(|| self.get(index))
    }

    /// Fetches the number at any index ahead of its use.
    pub(super) fn prefetch(&self, index: u32) {
        let index = index as usize;
        let (pieces, at, size) = match index.checked_sub(LARGE_START) {
            None => (&self.small, index, SMALL),
            Some(index) => (&self.large, index, LARGE),
        };
        if let Some(piece) = pieces.get(at / size) {
            prefetch_index(&piece[..], at % size);
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut u32 {
        let index = index as usize;
        match index.checked_sub(LARGE_START) {
            None => &mut self.small[index / SMALL][index % SMALL],
            Some(index) => &mut self.large[index / LARGE][index % LARGE],
        }
    }

    /// Bytes of memory: what was written, and the rest of its last huge page.
    pub(super) fn memory_bytes(&self) -> usize {
        let small = self.written.min(LARGE_START) * size_of::<u32>();
        let large = self.written.saturating_sub(LARGE_START) * size_of::<u32>();
        small + large.next_multiple_of(HUGE_PAGE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_on_both_sides_of_every_seam() {
        let mut places = Places::default();
        let count = (LARGE_START + LARGE + 2) as u32;
        (0..count).for_each(|number| places.push(!number));
        assert_eq!(places.len(), count as usize);
        assert!((0..count).all(|number| places.get(number) == !number));
        assert_eq!(places.look(count - 1), Some(!(count - 1)));
        assert_eq!(places.look(count), None);
        *places.get_mut(LARGE_START as u32) = 7;
        assert_eq!(places.get(LARGE_START as u32), 7);
        let full = places.memory_bytes();
        (0..3).for_each(|_| places.pop());
        assert_eq!(places.memory_bytes(), full, "it may grow again");
        (0..SMALL).for_each(|_| places.pop());
        assert!(places.memory_bytes() < full, "a piece was given back");
        while places.last().is_some() {
            assert_eq!(places.last(), Some(places.get(places.len() as u32 - 1)));
            places.pop();
        }
        assert!(places.memory_bytes() <= 2 * SMALL * size_of::<u32>());
        places.push(3);
        assert_eq!((places.get(0), places.len()), (3, 1));
    }
}
