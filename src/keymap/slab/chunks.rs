//! Records of a few sizes, packed into chunks of memory, with one chunk for each size at a time.
//!
//! Source: Bonwick, "The Slab Allocator" (1994): a chunk holds records of one size, its free
//! records form a list inside it, and it is given back when its last record is freed.

use crate::keymap::memory::{Memory, PAGE_BYTES};

/// What sizes of records are multiples of, in bytes.
pub(super) const GRAIN: usize = 8;

/// The largest record, in grains.
pub(super) const GRAINS_MAX: usize = 33;

/// What a chunk takes, in bytes. Of a new one only the pages that are written take memory.
const CHUNK_BYTES: usize = 256 * 1024;

/// The bits of a handle that say which record of a chunk is meant.
const RECORD_BITS: u32 = (CHUNK_BYTES / GRAIN).trailing_zeros();

/// The bits of a handle.
const HANDLE_BITS: u32 = 31;

/// The end of a list of free records.
const NONE: u32 = u32::MAX;

/// Where a record is: 31 bits, the chunk and the record within it.
pub(super) type Handle = u32;

/// Records by handle.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Vec<Option<Chunk>>,
    /// Places in `chunks` that are free.
    vacant: Vec<u32>,
    /// For each size the chunks that have room.
    roomy: [Vec<u32>; GRAINS_MAX + 1],
    memory_bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    memory: Memory,
    grains: usize,
    /// Records in use.
    live: u32,
    /// Records from here on were never used.
    fresh: u32,
    /// The first of the free records before `fresh`; each holds the number of the next.
    free: u32,
    /// Where it is in the list of those that have room.
    roomy_at: Option<usize>,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            vacant: Vec::new(),
            roomy: [const { Vec::new() }; GRAINS_MAX + 1],
            memory_bytes: 0,
        }
    }
}

impl Chunks {
    /// A record of so many grains, 1 to [`GRAINS_MAX`], with what was there before. `None` where
    /// handles have no more bits for it.
    pub(super) fn allocate(&mut self, grains: usize) -> Option<Handle> {
        let index = match self.roomy[grains].last() {
            Some(index) => *index,
            None => self.add_chunk(grains)?,
        };
        let chunk = self.chunks[index as usize].as_mut();
        let chunk = chunk.expect("a chunk that has room exists");
        let before = chunk.memory_bytes();
        let record = chunk.take();
        self.memory_bytes += chunk.memory_bytes() - before;
        if chunk.is_full() {
            chunk.roomy_at = None;
            self.roomy[grains].pop();
        }
        Some(index << RECORD_BITS | record)
    }

    /// Frees a record. A chunk that becomes empty is given back, unless it is the only one of its
    /// size that has room: the next record would need it again.
    pub(super) fn free(&mut self, handle: Handle) {
        let index = handle >> RECORD_BITS;
        let chunk = self.chunk_mut(handle);
        chunk.put(handle & ((1 << RECORD_BITS) - 1));
        let (grains, is_empty) = (chunk.grains, chunk.live == 0);
        let roomy_at = chunk.roomy_at;
        match roomy_at {
            None => {
                let at = self.roomy[grains].len();
                self.chunk_mut(handle).roomy_at = Some(at);
                self.roomy[grains].push(index);
            }
            Some(at) if is_empty && self.roomy[grains].len() > 1 => self.drop_chunk(index, at),
            Some(_) => {}
        }
    }

    /// The bytes of a record.
    pub(super) fn get(&self, handle: Handle) -> &[u8] {
        let chunk = self.chunks[(handle >> RECORD_BITS) as usize].as_ref();
        let chunk = chunk.expect("a record that is in use has a chunk");
        let range = chunk.range(handle & ((1 << RECORD_BITS) - 1));
        &chunk.memory.bytes()[range]
    }

    /// The bytes of a record.
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let chunk = self.chunk_mut(handle);
        let range = chunk.range(handle & ((1 << RECORD_BITS) - 1));
        &mut chunk.memory.bytes_mut()[range]
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn chunk_mut(&mut self, handle: Handle) -> &mut Chunk {
        let chunk = self.chunks[(handle >> RECORD_BITS) as usize].as_mut();
        chunk.expect("a record that is in use has a chunk")
    }

    fn add_chunk(&mut self, grains: usize) -> Option<u32> {
        let chunk = Chunk {
            memory: Memory::zeroed(CHUNK_BYTES),
            grains,
            live: 0,
            fresh: 0,
            free: NONE,
            roomy_at: Some(self.roomy[grains].len()),
        };
        let index = match self.vacant.pop() {
            Some(index) => {
                self.chunks[index as usize] = Some(chunk);
                index
            }
            None => {
                let index = u32::try_from(self.chunks.len()).ok()?;
                if index >> (HANDLE_BITS - RECORD_BITS) > 0 {
                    return None;
                }
                self.chunks.push(Some(chunk));
                index
            }
        };
        self.roomy[grains].push(index);
        Some(index)
    }

    fn drop_chunk(&mut self, index: u32, roomy_at: usize) {
        let Some(chunk) = self.chunks[index as usize].take() else {
            return;
        };
        self.memory_bytes -= chunk.memory_bytes();
        self.vacant.push(index);
        let roomy = &mut self.roomy[chunk.grains];
        roomy.swap_remove(roomy_at);
        if let Some(moved) = roomy.get(roomy_at) {
            let moved = self.chunks[*moved as usize].as_mut();
            moved.expect("a chunk that has room exists").roomy_at = Some(roomy_at);
        }
    }
}

impl Chunk {
    fn range(&self, record: u32) -> std::ops::Range<usize> {
        let bytes = self.grains * GRAIN;
        let start = record as usize * bytes;
        start..start + bytes
    }

    fn is_full(&self) -> bool {
        self.free == NONE && self.range(self.fresh).end > CHUNK_BYTES
    }

    fn take(&mut self) -> u32 {
        self.live += 1;
        if self.free == NONE {
            self.fresh += 1;
            return self.fresh - 1;
        }
        let record = self.free;
        let range = self.range(record);
        let next = self.memory.bytes()[range].first_chunk();
        self.free = u32::from_le_bytes(*next.expect("a record holds eight bytes at least"));
        record
    }

    fn put(&mut self, record: u32) {
        self.live -= 1;
        let next = self.free.to_le_bytes();
        let range = self.range(record);
        self.memory.bytes_mut()[range][..next.len()].copy_from_slice(&next);
        self.free = record;
    }

    /// Bytes of memory: the pages that were written.
    fn memory_bytes(&self) -> usize {
        (self.fresh as usize * self.grains * GRAIN).next_multiple_of(PAGE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_keep_their_bytes_and_empty_chunks_go(
            steps in prop::collection::vec((1..=GRAINS_MAX, any::<prop::sample::Index>(), 0_u8..4), 1..2000),
        ) {
            let mut chunks = Chunks::default();
            let mut records: Vec<(Handle, Vec<u8>)> = Vec::new();
            for (number, (grains, at, kind)) in steps.into_iter().enumerate() {
                if kind == 0 && !records.is_empty() {
                    let (handle, bytes) = records.swap_remove(at.index(records.len()));
                    prop_assert_eq!(chunks.get(handle), bytes);
                    chunks.free(handle);
                } else {
                    // Records of 264 bytes, so that chunks fill up.
                    for _ in 0..if grains == GRAINS_MAX { 100 } else { 1 } {
                        let handle = chunks.allocate(grains).unwrap();
                        let bytes = vec![number as u8; grains * GRAIN];
                        chunks.get_mut(handle).copy_from_slice(&bytes);
                        records.push((handle, bytes));
                    }
                }
            }
            for (handle, bytes) in &records {
                prop_assert_eq!(chunks.get(*handle), bytes);
            }
            records.iter().for_each(|(handle, _)| chunks.free(*handle));
            let left = chunks.chunks.iter().flatten();
            prop_assert!(left.clone().all(|chunk| chunk.live == 0));
            prop_assert!(left.count() <= GRAINS_MAX, "one chunk of a size is kept");
        }
    }

    #[test]
    fn freed_records_are_used_again() {
        let mut chunks = Chunks::default();
        let mut held: Vec<Handle> = (0..50_000).map(|_| chunks.allocate(5).unwrap()).collect();
        let bytes = chunks.memory_bytes();
        for step in 0..1_000_000_usize {
            let at = step * 7919 % held.len();
            chunks.free(held[at]);
            held[at] = chunks.allocate(5).unwrap();
        }
        assert_eq!(chunks.memory_bytes(), bytes);
    }
}
