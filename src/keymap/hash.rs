//! The hash by which keys are looked up.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// The seed of the hash, so that nobody can make keys that all fall into a few groups of a table: another
/// in every process, or that of a directory, in which tables are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u64);

impl Default for Seed {
    /// That of the process.
    fn default() -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
        Self(*SEED)
    }
}

impl From<u64> for Seed {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

/// What of a key's hash a key is found by again, beside its slot: all of the bits that a table divides its
/// keys by. Six bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// That of a hash.
    pub(super) fn of(hash: u64) -> Self {
        Self((hash >> 32) << 16 | hash & 0xffff)
    }

    /// A hash that is as the key's in all bits that there are.
    pub(super) fn hash(self) -> u64 {
        (self.0 >> 16) << 32 | self.0 & 0xffff
    }

    /// As six bytes, little-endian.
    pub fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// As it was written.
    pub fn from_bytes([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }
}

impl Seed {
    /// XXH3, 64 bits.
    pub(super) fn hash(self, key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(key, self.0)
    }
}
