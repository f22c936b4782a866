//! One page of a search: the matching keys of every part of an index, merged in byte order,
//! within a bound on the work.

use super::blocks::{KeyBuffer, Walk};
use super::dead::{Dead, NextAlive};
use super::descending::{sink_last, sort_descending};
use super::live::{Live, Matches};
use super::segment::Segment;
use crate::model::{Filter, KeyList};
use std::ops::Range;

/// How much a page may do before it ends early. A step is about 25 ns, so that a page takes about
/// 200 µs at the most.
pub(super) const STEPS_PER_PAGE: u32 = 8192;

/// What finding the next rank of a rectangle and decoding its key costs, in steps.
const STEPS_PER_RANK: u32 = 16;

/// What finding a rank costs whose key is dead, in steps.
pub(super) const STEPS_PER_DEAD: u32 = 4;

/// What asking for more ranks costs, in steps; more where wholly dead ranges are looked for.
pub(super) const STEPS_PER_REFILL: u32 = 64;
pub(super) const STEPS_PER_PRUNED_REFILL: u32 = 512;

/// For so many bytes a key costs a step more.
pub(super) const BYTES_PER_STEP: usize = 64;

/// For so many bytes of what bounds are looked for by a segment costs a step, 8 ns a byte; up to half
/// of the steps, so that a page of any filter gives keys.
pub(super) const BOUND_BYTES_PER_STEP: usize = 3;
const BOUND_STEPS_MAX: u32 = STEPS_PER_PAGE / 2;

/// For so many words of dead ranks that are passed a step more is taken.
pub(super) const LOOKS_PER_STEP: u32 = 16;

/// How many ranks of a rectangle are asked for at first, at most: what all steps are enough for.
pub(super) const SHARE_MAX: usize = (STEPS_PER_PAGE / STEPS_PER_RANK) as usize;

/// How many ranks of a rectangle are asked for again, at least, once those asked for are used up.
const RANKS_PER_REFILL: usize = 8;

/// How many dead ranks may be met for each key that is given before they count as waste.
pub(super) const DEAD_PER_KEY: u32 = 8;

/// Some of the keys that a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys, in byte order.
    pub keys: KeyList,
    /// Where to go on: every match up to this key was given. `None` where no match is left, or where
    /// none was asked for.
    pub resume: Option<Box<[u8]>>,
}

/// What a search asks of every part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) filter: &'a Filter,
    /// Only keys above this one count for the page; all where it is empty.
    pub(super) after: &'a [u8],
    pub(super) asked: Asked,
}

impl Request<'_> {
    /// What is left of a page's steps once so many segments looked for their bounds.
    pub(super) fn steps_left(&self, segments: usize) -> u32 {
        let Filter { prefix, suffix } = self.filter;
        let bytes = (2 * (prefix.len() + suffix.len()) + self.after.len()) * segments;
        let steps = u32::try_from(bytes / BOUND_BYTES_PER_STEP).unwrap_or(u32::MAX);
        STEPS_PER_PAGE - steps.min(BOUND_STEPS_MAX)
    }
}

/// Merges the sources into a page of at most `limit` keys within so many steps.
pub(super) fn merge_page(mut sources: Vec<Source<'_>>, limit: usize, steps: u32) -> Page {
    let mut page = Page::default();
    let mut work = Work::of(steps);
    // Every source gets a share to begin with, so that each page makes progress in all of them.
    let share = steps / (sources.len() as u32 + 1);
    sources.retain_mut(|source| work.within(share, |work| source.advance(work)));
    let is_before = |left: &Source<'_>, right: &Source<'_>| left.key() < right.key();
    sort_descending(&mut sources, is_before);
    while let Some(source) = sources.last_mut() {
        let barrier = work.barrier.as_deref();
        if barrier.is_some_and(|barrier| source.key() > barrier) {
            break;
        }
        if page.keys.len() >= limit || work.steps == 0 {
            // With no key given yet, `steps` cannot be used up: the shares leave one over.
            page.resume = page.keys.last().map(Into::into);
            return page;
        }
        page.keys.push(source.key());
        work.take((source.key().len() / BYTES_PER_STEP) as u32);
        if source.advance(&mut work) {
            sink_last(&mut sources, is_before);
        } else {
            sources.pop();
        }
    }
    page.resume = work.barrier;
    page
}

/// What a page may still do, and how far it may go.
pub(super) struct Work {
    pub(super) steps: u32,
    /// Matches above this key are not all known.
    pub(super) barrier: Option<Box<[u8]>>,
}

impl Work {
    /// So many steps.
    pub(super) fn of(steps: u32) -> Self {
        Self {
            steps,
            barrier: None,
        }
    }

    /// Does something by a share of the steps. Of these as many are left over as it does not use.
    pub(super) fn within<T>(&mut self, share: u32, run: impl FnOnce(&mut Self) -> T) -> T {
        let steps = std::mem::replace(&mut self.steps, share);
        let output = run(self);
        self.steps += steps - share;
        output
    }

    pub(super) fn take(&mut self, steps: u32) {
        self.steps = self.steps.saturating_sub(steps);
    }

    /// Ends the page at a key, the last that was examined, unless it ends below already.
    pub(super) fn end_at(&mut self, key: &[u8]) {
        if self.barrier.as_deref().is_none_or(|barrier| key < barrier) {
            self.barrier = Some(key.into());
        }
    }
}

/// The matching keys of one part, in byte order.
pub(super) enum Source<'a> {
    /// Those of a tree: at most one more than the page takes.
    Tree {
        keys: std::vec::IntoIter<&'a [u8]>,
        current: &'a [u8],
    },
    /// A range of ranks of a segment: its keys are decoded in turn.
    Walk {
        walk: Walk<'a>,
        end: u32,
        dead: &'a Dead,
    },
    /// Ranks of a segment.
    Ranks(Ranks<'a>),
}

/// Ranks of a segment, whose keys are decoded one by one.
pub(super) struct Ranks<'a> {
    live: &'a Live,
    found: std::vec::IntoIter<u32>,
    /// Where to find more.
    rest: Option<Rectangle>,
    key: KeyBuffer,
    given: u32,
    /// How many ranks the last batch had, and how many of these were dead.
    batch_len: u32,
    dead_in_batch: u32,
    /// How many dead ranks there were in all.
    dead_met: u32,
}

/// Where matches are that were not asked for yet.
struct Rectangle {
    ranks: Range<u32>,
    reverse_ranks: Range<u32>,
    /// How many to ask for.
    batch: usize,
}

impl<'a> Source<'a> {
    /// Keys of a tree.
    pub(super) fn tree(keys: Vec<&'a [u8]>) -> Self {
        Self::Tree {
            keys: keys.into_iter(),
            current: b"",
        }
    }

    /// The matches of a segment that are above `after`, of which there are about `share` on the
    /// page, and never `wanted` or more.
    pub(super) fn segment(
        live: &'a Live,
        matches: Matches,
        after: &[u8],
        share: usize,
        wanted: usize,
    ) -> Self {
        let segment: &Segment = &live.segment;
        let start = if after.is_empty() {
            0
        } else {
            segment.ranks_above(after).start
        };
        let (found, rest) = match matches {
            Matches::None => (Vec::new(), None),
            Matches::Ranks(ranks) => {
                return Self::Walk {
                    walk: segment.walk(ranks.start.max(start)),
                    end: ranks.end,
                    dead: &live.dead,
                };
            }
            Matches::Listed(mut found) => {
                found.retain(|rank| *rank >= start);
                if found.len() > wanted {
                    found.select_nth_unstable(wanted);
                    found.truncate(wanted);
                }
                found.sort_unstable();
                (found, None)
            }
            Matches::Rectangle(ranks, reverse_ranks) => {
                let rest = Rectangle {
                    ranks: ranks.start.max(start)..ranks.end,
                    reverse_ranks,
                    batch: share + share.isqrt() + 1,
                };
                (Vec::new(), Some(rest))
            }
        };
        let mut ranks = Ranks {
            live,
            found: Vec::new().into_iter(),
            rest,
            key: KeyBuffer::default(),
            given: 0,
            batch_len: 0,
            dead_in_batch: 0,
            dead_met: 0,
        };
        ranks.take_batch(found);
        Self::Ranks(ranks)
    }

    /// The match that the source is at.
    fn key(&self) -> &[u8] {
        match self {
            Self::Tree { current, .. } => current,
            Self::Walk { walk, .. } => walk.key(),
            Self::Ranks(ranks) => ranks.key.as_slice(),
        }
    }

    /// Goes on to the next match and says whether there is one that is known. Where the steps run
    /// out first, the page ends at the last key that was examined, which is one at least.
    fn advance(&mut self, work: &mut Work) -> bool {
        match self {
            Self::Tree { keys, current } => {
                work.take(1);
                let next = keys.next();
                *current = next.unwrap_or_default();
                next.is_some()
            }
            Self::Walk { walk, end, dead } => {
                let NextAlive { rank, looks } = dead.next_alive(walk.next_rank());
                work.take(1 + looks / LOOKS_PER_STEP);
                if rank >= *end {
                    return false;
                }
                walk.skip_to(rank);
                walk.advance().is_some()
            }
            Self::Ranks(ranks) => ranks.advance(work),
        }
    }
}

impl Ranks<'_> {
    fn advance(&mut self, work: &mut Work) -> bool {
        loop {
            let Some(rank) = self.found.next().or_else(|| self.refill(work)) else {
                return false;
            };
            if !self.live.dead.contains(rank) {
                self.given += 1;
                work.take(STEPS_PER_RANK);
                self.live.segment.key_at(rank, &mut self.key);
                return true;
            }
            self.dead_in_batch += 1;
            self.dead_met += 1;
            work.take(STEPS_PER_DEAD);
            if work.steps == 0 {
                self.live.segment.key_at(rank, &mut self.key);
                work.end_at(self.key.as_slice());
                return false;
            }
        }
    }

    /// Asks for more ranks, and returns the first of them.
    fn refill(&mut self, work: &mut Work) -> Option<u32> {
        let Rectangle {
            ranks,
            reverse_ranks,
            batch,
        } = self.rest.as_mut()?;
        let Live { segment, dead, .. } = self.live;
        let mut found = Vec::new();
        // Looking for ranges that are wholly dead pays where most of what was found was dead.
        let prune = self.dead_in_batch * 2 > self.batch_len;
        work.take(if prune {
            STEPS_PER_PRUNED_REFILL
        } else {
            STEPS_PER_REFILL
        });
        let is_void = |ranks: Range<u32>, count: u32| {
            prune && dead.count_folded(&ranks, reverse_ranks) >= count
        };
        let complete = segment.first(
            ranks.clone(),
            reverse_ranks.clone(),
            *batch,
            is_void,
            &mut found,
        );
        match found.last() {
            Some(last) if !complete => {
                ranks.start = last + 1;
                *batch = (*batch / 2).max(RANKS_PER_REFILL);
            }
            _ => self.rest = None,
        }
        self.take_batch(found);
        self.found.next()
    }

    /// Goes on with some ranks. All are fetched first, so that the cache misses of decoding them
    /// overlap.
    fn take_batch(&mut self, found: Vec<u32>) {
        found
            .iter()
            .for_each(|rank| self.live.segment.prefetch(*rank));
        self.dead_in_batch = 0;
        self.batch_len = found.len() as u32;
        self.found = found.into_iter();
    }
}

impl Drop for Ranks<'_> {
    /// Tells the segment how many dead ranks were in the way.
    fn drop(&mut self) {
        let waste = self.dead_met.saturating_sub(self.given * DEAD_PER_KEY);
        self.live.waste(waste);
    }
}

/// How much is asked of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Page,
    PageAndCount,
}
