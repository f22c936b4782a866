//! Values on their way out of a slab, slot by slot while it goes on changing, and into one.

use super::{Borrowed, End, LARGE, NOWHERE, RANGE_SLOTS, Slab, Stored};
use crate::keymap::slab::changes::Changes;
use crate::model::{ContentType, Revision, Value};
use bytes::Bytes;
use std::ops::Range;

/// What a copy may do before it ends: as many free slots are passed. About 100 µs. Tests have many steps.
const STEPS: u32 = if cfg!(test) { 256 } else { 16 * 1024 };

/// What copying a value takes of it.
const VALUE_STEPS: u32 = 24;

/// How many bytes of bodies are copied or shared at a time, and one body more at the most.
const COPY_BYTES: usize = 128 * 1024;

/// So many records are fetched ahead of being copied.
const AHEAD: u32 = 16;

/// The values of some slots, each as it was at some moment.
#[derive(Debug, Default)]
pub struct SlotValues {
    slots: Range<u32>,
    values: Vec<Copied>,
    /// The bodies that were copied.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Copied {
    slot: u32,
    revision: Revision,
    content_type: ContentType,
    end: Option<End>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Bytes of those that were copied.
    Copied(Range<usize>),
    Shared(Bytes),
}

/// The value of a slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotValue<'a> {
    /// Which slot.
    pub slot: u32,
    /// Which change made it.
    pub revision: Revision,
    /// What its body is.
    pub content_type: &'a ContentType,
    /// When it ends, if ever.
    pub end: Option<End>,
    /// The body.
    pub body: &'a [u8],
}

impl SlotValues {
    /// The slots that these are all values of.
    pub fn slots(&self) -> Range<u32> {
        self.slots.clone()
    }

    /// The values, by ascending slot.
    pub fn iter(&self) -> impl Iterator<Item = SlotValue<'_>> {
        let values = self.values.iter();
        values.map(|value| SlotValue {
            slot: value.slot,
            revision: value.revision,
            content_type: &value.content_type,
            end: value.end,
            body: match &value.body {
                Body::Copied(range) => &self.bytes[range.clone()],
                Body::Shared(body) => body,
            },
        })
    }
}

impl Slab {
    /// How many slots there are, the free ones included.
    pub(in crate::keymap) fn slots(&self) -> u32 {
        self.places.len() as u32
    }

    /// What has changed by now; what changes from now on does so after this image.
    pub(in crate::keymap) fn begin_image(&mut self) -> Changes {
        self.changes.begin_image()
    }

    /// Copies the values of the first of some slots, for about 100 µs.
    pub(in crate::keymap) fn copy(&self, slots: Range<u32>) -> SlotValues {
        let mut copied = SlotValues {
            slots: slots.start..slots.start,
            ..SlotValues::default()
        };
        let mut left = STEPS;
        let mut bytes = 0;
        for slot in slots {
            if slot % AHEAD == 0 {
                (slot..slot + AHEAD).for_each(|slot| self.prefetch(slot + AHEAD));
            }
            left = left.saturating_sub(1);
            copied.slots.end = slot + 1;
            let place = self.places.look(slot).unwrap_or(NOWHERE);
            if place != NOWHERE {
                bytes += self.copy_value(slot, place, &mut copied);
                left = left.saturating_sub(VALUE_STEPS);
            }
            if left == 0 || bytes >= COPY_BYTES {
                break;
            }
        }
        copied
    }

    /// Copies a value, and returns how long its body is, in bytes.
    fn copy_value(&self, slot: u32, place: u32, to: &mut SlotValues) -> usize {
        let found = self.look(place);
        let body = if place & LARGE != 0 {
            Body::Shared(self.large.body(place & !LARGE))
        } else {
            let begin = to.bytes.len();
            to.bytes.extend_from_slice(found.body);
            Body::Copied(begin..to.bytes.len())
        };
        to.values.push(Copied {
            slot,
            revision: found.revision,
            content_type: found.content_type.clone(),
            end: found.end,
            body,
        });
        found.body.len()
    }

    /// An empty slab, in which [`load`](Self::load) is to lay values none of whose revisions is before
    /// this one.
    pub(in crate::keymap) fn to_load(first_revision: Revision) -> Self {
        Self {
            first_revision: first_revision.0,
            ..Self::default()
        }
    }

    /// Lays a value down in a slot behind all that there are. Those between are free.
    pub(in crate::keymap) fn load(&mut self, value: &SlotValue<'_>) {
        debug_assert!(
            value.slot >= self.slots(),
            "slots are loaded in their order"
        );
        while self.slots() < value.slot {
            let free = self.slots();
            self.places.fill(free, NOWHERE);
            self.places.free(free);
        }
        let record = self.store_record(&Borrowed {
            content_type: value.content_type,
            body: value.body,
            revision: value.revision,
            end: value.end,
        });
        let place = record.unwrap_or_else(|| {
            self.store_large(Stored {
                value: Value {
                    content_type: value.content_type.clone(),
                    body: Bytes::copy_from_slice(value.body),
                    revision: value.revision,
                    expires_at: value.end.map(|end| end.deadline),
                },
                hash: value.end.map(|end| end.hash).unwrap_or_default(),
            })
        });
        self.places.fill(value.slot, place);
        self.len += 1;
        self.plan(value.slot, None, value.end);
    }

    /// Ends the loading: what was loaded is the state of the first image.
    pub(in crate::keymap) fn loaded(mut self) -> Self {
        self.begin_image();
        match self.len {
            // A slab counts revisions from its first value.
            0 => Self {
                changes: self.changes,
                ..Self::default()
            },
            _ => self,
        }
    }
}

const _: () = assert!(RANGE_SLOTS.is_multiple_of(AHEAD));
