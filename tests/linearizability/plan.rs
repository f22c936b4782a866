//! What clients ask: at random, and so that conditions hold about as often as not.

use crate::model::{Asked, Body, Condition, Tag};

/// Random numbers: SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(u64);

impl Random {
    /// Numbers that nobody had.
    pub fn fresh() -> Self {
        Self(getrandom::u64().unwrap())
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// What a client asks next of a key whose value it saw last with this tag. A set has the body.
pub fn next(random: &mut Random, body: Body, seen: Option<Tag>) -> Asked {
    let as_seen = seen.map_or(Condition::Absent, Condition::Is);
    match random.below(20) {
        0..7 => Asked::Get,
        7..10 => Asked::Set(body, Condition::Always),
        10..12 => Asked::Set(body, Condition::Absent),
        12..17 => Asked::Set(body, as_seen),
        17 => Asked::Delete(Condition::Always),
        _ => Asked::Delete(as_seen),
    }
}
