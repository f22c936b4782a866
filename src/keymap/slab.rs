//! Values by slot number.
//!
//! A slot leads to a record of eight bytes more than the body: which content type, how long, and
//! which revision; twelve more where the value ends. Bodies over 255 bytes are shared with their readers,
//! and so are the few values that a record has no room for. Growth never copies what is there.
//!
//! Which slots' values end when is in a schedule, with an entry of twelve bytes for each, and a few of no use.

mod bodies;
mod changes;
mod chunks;
mod compaction;
mod ends;
mod image;
mod large;
mod numbers;
mod places;
mod record;
mod regions;
mod schedule;
mod types;

use super::hash::KeyHash;
use crate::model::{ContentType, Deadline, Revision, Value};
use bytes::Bytes;
pub(super) use changes::Changes;
pub use changes::RANGE_SLOTS;
use chunks::{Chunks, Handle};
pub use compaction::Need;
use compaction::Pass;
pub(super) use ends::Due;
pub use image::{SlotValue, SlotValues};
use large::LargeValues;
use places::Places;
pub use record::End;
use record::{REVISIONS, RecordHead, grains};
use schedule::Schedule;
use types::{Span, Types};

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
    /// When it ends, if ever.
    pub expires_at: Option<Deadline>,
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
    /// When the values end that do, at the latest.
    schedule: Schedule,
    /// How many do.
    ending: usize,
    pass: Option<Pass>,
    /// What of records could not be had back when it was tried last, in bytes.
    stuck_bytes: usize,
}

/// A value, and where it ends, its key's hash.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) hash: KeyHash,
}

/// A value whose parts are elsewhere.
#[derive(Clone, Copy, Debug)]
struct Borrowed<'a> {
    content_type: &'a ContentType,
    body: &'a [u8],
    revision: Revision,
    end: Option<End>,
}

/// A value that has no key, as in tests, or lasts.
impl From<Value> for Stored {
    fn from(value: Value) -> Self {
        let hash = KeyHash::default();
        Self { value, hash }
    }
}

impl Stored {
    /// When it ends, if ever.
    fn end(&self) -> Option<End> {
        let hash = self.hash;
        let deadline = self.value.expires_at?;
        Some(End { deadline, hash })
    }

    fn borrowed(&self) -> Borrowed<'_> {
        Borrowed {
            content_type: &self.value.content_type,
            body: &self.value.body,
            revision: self.value.revision,
            end: self.end(),
        }
    }
}

impl Slab {
    /// The value of a slot that holds one. A body up to 255 bytes is copied.
    pub(super) fn get(&self, slot: u32) -> Value {
        debug_assert!(self.is_used(slot), "a live key's slot holds its value");
        let place = self.places.get(slot);
        if place & LARGE != 0 {
            return self.large.get(place & !LARGE);
        }
        let found = self.look_at(place);
        Value {
            content_type: found.content_type.clone(),
            body: Bytes::copy_from_slice(found.body),
            revision: found.revision,
            expires_at: found.end.map(|end| end.deadline),
        }
    }

    /// The value of a record.
    fn look_at(&self, place: Handle) -> Borrowed<'_> {
        let record = self.records.get(place);
        let head = RecordHead::read(record);
        let named = self.types.get(head.number);
        Borrowed {
            content_type: &named.content_type,
            body: head.body(record, named.span),
            revision: Revision(self.first_revision.wrapping_add(head.offset)),
            end: record::end_of(record, &self.types),
        }
    }

    /// The value of a place in use.
    fn look(&self, place: u32) -> Borrowed<'_> {
        match place & LARGE {
            0 => self.look_at(place),
            _ => self.large.look(place & !LARGE),
        }
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
        let found = self.look(self.places.get(slot));
        Head {
            revision: found.revision,
            body_bytes: found.body.len(),
            expires_at: found.end.map(|end| end.deadline),
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
    pub(super) fn insert(&mut self, stored: impl Into<Stored>) -> u32 {
        let stored = stored.into();
        let slot = self.places.next_slot();
        let slot = slot.expect("a key map holds fewer than 2^32 - 1 values");
        if self.len == 0 {
            self.first_revision = stored.value.revision.0;
        }
        let end = stored.end();
        let place = self.store(stored);
        self.places.fill(slot, place);
        self.len += 1;
        self.plan(slot, None, end);
        self.changes.note(slot);
        slot
    }

    /// Puts a value in the place of another.
    pub(super) fn replace(&mut self, slot: u32, stored: impl Into<Stored>) {
        let stored = stored.into();
        self.changes.note(slot);
        let place = self.places.get(slot);
        let ends = (self.end_at(place), stored.end());
        if place & LARGE != 0 || !self.overwrite(place, &stored.borrowed()) {
            // The new one first: were there a panic, the old one is still there.
            let place = self.store(stored);
            let old = self.places.replace(slot, place);
            self.discard(old);
        }
        self.plan(slot, ends.0, ends.1);
    }

    /// Takes the value out of a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        self.changes.note(slot);
        let end = self.end_at(self.places.get(slot));
        self.plan(slot, end, None);
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
        let values = self.records.memory_bytes() + self.large.memory_bytes();
        self.places.memory_bytes() + values + self.schedule.heap_bytes()
    }

    /// Keeps a value, and returns where.
    fn store(&mut self, stored: Stored) -> u32 {
        match self.store_record(&stored.borrowed()) {
            Some(place) => place,
            None => self.store_large(stored),
        }
    }

    fn store_large(&mut self, stored: Stored) -> u32 {
        self.large.insert(stored, NOWHERE & !LARGE) | LARGE
    }

    /// Keeps a value as a record; `None` where it is too large or too strange for one, or there are as
    /// many as can be.
    fn store_record(&mut self, value: &Borrowed<'_>) -> Option<Handle> {
        let (len, offset) = self.measure(value)?;
        let span = value.span();
        let number = self.types.hold(value.content_type, span)?;
        let head = RecordHead {
            number,
            len,
            offset,
        };
        let Some(place) = self.records.allocate(head.grains(span)) else {
            self.types.release(number);
            return None;
        };
        head.write(value.end, value.body, self.records.get_mut(place));
        Some(place)
    }

    /// Writes a value over a record of the same size; `false` where that cannot be.
    fn overwrite(&mut self, place: Handle, value: &Borrowed<'_>) -> bool {
        let old = RecordHead::read(self.records.get(place));
        let Some((len, offset)) = self.measure(value) else {
            return false;
        };
        let (named, span) = (self.types.get(old.number), value.span());
        if grains(len.into(), span) != old.grains(named.span) {
            return false;
        }
        let number = if named.span == span && named.content_type == *value.content_type {
            old.number
        } else {
            let Some(number) = self.types.hold(value.content_type, span) else {
                return false;
            };
            self.types.release(old.number);
            number
        };
        let head = RecordHead {
            number,
            len,
            offset,
        };
        head.write(value.end, value.body, self.records.get_mut(place));
        true
    }

    fn discard(&mut self, place: u32) {
        if place & LARGE == 0 {
            let head = RecordHead::read(self.records.get(place));
            self.types.release(head.number);
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

impl Borrowed<'_> {
    fn span(&self) -> Span {
        match self.end {
            None => Span::Lasting,
            Some(_) => Span::Ending,
        }
    }
}

#[cfg(test)]
mod tests;
