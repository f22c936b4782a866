//! Memory that deletes and updates left sparse comes back: records are moved together, step by step.
//!
//! A record does not know its slot. So a pass goes through all slots, once, and moves the records in
//! chunks that were closed before it; a slot costs a look at its place only. Nothing new goes into a
//! closed chunk, so that all of them are gone at its end. Passes begin when so much can be had back
//! that they cost little of the writes that made it so.

use super::{LARGE, NONE, Slab};

/// What a step may take: as many slots are looked at. 60 to 120 µs.
const STEP: usize = 32 * 1024;

/// What moving a record takes of it.
const MOVE: usize = 128;

/// What writing a body anew takes of it: one for so many bytes.
const BODY_BYTES: usize = 16;

/// How much of the memory of large bodies the allocator may keep: one part of so many of what is in use.
const KEPT_PARTS: usize = 3;

/// So many records are fetched ahead of being moved.
const AHEAD: usize = 16;

/// What is not worth a pass, in bytes.
const SPARE_BYTES_MIN: usize = 1024 * 1024;

/// The same where there is no other room.
const SPARE_BYTES_MIN_FULL: usize = 512 * 1024;

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
    /// Whether all large bodies are written anew.
    rewrites: bool,
}

impl Slab {
    /// Whether a pass is under way or worth beginning.
    pub(in crate::keymap) fn wants_compaction(&self, need: Need) -> bool {
        self.pass.is_some() || self.is_worth_a_pass(need)
    }

    /// What passes would give back, in bytes, where they are worth beginning or under way.
    pub(in crate::keymap) fn reclaimable_bytes(&self) -> usize {
        if self.wants_compaction(Need::Room) {
            self.spare_bytes()
        } else {
            0
        }
    }

    /// Takes a step of about 100 µs and says whether there is more to do.
    pub(in crate::keymap) fn compact(&mut self, need: Need) -> bool {
        self.trim(STEP);
        self.large.trim(STEP);
        let Some(pass) = self.pass.or_else(|| self.begin(need)) else {
            return self.wants_compaction(need);
        };
        self.pass = self.walk(pass);
        if self.pass.is_none() {
            if pass.rewrites {
                self.large.forget_peak();
            }
            let is_stuck = self.records.has_leaving();
            self.records.reopen();
            self.stuck_bytes = if is_stuck { self.spare_bytes() } else { 0 };
        }
        self.wants_compaction(need)
    }

    fn spare_bytes(&self) -> usize {
        self.spare_record_bytes() + self.large.spare_bytes()
    }

    fn spare_record_bytes(&self) -> usize {
        self.records.spare_bytes() + self.records.spare_mapped_bytes()
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
        let memory = self.large.memory_bytes();
        is_worth(need, self.large.spare_bytes(), memory) || self.is_worth_a_rewrite()
    }

    /// Whether the allocator keeps much for bodies that are gone. That is not counted as ours, so that
    /// it is never what a write has no room for.
    fn is_worth_a_rewrite(&self) -> bool {
        let kept = self.large.kept_bytes();
        kept > SPARE_BYTES_MIN && kept > self.large.memory_bytes() / KEPT_PARTS
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
        (self.records.has_leaving() || self.is_worth_for_large(need)).then(|| Pass {
            slot: 0,
            large_end: self.large.packed_end() as u32,
            rewrites: self.is_worth_a_rewrite(),
        })
    }

    /// Goes through some slots, and returns how to go on.
    fn walk(&mut self, mut pass: Pass) -> Option<Pass> {
        let mut left = STEP;
        let mut moves = [NONE; AHEAD];
        while left > 0 {
            let mut count = 0;
            while left > 0 && count < AHEAD {
                let Some(place) = self.places.look(pass.slot) else {
                    self.relocate(&moves[..count], &pass);
                    return None;
                };
                left -= 1;
                if self.is_to_move(place, &pass) {
                    if place & LARGE == 0 {
                        self.records.prefetch(place);
                    }
                    moves[count] = pass.slot;
                    count += 1;
                    left = left.saturating_sub(MOVE);
                }
                pass.slot += 1;
            }
            let written = self.relocate(&moves[..count], &pass);
            left = left.saturating_sub(written / BODY_BYTES);
        }
        Some(pass)
    }

    fn is_to_move(&self, place: u32, pass: &Pass) -> bool {
        if place == NONE {
            false
        } else if place & LARGE != 0 {
            pass.rewrites || place & !LARGE >= pass.large_end
        } else {
            self.records.is_leaving(place)
        }
    }

    /// Moves values, and returns what was written of large bodies, in bytes.
    fn relocate(&mut self, slots: &[u32], pass: &Pass) -> usize {
        let mut written = 0;
        for slot in slots {
            let place = self.places.get(*slot);
            let moved = if place & LARGE == 0 {
                self.records.relocate(place).unwrap_or(place)
            } else {
                let at = self.large.lower(place & !LARGE);
                if pass.rewrites {
                    written += self.large.rewrite(at);
                }
                at | LARGE
            };
            *self.places.get_mut(*slot) = moved;
        }
        written
    }
}

fn is_worth(need: Need, spare_bytes: usize, memory_bytes: usize) -> bool {
    let (min, parts) = match need {
        Need::Thrift => (SPARE_BYTES_MIN, SPARE_PARTS),
        Need::Room => (SPARE_BYTES_MIN_FULL, SPARE_PARTS_FULL),
    };
    spare_bytes >= min && spare_bytes >= memory_bytes / parts
}
