//! An exact lookup by hash for large segments: which rank a key has, in one probe.
//!
//! Buckets are cache lines of 16 entries, each a rank with as many bits of the key's hash as are
//! left over. A full bucket may have spilled into the next one. At a load of 80 % some 3 % of the
//! keys are in another bucket than their first.
//!
//! Source: buckets that overflow into the next, Knuth, "The Art of Computer Programming", volume 3
//! (1998), section 6.4; fingerprints in place of keys, Fan, Andersen, Kaminsky and Mitzenmacher,
//! "Cuckoo Filter" (2014). Entries name ranks, though a block is decoded from its beginning anyway:
//! so a reader can fetch a key's slot and value ahead, before it has read the key's block.

use super::blocks::BLOCK_KEYS;
use super::part::{Buffer, Part, PartKind};

/// Entries of a bucket.
const BUCKET_ENTRIES: usize = 16;

/// A bit for each entry of a bucket.
const FLAGS: [u32; BUCKET_ENTRIES] = [
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768,
];

/// What a bucket takes, in bytes: a cache line.
const BUCKET_BYTES: usize = BUCKET_ENTRIES * size_of::<u32>();

/// How many keys are put into their buckets at a time.
const BATCH: usize = 32;

/// How full the table is, in percent.
const LOAD_PERCENT: usize = 80;

/// With so many bits of the hash one in twenty lookups meets another key's entry.
const FINGERPRINT_BITS_MIN: u32 = 8;

/// A map from the hashes of keys to their ranks. It has no deletions.
#[derive(Clone, Debug)]
pub(super) struct Table {
    buckets: Part,
    layout: EntryLayout,
}

/// Takes the entries of a [`Table`].
#[derive(Debug)]
pub(super) struct TableBuilder {
    buckets: Buffer,
    keys: u32,
    layout: EntryLayout,
    /// Keys that are not in their buckets yet, by hash, and their ranks.
    waiting: Vec<(u64, u32)>,
}

/// How an entry is divided: the rank, counted from 1, above the fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntryLayout {
    /// How many low bits ranks lose, so that enough are left for the fingerprint: none below 2^24
    /// keys, and never so many that the block is not known.
    lost_bits: u32,
    fingerprint_bits: u32,
}

impl EntryLayout {
    /// The layout for so many keys.
    fn of(keys: u32) -> Self {
        let last = keys.saturating_sub(1);
        let fingerprint_bits = |lost_bits: u32| ((last >> lost_bits) + 1).leading_zeros();
        let lost_bits_max = BLOCK_KEYS.ilog2();
        let lost_bits = (0..lost_bits_max)
            .find(|lost_bits| fingerprint_bits(*lost_bits) >= FINGERPRINT_BITS_MIN)
            .unwrap_or(lost_bits_max);
        Self {
            lost_bits,
            fingerprint_bits: fingerprint_bits(lost_bits),
        }
    }

    fn entry(self, hash: u64, rank: u32) -> u32 {
        ((rank >> self.lost_bits) + 1) << self.fingerprint_bits | self.fingerprint(hash)
    }

    fn fingerprint(self, hash: u64) -> u32 {
        hash as u32 & self.mask()
    }

    fn mask(self) -> u32 {
        (1 << self.fingerprint_bits) - 1
    }

    /// The rank of an entry, without its lost bits; `None` where the entry is free.
    fn rank(self, entry: u32) -> Option<u32> {
        let rank = (entry >> self.fingerprint_bits).checked_sub(1)?;
        Some(rank << self.lost_bits)
    }

    /// Which entries of a bucket have the fingerprint of a hash, free ones perhaps included: a bit
    /// for each. In this form compilers compare several at once.
    fn equal(self, hash: u64, entries: &[[u8; 4]]) -> u32 {
        let (mask, wanted) = (self.mask(), self.fingerprint(hash));
        entries.iter().zip(FLAGS).fold(0, |equal, (entry, flag)| {
            let is_equal = u32::from_le_bytes(*entry) & mask == wanted;
            equal | if is_equal { flag } else { 0 }
        })
    }
}

impl TableBuilder {
    /// An empty table for so many keys, at most.
    pub(super) fn with_capacity(keys: u32) -> Self {
        let entries = keys as usize * 100;
        let buckets = entries.div_ceil(BUCKET_ENTRIES * LOAD_PERCENT).max(1);
        Self {
            buckets: Buffer::zeroed(buckets * BUCKET_BYTES),
            keys,
            layout: EntryLayout::of(keys),
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

    /// Puts the waiting keys into their buckets. All buckets are touched first, so that their cache
    /// misses overlap.
    fn place_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let (buckets, _) = self.buckets.bytes().as_chunks::<BUCKET_BYTES>();
        let touched = waiting
            .iter()
            .map(|(hash, _)| buckets[first_bucket(*hash, buckets.len())][0]);
        std::hint::black_box(touched.fold(0, |all, byte| all ^ byte));
        waiting
            .drain(..)
            .for_each(|(hash, rank)| self.place(hash, rank));
        self.waiting = waiting;
    }

    fn place(&mut self, hash: u64, rank: u32) {
        let entry = self.layout.entry(hash, rank);
        let (buckets, _) = self.buckets.bytes_mut().as_chunks_mut::<BUCKET_BYTES>();
        let mut at = first_bucket(hash, buckets.len());
        loop {
            let (entries, _) = buckets[at].as_chunks_mut::<4>();
            if let Some(free) = entries.iter_mut().find(|entry| **entry == [0; 4]) {
                *free = entry.to_le_bytes();
                return;
            }
            at = (at + 1) % buckets.len();
        }
    }

    pub(super) fn finish(mut self) -> Table {
        self.place_waiting();
        Table::open(self.buckets.seal(PartKind::Table), self.keys)
    }
}

impl Table {
    /// The table that a part holds, made for so many keys.
    pub(super) fn open(buckets: Part, keys: u32) -> Self {
        Self {
            buckets,
            layout: EntryLayout::of(keys),
        }
    }

    /// The part that holds the table.
    pub(super) fn part(&self) -> &Part {
        &self.buckets
    }

    /// Reads from the bucket of a hash, so that its cache miss overlaps with others.
    pub(super) fn touch(&self, hash: u64) -> u8 {
        let (buckets, _) = self.buckets.as_chunks::<BUCKET_BYTES>();
        buckets[first_bucket(hash, buckets.len())][0]
    }

    /// A rank that the key of a hash may have, by its first bucket alone, and mostly has. `None`
    /// also where ranks have lost bits.
    pub(super) fn likely_rank(&self, hash: u64) -> Option<u32> {
        if self.layout.lost_bits > 0 {
            return None;
        }
        let (buckets, _) = self.buckets.as_chunks::<BUCKET_BYTES>();
        let (entries, _) = buckets[first_bucket(hash, buckets.len())].as_chunks::<4>();
        let equal = self.layout.equal(hash, entries);
        let entry = entries.get(equal.trailing_zeros() as usize)?;
        self.layout.rank(u32::from_le_bytes(*entry))
    }

    /// The first answer of `look` among the ranks that the key of a hash may have, which are right
    /// but for some of the bits within a block. Mostly one rank for a key that is there, and none
    /// for one that is not.
    pub(super) fn find<T>(&self, hash: u64, mut look: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let (buckets, _) = self.buckets.as_chunks::<BUCKET_BYTES>();
        let mut at = first_bucket(hash, buckets.len());
        loop {
            let (entries, _) = buckets[at].as_chunks::<4>();
            let mut equal = self.layout.equal(hash, entries);
            while equal != 0 {
                let entry = u32::from_le_bytes(entries[equal.trailing_zeros() as usize]);
                equal &= equal - 1;
                if let Some(found) = self.layout.rank(entry).and_then(&mut look) {
                    return Some(found);
                }
            }
            // Entries fill a bucket in turn.
            if entries[BUCKET_ENTRIES - 1] == [0; 4] {
                return None;
            }
            at = (at + 1) % buckets.len();
        }
    }
}

/// Maps the upper half of the hash to a bucket without a division (Lemire's reduction).
fn first_bucket(hash: u64, buckets: usize) -> usize {
    (((hash >> 32) * buckets as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::super::bloom::hash;
    use super::*;

    /// Whether the first bucket of a hash has the entry for a rank.
    fn holds(table: &Table, hash: u64, rank: u32) -> bool {
        let (buckets, _) = table.buckets.as_chunks::<BUCKET_BYTES>();
        let (entries, _) = buckets[first_bucket(hash, buckets.len())].as_chunks::<4>();
        entries.contains(&table.layout.entry(hash, rank).to_le_bytes())
    }

    #[test]
    fn every_key_is_found_at_its_rank_and_others_cost_little() {
        for keys in [1_u32, 2, 15, 16, 17, 1_000, 100_000] {
            let mut builder = TableBuilder::with_capacity(keys);
            let hash = |number: u32| hash(&number.to_le_bytes());
            (0..keys).for_each(|number| builder.insert(hash(number), number));
            let table = builder.finish();
            let table = Table::open(table.part().clone(), keys);
            let mut looks = 0;
            for number in 0..keys {
                let found = table.find(hash(number), |rank| {
                    looks += 1;
                    (rank == number).then_some(rank)
                });
                assert_eq!(found, Some(number));
            }
            assert!(looks <= keys + keys / 50, "{looks} blocks for {keys} keys");
            let in_first = (0..keys).filter(|number| holds(&table, hash(*number), *number));
            let in_first = in_first.count() as u32;
            let likely = (0..keys).filter(|n| table.likely_rank(hash(*n)) == Some(*n));
            let likely = likely.count() as u32;
            // The hash has a seed, so that few keys may be unlucky.
            assert!(
                keys < 100_000 || in_first.min(likely) >= keys - keys / 20,
                "{in_first} of {keys} in their first bucket, and {likely} first in it"
            );
            let mut vain = 0;
            for number in keys..keys * 2 {
                let found = table.find(hash(number), |_| {
                    vain += 1;
                    None::<()>
                });
                assert_eq!(found, None);
            }
            assert!(vain <= keys / 50, "{vain} blocks for {keys} absent keys");
        }
    }

    #[test]
    fn entries_of_any_size_of_table_name_the_block_of_a_rank() {
        let sizes = (0..32).flat_map(|bits| [(1_u32 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for keys in sizes.chain([10_000_000, u32::MAX]).filter(|keys| *keys > 0) {
            let layout = EntryLayout::of(keys);
            assert!(layout.fingerprint_bits >= 3, "{keys}: {layout:?}");
            for rank in [0, keys / 2, keys - 1] {
                for hash in [0, u64::MAX] {
                    let entry = layout.entry(hash, rank);
                    assert_ne!(entry, 0);
                    let named = layout.rank(entry).unwrap();
                    assert_eq!(named / BLOCK_KEYS, rank / BLOCK_KEYS, "{keys}: {layout:?}");
                    assert_eq!(entry & layout.mask(), layout.fingerprint(hash));
                    assert!(keys >= 1 << 24 || named == rank, "{keys}: {layout:?}");
                }
            }
        }
    }
}
