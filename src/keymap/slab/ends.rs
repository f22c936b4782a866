//! Values that end: what is planned for them, and which are due.

use super::{End, LARGE, NOWHERE, Slab, Stored};
use crate::keymap::hash::KeyHash;
use crate::model::{Deadline, Value};

/// How many entries of the schedule a sweep goes through with each value that is taken or planned.
const SWEPT: usize = 4;

/// What a look at the value of a slot counts, where moving an entry counts one.
const LOOK: usize = 16;

/// A slot whose value has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keymap) struct Due {
    pub(in crate::keymap) slot: u32,
    /// Of its key.
    pub(in crate::keymap) hash: KeyHash,
}

impl Slab {
    /// Takes a slot out of the schedule whose value has ended. What is looked at on the way is counted off
    /// `work`; where that is used up there may be more.
    pub(in crate::keymap) fn next_due(&mut self, now: Deadline, work: &mut usize) -> Option<Due> {
        self.sweep();
        loop {
            let entry = self.schedule.pop(now.as_millis(), work)?;
            *work = work.saturating_sub(LOOK);
            let place = self.places.look(entry.slot).unwrap_or(NOWHERE);
            let end = (place != NOWHERE).then(|| self.end_at(place)).flatten();
            match end {
                None => {}
                Some(End { deadline, hash }) if deadline.is_past(now) => {
                    let slot = entry.slot;
                    return Some(Due { slot, hash });
                }
                // It was put off.
                Some(End { deadline, .. }) => {
                    self.schedule.push(entry.slot, deadline.as_millis());
                }
            }
            if *work == 0 {
                return None;
            }
        }
    }

    /// The earliest moment at which there may be something due.
    pub(in crate::keymap) fn next_moment(&self) -> Option<Deadline> {
        self.schedule.next_moment().map(Deadline::from_millis)
    }

    /// How many values end.
    pub(in crate::keymap) fn ending(&self) -> usize {
        self.ending
    }

    /// Has the value of a slot end at another time. The body of a large one stays where it is.
    pub(in crate::keymap) fn set_end(&mut self, slot: u32, end: Option<End>) {
        let place = self.places.get(slot);
        if place & LARGE == 0 {
            let value = Value {
                expires_at: end.map(|end| end.deadline),
                ..self.get(slot)
            };
            let hash = end.map(|end| end.hash).unwrap_or_default();
            return self.replace(slot, Stored { value, hash });
        }
        self.changes.note(slot);
        let before = self.end_at(place);
        self.large.set_end(place & !LARGE, end);
        self.plan(slot, before, end);
    }

    /// When the value of a place ends, if ever.
    pub(super) fn end_at(&self, place: u32) -> Option<End> {
        match place & LARGE {
            0 => self.look_at(place).end,
            _ => self.large.end(place & !LARGE),
        }
    }

    /// Plans for the value of a slot that ended at one time, if ever, and ends at another.
    pub(super) fn plan(&mut self, slot: u32, before: Option<End>, now: Option<End>) {
        match (before, now) {
            (None, None) => return,
            (None, Some(_)) => self.ending += 1,
            (Some(_), None) => self.ending -= 1,
            (Some(_), Some(_)) => {}
        }
        if let Some(End { deadline, .. }) = now
            && before.is_none_or(|before| deadline < before.deadline)
        {
            self.schedule.push(slot, deadline.as_millis());
        }
        self.sweep();
    }

    /// Takes some entries out of the schedule that are of no use, where there are many.
    fn sweep(&mut self) {
        if !self.schedule.wants_sweep(self.ending) {
            return;
        }
        let Self {
            schedule,
            places,
            records,
            types,
            large,
            ..
        } = self;
        let slots = places.len() as u32;
        schedule.sweep(slots, SWEPT, |slot| {
            let place = places.look(slot).filter(|place| *place != NOWHERE)?;
            let end = match place & LARGE {
                0 => super::record::end_of(records.get(place), types),
                _ => large.end(place & !LARGE),
            };
            end.map(|end| end.deadline.as_millis())
        });
    }
}
