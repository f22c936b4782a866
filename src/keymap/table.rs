//! An exact lookup by hash: which rank a key has, in one probe.
//!
//! Groups of 12 entries, each in a cache line: a byte for each entry, a fingerprint of the key's hash
//! or 0 where the entry is free, and then the ranks. The keys that find their group full go on to the
//! next one: at a load of 77 % some 4 % of them. They leave one of eight marks behind, by their hash,
//! and an absent key of another mark needs not go on: 94 % end here, against 72 % if a full group were
//! the only mark. So a processor guesses right what comes next, and its wait for one lookup overlaps
//! with the next.
//!
//! Source: buckets that overflow into the next, Knuth, "The Art of Computer Programming", volume 3
//! (1998), section 6.4; fingerprints beside the entries, in groups that are compared at once:
//! Kulukundis, "Designing a Fast, Efficient, Cache-friendly Hash Table, Step by Step" (2017); eight
//! marks of overflow: López Muñoz, "Inside boost::unordered_flat_map" (2022). Entries name ranks,
//! though a block is decoded from its beginning anyway: so a reader can fetch a key's slot and value
//! ahead, before it has read the key's block.

use super::part::{Buffer, Part, PartKind};
use super::seen::Seen;
use prefetch_index::prefetch_index;

/// Entries of a group.
const ENTRIES: usize = 12;

/// Bytes of a group before its ranks: the fingerprints, a byte of marks, and some that are not used.
const HEAD_BYTES: usize = 16;

/// Bytes of a group.
const GROUP_BYTES: usize = HEAD_BYTES + ENTRIES * RANK_BYTES;

/// Bytes of a rank, and of more of the key's hash in the bits that the ranks leave over.
const RANK_BYTES: usize = size_of::<u32>();

/// The fingerprint of an entry that is free.
const FREE: u8 = 0;

/// How many keys are put into their groups at a time.
const BATCH: usize = 32;

/// How full the table is, in percent.
const LOAD_PERCENT: usize = 77;

/// A map from the hashes of keys to their ranks. It has no deletions.
#[derive(Clone, Debug)]
pub(super) struct Table {
    entries: Part,
    layout: Layout,
}

/// Takes the entries of a [`Table`].
#[derive(Debug)]
pub(super) struct TableBuilder {
    entries: Buffer,
    layout: Layout,
    /// Keys that are not in their groups yet, by hash, and their ranks.
    waiting: Vec<(u64, u32)>,
}

/// Where what is in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    groups: usize,
    /// The bits of an entry that are its rank. Those above are of the hash.
    rank_mask: u32,
}

/// The entries of a group that have some fingerprint: of each byte one bit, for the entry of its number
/// in the first half of the group, and the next, for that in the second.
#[derive(Clone, Copy, Debug)]
struct Equal(u64);

impl Layout {
    /// The layout for so many keys.
    fn of(keys: u32) -> Self {
        let last = keys.saturating_sub(1);
        Self {
            groups: (keys as usize * 100)
                .div_ceil(ENTRIES * LOAD_PERCENT)
                .max(1),
            rank_mask: u32::MAX.checked_shr(last.leading_zeros()).unwrap_or(0),
        }
    }

    fn bytes(self) -> usize {
        self.groups * GROUP_BYTES
    }

    /// Maps the upper half of the hash to a group without a division (Lemire's reduction).
    fn first_group(self, hash: u64) -> usize {
        (((hash >> 32) * self.groups as u64) >> 32) as usize
    }

    /// Where an entry's rank begins.
    fn rank_start(self, group: usize, entry: usize) -> usize {
        group * GROUP_BYTES + HEAD_BYTES + entry * RANK_BYTES
    }

    /// The group after another.
    fn next(self, group: usize) -> usize {
        if group + 1 == self.groups {
            0
        } else {
            group + 1
        }
    }

    /// What precedes the ranks of a group.
    fn head(self, entries: &[u8], group: usize) -> &[u8; HEAD_BYTES] {
        let head = entries[group * GROUP_BYTES..].first_chunk();
        head.expect("a group is within the table")
    }

    /// The rank of an entry, where the key of a hash may have it.
    fn rank(self, entries: &[u8], group: usize, entry: usize, hash: u64) -> Option<u32> {
        let entry = self.entry(entries, group, entry);
        let is_likely = (entry ^ hash as u32) & !self.rank_mask == 0;
        is_likely.then_some(entry & self.rank_mask)
    }

    /// The rank of an entry, and more of its hash above.
    fn entry(self, entries: &[u8], group: usize, entry: usize) -> u32 {
        let bytes = entries[self.rank_start(group, entry)..].first_chunk();
        u32::from_le_bytes(*bytes.expect("a rank is within the table"))
    }

    /// Fetches a group ahead of its use.
    fn prefetch(self, entries: &[u8], group: usize) {
        prefetch_index(entries, group * GROUP_BYTES);
    }
}

/// A byte of the hash that has no part in choosing the group; never [`FREE`].
fn fingerprint(hash: u64) -> u8 {
    (hash as u8).max(FREE + 1)
}

/// The mark that a key of a hash leaves in a group that was full.
fn mark(hash: u64) -> u8 {
    1 << (hash >> 8 & 7)
}

impl Equal {
    fn to(fingerprint: u8, head: &[u8; HEAD_BYTES]) -> Self {
        const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
        // What of the second half is no fingerprint.
        const OTHERS: u64 = u64::MAX << (8 * (ENTRIES - HEAD_BYTES / 2));
        let wanted = u64::from_ne_bytes([fingerprint; 8]);
        // The upper bit of each byte that is 0, and 0.
        let zeros = |word: u64| !(((word & LOW) + LOW) | word | LOW);
        let (halves, _) = head.as_chunks::<8>();
        let half = |at: usize| zeros(u64::from_le_bytes(halves[at]) ^ wanted);
        Self(half(0) >> 7 | (half(1) & !OTHERS) >> 6)
    }
}

impl Iterator for Equal {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros() as usize;
        let found = (self.0 != 0).then_some(bit / 8 + bit % 8 * (HEAD_BYTES / 2));
        self.0 &= self.0.wrapping_sub(1);
        found
    }
}

impl TableBuilder {
    /// An empty table for so many keys, at most.
    pub(super) fn with_capacity(keys: u32) -> Self {
        let layout = Layout::of(keys);
        Self {
            entries: Buffer::zeroed(layout.bytes()),
            layout,
            waiting: Vec::with_capacity(BATCH),
        }
    }

    /// Adds the key of a hash and a rank.
    pub(super) fn insert(&mut self, hash: u64, rank: u32) {
        self.waiting.push((hash, rank));
        if self.waiting.len() == BATCH {
            self.place_waiting();
        }
    }

    /// Puts the waiting keys into their groups. All are fetched first, so that their cache misses
    /// overlap.
    fn place_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let (entries, layout) = (self.entries.bytes(), self.layout);
        for (hash, _) in &waiting {
            layout.prefetch(entries, layout.first_group(*hash));
        }
        waiting
            .drain(..)
            .for_each(|(hash, rank)| self.place(hash, rank));
        self.waiting = waiting;
    }

    fn place(&mut self, hash: u64, rank: u32) {
        let layout = self.layout;
        let entries = self.entries.bytes_mut();
        let mut group = layout.first_group(hash);
        let free = loop {
            let free = Equal::to(FREE, layout.head(entries, group)).next();
            let fingerprints = &mut entries[group * GROUP_BYTES..];
            if let Some(free) = free {
                fingerprints[free] = fingerprint(hash);
                break free;
            }
            fingerprints[ENTRIES] |= mark(hash);
            group = layout.next(group);
        };
        let entry = hash as u32 & !layout.rank_mask | rank;
        let start = layout.rank_start(group, free);
        entries[start..start + RANK_BYTES].copy_from_slice(&entry.to_le_bytes());
    }

    pub(super) fn finish(mut self) -> Table {
        self.place_waiting();
        Table {
            entries: self.entries.seal(PartKind::Table),
            layout: self.layout,
        }
    }
}

impl Table {
    /// The table that a part holds, made for so many keys; `None` where it does not name each of their
    /// ranks once, or a lookup might not end.
    pub(super) fn open(entries: Part, keys: u32) -> Option<Self> {
        let layout = Layout::of(keys);
        if entries.len() != layout.bytes() {
            return None;
        }
        let mut seen = Seen::below(keys);
        for group in 0..layout.groups {
            let head = layout.head(&entries, group);
            let used = || (0..ENTRIES).filter(|entry| head[*entry] != FREE);
            // Full groups alone have marks, and not all are full.
            if head[ENTRIES] != 0 && used().count() < ENTRIES {
                return None;
            }
            let mut ranks = used().map(|entry| layout.entry(&entries, group, entry));
            if !ranks.all(|entry| seen.insert(entry & layout.rank_mask)) {
                return None;
            }
        }
        (seen.len() == keys as usize).then_some(Self { entries, layout })
    }

    /// The part that holds the table.
    pub(super) fn part(&self) -> &Part {
        &self.entries
    }

    /// Fetches all that leads to the rank of a key ahead of its use.
    pub(super) fn prefetch(&self, hash: u64) {
        let group = self.layout.first_group(hash);
        self.layout.prefetch(&self.entries, group);
    }

    /// The first answer of `look` among the ranks that the key of a hash may have. Mostly one rank
    /// for a key that is there, and none for one that is not.
    pub(super) fn find<T>(&self, hash: u64, mut look: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let layout = self.layout;
        let mut group = layout.first_group(hash);
        loop {
            let fingerprints = layout.head(&self.entries, group);
            let found = Equal::to(fingerprint(hash), fingerprints)
                .find_map(|entry| look(layout.rank(&self.entries, group, entry, hash)?));
            // Full groups alone have marks, and never are all full.
            if found.is_some() || fingerprints[ENTRIES] & mark(hash) == 0 {
                return found;
            }
            group = layout.next(group);
        }
    }
}

impl Table {
    /// As [`find`](Self::find), by a hash of which the lower half may not be known but for what tells groups
    /// and marks: `look` says which of the ranks it is.
    pub(super) fn find_at<T>(
        &self,
        hash: u64,
        mut look: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let layout = self.layout;
        let mut group = layout.first_group(hash);
        loop {
            let fingerprints = layout.head(&self.entries, group);
            let found = Equal::to(fingerprint(hash), fingerprints).find_map(|entry| {
                look(layout.entry(&self.entries, group, entry) & layout.rank_mask)
            });
            if found.is_some() || fingerprints[ENTRIES] & mark(hash) == 0 {
                return found;
            }
            group = layout.next(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::Seed;
    use super::*;

    /// Whether the first group of a hash has the entry for a rank.
    fn holds(table: &Table, hash: u64, rank: u32) -> bool {
        let layout = table.layout;
        let group = layout.first_group(hash);
        let fingerprints = layout.head(&table.entries, group);
        Equal::to(fingerprint(hash), fingerprints)
            .any(|entry| layout.rank(&table.entries, group, entry, hash) == Some(rank))
    }

    #[test]
    fn every_key_is_found_at_its_rank_and_others_cost_little() {
        let sizes = [1_u32, 2, 11, 12, 13, 14, 1_000, 100_000];
        // As they are, and as a table is whose ranks leave no bits over for more of the hash.
        let tables = sizes.map(|keys| (keys, Layout::of(keys).rank_mask, keys / 100));
        let crowded = (100_000, u32::MAX, 100_000 / 15);
        for (keys, rank_mask, vain_max) in tables.into_iter().chain([crowded]) {
            let mut builder = TableBuilder::with_capacity(keys);
            builder.layout.rank_mask = rank_mask;
            let hash = |number: u32| Seed::default().hash(&number.to_le_bytes());
            (0..keys).for_each(|number| builder.insert(hash(number), number));
            let table = builder.finish();
            let mut looks = 0;
            for number in 0..keys {
                let found = table.find(hash(number), |rank| {
                    looks += 1;
                    (rank == number).then_some(rank)
                });
                assert_eq!(found, Some(number));
            }
            assert!(looks <= keys + vain_max, "{looks} blocks for {keys} keys");
            let in_first = (0..keys).filter(|number| holds(&table, hash(*number), *number));
            let in_first = in_first.count() as u32;
            let likely = (0..keys).filter(|n| table.find(hash(*n), Some) == Some(*n));
            let likely = likely.count() as u32;
            // The hash has a seed, so that few keys may be unlucky.
            let often = keys - keys / 20;
            assert!(
                keys < 100_000 || in_first >= often && (likely >= often || vain_max > keys / 100),
                "{in_first} of {keys} in their first group, and {likely} first in it"
            );
            let mut vain = 0;
            for number in keys..keys * 2 {
                let found = table.find(hash(number), |_| {
                    vain += 1;
                    None::<()>
                });
                assert_eq!(found, None);
            }
            assert!(vain <= vain_max, "{vain} blocks for {keys} absent keys");
        }
    }

    #[test]
    fn absent_keys_rarely_go_on_from_a_full_group() {
        let keys = 100_000;
        let mut builder = TableBuilder::with_capacity(keys);
        let hash = |number: u32| Seed::default().hash(&number.to_le_bytes());
        (0..keys).for_each(|number| builder.insert(hash(number), number));
        let table = builder.finish();
        let goes_on = |number: &u32| {
            let hash = hash(*number);
            let group = table.layout.first_group(hash);
            table.layout.head(&table.entries, group)[ENTRIES] & mark(hash) != 0
        };
        let going_on = (keys..keys * 2).filter(goes_on).count();
        assert!(going_on < 10_000, "{going_on} of {keys}");
    }

    #[test]
    fn tables_of_any_size_name_ranks_exactly() {
        let sizes = (0..32).flat_map(|bits| [(1_u32 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for keys in sizes.chain([10_000_000, u32::MAX]).filter(|keys| *keys > 0) {
            // One group of a table for so many keys.
            let layout = Layout {
                groups: 1,
                ..Layout::of(keys)
            };
            let mut builder = TableBuilder {
                entries: Buffer::zeroed(layout.bytes()),
                layout,
                waiting: Vec::new(),
            };
            let hash = |number: u32| Seed::default().hash(&number.to_le_bytes());
            let ranks = [0, keys / 2, keys - 1];
            for (number, rank) in (0..).zip(ranks) {
                builder.insert(hash(number), rank);
            }
            let table = builder.finish();
            for (number, rank) in (0..).zip(ranks) {
                let found = table.find(hash(number), |named| (named == rank).then_some(named));
                assert_eq!(found, Some(rank), "{keys}: {layout:?}");
            }
        }
    }
}
