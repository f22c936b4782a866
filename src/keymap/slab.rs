//! Values by slot number.

use crate::model::Value;

/// Slots are allocated by so many, so that growth never copies what is there.
const CHUNK_SLOTS: usize = 4096;

/// What a slot takes besides the body of its value, in bytes.
const SLOT_BYTES: usize = size_of::<Option<Value>>();

/// What the allocator adds to a body, and what sharing it takes, in bytes.
const BODY_BYTES: usize = 16;

/// A growing list of values whose free slots are used again.
#[derive(Debug, Default)]
pub(super) struct Slab {
    chunks: Vec<Vec<Option<Value>>>,
    free: Vec<u32>,
    len: usize,
    body_bytes: usize,
}

impl Slab {
    pub(super) fn get(&self, slot: u32) -> &Value {
        let slot = slot as usize;
        let value = self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS].as_ref();
        value.expect("a live key's slot holds its value")
    }

    /// Puts a value into a free slot.
    pub(super) fn insert(&mut self, value: Value) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        self.body_bytes += body_bytes(&value);
        self.len += 1;
        *self.slot(slot) = Some(value);
        slot
    }

    pub(super) fn replace(&mut self, slot: u32, value: Value) {
        self.body_bytes += body_bytes(&value);
        let old = self.slot(slot).replace(value);
        self.body_bytes -= old.as_ref().map_or(0, body_bytes);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let old = self.slot(slot).take();
        self.body_bytes -= old.as_ref().map_or(0, body_bytes);
        self.len -= 1;
        self.free.push(slot);
        if self.len == 0 {
            *self = Self::default();
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let slots = self.chunks.len() * CHUNK_SLOTS * SLOT_BYTES;
        slots + self.free.capacity() * size_of::<u32>() + self.body_bytes
    }

    fn slot(&mut self, slot: u32) -> &mut Option<Value> {
        let slot = slot as usize;
        &mut self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS]
    }

    /// Adds an empty slot.
    fn grow(&mut self) -> u32 {
        if self
            .chunks
            .last()
            .is_none_or(|last| last.len() == CHUNK_SLOTS)
        {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let before = (self.chunks.len() - 1) * CHUNK_SLOTS;
        let last = self.chunks.last_mut().expect("a chunk was added above");
        last.push(None);
        let slot = u32::try_from(before + last.len() - 1);
        slot.expect("a key map holds fewer than 2^32 values")
    }
}

/// What the body of a value takes on the heap.
fn body_bytes(value: &Value) -> usize {
    value.body.len() + BODY_BYTES
}
