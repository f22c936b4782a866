//! Memory that deletes and updates left sparse comes back: records are moved together, step by step.
//!
//! A record does not know its slot. So a pass goes through all slots, once, and moves the records in
//! chunks that were closed before it; a slot costs a look at its place only. Nothing new goes into a
//! closed chunk, so that all of them are gone at its end. Passes begin when so much can be had back
//! that they cost little of the writes that made it so.

use super::{LARGE, NOWHERE, Slab};

/// What a step may take: as many slots are looked at. 60 to 120 µs.
const STEP: usize = 32 * 1024;

/// What moving a record takes of it.
const MOVE: usize = 128;

/// What a look at where a large value's body is takes of it.
const LARGE_LOOK: usize = 32;

/// What copying a large body takes of it: one for so many bytes.
const BODY_BYTES: usize = 16;

/// So many records are fetched ahead of being moved.
const AHEAD: usize = 16;

/// What is not worth a pass, in bytes.
const SPARE_BYTES_MIN: usize = 1024 * 1024;

/// The same where there is no other room.
const SPARE_BYTES_MIN_FULL: usize = 512 * 1024;

/// The same for bodies in a slab of few slots, for so many of which one byte is worth a pass.
const BODY_BYTES_MIN_FULL: usize = 64 * 1024;
const SLOTS_PER_BYTE: usize = 4;

/// How much of the memory that holds records, places of large values or slots is not worth a pass:
/// one part of so many.
const SPARE_PARTS: usize = 8;

/// The same where there is no other room.
const SPARE_PARTS_FULL: usize = 64;

/// What memory is wanted back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To hold no more than is in use, about.
    Thrift,
    /// For what has no room otherwise.
    Room,
}

/// A pass over all slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    /// The next slot.
    slot: u32,
    /// Large values from this place on are moved.
    large_end: u32,
}

impl Slab {
    /// Whether a pass is under way or worth beginning.
    pub(in crate::keymap) fn wants_compaction(&self, need: Need) -> bool {
        self.pass.is_some()
            || self.places.is_packing()
            || self.is_worth_packing(need)
            || self.is_worth_a_pass(need)
            || self.large.bodies().has_ended()
    }

    /// What passes would give back, in bytes, where they are worth beginning or under way.
    pub(in crate::keymap) fn reclaimable_bytes(&self) -> usize {
        if self.wants_compaction(Need::Room) {
            self.spare_bytes() + self.places.spare_bytes()
        } else {
            0
        }
    }

    /// Takes a step of about 100 µs and says whether there is more to do.
    pub(in crate::keymap) fn compact(&mut self, need: Need) -> bool {
        let left = STEP - self.places.trim(STEP);
        self.large.trim(STEP);
        self.large.bodies_mut().forget_read();
        if self.is_worth_packing(need) && !self.places.is_packing() {
            self.places.begin_packing();
        }
        if self.places.is_packing() {
            // Before values are moved: a pass looks at free slots by the word then.
            self.places.pack(left);
            return self.wants_compaction(need);
        }
        let Some(pass) = self.pass.or_else(|| self.begin(need)) else {
            return self.wants_compaction(need);
        };
        self.pass = self.walk(pass);
        if self.pass.is_none() {
            let is_stuck = self.records.has_leaving();
            self.records.reopen();
            self.stuck_bytes = if is_stuck { self.spare_bytes() } else { 0 };
        }
        self.wants_compaction(need)
    }

    fn spare_bytes(&self) -> usize {
        self.spare_record_bytes() + self.spare_large_bytes()
    }

    fn spare_large_bytes(&self) -> usize {
        self.large.spare_bytes() + self.large.bodies().spare_bytes()
    }

    fn spare_record_bytes(&self) -> usize {
        self.records.spare_bytes() + self.records.spare_mapped_bytes()
    }

    fn is_worth_packing(&self, need: Need) -> bool {
        let (spare, memory) = (self.places.spare_bytes(), self.places.memory_bytes());
        is_worth(need, spare, memory)
    }

    fn is_worth_a_pass(&self, need: Need) -> bool {
        self.is_worth_for_records(need) || self.is_worth_for_large(need)
    }

    fn is_worth_for_records(&self, need: Need) -> bool {
        let spare = self.spare_record_bytes();
        // What a pass did not give back the next one does not either.
        spare > self.stuck_bytes + self.stuck_bytes / 8
            && is_worth(need, spare, self.records.memory_bytes())
    }

    fn is_worth_for_large(&self, need: Need) -> bool {
        let (spare, memory) = (self.spare_large_bytes(), self.large.memory_bytes());
        let few = self.places.len() / SLOTS_PER_BYTE;
        let min = few.clamp(BODY_BYTES_MIN_FULL, SPARE_BYTES_MIN_FULL);
        is_worth(need, spare, memory)
            || need == Need::Room && spare >= min && spare >= memory / SPARE_PARTS_FULL
    }

    /// Closes what is to be emptied. `None` where it is empty.
    fn begin(&mut self, need: Need) -> Option<Pass> {
        let before = self.spare_record_bytes();
        if self.is_worth_for_records(need) {
            if self.records.spare_bytes() >= self.records.spare_mapped_bytes() {
                self.records.close_spare();
            } else {
                self.records.close_last();
            }
            if !self.records.has_leaving() && self.spare_record_bytes() >= before {
                self.stuck_bytes = before;
            }
        }
        let is_worth_for_large = self.is_worth_for_large(need);
        if is_worth_for_large {
            self.large.bodies_mut().close_sparse();
        }
        (self.records.has_leaving() || is_worth_for_large).then(|| Pass {
            slot: 0,
            large_end: self.large.packed_end() as u32,
        })
    }

    /// Goes through some slots, and returns how to go on.
    fn walk(&mut self, mut pass: Pass) -> Option<Pass> {
        let mut left = STEP;
        let mut moves = [NOWHERE; AHEAD];
        while left > 0 {
            let mut count = 0;
            while left > 0 && count < AHEAD {
                let Some(visit) = self.places.visit(pass.slot) else {
                    self.relocate(&moves[..count]);
                    return None;
                };
                let place = visit.place;
                left = left.saturating_sub(visit.looks);
                if is_large(place) && self.large.bodies().has_leaving() {
                    left = left.saturating_sub(LARGE_LOOK);
                }
                if self.is_to_move(place, &pass) {
                    if !is_large(place) {
                        self.records.prefetch(place);
                    }
                    moves[count] = pass.slot;
                    count += 1;
                    left = left.saturating_sub(MOVE);
                }
                pass.slot = visit.next;
            }
            let copied = self.relocate(&moves[..count]);
            left = left.saturating_sub(copied / BODY_BYTES);
        }
        Some(pass)
    }

    fn is_to_move(&self, place: u32, pass: &Pass) -> bool {
        if place == NOWHERE {
            false
        } else if is_large(place) {
            let at = place & !LARGE;
            at >= pass.large_end || self.large.bodies().has_leaving() && self.large.is_leaving(at)
        } else {
            self.records.is_leaving(place)
        }
    }

    /// Moves values, and returns what was copied of large bodies, in bytes.
    fn relocate(&mut self, slots: &[u32]) -> usize {
        let mut copied = 0;
        for slot in slots {
            let place = self.places.get(*slot);
            let moved = if is_large(place) {
                let at = self.large.lower(place & !LARGE);
                copied += self.large.copy_out(at);
                at | LARGE
            } else {
                self.records.relocate(place).unwrap_or(place)
            };
            self.places.replace(*slot, moved);
        }
        copied
    }
}

fn is_large(place: u32) -> bool {
    place != NOWHERE && place & LARGE != 0
}

fn is_worth(need: Need, spare_bytes: usize, memory_bytes: usize) -> bool {
    let (min, parts) = match need {
        Need::Thrift => (SPARE_BYTES_MIN, SPARE_PARTS),
        Need::Room => (SPARE_BYTES_MIN_FULL, SPARE_PARTS_FULL),
    };
    spare_bytes >= min && spare_bytes >= memory_bytes / parts
}
