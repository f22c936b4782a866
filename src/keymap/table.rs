//! An exact lookup by hash for large segments: which block holds a key, in one probe.
//!
//! Buckets are cache lines of 16 entries, each a block number with as many bits of the key's hash
//! as are left over. A full bucket may have spilled into the next one. At a load of 80 % some 3 %
//! of the keys are in another bucket than their first.
//!
//! Source: buckets that overflow into the next, Knuth, "The Art of Computer Programming", volume 3
//! (1998), section 6.4; fingerprints in place of keys, Fan, Andersen, Kaminsky and Mitzenmacher,
//! "Cuckoo Filter" (2014). Entries name blocks and not ranks, since a block is decoded from its
//! beginning anyway: that leaves four bits more for the fingerprint.

use super::part::{Buffer, Part, PartKind};

/// Entries of a bucket.
const BUCKET_ENTRIES: usize = 16;

/// What a bucket takes, in bytes: a cache line.
const BUCKET_BYTES: usize = BUCKET_ENTRIES * size_of::<u32>();

/// How many keys are put into their buckets at a time.
const BATCH: usize = 32;

/// How full the table is, in percent.
const LOAD_PERCENT: usize = 80;

/// A map from the hashes of keys to the blocks that hold them. It has no deletions.
#[derive(Clone, Debug)]
pub(super) struct Table {
    buckets: Part,
    fingerprint_bits: u32,
}

/// Takes the entries of a [`Table`].
#[derive(Debug)]
pub(super) struct TableBuilder {
    buckets: Buffer,
    blocks: u32,
    fingerprint_bits: u32,
    /// Keys that are not in their buckets yet, by hash, and their blocks.
    waiting: Vec<(u64, u32)>,
}

impl TableBuilder {
    /// An empty table for so many keys, at most, in so many blocks.
    pub(super) fn with_capacity(keys: usize, blocks: u32) -> Self {
        let buckets = (keys * 100).div_ceil(BUCKET_ENTRIES * LOAD_PERCENT).max(1);
        Self {
            buckets: Buffer::zeroed(buckets * BUCKET_BYTES),
            blocks,
            fingerprint_bits: fingerprint_bits(blocks),
            waiting: Vec::with_capacity(BATCH),
        }
    }

    /// Adds the key of a hash, which is in `block`.
    pub(super) fn insert(&mut self, hash: u64, block: u32) {
        self.waiting.push((hash, block));
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
            .for_each(|(hash, block)| self.place(hash, block));
        self.waiting = waiting;
    }

    fn place(&mut self, hash: u64, block: u32) {
        let entry = (block + 1) << self.fingerprint_bits | fingerprint(hash, self.fingerprint_bits);
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
        Table::open(self.buckets.seal(PartKind::Table), self.blocks)
    }
}

impl Table {
    /// The table that a part holds, whose entries name so many blocks.
    pub(super) fn open(buckets: Part, blocks: u32) -> Self {
        Self {
            buckets,
            fingerprint_bits: fingerprint_bits(blocks),
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

    /// The first answer of `look` in the blocks that may hold the key of a hash. Mostly one block
    /// for a key that is there, and none for one that is not.
    pub(super) fn find<T>(&self, hash: u64, mut look: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let (buckets, _) = self.buckets.as_chunks::<BUCKET_BYTES>();
        let mut at = first_bucket(hash, buckets.len());
        let mask = (1 << self.fingerprint_bits) - 1;
        let wanted = fingerprint(hash, self.fingerprint_bits);
        loop {
            let (entries, _) = buckets[at].as_chunks::<4>();
            let entry = |index: usize| u32::from_le_bytes(entries[index]);
            // A byte for each entry: compilers compare all 16 at once in this form.
            let equal: [u8; BUCKET_ENTRIES] =
                std::array::from_fn(|index| u8::from(entry(index) & mask == wanted));
            let mut equal = u128::from_le_bytes(equal);
            while equal != 0 {
                let entry = entry((equal.trailing_zeros() / u8::BITS) as usize);
                equal &= equal - 1;
                let block = entry >> self.fingerprint_bits;
                if let Some(found) = block.checked_sub(1).and_then(&mut look) {
                    return Some(found);
                }
            }
            // Entries fill a bucket in turn.
            if entry(BUCKET_ENTRIES - 1) == 0 {
                return None;
            }
            at = (at + 1) % buckets.len();
        }
    }
}

/// The bits of an entry that block numbers, counted from 1, leave over.
fn fingerprint_bits(blocks: u32) -> u32 {
    blocks.max(1).leading_zeros()
}

fn fingerprint(hash: u64, bits: u32) -> u32 {
    hash as u32 & ((1 << bits) - 1)
}

/// Maps the upper half of the hash to a bucket without a division (Lemire's reduction).
fn first_bucket(hash: u64, buckets: usize) -> usize {
    (((hash >> 32) * buckets as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::super::bloom::hash;
    use super::*;

    /// Whether the first bucket of a hash has the entry for a block.
    fn holds(table: &Table, hash: u64, block: u32) -> bool {
        let (buckets, _) = table.buckets.as_chunks::<BUCKET_BYTES>();
        let (entries, _) = buckets[first_bucket(hash, buckets.len())].as_chunks::<4>();
        let wanted =
            (block + 1) << table.fingerprint_bits | fingerprint(hash, table.fingerprint_bits);
        entries.contains(&wanted.to_le_bytes())
    }

    #[test]
    fn every_key_is_found_in_its_block_and_others_cost_little() {
        for keys in [1_u32, 2, 15, 16, 17, 1_000, 100_000] {
            let blocks = keys.div_ceil(16);
            let mut builder = TableBuilder::with_capacity(keys as usize, blocks);
            let hash = |number: u32| hash(&number.to_le_bytes());
            (0..keys).for_each(|number| builder.insert(hash(number), number / 16));
            let table = builder.finish();
            let table = Table::open(table.part().clone(), blocks);
            let mut looks = 0;
            for number in 0..keys {
                let found = table.find(hash(number), |block| {
                    looks += 1;
                    (block == number / 16).then_some(block)
                });
                assert_eq!(found, Some(number / 16));
            }
            assert!(looks <= keys + keys / 50, "{looks} blocks for {keys} keys");
            let in_first = (0..keys).filter(|number| holds(&table, hash(*number), number / 16));
            let in_first = in_first.count() as u32;
            // The hash has a seed, so that few keys may be unlucky.
            assert!(
                keys < 100_000 || in_first >= keys - keys / 20,
                "{in_first} of {keys} in their first bucket"
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
}
