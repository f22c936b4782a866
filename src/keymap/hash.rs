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

impl Seed {
    /// XXH3, 64 bits.
    pub(super) fn hash(self, key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(key, self.0)
    }
}
