//! Records of a few sizes, packed into chunks of memory, with one chunk for each size at a time.
//!
//! Chunks can be closed: they give no more records out, and are given back once the last of theirs is
//! freed, or moved elsewhere.
//!
//! Source: Bonwick, "The Slab Allocator" (1994): a chunk holds records of one size, its free
//! records form a list inside it, and it is given back when its last record is freed.

mod leaving;

use super::regions::{CHUNK_BYTES, Regions};
use crate::keymap::memory::PAGE_BYTES;
use leaving::Leaving;

/// What sizes of records are multiples of, in bytes.
pub(super) const GRAIN: usize = 8;

/// The largest record, in grains.
pub(super) const GRAINS_MAX: usize = 35;

/// The bits of a handle that say at which grain of its chunk a record begins.
const START_BITS: u32 = (CHUNK_BYTES / GRAIN).trailing_zeros();

/// The bits of a handle.
const HANDLE_BITS: u32 = 31;

/// As many chunks as handles can name.
const CHUNKS_MAX: u32 = 1 << (HANDLE_BITS - START_BITS);

/// The end of a list of free records.
const NO_RECORD: u32 = u32::MAX;

/// Where a record is: 31 bits, the chunk and the grain in it. So a record is found without knowing
/// the size of its chunk's records.
pub(super) type Handle = u32;

/// Records by handle.
#[derive(Debug)]
pub(super) struct Chunks {
    regions: Regions,
    chunks: Vec<Option<Chunk>>,
    /// By the size of records, in grains.
    classes: [Class; GRAINS_MAX + 1],
    /// The whole spare chunks of all sizes.
    spare_chunks: u32,
    leaving: Leaving,
    /// What the chunks take that have mappings of their own, in bytes.
    single_bytes: usize,
}

/// The chunks of one size.
#[derive(Debug, Default)]
struct Class {
    /// Those that have room.
    roomy: Vec<u32>,
    /// As many chunks hold nothing but free records, were records as close as can be.
    spare_chunks: u32,
    /// Free records besides these.
    spare_records: u32,
}

/// What is known of a chunk besides its bytes. Records and the places of records are in grains.
#[derive(Debug)]
struct Chunk {
    /// What a record takes.
    grains: u32,
    /// Records in use.
    live: u32,
    /// From here on there never was a record.
    unwritten: u32,
    /// The first of the free records before `unwritten`; each holds the place of the next.
    free: u32,
    /// Where it is in the list of those that have room.
    roomy_at: Option<usize>,
    /// Whether it is closed.
    is_leaving: bool,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            regions: Regions::default(),
            chunks: Vec::new(),
            classes: std::array::from_fn(|_| Class::default()),
            spare_chunks: 0,
            leaving: Leaving::default(),
            single_bytes: 0,
        }
    }
}

impl Chunks {
    /// A record of so many grains, 1 to [`GRAINS_MAX`], with what was there before. `None` where
    /// handles have no more bits for it.
    pub(super) fn allocate(&mut self, grains: usize) -> Option<Handle> {
        let number = match self.classes[grains].roomy.last() {
            Some(number) => *number,
            None => self.add_chunk(grains)?,
        };
        let chunk = self.chunks[number as usize].as_mut();
        let chunk = chunk.expect("a chunk that has room exists");
        let before = chunk.written_bytes();
        let start = chunk.take(self.regions.chunk(number));
        if Regions::is_single(number) {
            self.single_bytes += chunk.written_bytes() - before;
        }
        let class = &mut self.classes[grains];
        if chunk.is_full() {
            chunk.roomy_at = None;
            class.roomy.pop();
        }
        if class.spare_records == 0 {
            class.spare_records = capacity(grains) - 1;
            class.spare_chunks -= 1;
            self.spare_chunks -= 1;
        } else {
            class.spare_records -= 1;
        }
        Some(number << START_BITS | start)
    }

    /// Frees a record. A chunk that becomes empty is given back, unless it is the only one of its
    /// size that has room: the next record would need it again.
    pub(super) fn free(&mut self, handle: Handle) {
        let (number, start) = split(handle);
        let chunk = self.chunks[number as usize].as_mut();
        let chunk = chunk.expect("a record that is in use has a chunk");
        chunk.put(start as u32, self.regions.chunk_mut(number));
        if chunk.is_leaving {
            if chunk.live == 0 {
                self.drop_chunk(number);
            }
            return;
        }
        let grains = chunk.grains as usize;
        let class = &mut self.classes[grains];
        let has_others = class.roomy.len() > 1;
        match chunk.roomy_at {
            None => {
                chunk.roomy_at = Some(class.roomy.len());
                class.roomy.push(number);
            }
            Some(_) if chunk.live == 0 && has_others => {
                self.count_spare(grains, 1);
                return self.close(number);
            }
            Some(_) => {}
        }
        class.spare_records += 1;
        if class.spare_records == capacity(grains) {
            class.spare_records = 0;
            class.spare_chunks += 1;
            self.spare_chunks += 1;
        }
    }

    /// The bytes from the beginning of a record to the end of its chunk.
    pub(super) fn get(&self, handle: Handle) -> &[u8] {
        let (number, start) = split(handle);
        &self.regions.chunk(number)[start * GRAIN..]
    }

    /// The bytes from the beginning of a record to the end of its chunk.
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let (number, start) = split(handle);
        &mut self.regions.chunk_mut(number)[start * GRAIN..]
    }

    /// Fetches a record ahead of its use. Of use only, but harmless, where there is no such record any
    /// more.
    pub(super) fn prefetch(&self, handle: Handle) {
        let (number, start) = split(handle);
        self.regions.prefetch(number, start * GRAIN);
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.single_bytes + self.regions.shared_bytes()
    }

    fn add_chunk(&mut self, grains: usize) -> Option<u32> {
        let number = self.regions.allocate(CHUNKS_MAX)?;
        let at = number as usize;
        if self.chunks.len() <= at {
            self.chunks.resize_with(at + 1, || None);
        }
        let roomy = &mut self.classes[grains].roomy;
        self.chunks[at] = Some(Chunk {
            grains: grains as u32,
            live: 0,
            unwritten: 0,
            free: NO_RECORD,
            roomy_at: Some(roomy.len()),
            is_leaving: false,
        });
        roomy.push(number);
        self.count_spare(grains, i64::from(capacity(grains)));
        Some(number)
    }

    /// Counts more free records of a size, or fewer.
    fn count_spare(&mut self, grains: usize, more: i64) {
        let class = &mut self.classes[grains];
        let capacity = i64::from(capacity(grains));
        let before = class.spare_chunks;
        let spare = i64::from(before) * capacity + i64::from(class.spare_records) + more;
        debug_assert!(spare >= 0, "what is counted off was counted");
        class.spare_chunks = (spare / capacity) as u32;
        class.spare_records = (spare % capacity) as u32;
        self.spare_chunks = self.spare_chunks - before + class.spare_chunks;
    }

    /// Gives back a closed chunk that has no records.
    fn drop_chunk(&mut self, number: u32) {
        let Some(chunk) = self.chunks[number as usize].take() else {
            return;
        };
        self.leaving.remove(number);
        self.regions.free(number);
        if Regions::is_single(number) {
            self.single_bytes -= chunk.written_bytes();
        }
    }
}

/// How many records of so many grains a chunk holds.
fn capacity(grains: usize) -> u32 {
    (CHUNK_BYTES / GRAIN / grains) as u32
}

/// The chunk of a handle, and the grain in it.
fn split(handle: Handle) -> (u32, usize) {
    let start = handle & ((1 << START_BITS) - 1);
    (handle >> START_BITS, start as usize)
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.free == NO_RECORD && (self.unwritten + self.grains) as usize * GRAIN > CHUNK_BYTES
    }

    /// Takes a free record. `memory` is this chunk's.
    fn take(&mut self, memory: &[u8]) -> u32 {
        self.live += 1;
        if self.free == NO_RECORD {
            self.unwritten += self.grains;
            return self.unwritten - self.grains;
        }
        let start = self.free;
        let next = memory[start as usize * GRAIN..].first_chunk();
        self.free = u32::from_le_bytes(*next.expect("a record holds eight bytes at least"));
        start
    }

    fn put(&mut self, start: u32, memory: &mut [u8]) {
        self.live -= 1;
        let next = self.free.to_le_bytes();
        memory[start as usize * GRAIN..][..next.len()].copy_from_slice(&next);
        self.free = start;
    }

    /// The pages that were written, in bytes.
    fn written_bytes(&self) -> usize {
        (self.unwritten as usize * GRAIN).next_multiple_of(PAGE_BYTES)
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
                    prop_assert_eq!(&chunks.get(handle)[..bytes.len()], bytes);
                    chunks.free(handle);
                } else {
                    // Records of 280 bytes, so that chunks fill up.
                    for _ in 0..if grains == GRAINS_MAX { 100 } else { 1 } {
                        let handle = chunks.allocate(grains).unwrap();
                        let bytes = vec![number as u8; grains * GRAIN];
                        chunks.get_mut(handle)[..bytes.len()].copy_from_slice(&bytes);
                        records.push((handle, bytes));
                    }
                }
            }
            for (handle, bytes) in &records {
                prop_assert_eq!(&chunks.get(*handle)[..bytes.len()], bytes);
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
