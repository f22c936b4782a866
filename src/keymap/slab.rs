//! Values by slot number.
//!
//! A slot leads to a record of eight bytes more than the body: which content type, how long, and
//! which revision. Bodies over 255 bytes are shared with their readers, and so are the few values that
//! a record has no room for. Growth never copies what is there.

mod bodies;
mod changes;
mod chunks;
mod compaction;
mod image;
mod large;
mod numbers;
mod places;
mod regions;
mod types;

use crate::model::{ContentType, Revision, Value};
use bytes::Bytes;
pub(super) use changes::Changes;
pub use changes::RANGE_SLOTS;
use chunks::{Chunks, GRAIN, Handle};
pub use compaction::Need;
use compaction::Pass;
pub use image::{SlotValue, SlotValues};
use large::LargeValues;
use places::Places;
use types::Types;

/// The bytes of a record before the body: type, length, and six of the revision.
const HEAD_BYTES: usize = 8;

/// The revisions that a record can hold, counted from the slab's first.
const REVISIONS: u64 = 1 << 48;

/// The bit of a slot's place that says that its value is a large one.
const LARGE: u32 = 1 << 31;

/// The place of a free slot, and the slot of no value: neither a record nor a large value is there.
const NOWHERE: u32 = u32::MAX;

/// How many free slots are taken off the end with each that is freed.
const TRIM_STEPS: usize = 16;

/// What is known of a value without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which change made it.
    pub revision: Revision,
    /// How long its body is.
    pub body_bytes: usize,
}

/// A growing list of values whose free slots are used again, the lowest first.
#[derive(Debug, Default)]
pub(super) struct Slab {
    /// By slot, where its value is.
    places: Places,
    len: usize,
    records: Chunks,
    large: LargeValues,
    /// The revision that records count from.
    first_revision: u64,
    types: Types,
    changes: Changes,
    pass: Option<Pass>,
    /// What of records could not be had back when it was tried last, in bytes.
    stuck_bytes: usize,
}

/// A value whose parts are elsewhere.
#[derive(Clone, Copy, Debug)]
struct Borrowed<'a> {
    content_type: &'a ContentType,
    body: &'a [u8],
    revision: Revision,
}

impl<'a> From<&'a Value> for Borrowed<'a> {
    fn from(value: &'a Value) -> Self {
        Self {
            content_type: &value.content_type,
            body: &value.body,
            revision: value.revision,
        }
    }
}

impl Slab {
    /// The value of a slot that holds one. A body up to 255 bytes is copied.
    pub(super) fn get(&self, slot: u32) -> Value {
        debug_assert!(self.is_used(slot), "a live key's slot holds its value");
        let place = self.places.get(slot);
        if place & LARGE != 0 {
            return self.large.get(place & !LARGE).clone();
        }
        let record = self.records.get(place);
        let [content_type, len, revision @ ..] = head(record);
        let body = &record[HEAD_BYTES..HEAD_BYTES + usize::from(len)];
        Value {
            content_type: self.types.get(content_type).clone(),
            body: Bytes::copy_from_slice(body),
            revision: self.revision(revision),
        }
    }

    fn revision(&self, [a, b, c, d, e, f]: [u8; 6]) -> Revision {
        let offset = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        Revision(self.first_revision.wrapping_add(offset))
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether a slot, any number, holds a value. O(1), and touches no value.
    pub(super) fn is_used(&self, slot: u32) -> bool {
        self.places.is_used(slot)
    }

    /// What is known of the value of a slot that holds one, without its body.
    pub(super) fn head(&self, slot: u32) -> Head {
        let place = self.places.get(slot);
        if place & LARGE != 0 {
            let value = self.large.get(place & !LARGE);
            return Head {
                revision: value.revision,
                body_bytes: value.body.len(),
            };
        }
        let [_, len, revision @ ..] = head(self.records.get(place));
        Head {
            revision: self.revision(revision),
            body_bytes: usize::from(len),
        }
    }

    /// Fetches where a slot's value is ahead of its use.
    pub(super) fn prefetch_place(&self, slot: u32) {
        self.places.prefetch(slot);
    }

    /// Fetches a slot's value ahead of its use, whatever is in the slot.
    pub(super) fn prefetch(&self, slot: u32) {
        if let Some(place) = self.places.look(slot)
            && place & LARGE == 0
        {
            self.records.prefetch(place);
        }
    }

    /// Puts a value into a free slot.
    ///
    /// # Panics
    /// Where there is none, and nothing has changed then.
    pub(super) fn insert(&mut self, value: Value) -> u32 {
        let slot = self.places.next_slot();
        let slot = slot.expect("a key map holds fewer than 2^32 - 1 values");
        if self.len == 0 {
            self.first_revision = value.revision.0;
        }
        let place = self.store(value);
        self.places.fill(slot, place);
        self.len += 1;
        self.changes.note(slot);
        slot
    }

    /// Puts a value in the place of another.
    pub(super) fn replace(&mut self, slot: u32, value: Value) {
        self.changes.note(slot);
        let place = self.places.get(slot);
        if place & LARGE == 0 && self.overwrite(place, &value) {
            return;
        }
        // The new one first: were there a panic, the old one is still there.
        let place = self.store(value);
        let old = self.places.replace(slot, place);
        self.discard(old);
    }

    /// Takes the value out of a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        self.changes.note(slot);
        let old = self.places.free(slot);
        self.discard(old);
        self.len -= 1;
        if self.len == 0 {
            // What of large values is still read stays counted.
            let large = std::mem::take(&mut self.large);
            let changes = std::mem::take(&mut self.changes);
            *self = Self {
                large,
                changes,
                ..Self::default()
            };
            return;
        }
        self.places.trim(TRIM_STEPS);
    }

    /// Bytes of memory; those of large values are estimated.
    pub(super) fn heap_bytes(&self) -> usize {
        self.places.memory_bytes() + self.records.memory_bytes() + self.large.memory_bytes()
    }

    /// Keeps a value, and returns where.
    fn store(&mut self, value: Value) -> u32 {
        match self.store_record(&Borrowed::from(&value)) {
            Some(place) => place,
            None => self.store_large(value),
        }
    }

    fn store_large(&mut self, value: Value) -> u32 {
        self.large.insert(value, NOWHERE & !LARGE) | LARGE
    }

    /// Keeps a value as a record; `None` where it is too large or too strange for one, or there are as
    /// many as can be.
    fn store_record(&mut self, value: &Borrowed<'_>) -> Option<Handle> {
        let (len, offset) = self.measure(value)?;
        let number = self.types.hold(value.content_type)?;
        let Some(place) = self.records.allocate(grains_for(usize::from(len))) else {
            self.types.release(number);
            return None;
        };
        write(
            self.records.get_mut(place),
            head_of(number, len, offset),
            value.body,
        );
        Some(place)
    }

    /// Writes a value over a record of the same size; `false` where that cannot be.
    fn overwrite(&mut self, place: Handle, value: &Value) -> bool {
        let [old, old_len, ..] = head(self.records.get(place));
        let Some((len, offset)) = self.measure(&value.into()) else {
            return false;
        };
        if grains_for(usize::from(len)) != grains_for(usize::from(old_len)) {
            return false;
        }
        let number = if *self.types.get(old) == value.content_type {
            old
        } else {
            let Some(number) = self.types.hold(&value.content_type) else {
                return false;
            };
            self.types.release(old);
            number
        };
        write(
            self.records.get_mut(place),
            head_of(number, len, offset),
            &value.body,
        );
        true
    }

    fn discard(&mut self, place: u32) {
        if place & LARGE == 0 {
            let [number, ..] = head(self.records.get(place));
            self.types.release(number);
            self.records.free(place);
        } else {
            self.large.remove(place & !LARGE);
        }
    }

    /// The length of a value's body and its revision as records hold them; `None` where they do not.
    fn measure(&self, value: &Borrowed<'_>) -> Option<(u8, u64)> {
        let len = u8::try_from(value.body.len()).ok()?;
        let offset = value.revision.0.wrapping_sub(self.first_revision);
        (offset < REVISIONS).then_some((len, offset))
    }
}

/// How many grains the record of a body takes.
fn grains_for(body_bytes: usize) -> usize {
    (HEAD_BYTES + body_bytes).div_ceil(GRAIN)
}

fn head(record: &[u8]) -> [u8; HEAD_BYTES] {
    *record.first_chunk().expect("a record begins with a head")
}

fn head_of(number: u8, len: u8, offset: u64) -> [u8; HEAD_BYTES] {
    let [a, b, c, d, e, f, _, _] = offset.to_le_bytes();
    [number, len, a, b, c, d, e, f]
}

fn write(record: &mut [u8], head: [u8; HEAD_BYTES], body: &[u8]) {
    record[..HEAD_BYTES].copy_from_slice(&head);
    record[HEAD_BYTES..HEAD_BYTES + body.len()].copy_from_slice(body);
}

#[cfg(test)]
mod tests;
