//! Which chunks to empty, so that what they hold fits the others.

use super::{Chunks, GRAIN, GRAINS_MAX, Handle, capacity, split};
use crate::keymap::slab::regions::CHUNK_BYTES;

/// The chunks that are closed.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// A bit for each chunk.
    bits: Vec<u64>,
    len: usize,
}

impl Leaving {
    fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (number % 64);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, number: u32) {
        if self.contains(number) {
            self.bits[number as usize / 64] &= !(1 << (number % 64));
            self.len -= 1;
        }
    }

    fn contains(&self, number: u32) -> bool {
        let word = self.bits.get(number as usize / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

impl Chunks {
    /// What would be given back were the records of each size in as few chunks as can be, in bytes;
    /// what is on its way back included.
    pub(in crate::keymap::slab) fn spare_bytes(&self) -> usize {
        let chunks = self.spare_chunks as usize + self.leaving.len;
        (chunks * CHUNK_BYTES).min(self.memory_bytes())
    }

    /// What would be given back were the chunks in as few mappings as can be, in bytes.
    pub(in crate::keymap::slab) fn spare_mapped_bytes(&self) -> usize {
        self.regions.spare_bytes()
    }

    /// Closes for each size as many chunks as the others have room for, the emptiest first.
    pub(in crate::keymap::slab) fn close_spare(&mut self) {
        let mut by_class: [Vec<(u32, u32)>; GRAINS_MAX + 1] = std::array::from_fn(|_| Vec::new());
        for (number, chunk) in (0_u32..).zip(&self.chunks) {
            if let Some(chunk) = chunk.as_ref().filter(|chunk| !chunk.is_leaving)
                && self.classes[chunk.grains as usize].spare_chunks > 0
            {
                // Of two that hold as much, the one whose mapping may fall empty.
                by_class[chunk.grains as usize].push((chunk.live, u32::MAX - number));
            }
        }
        for (class, mut chunks) in by_class.into_iter().enumerate() {
            let spare = self.classes[class].spare_chunks as usize;
            if spare == 0 {
                continue;
            }
            if spare < chunks.len() {
                chunks.select_nth_unstable(spare);
            }
            for (_, number) in chunks.into_iter().take(spare) {
                self.close(u32::MAX - number);
            }
        }
    }

    /// Closes the chunks for which there is room in the mappings before theirs.
    pub(in crate::keymap::slab) fn close_last(&mut self) {
        let end = self.regions.packed_end();
        for number in end..self.chunks.len() as u32 {
            self.close(number);
        }
    }

    /// Whether there are chunks yet that are closed.
    pub(in crate::keymap::slab) fn has_leaving(&self) -> bool {
        self.leaving.len > 0
    }

    /// Whether a record is in a closed chunk.
    pub(in crate::keymap::slab) fn is_leaving(&self, handle: Handle) -> bool {
        self.leaving.contains(split(handle).0)
    }

    /// Moves a record, and returns where it is now. `None` where there is no room: it stays.
    pub(in crate::keymap::slab) fn relocate(&mut self, handle: Handle) -> Option<Handle> {
        let (number, _) = split(handle);
        let chunk = self.chunks[number as usize].as_ref();
        let grains = chunk.expect("a record that is in use has a chunk").grains as usize;
        let mut record = [0; GRAINS_MAX * GRAIN];
        let record = &mut record[..grains * GRAIN];
        record.copy_from_slice(&self.get(handle)[..grains * GRAIN]);
        let moved = self.allocate(grains)?;
        self.get_mut(moved)[..grains * GRAIN].copy_from_slice(record);
        self.free(handle);
        Some(moved)
    }

    /// Opens again what is closed.
    pub(in crate::keymap::slab) fn reopen(&mut self) {
        for number in 0..self.chunks.len() as u32 {
            if !self.leaving.contains(number) {
                continue;
            }
            self.leaving.remove(number);
            let chunk = self.chunks[number as usize].as_mut();
            let chunk = chunk.expect("what is closed exists");
            let grains = chunk.grains as usize;
            chunk.is_leaving = false;
            if !chunk.is_full() {
                let roomy = &mut self.classes[grains].roomy;
                chunk.roomy_at = Some(roomy.len());
                roomy.push(number);
            }
            let spare = capacity(grains) - chunk.live;
            self.count_spare(grains, i64::from(spare));
        }
    }

    /// Takes a chunk out of use: no new record goes there. Without any it is gone at once.
    pub(super) fn close(&mut self, number: u32) {
        let Some(chunk) = self.chunks[number as usize].as_mut() else {
            return;
        };
        if chunk.is_leaving {
            return;
        }
        chunk.is_leaving = true;
        let (grains, live) = (chunk.grains as usize, chunk.live);
        if let Some(at) = chunk.roomy_at.take() {
            let roomy = &mut self.classes[grains].roomy;
            roomy.swap_remove(at);
            if let Some(moved) = roomy.get(at) {
                let moved = self.chunks[*moved as usize].as_mut();
                moved.expect("a chunk that has room exists").roomy_at = Some(at);
            }
        }
        self.leaving.insert(number);
        self.count_spare(grains, i64::from(live) - i64::from(capacity(grains)));
        if live == 0 {
            self.drop_chunk(number);
        }
    }
}
