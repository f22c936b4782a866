//! Values that are no records, by place.

use super::numbers::FreeNumbers;
use crate::model::Value;
use bytes::Bytes;

/// Places are allocated by so many.
const BLOCK: usize = 256;

/// What places of a block take, in bytes.
const BLOCK_BYTES: usize = BLOCK * size_of::<Option<Value>>();

/// What the allocator adds to a body, and what sharing it takes, in bytes.
const BODY_BYTES: usize = 16;

/// The longest body that shares pages of the allocator with others, in bytes.
const REWRITTEN_MAX: usize = 64 * 1024;

/// How many free places are taken off the end with each that is freed.
const TRIM_STEPS: usize = 16;

/// A list of values of which the lowest free place is used first.
#[derive(Debug, Default)]
pub(super) struct LargeValues {
    /// All but the last are full of places, which may be free.
    blocks: Vec<Vec<Option<Value>>>,
    free: FreeNumbers,
    len: usize,
    body_bytes: usize,
    /// The most that bodies took since they were written anew, in bytes: what is between is with the
    /// allocator, in pieces among them.
    peak_bytes: usize,
}

impl LargeValues {
    /// The value at a place in use.
    pub(super) fn get(&self, at: u32) -> &Value {
        let at = at as usize;
        let value = self.blocks[at / BLOCK][at % BLOCK].as_ref();
        value.expect("a live key's slot holds its value")
    }

    /// Puts a value in a free place, which is below `places_max`.
    ///
    /// # Panics
    /// Where there is none.
    pub(super) fn insert(&mut self, value: Value, places_max: u32) -> u32 {
        let bytes = value.body.len() + BODY_BYTES;
        let at = match self.free.lowest() {
            Some(at) => {
                self.free.take(at);
                *self.place(at) = Some(value);
                at
            }
            None => {
                let at = u32::try_from(self.places()).ok();
                let at = at.filter(|at| *at < places_max);
                let at = at.expect("a key map holds fewer than 2^31 - 1 large values");
                if self.places().is_multiple_of(BLOCK) {
                    self.blocks.push(Vec::with_capacity(BLOCK));
                }
                let last = self.blocks.last_mut().expect("there is one, or was added");
                last.push(Some(value));
                at
            }
        };
        // Counted last: what panics above has changed nothing that is counted.
        self.len += 1;
        self.body_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.body_bytes);
        at
    }

    /// Takes a value out of its place.
    pub(super) fn remove(&mut self, at: u32) {
        let Some(value) = self.place(at).take() else {
            unreachable!("a live key's slot holds its value");
        };
        self.len -= 1;
        self.body_bytes -= value.body.len() + BODY_BYTES;
        self.free.put(at);
        self.trim(TRIM_STEPS);
    }

    /// Moves a value to the lowest free place, where that is lower, and returns its place.
    pub(super) fn lower(&mut self, at: u32) -> u32 {
        let Some(lowest) = self.free.lowest().filter(|lowest| *lowest < at) else {
            return at;
        };
        self.free.take(lowest);
        let value = self.place(at).take();
        *self.place(lowest) = value;
        self.free.put(at);
        self.trim(TRIM_STEPS);
        lowest
    }

    /// Writes a body anew, to where the allocator has room among others, so that pages of it fall empty.
    /// Those of their own pages do not need that. Returns what was written, in bytes.
    pub(super) fn rewrite(&mut self, at: u32) -> usize {
        match self.place(at) {
            Some(value) if value.body.len() <= REWRITTEN_MAX => {
                value.body = Bytes::copy_from_slice(&value.body);
                value.body.len()
            }
            _ => 0,
        }
    }

    /// What follows when all bodies were written anew.
    pub(super) fn forget_peak(&mut self) {
        self.peak_bytes = self.body_bytes;
    }

    /// What the allocator keeps of bodies that are gone, at the most, in bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.peak_bytes - self.body_bytes
    }

    /// Where places end if all values were in the lowest ones, to the end of a block.
    pub(super) fn packed_end(&self) -> usize {
        self.len.next_multiple_of(BLOCK)
    }

    /// What would be given back were all values in the lowest places, in bytes.
    pub(super) fn spare_bytes(&self) -> usize {
        (self.blocks.len() - self.len.div_ceil(BLOCK)) * BLOCK_BYTES
    }

    /// Bytes of memory; that of bodies is estimated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES + self.free.memory_bytes() + self.body_bytes
    }

    /// How many places there are.
    fn places(&self) -> usize {
        match self.blocks.last() {
            Some(last) => (self.blocks.len() - 1) * BLOCK + last.len(),
            None => 0,
        }
    }

    fn place(&mut self, at: u32) -> &mut Option<Value> {
        let at = at as usize;
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }

    /// Takes free places off the end, so many at the most.
    pub(super) fn trim(&mut self, count: usize) {
        for _ in 0..count {
            let Some(last) = self.blocks.last_mut() else {
                break;
            };
            if !matches!(last.last(), Some(None)) {
                break;
            }
            last.pop();
            let is_empty = last.is_empty();
            let end = self.places() as u32;
            self.free.take(end);
            if is_empty {
                self.blocks.pop();
                self.free.shrink(end as usize);
            }
        }
        if self.len == 0 {
            *self = Self::default();
        }
    }
}
