//! A split-block Bloom filter: says that a key is absent without touching the segment.
//!
//! Source: Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007),
//! in the form of Apache Parquet's specification: blocks of 256 bits, eight bits a key.

/// Bits for each key: about one false positive in a hundred.
const BITS_PER_KEY: u64 = 10;

/// Odd constants that pick a bit in each word of a block, from the Parquet specification.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// A set of key hashes that has no false negatives.
#[derive(Debug)]
pub(super) struct Bloom {
    blocks: Vec<[u32; 8]>,
}

/// The hash by which keys are looked up here (XXH3, 64 bits, seed 0).
pub(super) fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

impl Bloom {
    /// An empty filter with room for `keys` keys.
    pub(super) fn with_capacity(keys: usize) -> Self {
        let blocks = (keys as u64 * BITS_PER_KEY).div_ceil(256).max(1);
        Self {
            blocks: vec![[0; 8]; blocks as usize],
        }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let block = self.block(hash);
        for (word, salt) in self.blocks[block].iter_mut().zip(SALTS) {
            *word |= bit(hash, salt);
        }
    }

    /// `false` means that no key of this hash was inserted.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let block = &self.blocks[self.block(hash)];
        block
            .iter()
            .zip(SALTS)
            .all(|(word, salt)| word & bit(hash, salt) != 0)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<[u32; 8]>()
    }

    /// Maps the upper half of the hash to a block without a division (Lemire's reduction).
    fn block(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }
}

fn bit(hash: u64, salt: u32) -> u32 {
    1 << ((hash as u32).wrapping_mul(salt) >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let mut bloom = Bloom::with_capacity(10_000);
        let key = |number: u32| hash(&number.to_be_bytes());
        (0..10_000).for_each(|number| bloom.insert(key(number)));
        assert!((0..10_000).all(|number| bloom.may_contain(key(number))));
        let false_positives = (10_000..110_000)
            .filter(|number| bloom.may_contain(key(*number)))
            .count();
        assert!(false_positives < 2_500, "{false_positives} of 100,000");
    }
}
