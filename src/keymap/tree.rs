//! The trees of an index: keys that are in no segment yet.

use super::bloom::Bloom;
use super::page::{Asked, Request};
use super::segment::after_all_with;
use crate::model::Filter;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;
use std::sync::Arc;

/// Keys and their slots in a tree: the newest part of an index.
pub(super) type Tree = BTreeMap<Box<[u8]>, u32>;

/// Keys in the fresh tree before it is frozen. A suffix scan over so many takes about 14 µs.
pub(super) const FRESH_KEYS: usize = 4096;

/// What the keys of the fresh tree take at the most before it is frozen, in bytes: as many long ones would be far more
/// than is to be merged at a time.
pub(super) const FRESH_BYTES: usize = 1024 * 1024;

/// The least that it is ever frozen at: a few messages of bulk bodies.
const FRESH_BYTES_MIN: usize = 64 * 1024;

/// What a key of a tree takes on the heap besides its bytes: its share of a B-tree node.
pub(super) const TREE_ENTRY_BYTES: usize = 40;

/// What the keys of a fresh tree take before it is frozen, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeBound(usize);

impl TreeBound {
    /// So many bytes, within reason.
    pub(super) fn of(bytes: usize) -> Self {
        Self(bytes.clamp(FRESH_BYTES_MIN, FRESH_BYTES))
    }
}

impl Default for TreeBound {
    fn default() -> Self {
        Self(FRESH_BYTES)
    }
}

/// A tree that takes new keys.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) keys: Tree,
    /// Most keys that are looked for are elsewhere, and looking in a tree is not cheap.
    pub(super) filter: Bloom,
    /// How many keys the filter was given since it was empty.
    pub(super) filtered: usize,
    /// Bytes on the heap; the filter's few thousand are left out.
    pub(super) bytes: usize,
}

impl Default for Fresh {
    fn default() -> Self {
        Self {
            keys: Tree::new(),
            filter: Bloom::with_capacity(FRESH_KEYS),
            filtered: 0,
            bytes: 0,
        }
    }
}

impl Fresh {
    /// Whether it is so large that it is to be frozen.
    pub(super) fn is_full(&self, bound: TreeBound) -> bool {
        self.is_full_by(1, bound)
    }

    /// Whether it is so many times as large.
    pub(super) fn is_full_by(&self, times: usize, bound: TreeBound) -> bool {
        self.keys.len() >= times * FRESH_KEYS || self.bytes >= times * bound.0
    }
}

/// A tree that takes no more keys.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) keys: Arc<Tree>,
    pub(super) filter: Bloom,
    /// Bytes on the heap, those of the dead included.
    pub(super) bytes: usize,
    pub(super) dead: BTreeSet<Box<[u8]>>,
    pub(super) job: Option<u64>,
    pub(super) failures: u32,
}

/// The first `wanted` keys of a tree that match and are above `after`, and, where it is asked for,
/// how many match in all. A scan, unless all begin with the prefix and no more is asked.
pub(super) fn scan_tree<'a>(
    keys: &'a Tree,
    dead: Option<&BTreeSet<Box<[u8]>>>,
    request: &Request<'_>,
    wanted: usize,
) -> (usize, Vec<&'a [u8]>) {
    let Request {
        filter,
        after,
        asked,
    } = *request;
    let mut found = Vec::new();
    let above = match after {
        [] => Bound::Unbounded,
        _ => Bound::Excluded(after),
    };
    if asked == Asked::Page {
        found.extend(matching(keys, dead, filter, above).take(wanted));
        return (0, found);
    }
    let mut ends = [keys.first_key_value(), keys.last_key_value()]
        .into_iter()
        .flatten();
    let holds_all = ends.all(|(key, _)| key.starts_with(&filter.prefix));
    if filter.suffix.is_empty() && holds_all {
        found.extend(matching(keys, dead, filter, above).take(wanted));
        return (keys.len() - dead.map_or(0, BTreeSet::len), found);
    }
    let mut count = 0;
    for key in matching(keys, dead, filter, Bound::Unbounded) {
        count += 1;
        if found.len() < wanted && (after.is_empty() || *key > *after) {
            found.push(key);
        }
    }
    (count, found)
}

/// The live keys of a tree that match `filter`, from a bound on. The dead come along in the same order, so
/// that none is looked up.
pub(super) fn matching<'a>(
    keys: &'a Tree,
    dead: Option<&BTreeSet<Box<[u8]>>>,
    filter: &Filter,
    from: Bound<&[u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let prefix = filter.prefix.as_slice();
    let start = match from {
        Bound::Included(start) | Bound::Excluded(start) if start >= prefix => from,
        Bound::Included(_) | Bound::Excluded(_) | Bound::Unbounded => Bound::Included(prefix),
    };
    let dead = dead.map(|dead| dead.range::<[u8], _>((start, Bound::Unbounded)));
    let mut dead = dead.into_iter().flatten().peekable();
    let within = tree_range(keys, prefix, start).map(|(key, _)| &**key);
    let ending = within.filter(|key| key.ends_with(&filter.suffix));
    ending.filter(move |key| {
        while dead.next_if(|dead| ***dead < **key).is_some() {}
        dead.peek().is_none_or(|dead| ***dead != **key)
    })
}

/// The part of a tree that can begin with `prefix`, from a bound on that is not below it.
fn tree_range<'a>(
    keys: &'a Tree,
    prefix: &[u8],
    start: Bound<&[u8]>,
) -> btree_map::Range<'a, Box<[u8]>, u32> {
    let end = after_all_with(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let is_empty = match (start, end) {
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
        _ => false,
    };
    if is_empty {
        return btree_map::Range::default();
    }
    keys.range::<[u8], _>((start, end))
}
