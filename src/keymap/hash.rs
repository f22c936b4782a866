//! The hash by which keys are looked up.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// XXH3, 64 bits, with a seed that is another in every process, so that nobody can make keys that all
/// fall into a few groups of a table. Tables are therefore of use in this process only; who reads a
/// stored segment makes them anew from its keys.
pub(super) fn hash(key: &[u8]) -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
    xxhash_rust::xxh3::xxh3_64_with_seed(key, *SEED)
}
