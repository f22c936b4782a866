//! The memory of chunks: a mapping for each of the first ones, and for many together from then on,
//! so that a large store lies on huge pages. A lookup there touches memory all over, and the
//! addresses of small pages would not fit the processor's cache of these.
//!
//! Memory goes back to the system mapping by mapping. The lowest vacant chunk is taken first, so
//! that the later mappings fall empty when there is less to hold.

use crate::keymap::memory::{CACHE_LINE_BYTES, HUGE_PAGE_BYTES, Memory};
use prefetch_index::prefetch_index;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a chunk takes, in bytes.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// Chunks with a mapping of their own: a small store pays page by page.
const SINGLE_CHUNKS: u32 = 64;

/// Chunks of a mapping after these: few, so that not much is kept for one that is in use.
const REGION_CHUNKS: u32 = 16;

/// The memory of chunks, by number.
#[derive(Debug, Default)]
pub(super) struct Regions {
    singles: Vec<Option<Memory>>,
    regions: Vec<Option<Region>>,
    /// Numbers below `next` that are not in use.
    vacant: BinaryHeap<Reverse<u32>>,
    /// The first number that never was in use.
    next: u32,
    /// What all regions take, in bytes.
    region_bytes: usize,
}

/// The memory of [`REGION_CHUNKS`] chunks.
#[derive(Debug)]
struct Region {
    memory: Memory,
    /// Chunks in use.
    live: u32,
    /// Chunks from here on were never written.
    unwritten: u32,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapping {
    Single(usize),
    /// Region, and chunk within it.
    Shared(usize, usize),
}

impl Regions {
    /// The number of a chunk that is free now, with what was there before. `None` where there are
    /// `chunks_max` already.
    pub(super) fn allocate(&mut self, chunks_max: u32) -> Option<u32> {
        let number = match self.vacant.pop() {
            Some(Reverse(number)) => number,
            None if self.next == chunks_max => return None,
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        match place(number) {
            Mapping::Single(at) => {
                let single = entry(&mut self.singles, at);
                *single = Some(Memory::zeroed(CHUNK_BYTES));
            }
            Mapping::Shared(at, within) => {
                let region = entry(&mut self.regions, at).get_or_insert_with(|| Region {
                    memory: Memory::zeroed(REGION_CHUNKS as usize * CHUNK_BYTES),
                    live: 0,
                    unwritten: 0,
                });
                region.live += 1;
                self.region_bytes -= region.memory_bytes();
                region.unwritten = region.unwritten.max(within as u32 + 1);
                self.region_bytes += region.memory_bytes();
            }
        }
        Some(number)
    }

    /// Gives a chunk back.
    pub(super) fn free(&mut self, number: u32) {
        self.vacant.push(Reverse(number));
        match place(number) {
            Mapping::Single(at) => self.singles[at] = None,
            Mapping::Shared(at, _) => {
                let region = self.regions[at].as_mut();
                let region = region.expect("a chunk in use has a region");
                region.live -= 1;
                if region.live == 0 {
                    self.region_bytes -= region.memory_bytes();
                    self.regions[at] = None;
                }
            }
        }
    }

    /// The bytes of a chunk in use.
    pub(super) fn chunk(&self, number: u32) -> &[u8] {
        match place(number) {
            Mapping::Single(at) => {
                let memory = self.singles[at].as_ref();
                memory.expect("a chunk in use has memory").bytes()
            }
            Mapping::Shared(at, within) => {
                let region = self.regions[at].as_ref();
                let region = region.expect("a chunk in use has a region");
                &region.memory.bytes()[within * CHUNK_BYTES..(within + 1) * CHUNK_BYTES]
            }
        }
    }

    /// The bytes of a chunk in use.
    pub(super) fn chunk_mut(&mut self, number: u32) -> &mut [u8] {
        match place(number) {
            Mapping::Single(at) => {
                let memory = self.singles[at].as_mut();
                memory.expect("a chunk in use has memory").bytes_mut()
            }
            Mapping::Shared(at, within) => {
                let region = self.regions[at].as_mut();
                let region = region.expect("a chunk in use has a region");
                &mut region.memory.bytes_mut()[within * CHUNK_BYTES..(within + 1) * CHUNK_BYTES]
            }
        }
    }

    /// Fetches a byte of a chunk and the cache line after it ahead of their use, whatever is there now.
    pub(super) fn prefetch(&self, number: u32, start: usize) {
        let (memory, start) = match place(number) {
            Mapping::Single(at) => (self.singles.get(at).and_then(Option::as_ref), start),
            Mapping::Shared(at, within) => {
                let region = self.regions.get(at).and_then(Option::as_ref);
                let memory = region.map(|region| &region.memory);
                (memory, within * CHUNK_BYTES + start)
            }
        };
        if let Some(memory) = memory {
            prefetch_index(memory.bytes(), start);
            prefetch_index(memory.bytes(), start + CACHE_LINE_BYTES);
        }
    }

    /// What the chunks take that share mappings, in bytes.
    pub(super) fn shared_bytes(&self) -> usize {
        self.region_bytes
    }

    /// What would be given back were all chunks in the lowest numbers, about, in bytes.
    pub(super) fn spare_bytes(&self) -> usize {
        let packed = (self.packed_end() - SINGLE_CHUNKS) as usize * CHUNK_BYTES;
        self.region_bytes.saturating_sub(packed)
    }

    /// Where the numbers of chunks end, if those in use were the lowest, to the end of a region.
    pub(super) fn packed_end(&self) -> u32 {
        let vacant = self.vacant.len() as u32;
        let shared = (self.next - vacant).saturating_sub(SINGLE_CHUNKS);
        SINGLE_CHUNKS + shared.next_multiple_of(REGION_CHUNKS)
    }

    /// Whether a chunk has a mapping of its own.
    pub(super) fn is_single(number: u32) -> bool {
        number < SINGLE_CHUNKS
    }
}

impl Region {
    /// Bytes of memory.
    fn memory_bytes(&self) -> usize {
        (self.unwritten as usize * CHUNK_BYTES).next_multiple_of(HUGE_PAGE_BYTES)
    }
}

fn place(number: u32) -> Mapping {
    match number.checked_sub(SINGLE_CHUNKS) {
        None => Mapping::Single(number as usize),
        Some(shared) => Mapping::Shared(
            (shared / REGION_CHUNKS) as usize,
            (shared % REGION_CHUNKS) as usize,
        ),
    }
}

/// The entry of a list that grows as needed.
fn entry<T>(list: &mut Vec<Option<T>>, at: usize) -> &mut Option<T> {
    if list.len() <= at {
        list.resize_with(at + 1, || None);
    }
    &mut list[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_their_bytes_and_what_is_empty_is_given_back() {
        let mut regions = Regions::default();
        let count = SINGLE_CHUNKS + 2 * REGION_CHUNKS + 3;
        for number in 0..count {
            assert_eq!(regions.allocate(count), Some(number));
            regions.chunk_mut(number)[0] = number as u8;
            regions.chunk_mut(number)[CHUNK_BYTES - 1] = number as u8;
        }
        assert_eq!(
            regions.allocate(count),
            None,
            "there are as many as allowed"
        );
        for number in 0..count {
            let chunk = regions.chunk(number);
            assert_eq!(chunk.len(), CHUNK_BYTES);
            assert_eq!([chunk[0], chunk[CHUNK_BYTES - 1]], [number as u8; 2]);
            regions.prefetch(number, CHUNK_BYTES - 1);
        }
        let full = regions.shared_bytes();
        let two = 2 * REGION_CHUNKS as usize * CHUNK_BYTES;
        assert_eq!(full, two + HUGE_PAGE_BYTES);
        (SINGLE_CHUNKS..SINGLE_CHUNKS + 2).for_each(|number| regions.free(number));
        assert_eq!(regions.shared_bytes(), full, "the region is in use");
        for number in SINGLE_CHUNKS..SINGLE_CHUNKS + 2 {
            assert_eq!(regions.allocate(count), Some(number));
        }
        // The lowest are taken again first, and the last region goes.
        (SINGLE_CHUNKS..count).for_each(|number| regions.free(number));
        assert_eq!(regions.shared_bytes(), 0);
        regions.prefetch(count - 1, 0);
        assert_eq!(regions.allocate(count), Some(SINGLE_CHUNKS));
        assert_eq!(regions.shared_bytes(), HUGE_PAGE_BYTES);
        regions.free(0);
        regions.prefetch(0, 0);
        assert_eq!(regions.allocate(count), Some(0));
        assert_eq!(regions.chunk(0)[0], 0, "what was given back comes as zeros");
    }
}
