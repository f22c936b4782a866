//! What a search asks for.

/// Which keys match: those that begin with `prefix` and end with `suffix`. The two may overlap in
/// a key: `aba` begins with `ab` and ends with `ba`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The bytes that a key begins with; every key begins with no bytes.
    pub prefix: Vec<u8>,
    /// The bytes that a key ends with; every key ends with no bytes.
    pub suffix: Vec<u8>,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which keys match.
    pub filter: Filter,
    /// Only keys above this one, in byte order; all of them where it is empty.
    pub after: Vec<u8>,
    /// At most so many keys; all of them where it is `None`.
    pub limit: Option<usize>,
}

impl Filter {
    /// Whether `key` matches.
    pub fn matches(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }

    /// Whether every key matches.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.suffix.is_empty()
    }
}
