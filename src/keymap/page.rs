//! One page of a search: the matching keys of every part of an index, merged in byte order,
//! within a bound on the work.

use super::blocks::Walk;
use super::dead::Dead;
use super::merge::Tree;
use super::segment::{Segment, after_all_with};
use crate::model::{Filter, KeyList};
use std::collections::{BTreeSet, btree_map};
use std::ops::{Bound, Range};

/// How much a page may do before it ends early. A step is about 25 ns, so that a page takes about
/// 200 µs at the most.
pub(super) const STEPS_PER_PAGE: u32 = 8192;

/// What finding the next rank of a rectangle and decoding its key costs, in steps.
const STEPS_PER_RANK: u32 = 16;

/// Up to so many keys of a prefix, decoding and testing each beats looking for the suffix.
const DECODE_MAX: u32 = 64;

/// How many ranks of a rectangle are asked for at a time.
const RANKS_PER_FILL: usize = 32;

/// Some of the keys that a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys, in byte order.
    pub keys: KeyList,
    /// Where to go on: every match up to this key was given. `None` where no match is left.
    pub resume: Option<Box<[u8]>>,
}

/// Merges the sources into a page of at most `limit` keys.
pub(super) fn merge_page(mut sources: Vec<Source<'_>>, limit: usize) -> Page {
    let mut page = Page::default();
    let mut steps = STEPS_PER_PAGE;
    // Every source gets a share to begin with, so that each page makes progress in all of them.
    let share = STEPS_PER_PAGE / (sources.len() as u32 + 1);
    let mut barrier = None;
    for source in &mut sources {
        let mut own = share;
        source.advance(&mut own, &mut barrier);
        steps -= share - own;
    }
    loop {
        let least = sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.ready)
            .min_by(|(_, left), (_, right)| left.key.cmp(&right.key))
            .map(|(index, _)| index);
        let Some(least) = least else {
            page.resume = barrier;
            return page;
        };
        let source = &mut sources[least];
        if barrier
            .as_deref()
            .is_some_and(|barrier| *source.key > *barrier)
        {
            page.resume = barrier;
            return page;
        }
        if page.keys.len() >= limit || steps == 0 {
            // With no key given yet, `steps` cannot be used up: the shares leave one over.
            page.resume = page.keys.last().map(Into::into);
            return page;
        }
        page.keys.push(&source.key);
        source.advance(&mut steps, &mut barrier);
    }
}

/// The matching keys of one part, in byte order.
pub(super) struct Source<'a> {
    kind: Kind<'a>,
    /// Whether `key` is a match that was not given yet.
    ready: bool,
    key: Vec<u8>,
}

enum Kind<'a> {
    /// A part that is a tree: its keys are tested one by one.
    Tree {
        keys: btree_map::Range<'a, Box<[u8]>, u32>,
        filter: &'a Filter,
        dead: Option<&'a BTreeSet<Box<[u8]>>>,
    },
    /// A range of ranks of a segment: its keys are decoded in turn.
    Walk {
        walk: Walk<'a>,
        end: u32,
        suffix: &'a [u8],
        dead: &'a Dead,
    },
    /// A rectangle of a segment: its ranks come from the matrix.
    Rectangle {
        segment: &'a Segment,
        ranks: Range<u32>,
        reverse_ranks: Range<u32>,
        /// Descending, so that the next is popped.
        found: Vec<u32>,
        complete: bool,
        dead: &'a Dead,
    },
}

impl<'a> Source<'a> {
    fn new(kind: Kind<'a>) -> Self {
        Self {
            kind,
            ready: false,
            key: Vec::new(),
        }
    }

    /// The matches of a tree above `after`.
    pub(super) fn tree(
        keys: &'a Tree,
        dead: Option<&'a BTreeSet<Box<[u8]>>>,
        filter: &'a Filter,
        after: &[u8],
    ) -> Self {
        Self::new(Kind::Tree {
            keys: tree_range(keys, filter, after),
            filter,
            dead,
        })
    }

    /// The matches of a segment above `after`; `None` where it surely has none.
    pub(super) fn segment(
        segment: &'a Segment,
        dead: &'a Dead,
        filter: &'a Filter,
        after: &[u8],
    ) -> Option<Self> {
        let mut ranks = segment.prefix_ranks(&filter.prefix);
        if !after.is_empty() {
            ranks.start = ranks.start.max(segment.ranks_above(after).start);
        }
        if ranks.is_empty() {
            return None;
        }
        if filter.suffix.is_empty() || ranks.end - ranks.start <= DECODE_MAX {
            return Some(Self::new(Kind::Walk {
                walk: segment.walk(ranks.start),
                end: ranks.end,
                suffix: &filter.suffix,
                dead,
            }));
        }
        let reverse_ranks = segment.suffix_ranks(&filter.suffix);
        (!reverse_ranks.is_empty()).then(|| {
            Self::new(Kind::Rectangle {
                segment,
                ranks,
                reverse_ranks,
                found: Vec::new(),
                complete: false,
                dead,
            })
        })
    }

    /// Goes on to the next match and says in `ready` whether there is one. Where the steps run
    /// out first, the last key that was examined becomes the barrier, unless it is lower already:
    /// matches above it are not all known.
    fn advance(&mut self, steps: &mut u32, barrier: &mut Option<Box<[u8]>>) {
        match self.kind.next(&mut self.key, steps) {
            Found::Match => self.ready = true,
            Found::End => self.ready = false,
            Found::OutOfSteps => {
                self.ready = false;
                if barrier
                    .as_deref()
                    .is_none_or(|barrier| *self.key < *barrier)
                {
                    *barrier = Some(self.key.as_slice().into());
                }
            }
        }
    }
}

/// What a source came to.
enum Found {
    Match,
    End,
    OutOfSteps,
}

impl Kind<'_> {
    /// Decodes the next match into `key`. At least one key is examined, whatever `steps` says.
    fn next(&mut self, key: &mut Vec<u8>, steps: &mut u32) -> Found {
        loop {
            let is_match = match self {
                Self::Tree { keys, filter, dead } => {
                    let Some((next, _)) = keys.next() else {
                        return Found::End;
                    };
                    *steps = steps.saturating_sub(1);
                    key.clear();
                    key.extend_from_slice(next);
                    next.ends_with(&filter.suffix) && !dead.is_some_and(|dead| dead.contains(next))
                }
                Self::Walk {
                    walk,
                    end,
                    suffix,
                    dead,
                } => {
                    let rank = dead.next_alive(walk.next_rank());
                    if rank >= *end {
                        return Found::End;
                    }
                    walk.skip_to(rank);
                    let Some(next) = walk.advance() else {
                        return Found::End;
                    };
                    *steps = steps.saturating_sub(1);
                    key.clear();
                    key.extend_from_slice(next);
                    next.ends_with(suffix)
                }
                Self::Rectangle {
                    segment,
                    ranks,
                    reverse_ranks,
                    found,
                    complete,
                    dead,
                } => {
                    if found.is_empty() && !*complete {
                        let (rectangle, reverse) = (ranks.clone(), reverse_ranks.clone());
                        *complete = segment.first(rectangle, reverse, RANKS_PER_FILL, found);
                        ranks.start = found.last().map_or(ranks.end, |last| last + 1);
                        found.reverse();
                    }
                    let Some(rank) = found.pop() else {
                        return Found::End;
                    };
                    *steps = steps.saturating_sub(STEPS_PER_RANK);
                    let alive = !dead.contains(rank);
                    if alive || *steps == 0 {
                        segment.key_at(rank, key);
                    }
                    alive
                }
            };
            match (is_match, *steps) {
                (true, _) => return Found::Match,
                (false, 0) => return Found::OutOfSteps,
                (false, _) => {}
            }
        }
    }
}

/// The part of a tree that can match `filter` above `after`.
pub(super) fn tree_range<'a>(
    keys: &'a Tree,
    filter: &Filter,
    after: &[u8],
) -> btree_map::Range<'a, Box<[u8]>, u32> {
    let end = after_all_with(&filter.prefix);
    let start = if !after.is_empty() && after >= filter.prefix.as_slice() {
        Bound::Excluded(after)
    } else {
        Bound::Included(filter.prefix.as_slice())
    };
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let is_empty = match (start, end) {
        (Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
        _ => false,
    };
    if is_empty {
        return btree_map::Range::default();
    }
    keys.range::<[u8], _>((start, end))
}
