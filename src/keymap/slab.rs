//! Values by slot number.
//!
//! A slot leads to a record of eight bytes more than the body: which content type, how long, and
//! which revision. Bodies over 255 bytes are kept as they came and shared with their readers; so
//! are the few values that a record has no room for. Growth never copies what is there.

mod chunks;
mod places;
mod regions;

use crate::model::{ContentType, Revision, Value};
use bytes::Bytes;
use chunks::{Chunks, GRAIN, Handle};
use places::Places;
use std::collections::HashMap;

/// The bytes of a record before the body: type, length, and six of the revision.
const HEAD_BYTES: usize = 8;

/// How many content types records can name. Numbers from here on are kept free, for records with
/// something more in them.
const TYPES_MAX: usize = 250;

/// The revisions that a record can hold, counted from the slab's first.
const REVISIONS: u64 = 1 << 48;

/// The bit of a slot's place that says that its value is a large one.
const LARGE: u32 = 1 << 31;

/// The end of the list of free slots, and of free places of large values.
const NONE: u32 = u32::MAX;

/// Places of large values are allocated by so many.
const CHUNK_LARGE: usize = 256;

/// What the allocator adds to a body, and what sharing it takes, in bytes.
const BODY_BYTES: usize = 16;

/// A growing list of values whose free slots are used again.
#[derive(Debug)]
pub(super) struct Slab {
    /// By slot, where its value is; for a free slot, the next free one.
    places: Places,
    free: u32,
    len: usize,
    records: Chunks,
    large: Vec<Vec<Large>>,
    free_large: u32,
    large_len: usize,
    /// What large bodies take.
    large_bytes: usize,
    /// The revision that records count from.
    first_revision: u64,
    types: Vec<ContentType>,
    type_numbers: HashMap<ContentType, u8>,
}

/// A value that is no record.
#[derive(Debug)]
enum Large {
    Value(Value),
    /// Free; the next free place.
    Free(u32),
}

impl Default for Slab {
    fn default() -> Self {
        Self {
            places: Places::default(),
            free: NONE,
            len: 0,
            records: Chunks::default(),
            large: Vec::new(),
            free_large: NONE,
            large_len: 0,
            large_bytes: 0,
            first_revision: 0,
            types: Vec::new(),
            type_numbers: HashMap::new(),
        }
    }
}

impl Slab {
    /// The value of a slot that holds one. A body up to 255 bytes is copied.
    pub(super) fn get(&self, slot: u32) -> Value {
        let place = self.places.get(slot);
        if place & LARGE != 0 {
            let at = (place & !LARGE) as usize;
            let Large::Value(value) = &self.large[at / CHUNK_LARGE][at % CHUNK_LARGE] else {
                unreachable!("a live key's slot holds its value");
            };
            return value.clone();
        }
        let record = self.records.get(place);
        let [content_type, len, revision @ ..] = head(record);
        let body = &record[HEAD_BYTES..HEAD_BYTES + usize::from(len)];
        let [a, b, c, d, e, f] = revision;
        let offset = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        Value {
            content_type: self.types[usize::from(content_type)].clone(),
            body: Bytes::copy_from_slice(body),
            revision: Revision(self.first_revision.wrapping_add(offset)),
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
    pub(super) fn insert(&mut self, value: Value) -> u32 {
        if self.len == 0 {
            self.first_revision = value.revision.0;
        }
        self.len += 1;
        let place = self.store(value);
        let slot = self.free;
        if slot == NONE {
            return self.add_slot(place);
        }
        self.free = std::mem::replace(self.places.get_mut(slot), place);
        slot
    }

    /// Puts a value in the place of another.
    pub(super) fn replace(&mut self, slot: u32, value: Value) {
        let place = self.places.get(slot);
        if place & LARGE == 0
            && grains(&value) == record_grains(self.records.get(place))
            && let Some(head) = self.head_for(&value)
        {
            write(self.records.get_mut(place), head, &value.body);
            return;
        }
        // The new one first: were there a panic, the old one is still there.
        let place = self.store(value);
        let old = std::mem::replace(self.places.get_mut(slot), place);
        self.discard(old);
    }

    /// Takes the value out of a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        let next = self.free;
        let old = std::mem::replace(self.places.get_mut(slot), next);
        self.free = slot;
        self.discard(old);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
    }

    /// Bytes of memory; those of large values are estimated.
    pub(super) fn heap_bytes(&self) -> usize {
        let places = self.places.memory_bytes();
        let large = self.large.len() * CHUNK_LARGE * size_of::<Large>();
        places + large + self.records.memory_bytes() + self.large_bytes
    }

    /// Keeps a value, and returns where.
    fn store(&mut self, value: Value) -> u32 {
        if let Some(head) = self.head_for(&value)
            && let Some(place) = self.records.allocate(grains(&value))
        {
            write(self.records.get_mut(place), head, &value.body);
            return place;
        }
        self.large_bytes += value.body.len() + BODY_BYTES;
        self.large_len += 1;
        let at = self.free_large;
        if at == NONE {
            return self.add_large(value) | LARGE;
        }
        let free = std::mem::replace(self.large_mut(at), Large::Value(value));
        let Large::Free(next) = free else {
            unreachable!("what is on the list of free places is free");
        };
        self.free_large = next;
        at | LARGE
    }

    fn discard(&mut self, place: u32) {
        if place & LARGE == 0 {
            self.records.free(place);
            return;
        }
        let at = place & !LARGE;
        let free = Large::Free(self.free_large);
        let old = std::mem::replace(self.large_mut(at), free);
        self.free_large = at;
        if let Large::Value(value) = old {
            self.large_bytes -= value.body.len() + BODY_BYTES;
            self.large_len -= 1;
        }
        if self.large_len == 0 {
            self.large = Vec::new();
            self.free_large = NONE;
        }
    }

    /// The head of a value's record; `None` where it is too large or too strange for one.
    fn head_for(&mut self, value: &Value) -> Option<[u8; HEAD_BYTES]> {
        let len = u8::try_from(value.body.len()).ok()?;
        let offset = value.revision.0.wrapping_sub(self.first_revision);
        if offset >= REVISIONS {
            return None;
        }
        let [a, b, c, d, e, f, _, _] = offset.to_le_bytes();
        let content_type = self.type_number(&value.content_type)?;
        Some([content_type, len, a, b, c, d, e, f])
    }

    fn type_number(&mut self, content_type: &ContentType) -> Option<u8> {
        if let Some(number) = self.type_numbers.get(content_type) {
            return Some(*number);
        }
        if self.types.len() == TYPES_MAX {
            return None;
        }
        let number = u8::try_from(self.types.len()).ok()?;
        self.types.push(content_type.clone());
        self.type_numbers.insert(content_type.clone(), number);
        Some(number)
    }

    fn large_mut(&mut self, at: u32) -> &mut Large {
        let at = at as usize;
        &mut self.large[at / CHUNK_LARGE][at % CHUNK_LARGE]
    }

    fn add_large(&mut self, value: Value) -> u32 {
        let is_full = |last: &Vec<Large>| last.len() == CHUNK_LARGE;
        if self.large.last().is_none_or(is_full) {
            self.large.push(Vec::with_capacity(CHUNK_LARGE));
        }
        let before = (self.large.len() - 1) * CHUNK_LARGE;
        let last = self.large.last_mut().expect("one was added above");
        last.push(Large::Value(value));
        let at = u32::try_from(before + last.len() - 1).ok();
        let at = at.filter(|at| at & LARGE == 0);
        at.expect("a key map holds fewer than 2^31 large values")
    }

    fn add_slot(&mut self, place: Handle) -> u32 {
        let slot = u32::try_from(self.places.len())
            .ok()
            .filter(|slot| *slot != NONE);
        let slot = slot.expect("a key map holds fewer than 2^32 - 1 values");
        self.places.push(place);
        slot
    }
}

/// How many grains the record of a value takes.
fn grains(value: &Value) -> usize {
    grains_for(value.body.len())
}

fn grains_for(body_bytes: usize) -> usize {
    (HEAD_BYTES + body_bytes).div_ceil(GRAIN)
}

fn record_grains(record: &[u8]) -> usize {
    let [_, len, ..] = head(record);
    grains_for(usize::from(len))
}

fn head(record: &[u8]) -> [u8; HEAD_BYTES] {
    *record.first_chunk().expect("a record begins with a head")
}

fn write(record: &mut [u8], head: [u8; HEAD_BYTES], body: &[u8]) {
    record[..HEAD_BYTES].copy_from_slice(&head);
    record[HEAD_BYTES..HEAD_BYTES + body.len()].copy_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContentTypes;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let len = prop_oneof![
            Just(0_usize),
            Just(7),
            Just(8),
            Just(247),
            Just(255),
            Just(256),
            0_usize..300
        ];
        let content_type = prop_oneof![
            Just("application/json".to_string()),
            (0..300).prop_map(|number| format!("x/{number}"))
        ];
        let revision = prop_oneof![any::<u64>(), 0_u64..1000, (u64::MAX - 1000)..=u64::MAX];
        (len, any::<u8>(), content_type, revision).prop_map(|(len, byte, text, revision)| Value {
            content_type: ContentTypes::default().parse(&text).unwrap(),
            body: vec![byte; len].into(),
            revision: Revision(revision),
        })
    }

    proptest! {
        #[test]
        fn a_slot_holds_what_was_put_there(
            steps in prop::collection::vec((value(), any::<prop::sample::Index>(), 0_u8..4), 1..600),
        ) {
            let mut slab = Slab::default();
            let mut model: Vec<(u32, Value)> = Vec::new();
            for (value, at, kind) in steps {
                match kind {
                    0 if !model.is_empty() => {
                        let (slot, _) = model.swap_remove(at.index(model.len()));
                        slab.remove(slot);
                    }
                    1 if !model.is_empty() => {
                        let at = at.index(model.len());
                        slab.replace(model[at].0, value.clone());
                        model[at].1 = value;
                    }
                    _ => model.push((slab.insert(value.clone()), value)),
                }
            }
            for (slot, value) in &model {
                prop_assert_eq!(&slab.get(*slot), value);
            }
            model.iter().for_each(|(slot, _)| slab.remove(*slot));
            prop_assert_eq!(slab.heap_bytes(), 0);
        }
    }

    #[test]
    fn values_that_shrink_give_their_memory_back() {
        let mut slab = Slab::default();
        let value = |len| Value {
            content_type: ContentType::JSON,
            body: vec![b'x'; len].into(),
            revision: Revision(1),
        };
        let slots: Vec<u32> = (0..20_000).map(|_| slab.insert(value(200))).collect();
        let large = slab.heap_bytes();
        slots.iter().for_each(|slot| slab.replace(*slot, value(8)));
        assert!(
            slab.heap_bytes() < large / 4,
            "{} of {large}",
            slab.heap_bytes()
        );
        slots
            .iter()
            .for_each(|slot| slab.replace(*slot, value(1000)));
        slots.iter().for_each(|slot| slab.replace(*slot, value(8)));
        assert!(
            slab.heap_bytes() < large / 4,
            "{} of {large}",
            slab.heap_bytes()
        );
    }
}
