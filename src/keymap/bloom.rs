//! A split-block Bloom filter: says that a key is absent from a tree without looking there, which is
//! several cache misses.
//!
//! Source: Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007),
//! in the form of Apache Parquet's specification: blocks of 256 bits, eight bits a key. Other than
//! there, these are taken from the hash as it is, without multiplications.

/// Bits for each key: about one false positive in a hundred.
const BITS_PER_KEY: usize = 10;

/// What is in one place of memory.
type Block = [u32; 8];

/// A set of key hashes that has no false negatives.
#[derive(Debug)]
pub(super) struct Bloom {
    blocks: Vec<Block>,
}

impl Bloom {
    /// An empty filter with room for `keys` keys.
    pub(super) fn with_capacity(keys: usize) -> Self {
        let bits = Block::default().len() * u32::BITS as usize;
        let blocks = (keys * BITS_PER_KEY).div_ceil(bits).max(1);
        Self {
            blocks: vec![Block::default(); blocks],
        }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let at = self.block_of(hash);
        for (index, word) in self.blocks[at].iter_mut().enumerate() {
            *word |= bit(hash, index);
        }
    }

    /// `false` means that no key of this hash was inserted.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let block = &self.blocks[self.block_of(hash)];
        // Without a branch for each word: most probes are of keys that are elsewhere.
        let words = block.iter().enumerate();
        words.fold(0, |missing, (index, word)| {
            missing | bit(hash, index) & !word
        }) == 0
    }

    /// Maps the upper half of a hash to a block without a division (Lemire's reduction).
    fn block_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }
}

/// The bit of a word that a hash picks: five bits of it for each of the eight words. The upper of
/// these 40 choose the block too, but are its lowest by far and hardly matter there.
fn bit(hash: u64, word: usize) -> u32 {
    1 << ((hash >> (5 * word)) & 31)
}

#[cfg(test)]
mod tests {
    use super::super::hash::Seed;
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let mut bloom = Bloom::with_capacity(10_000);
        let key = |number: u32| Seed::default().hash(&number.to_be_bytes());
        (0..10_000).for_each(|number| bloom.insert(key(number)));
        assert!((0..10_000).all(|number| bloom.may_contain(key(number))));
        let false_positives = (10_000..110_000)
            .filter(|number| bloom.may_contain(key(*number)))
            .count();
        assert!(false_positives < 2_500, "{false_positives} of 100,000");
    }
}
