//! What a map gives to a checkpoint, and is made of again.
//!
//! An [`Image`] is all keys of one moment, by slot: segments and trees, which never change, are shared.
//! Values are copied by slot at any time after that, while the map goes on changing. So a key's slot may
//! hold its value of the moment, a later one, or, where the key was removed meanwhile, none or another
//! key's. Who replays all changes since the moment over what a [`Loader`] makes of both has the state
//! that they lead to: each key whose slot may hold something else was set or removed since.

use super::KeyMap;
use super::dead::{Dead, DeadBits};
use super::hash::Seed;
use super::index::{IndexState, KeyIndex, SegmentState};
use super::merge::{Input, merge};
use super::seen::Seen;
use super::segment::{OpenError, SEGMENT_PARTS, Segment};
use super::slab::{Changes, Slab, SlotValue, SlotValues};
use super::tree::Tree;
use crate::model::Revision;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// All keys of a map at one moment.
#[derive(Clone, Debug)]
pub struct Image {
    index: IndexState,
    slots: u32,
    changes: Changes,
}

/// A segment of an image.
#[derive(Clone, Copy, Debug)]
pub struct SegmentImage<'a>(&'a SegmentState);

impl KeyMap {
    /// An empty map whose tables are of use wherever this seed is given.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            index: KeyIndex::with_seed(Seed::from(seed)),
            values: Slab::default(),
        }
    }

    /// All keys of this moment. O(segments), and a little for each million keys. `None` where it has to
    /// wait for a job: ask again when one has ended.
    pub fn image(&mut self) -> Option<Image> {
        let index = self.index.state()?;
        Some(Image {
            index,
            slots: self.values.slots(),
            changes: self.values.begin_image(),
        })
    }

    /// Copies the values of the first of some slots, of as many as take about 100 µs. Bodies over 255
    /// bytes are shared. Slots that there are none of are free.
    pub fn copy_values(&self, slots: Range<u32>) -> SlotValues {
        self.values.copy(slots)
    }
}

impl Image {
    /// How many slots there were, the free ones included.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// How many images of the map there were up to this one.
    pub fn number(&self) -> u32 {
        self.changes.image()
    }

    /// Whether nothing changed in a range of [`RANGE_SLOTS`](super::RANGE_SLOTS) slots from the image of
    /// a number to this one.
    pub fn is_unchanged(&self, range: u32, since: u32) -> bool {
        self.changes.is_unchanged(range, since)
    }

    /// The segments.
    pub fn segments(&self) -> impl Iterator<Item = SegmentImage<'_>> {
        self.index.segments.iter().map(SegmentImage)
    }

    /// The keys that are in no segment yet, in no order, and their slots.
    pub fn tree_keys(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.index.trees.iter().flat_map(|tree| {
            let keys = tree.keys.iter();
            let alive = keys.filter(|(key, _)| tree.dead.binary_search(key).is_err());
            alive.map(|(key, slot)| (&**key, *slot))
        })
    }
}

impl<'a> SegmentImage<'a> {
    /// Its number, which no other segment of the map has or had.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// How many keys it has, the dead included.
    pub fn keys(&self) -> u32 {
        self.0.segment.len()
    }

    /// How many are dead.
    pub fn dead_len(&self) -> u32 {
        self.0.dead.len()
    }

    /// The ranks of these, ascending.
    pub fn dead(&self) -> impl Iterator<Item = u32> {
        self.0.dead.ranks()
    }

    /// The bytes that it is made of again; none of a part that is missing.
    pub fn parts(&self) -> [&'a [u8]; SEGMENT_PARTS] {
        self.0.segment.stored()
    }
}

/// Why what is stored cannot be what was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Flaw(pub &'static str);

/// A segment that was stored.
#[derive(Debug)]
pub struct StoredSegment(Segment);

impl StoredSegment {
    /// Takes a segment of so many keys back, whose parts have so many bytes each, which are read by
    /// number. All of it is verified: no lookup fails later, whatever the bytes are.
    ///
    /// # Errors
    /// Where a part cannot be read, or is not what was stored.
    pub fn open<E>(
        keys: u32,
        bytes: [usize; SEGMENT_PARTS],
        seed: u64,
        read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        Segment::open(keys, bytes, Seed::from(seed), read).map(Self)
    }

    /// The slots of all keys, dead or alive, by rank.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        (0..self.0.len()).map(|rank| self.0.slot(rank))
    }

    /// The key of a rank.
    pub fn key(&self, rank: u32) -> Vec<u8> {
        let mut walk = self.0.walk(rank);
        walk.advance().map_or(Vec::new(), <[u8]>::to_vec)
    }
}

/// Makes a map of what images and copies of values gave.
#[derive(Debug)]
pub struct Loader {
    seed: Seed,
    slots: u32,
    /// The slots that a key leads to.
    used: Seen,
    segments: Vec<(Segment, DeadBits)>,
    tree: Tree,
    values: Slab,
    /// The first slot whose value may come next.
    next: u32,
}

impl Loader {
    /// The number of the image that a map is as, once it is made.
    pub const IMAGE: u32 = 1;

    /// A loader of a map of so many slots, none of whose values has a revision before this one, or else
    /// takes more room.
    pub fn new(seed: u64, slots: u32, first_revision: Revision) -> Self {
        Self {
            seed: Seed::from(seed),
            slots,
            used: Seen::below(slots),
            segments: Vec::new(),
            tree: Tree::new(),
            values: Slab::to_load(first_revision),
            next: 0,
        }
    }

    /// Takes a segment with its dead ranks, and returns its id in the map.
    ///
    /// # Errors
    /// Where it has not these ranks, or a slot is another key's.
    pub fn segment(
        &mut self,
        segment: StoredSegment,
        dead: impl Iterator<Item = u32>,
    ) -> Result<u64, Flaw> {
        let StoredSegment(segment) = segment;
        let mut bits = DeadBits::default();
        let mut next = 0;
        for rank in dead {
            if !(next..segment.len()).contains(&rank) {
                return Err(Flaw("the dead are no ascending ranks of the segment"));
            }
            bits.insert(rank);
            next = rank + 1;
        }
        for rank in 0..segment.len() {
            if bits.len() == 0 || !bits.contains(rank) {
                self.take_slot(segment.slot(rank))?;
            }
        }
        self.segments.push((segment, bits));
        Ok(self.segments.len() as u64)
    }

    /// Takes a key that is in no segment, and its slot.
    ///
    /// # Errors
    /// Where it is no key, or there already, or its slot is another key's.
    pub fn tree_key(&mut self, key: &[u8], slot: u32) -> Result<(), Flaw> {
        if key.is_empty() || str::from_utf8(key).is_err() {
            return Err(Flaw("a key is no text"));
        }
        if self.tree.insert(key.into(), slot).is_some() {
            return Err(Flaw("a key is there twice"));
        }
        self.take_slot(slot)
    }

    /// Lays a value down, after all keys were given, and all values of lower slots. One that no key leads
    /// to is left out.
    ///
    /// # Errors
    /// Where its slot is not above those before.
    pub fn value(&mut self, value: &SlotValue<'_>) -> Result<(), Flaw> {
        let slot = value.slot;
        if slot < self.next {
            return Err(Flaw("the slots of values do not ascend"));
        }
        self.next = slot.saturating_add(1);
        if self.used.contains(slot) {
            self.values.load(value);
        }
        Ok(())
    }

    /// The map. A key whose slot has no value was removed after the image, and is dead.
    pub fn finish(mut self) -> KeyMap {
        let values = self.values.loaded();
        if values.len() < self.used.len() {
            for (segment, dead) in &mut self.segments {
                for rank in 0..segment.len() {
                    if !dead.contains(rank) && !values.is_used(segment.slot(rank)) {
                        dead.insert(rank);
                    }
                }
            }
            self.tree.retain(|_, slot| values.is_used(*slot));
        }
        let with_graves = |(segment, dead): (Segment, DeadBits)| {
            let dead = Dead::of(segment.graves(&dead));
            (segment, dead)
        };
        let mut segments: Vec<(Segment, Dead)> =
            self.segments.into_iter().map(with_graves).collect();
        if !self.tree.is_empty() {
            let tree = Input::Tree {
                keys: Arc::new(self.tree),
                dead: BTreeSet::new(),
            };
            let segment = merge(&[tree], None, self.seed);
            let segment = segment.expect("only what segments hold can be damaged");
            segments.push((segment, Dead::default()));
        }
        KeyMap {
            index: KeyIndex::of(self.seed, segments),
            values,
        }
    }

    /// Notes that a key leads to a slot.
    fn take_slot(&mut self, slot: u32) -> Result<(), Flaw> {
        if slot >= self.slots {
            return Err(Flaw("a key's slot is past the last"));
        }
        if !self.used.insert(slot) {
            return Err(Flaw("two keys have one slot"));
        }
        Ok(())
    }
}
