//! When which slots are to be looked at: those whose value ends.
//!
//! A hierarchical timing wheel. Each of eight levels has 64 lists; a slot's moment is in the list of the
//! highest of its digits, six bits each, that is not that of the wheel's own moment. So it moves to a lower
//! level at most seven times before it is due, and to add one or to take the next touches one list.
//!
//! A slot whose deadline is put off keeps its entry, and moves on when that comes due. One whose deadline
//! comes nearer gets an entry more, and the old one is of no use any more, as are those of values that were
//! deleted. Once such entries outnumber the others, a sweep goes through the lists, some entries at a time.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7.

mod list;
mod sweep;

use list::List;
use sweep::Sweep;

/// The bits of a digit, and how many digits the moments have that there are.
const DIGIT_BITS: u32 = 6;
const DIGITS: usize = 8;

/// How many lists a level has.
const LISTS: usize = 1 << DIGIT_BITS;

/// That a slot is to be looked at, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: u32,
    /// The lower 32 bits of the moment, and the upper 16.
    low: u32,
    high: u16,
    /// The number of the last sweep that had begun when the entry was made, or that kept it.
    sweep: u16,
}

impl Entry {
    fn new(slot: u32, at: u64, sweep: u16) -> Self {
        Self {
            slot,
            low: at as u32,
            high: (at >> 32) as u16,
            sweep,
        }
    }

    /// Milliseconds since the Unix epoch, less than 2^48.
    pub(super) fn at(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

/// The wheel.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// By level, then by digit; none before the first entry.
    lists: Vec<List>,
    /// A bit for each list of a level that is not empty.
    filled: [u64; DIGITS],
    /// The wheel's own moment: what was due before was given.
    moment: u64,
    len: usize,
    /// The level whose list of the moment is being dealt out to lower levels.
    dealing: Option<usize>,
    sweep: Option<Sweep>,
    /// How many sweeps have begun.
    sweeps: u16,
}

impl Schedule {
    /// Has a slot looked at at a moment, in milliseconds since the Unix epoch and less than 2^48.
    pub(super) fn push(&mut self, slot: u32, at: u64) {
        if self.lists.is_empty() {
            self.lists.resize_with(DIGITS * LISTS, List::default);
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.note(slot);
        }
        self.len += 1;
        self.place(Entry::new(slot, at, self.sweeps));
    }

    /// The earliest moment at which something is to be done: an entry due, or dealt out. `None` where there
    /// is no entry.
    pub(super) fn next_moment(&self) -> Option<u64> {
        let dealt = self.dealing.map(|_| self.moment);
        let listed = || {
            let mut levels = 0..DIGITS;
            levels.find_map(|level| {
                let digit = self.next_filled(level)?;
                Some(self.start(level, digit))
            })
        };
        let swept = self.sweep.as_ref().and_then(Sweep::holds_from);
        dealt.or_else(listed).into_iter().chain(swept).min()
    }

    /// Takes an entry out that is due at a moment. What is done on the way is counted off `work`, and where
    /// that is used up nothing is taken.
    pub(super) fn pop(&mut self, now: u64, work: &mut usize) -> Option<Entry> {
        loop {
            if !self.release(now, work) {
                return None;
            }
            if let Some(level) = self.dealing {
                self.deal(level, work);
                if self.dealing.is_some() {
                    return None;
                }
            }
            if let Some(digit) = self.next_filled(0) {
                let start = self.start(0, digit);
                if start > now {
                    return None;
                }
                self.moment = start;
                self.len -= 1;
                return self.take(0, digit);
            }
            let (level, digit) = (1..DIGITS)
                .find_map(|level| self.next_filled(level).map(|digit| (level, digit)))?;
            let start = self.start(level, digit);
            if start > now {
                return None;
            }
            self.moment = start;
            self.dealing = Some(level);
        }
    }

    /// Bytes of memory.
    pub(super) fn heap_bytes(&self) -> usize {
        let lists: usize = match self.lists.is_empty() {
            true => 0,
            false => DIGITS * LISTS * size_of::<List>() + self.len * size_of::<Entry>(),
        };
        lists + self.sweep.as_ref().map_or(0, Sweep::heap_bytes)
    }

    /// Moves entries from the list of the moment of a level to lower levels.
    fn deal(&mut self, level: usize, work: &mut usize) {
        let digit = digit(self.moment, level);
        while *work > 0 {
            *work -= 1;
            match self.take(level, digit) {
                Some(entry) => self.place(entry),
                None => {
                    self.dealing = None;
                    return;
                }
            }
        }
    }

    /// Puts an entry into the list that it belongs in. What is overdue is due at the moment.
    fn place(&mut self, entry: Entry) {
        let at = entry.at().max(self.moment);
        let level = (at ^ self.moment).checked_ilog2().unwrap_or(0) / DIGIT_BITS;
        let (level, digit) = (level as usize, digit(at, level as usize));
        self.lists[level * LISTS + digit].push(entry);
        self.filled[level] |= 1 << digit;
    }

    /// Takes an entry out of a list.
    fn take(&mut self, level: usize, digit: usize) -> Option<Entry> {
        let list = &mut self.lists[level * LISTS + digit];
        let entry = list.pop();
        if list.is_empty() {
            self.filled[level] &= !(1 << digit);
        }
        entry
    }

    /// The first digit of a level, from that of the moment on, whose list is not empty.
    fn next_filled(&self, level: usize) -> Option<usize> {
        let from = digit(self.moment, level);
        let filled = self.filled[level] >> from;
        (filled != 0).then(|| from + filled.trailing_zeros() as usize)
    }

    /// The first moment of a list.
    fn start(&self, level: usize, digit: usize) -> u64 {
        let shift = DIGIT_BITS * level as u32;
        let above = self.moment >> shift >> DIGIT_BITS << DIGIT_BITS;
        (above | digit as u64) << shift
    }
}

/// A digit of a moment.
fn digit(at: u64, level: usize) -> usize {
    (at >> (DIGIT_BITS * level as u32)) as usize % LISTS
}

#[cfg(test)]
mod tests;
