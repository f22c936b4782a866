//! How long tests look: for as long as each change can wait, or, by `make thorough`, for as long as is worth it.

/// The size or the number of cases that a test takes: the first by default, the second where
/// `KVSTORE_TEST_THOROUGH` is set.
pub fn effort<T>(by_default: T, thorough: T) -> T {
    match std::env::var_os("KVSTORE_TEST_THOROUGH") {
        Some(_) => thorough,
        None => by_default,
    }
}
