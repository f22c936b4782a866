//! Many lookups at a time, so that their cache misses overlap: with keys by the million a lookup is
//! mostly these.
//!
//! All keys take one step, then all the next, and each step reads only what the one before fetched.
//!
//! Source: group prefetching, Chen, Ailamaki, Gibbons and Mowry, "Improving Hash Join Performance
//! through Prefetching" (2004).

use super::{KeyIndex, KeyMap};
use crate::model::{Key, Value};

/// How many keys are looked ahead for at a time: as many misses as processors keep under way.
pub const AHEAD_MAX: usize = 16;

/// What lookups of some keys will read, on its way from memory.
#[derive(Debug)]
pub struct LookAhead<'a> {
    map: &'a KeyMap,
    likely: [Option<Likely>; AHEAD_MAX],
}

/// Where a key is, if it is where keys of its hash mostly are.
#[derive(Clone, Copy, Debug)]
struct Likely {
    /// Which of the index' segments.
    segment: usize,
    rank: u32,
    slot: u32,
}

impl KeyMap {
    /// Begins lookups of the first [`AHEAD_MAX`] of some keys.
    pub fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> LookAhead<'_> {
        #[cfg(test)]
        super::fault::step();
        let likely = self.index.look_ahead(keys.map(Key::as_bytes));
        let slots = likely.iter().flatten().map(|likely| likely.slot);
        let places = slots.clone();
        places.for_each(|slot| self.values.prefetch_place(slot));
        slots.for_each(|slot| self.values.prefetch(slot));
        LookAhead { map: self, likely }
    }
}

impl LookAhead<'_> {
    /// The value of a key, which costs least for the one that was given as number `at`, from 0 on.
    pub fn get(&self, at: usize, key: &Key) -> Option<Value> {
        let likely = self.likely.get(at).copied().flatten();
        match likely.filter(|likely| self.map.index.is_at(likely, key.as_bytes())) {
            Some(Likely { slot, .. }) => Some(self.map.values.get(slot)),
            None => self.map.get(key),
        }
    }
}

impl KeyIndex {
    /// Where the first [`AHEAD_MAX`] of some keys likely are; what is there is on its way.
    fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> [Option<Likely>; AHEAD_MAX] {
        let mut likely = [None; AHEAD_MAX];
        if self.segments.is_empty() {
            return likely;
        }
        let mut hashes = [0; AHEAD_MAX];
        let mut count = 0;
        for (place, key) in hashes.iter_mut().zip(keys) {
            *place = self.seed.hash(key);
            for live in &self.segments {
                live.segment.prefetch_hash(*place);
            }
            count += 1;
        }
        let hashes = &hashes[..count];
        let mut ranks = [None; AHEAD_MAX];
        for (place, hash) in ranks.iter_mut().zip(hashes) {
            *place = self.segments.iter().enumerate().find_map(|(at, live)| {
                let rank = live.segment.likely_rank(*hash)?;
                live.segment.prefetch_slot(rank);
                Some((at, rank))
            });
        }
        for (place, at) in likely.iter_mut().zip(ranks) {
            *place = at.map(|(segment, rank)| {
                let live = &self.segments[segment].segment;
                live.prefetch(rank);
                let slot = live.slot(rank);
                Likely {
                    segment,
                    rank,
                    slot,
                }
            });
        }
        likely
    }

    /// Whether a key is where it likely is.
    fn is_at(&self, likely: &Likely, key: &[u8]) -> bool {
        let live = &self.segments[likely.segment];
        live.segment.is_at(likely.rank, key) && !live.dead.contains(likely.rank)
    }
}
