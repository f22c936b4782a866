//! Keys whose values have ended, and how they are found: by slot, since the schedule knows no keys.

use super::hash::KeyHash;
use super::index::Spot;
use super::slab::Due;
use super::{KeyIndex, KeyMap};
use crate::model::Deadline;

/// What is done with the schedule in a step, in entries that are moved: about 50 µs.
const ENTRIES: usize = if cfg!(test) { 64 } else { 4096 };

/// What came of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many keys were taken out.
    pub keys: usize,
    /// Whether there may be more to do at this moment.
    pub is_partial: bool,
}

impl KeyMap {
    /// Takes keys out whose values have ended at a moment, so many at the most; each is told of before. A
    /// key takes about 5 µs, and all that are in no segment yet as much again as a scan of the trees.
    ///
    /// Where this panics, each key is still there or not, and one that was not taken out stays.
    pub fn expire(
        &mut self,
        now: Deadline,
        keys_max: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Expired {
        let mut work = ENTRIES;
        let mut due = Vec::new();
        while due.len() < keys_max
            && let Some(one) = self.values.next_due(now, &mut work)
        {
            self.index.prefetch_hash(one.hash);
            due.push(one);
        }
        let is_partial = work == 0 || due.len() == keys_max;
        // A slot whose deadline came nearer has more than one entry.
        due.sort_unstable_by_key(|due| due.slot);
        due.dedup_by_key(|due| due.slot);
        // All are looked up before any is taken out, so that their waits for memory overlap.
        let located = due.into_iter().map(|due| {
            self.values.prefetch(due.slot);
            (due.slot, self.index.locate(due))
        });
        let located: Vec<(u32, Option<Located>)> = located.collect();
        let mut keys = 0;
        let mut others = Vec::new();
        for (slot, located) in located {
            match located.and_then(|located| self.index.key_of(slot, located)) {
                Some((spot, key)) => {
                    self.end(spot, &key, &mut each);
                    keys += 1;
                }
                None => others.push(slot),
            }
        }
        for (key, slot) in self.index.keys_in_trees(others) {
            let spot = self.index.find_with(&key, |_| ());
            // A frozen tree has keys too that are dead, and may be alive elsewhere.
            if let Some(spot) = spot.filter(|spot| spot.slot == slot) {
                self.end(spot, &key, &mut each);
                keys += 1;
            }
        }
        Expired { keys, is_partial }
    }

    /// The earliest moment at which [`expire`](Self::expire) may have something to do; `None` where no
    /// value ends.
    pub fn next_expiry(&self) -> Option<Deadline> {
        self.values.next_moment()
    }

    /// How many values end.
    pub fn ending(&self) -> usize {
        self.values.ending()
    }

    fn end(&mut self, spot: Spot, key: &[u8], each: &mut impl FnMut(&[u8])) {
        each(key);
        #[cfg(test)]
        super::fault::step();
        self.index.remove_at(spot, key);
        self.values.remove(spot.slot);
    }
}

/// Where a key is: at a rank of the segment of a number.
#[derive(Clone, Copy, Debug)]
struct Located {
    at: usize,
    rank: u32,
}

/// Some slots, so that most others are told from them by one look.
struct Slots {
    sorted: Vec<u32>,
    likely: [u64; 64],
}

impl Slots {
    fn of(mut slots: Vec<u32>) -> Self {
        slots.sort_unstable();
        let mut likely = [0; 64];
        for slot in &slots {
            likely[*slot as usize / 64 % 64] |= 1 << (slot % 64);
        }
        Self {
            sorted: slots,
            likely,
        }
    }

    fn contains(&self, slot: u32) -> bool {
        let is_likely = self.likely[slot as usize / 64 % 64] >> (slot % 64) & 1 == 1;
        is_likely && self.sorted.binary_search(&slot).is_ok()
    }
}

impl KeyIndex {
    /// What a key is found by when its value ends.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(self.seed.hash(key))
    }

    /// Fetches what [`locate`](Self::locate) reads first.
    fn prefetch_hash(&self, hash: KeyHash) {
        let segments = self.segments.iter();
        segments.for_each(|live| live.segment.prefetch_hash(hash.hash()));
    }

    /// Where the key of a slot is, if it is in a segment; what is read next is on its way.
    fn locate(&self, due: Due) -> Option<Located> {
        self.segments.iter().enumerate().find_map(|(at, live)| {
            let rank = live
                .segment
                .find_slot(due.slot, due.hash, |rank| !live.dead.contains(rank))?;
            live.segment.prefetch(rank);
            Some(Located { at, rank })
        })
    }

    /// The key of a slot that was located.
    fn key_of(&self, slot: u32, Located { at, rank }: Located) -> Option<(Spot, Vec<u8>)> {
        let key = self.segments[at].segment.walk(rank).advance()?.to_vec();
        Some((Spot::in_segment(slot, at, rank), key))
    }

    /// The keys of those of some slots that are in trees, and dead ones that were there. A scan of these.
    fn keys_in_trees(&self, slots: Vec<u32>) -> Vec<(Box<[u8]>, u32)> {
        if slots.is_empty() {
            return Vec::new();
        }
        let slots = Slots::of(slots);
        let alive = self.tree_slots();
        let found = alive.filter(|(_, slot)| slots.contains(*slot));
        found.map(|(key, slot)| (key.into(), slot)).collect()
    }
}
