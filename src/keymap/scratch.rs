//! Arrays of numbers that do not grow. Large ones lie in a mapping of their own, whose memory is
//! back with the system as soon as they are dropped, whatever the allocator keeps.

use super::memory::map;
use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// From so many numbers on they are in a mapping.
const MAPPED_MIN: usize = 8 * 1024;

/// A list of numbers that does not grow.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    place: Place,
    len: usize,
}

#[derive(Debug)]
enum Place {
    Heap(Vec<u32>),
    Mapping(MmapMut),
}

impl Default for Place {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Scratch {
    /// So many zeros. Where they are many, pages of them that are never written take no memory.
    pub(super) fn zeroed(len: usize) -> Self {
        let is_large = len >= MAPPED_MIN;
        let place = match is_large.then(|| map(len * size_of::<u32>())).flatten() {
            Some(mapping) => Place::Mapping(mapping),
            // Where the system gives no mapping, the allocator may have memory left.
            None => Place::Heap(vec![0; len]),
        };
        Self { place, len }
    }

    /// Keeps the first `len` numbers. The memory of the others is still there.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Takes numbers back that [`truncate`](Self::truncate) took, up to `len` numbers in all.
    pub(super) fn extend(&mut self, len: usize) {
        let all = match &self.place {
            Place::Heap(numbers) => numbers.len(),
            Place::Mapping(mapping) => mapping.len() / size_of::<u32>(),
        };
        self.len = self.len.max(len.min(all));
    }
}

impl FromIterator<u32> for Scratch {
    /// Takes the numbers of an iterator that knows how many there are.
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let numbers = numbers.into_iter();
        let mut scratch = Self::zeroed(numbers.size_hint().0);
        for (place, number) in scratch.iter_mut().zip(numbers) {
            *place = number;
        }
        scratch
    }
}

impl Deref for Scratch {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match &self.place {
            Place::Heap(numbers) => &numbers[..self.len],
            Place::Mapping(mapping) => &bytemuck::cast_slice(mapping)[..self.len],
        }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u32] {
        match &mut self.place {
            Place::Heap(numbers) => &mut numbers[..self.len],
            Place::Mapping(mapping) => &mut bytemuck::cast_slice_mut(mapping)[..self.len],
        }
    }
}
