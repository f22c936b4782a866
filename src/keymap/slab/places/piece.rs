//! A piece of the list of places: an array for its first slots, and for those after it packed blocks,
//! which hold the places of slots in use only.
//!
//! Which slots are in use a piece does not know, so that it is told at which number of a packed block
//! a slot's place is. Where all are in the array, and where none are, is one case each of the same.

use super::super::NOWHERE;
use super::super::numbers::FreeNumbers;
use crate::keymap::memory::page_bytes;
use crate::keymap::scratch::Scratch;

/// Slots of a block.
pub(super) const BLOCK: usize = 1024;

/// From so many places on a packed block goes back into the array.
const UNPACK_MIN: usize = BLOCK / 4 * 3;

/// A packed block grows and shrinks by so many places.
const GROWTH: usize = 32;

/// What the allocator takes for a block besides its places, about.
const ALLOCATION_BYTES: usize = 16;

/// The places of some slots.
#[derive(Debug)]
pub(super) struct Piece {
    /// By slot, up to where packed blocks begin.
    array: Scratch,
    /// By block. Those that are in the array are empty, and there are none where all are.
    blocks: Vec<Vec<u32>>,
    /// How many slots there are.
    size: usize,
    /// Numbers of the array that are in memory, in whole pages.
    written: usize,
    /// Free slots in the array.
    free: usize,
    /// What of these was found to be worth packing.
    spare: usize,
    /// Places in packed blocks.
    packed: usize,
    /// What packed blocks take.
    blocks_bytes: usize,
}

impl Piece {
    /// A piece of so many slots, all in the array: only pages that are written take memory.
    pub(super) fn new(size: usize) -> Self {
        Self {
            array: Scratch::zeroed(size),
            blocks: Vec::new(),
            size,
            written: 0,
            free: 0,
            spare: 0,
            packed: 0,
            blocks_bytes: 0,
        }
    }

    /// By slot, the places up to where packed blocks begin.
    #[inline]
    pub(super) fn array(&self) -> &[u32] {
        &self.array
    }

    /// As [`array`](Self::array).
    #[inline]
    pub(super) fn array_mut(&mut self) -> &mut [u32] {
        &mut self.array
    }

    /// How many slots there are.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The places of the slots in use of a packed block.
    pub(super) fn block(&self, block: usize) -> &[u32] {
        &self.blocks[block]
    }

    /// As [`block`](Self::block).
    pub(super) fn block_mut(&mut self, block: usize) -> &mut [u32] {
        &mut self.blocks[block]
    }

    /// Free slots in the array.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// As [`free`](Self::free).
    pub(super) fn free_mut(&mut self) -> &mut usize {
        &mut self.free
    }

    /// What of these was found to be worth packing.
    pub(super) fn spare_mut(&mut self) -> &mut usize {
        &mut self.spare
    }

    /// Writes the place of the slot after the last.
    pub(super) fn push(&mut self, at: usize, place: u32) {
        match self.array.get_mut(at) {
            Some(there) => {
                *there = place;
                self.note_written(at + 1);
            }
            None => self.insert(at / BLOCK, self.blocks[at / BLOCK].len(), place),
        }
    }

    /// Adds a place to a packed block, as number `rank` of it.
    pub(super) fn insert(&mut self, block: usize, rank: usize, place: u32) {
        self.change(block, |places| {
            if places.len() == places.capacity() {
                places.reserve_exact(GROWTH);
            }
            places.insert(rank, place);
        });
    }

    /// Takes the place out of a packed block that is number `rank` of it.
    pub(super) fn remove(&mut self, block: usize, rank: usize) -> u32 {
        self.change(block, |places| {
            let place = places.remove(rank);
            if places.is_empty() {
                *places = Vec::new();
            } else if places.capacity() - places.len() >= 2 * GROWTH {
                places.shrink_to(places.len() + GROWTH);
            }
            place
        })
    }

    /// Packs the last block of the array, of whose slots those before `end` ever had a place.
    pub(super) fn pack(&mut self, end: usize) {
        if self.blocks.is_empty() {
            self.blocks.resize_with(self.size / BLOCK, Vec::new);
            self.blocks_bytes += self.table_bytes();
        }
        let end = end.min(self.array.len());
        self.array.truncate(end.next_multiple_of(BLOCK));
        let start = self.array.len().saturating_sub(BLOCK);
        let last = &self.array[start..end];
        let in_use = || last.iter().copied().filter(|place| *place != NOWHERE);
        let mut places = Vec::with_capacity(in_use().count());
        places.extend(in_use());
        self.free -= last.len() - places.len();
        self.array.truncate(start);
        self.change(start / BLOCK, |block| *block = places);
        if start == 0 {
            self.array = Scratch::default();
            self.written = 0;
        }
    }

    /// Takes the first packed block back into the array if it is full enough. `first` is the number of
    /// this piece's first slot.
    pub(super) fn unpack(&mut self, first: u32, free: &FreeNumbers) {
        if !self.can_unpack() {
            return;
        }
        let start = self.array.len();
        if start == 0 && self.written == 0 {
            self.array = Scratch::zeroed(self.size);
            self.array.truncate(0);
        }
        let mut places = self.change(start / BLOCK, std::mem::take).into_iter();
        self.array.extend(start + BLOCK);
        for (slot, there) in (first + start as u32..).zip(&mut self.array[start..]) {
            let place = if free.contains(slot) {
                self.free += 1;
                None
            } else {
                // There is none past the last slot.
                places.next()
            };
            *there = place.unwrap_or(NOWHERE);
        }
        self.note_written(start + BLOCK);
        if self.array.len() == self.size {
            self.blocks_bytes -= self.table_bytes();
            self.blocks = Vec::new();
        }
    }

    /// Whether the first packed block is full enough for the array.
    pub(super) fn can_unpack(&self) -> bool {
        let first = self.blocks.get(self.array.len() / BLOCK);
        first.is_some_and(|places| places.len() >= UNPACK_MIN)
    }

    /// Slots in use, of which those in the array are below `end`.
    pub(super) fn in_use(&self, end: usize) -> usize {
        self.array.len().min(end) - self.free + self.packed
    }

    /// Bytes of memory. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.written * size_of::<u32>() + self.blocks_bytes
    }

    /// Checks that what is counted on the way is what there is.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let blocks: usize = self.blocks.iter().map(block_bytes).sum();
        let is_packed = !self.blocks.is_empty();
        assert_eq!(is_packed, self.array.len() < self.size);
        let table = if is_packed { self.table_bytes() } else { 0 };
        assert_eq!(self.blocks_bytes, blocks + table);
        let packed: usize = self.blocks.iter().map(Vec::len).sum();
        assert_eq!(self.packed, packed);
        for places in &self.blocks {
            assert!(places.capacity() < places.len() + 2 * GROWTH);
        }
        let in_array = self.array.len().div_ceil(BLOCK);
        assert!(self.blocks.iter().take(in_array).all(Vec::is_empty));
    }

    fn note_written(&mut self, end: usize) {
        if end > self.written {
            let page = page_bytes(self.size * size_of::<u32>()) / size_of::<u32>();
            self.written = end.next_multiple_of(page).min(self.size);
        }
    }

    fn table_bytes(&self) -> usize {
        self.size / BLOCK * size_of::<Vec<u32>>()
    }

    fn change<T>(&mut self, block: usize, change: impl FnOnce(&mut Vec<u32>) -> T) -> T {
        let block = &mut self.blocks[block];
        self.blocks_bytes -= block_bytes(block);
        self.packed -= block.len();
        let changed = change(block);
        self.blocks_bytes += block_bytes(block);
        self.packed += block.len();
        changed
    }
}

fn block_bytes(block: &Vec<u32>) -> usize {
    match block.capacity() {
        0 => 0,
        places => places * size_of::<u32>() + ALLOCATION_BYTES,
    }
}
