//! Takes the entries out that are of no use any more.

use super::{DIGITS, Entry, LISTS, List, Schedule};
use crate::keymap::seen::Seen;

/// So many entries of no use are left alone.
const USELESS_MIN: usize = if cfg!(test) { 16 } else { 4096 };

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The slots that have an entry at their deadline, for all that is known.
    seen: Seen,
    /// The list that comes next, from the last on; those of the lowest level are due soon anyway.
    next: usize,
    /// What is left of the list before, and the first moment of that.
    list: List,
    from: u64,
}

impl Sweep {
    /// Notes that a slot has an entry at its deadline.
    pub(super) fn note(&mut self, slot: u32) {
        self.seen.insert(slot);
    }

    /// The first moment of what it holds, if that is anything.
    pub(super) fn holds_from(&self) -> Option<u64> {
        (!self.list.is_empty()).then_some(self.from)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.seen.heap_bytes()
    }
}

impl Schedule {
    /// Whether a sweep is under way, or worth it where so many slots have a deadline.
    pub(in crate::keymap::slab) fn wants_sweep(&self, ending: usize) -> bool {
        self.sweep.is_some() || self.len > 2 * ending + USELESS_MIN
    }

    /// Goes through some entries. `deadline_of` tells when the value of a slot ends, if it does; there are
    /// so many slots.
    pub(in crate::keymap::slab) fn sweep(
        &mut self,
        slots: u32,
        entries: usize,
        deadline_of: impl Fn(u32) -> Option<u64>,
    ) {
        let mut sweep = match self.sweep.take() {
            Some(sweep) => sweep,
            None => self.begin_sweep(slots),
        };
        for _ in 0..entries {
            let Some(entry) = sweep.list.pop() else {
                match self.next_to_sweep(&mut sweep) {
                    true => continue,
                    false => return,
                }
            };
            // One that was kept may be met again, since entries move to lower levels meanwhile.
            if entry.sweep == self.sweeps {
                self.place(entry);
            } else if let Some(deadline) = deadline_of(entry.slot)
                && sweep.seen.insert(entry.slot)
            {
                self.place(Entry::new(entry.slot, deadline, self.sweeps));
            } else {
                self.len -= 1;
            }
        }
        self.sweep = Some(sweep);
    }

    fn begin_sweep(&mut self, slots: u32) -> Sweep {
        self.sweeps = self.sweeps.wrapping_add(1);
        Sweep {
            seen: Seen::below(slots),
            next: DIGITS * LISTS,
            list: List::default(),
            from: 0,
        }
    }

    /// Puts back what a sweep holds that may be due at a moment, and says whether it holds nothing of that
    /// kind any more.
    pub(super) fn release(&mut self, now: u64, work: &mut usize) -> bool {
        let Some(mut sweep) = self.sweep.take() else {
            return true;
        };
        let is_due = sweep.holds_from().is_some_and(|from| from <= now);
        while is_due && *work > 0 {
            let Some(entry) = sweep.list.pop() else {
                break;
            };
            *work -= 1;
            self.place(entry);
        }
        let is_free = !is_due || sweep.list.is_empty();
        self.sweep = Some(sweep);
        is_free
    }

    /// Takes the next list up, if there is one.
    fn next_to_sweep(&mut self, sweep: &mut Sweep) -> bool {
        while sweep.next > LISTS {
            sweep.next -= 1;
            let list = std::mem::take(&mut self.lists[sweep.next]);
            if !list.is_empty() {
                let (level, digit) = (sweep.next / LISTS, sweep.next % LISTS);
                self.filled[level] &= !(1 << digit);
                sweep.from = self.start(level, digit);
                sweep.list = list;
                return true;
            }
        }
        false
    }
}
