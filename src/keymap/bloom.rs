//! A split-block Bloom filter: says that a key is absent without touching the segment.
//!
//! Source: Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007),
//! in the form of Apache Parquet's specification: blocks of 256 bits, eight bits a key. Other than
//! there, these are taken from the hash as it is, without multiplications.

use super::part::{Buffer, Part, PartKind};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Bits for each key: about one false positive in a hundred.
const BITS_PER_KEY: u64 = 10;

/// What a block takes, in bytes.
const BLOCK_BYTES: usize = 32;

/// A set of key hashes that has no false negatives.
#[derive(Clone, Debug)]
pub(super) struct Bloom {
    blocks: Part,
}

/// Takes the hashes of a [`Bloom`].
#[derive(Debug)]
pub(super) struct BloomBuilder {
    blocks: Buffer,
}

/// The hash by which keys are looked up here: XXH3, 64 bits, with a seed that is another in every
/// process, so that nobody can make keys that all fall into a few buckets. Filters and tables are
/// therefore of use in this process only; who reads a stored segment makes them anew from its keys.
pub(super) fn hash(key: &[u8]) -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
    xxhash_rust::xxh3::xxh3_64_with_seed(key, *SEED)
}

impl BloomBuilder {
    /// An empty filter with room for `keys` keys.
    pub(super) fn with_capacity(keys: usize) -> Self {
        let blocks = (keys as u64 * BITS_PER_KEY).div_ceil(256).max(1);
        Self {
            blocks: Buffer::zeroed(blocks as usize * BLOCK_BYTES),
        }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let start = block_start(hash, self.blocks.len());
        let block = &mut self.blocks.bytes_mut()[start..start + BLOCK_BYTES];
        for (index, word) in block.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *word = (u32::from_le_bytes(*word) | bit(hash, index)).to_le_bytes();
        }
    }

    /// `false` means that no key of this hash was inserted.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        may_contain(self.blocks.bytes(), hash)
    }

    pub(super) fn finish(self) -> Bloom {
        Bloom::open(self.blocks.seal(PartKind::Bloom))
    }
}

impl Bloom {
    /// The filter that a part holds.
    pub(super) fn open(blocks: Part) -> Self {
        Self { blocks }
    }

    /// The part that holds the filter.
    pub(super) fn part(&self) -> &Part {
        &self.blocks
    }

    /// `false` means that no key of this hash was inserted.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        may_contain(&self.blocks, hash)
    }
}

fn may_contain(blocks: &[u8], hash: u64) -> bool {
    let start = block_start(hash, blocks.len());
    let block = &blocks[start..start + BLOCK_BYTES];
    let words = block.as_chunks::<4>().0.iter().enumerate();
    // Without a branch for each word: most probes are of keys that are elsewhere.
    let missing = words.fold(0, |missing, (index, word)| {
        missing | bit(hash, index) & !u32::from_le_bytes(*word)
    });
    missing == 0
}

/// Where the block of a hash starts: maps the upper half of the hash to a block without a
/// division (Lemire's reduction).
fn block_start(hash: u64, bytes: usize) -> usize {
    let blocks = (bytes / BLOCK_BYTES) as u64;
    (((hash >> 32) * blocks) >> 32) as usize * BLOCK_BYTES
}

/// The bit of a word that a hash picks: five bits of it for each of the eight words. The upper of
/// these 40 choose the block too, but are its lowest by far and hardly matter there.
fn bit(hash: u64, word: usize) -> u32 {
    1 << ((hash >> (5 * word)) & 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let mut builder = BloomBuilder::with_capacity(10_000);
        let key = |number: u32| hash(&number.to_be_bytes());
        (0..10_000).for_each(|number| builder.insert(key(number)));
        let bloom = builder.finish();
        assert!((0..10_000).all(|number| bloom.may_contain(key(number))));
        let false_positives = (10_000..110_000)
            .filter(|number| bloom.may_contain(key(*number)))
            .count();
        assert!(false_positives < 2_500, "{false_positives} of 100,000");
    }
}
