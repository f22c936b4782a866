//! The matches of a segment that are not all of some ranks: taken a batch at a time, ascending.
//!
//! A group that ends within a batch is counted there. The matches of a larger one are counted without
//! being listed, and the next batch begins after it. So batches grow while groups are small, and are
//! of one match while they are large.

use crate::keymap::dead::Counting;
use crate::keymap::live::Live;
use crate::keymap::matrix::{Ascent, Reached};
use crate::keymap::page::{
    DEAD_PER_KEY, STEPS_PER_DEAD, STEPS_PER_PRUNED_REFILL, STEPS_PER_REFILL, Work,
};
use std::ops::Range;

/// How many matches a batch has at first, and at the most.
const BATCH_FIRST: usize = 8;
const BATCH_MAX: usize = 256;

/// How many of a list it has at least, since all of the list is looked at for each.
const BATCH_LISTED_MIN: usize = 512;

/// Up to so many keys a group is small: for each of the next some matches are asked for.
const SMALL_GROUP_KEYS: usize = 4;
const BATCH_PER_KEY: usize = 4;

/// What finding a rank of a rectangle costs besides, in steps.
const STEPS_PER_FOUND: u32 = 4;

/// What looking for a rank in a matrix costs, in steps, and each node on the way, which is far from the one before.
const STEPS_PER_REACH: u32 = 4;
const STEPS_PER_NODE: u32 = 3;

/// So many ranks of a list are looked at in a step, and so many are sorted.
const RANKS_PER_STEP: usize = 8;
const SORTED_PER_STEP: usize = 2;

/// Matches of a segment, and how far they were passed.
pub(super) struct Found<'a> {
    live: &'a Live,
    /// Some of them, ascending.
    batch: Vec<u32>,
    /// The next of these.
    at: usize,
    /// Those above.
    rest: Rest<'a>,
    /// How many to take of these next.
    wanted: usize,
    /// How many matches of a rectangle are below the next, dead ones too, where that is known.
    below: Option<u32>,
    /// How many of the batch that were passed were dead, and whether most of the one before were.
    dead_in_batch: usize,
    most_were_dead: bool,
    /// How often what came next was alive, and how many dead ones were met on the way there.
    given: u32,
    dead_met: u32,
}

/// Matches that are in no batch yet.
pub(super) enum Rest<'a> {
    /// These ranks, none of which is dead, in no order.
    Listed(Vec<u32>),
    /// A rectangle.
    Rectangle(Rectangle<'a>),
}

/// The ranks of a range whose reverse ranks are in another.
pub(super) struct Rectangle<'a> {
    ranks: Range<u32>,
    reverse_ranks: Range<u32>,
    ascent: Ascent<'a>,
}

impl<'a> Rectangle<'a> {
    /// Those of a segment.
    pub(super) fn new(live: &'a Live, ranks: Range<u32>, reverse_ranks: Range<u32>) -> Self {
        Self {
            ascent: live.segment.ascent(reverse_ranks.clone()),
            ranks,
            reverse_ranks,
        }
    }

    /// How many matches are below a rank, and which is the next.
    fn reach(&mut self, rank: u32, work: &mut Work) -> Reached {
        let (reached, nodes) = self.ascent.to(rank);
        work.take(STEPS_PER_REACH + nodes * STEPS_PER_NODE);
        reached
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A match.
    Alive(u32),
    /// One that is dead, at which the steps ran out.
    Dead(u32),
}

impl<'a> Found<'a> {
    /// Those of `rest`.
    pub(super) fn new(live: &'a Live, rest: Rest<'a>) -> Self {
        Self {
            live,
            batch: Vec::new(),
            at: 0,
            rest,
            wanted: BATCH_FIRST,
            below: None,
            dead_in_batch: 0,
            most_were_dead: false,
            given: 0,
            dead_met: 0,
        }
    }

    /// What comes next, if anything. It is not passed.
    pub(super) fn next(&mut self, work: &mut Work) -> Option<Next> {
        loop {
            if self.at == self.batch.len() {
                self.refill(work);
            }
            let rank = *self.batch.get(self.at)?;
            if !self.live.dead.contains(rank) {
                self.given += 1;
                return Some(Next::Alive(rank));
            }
            self.dead_met += 1;
            work.take(STEPS_PER_DEAD);
            if work.steps == 0 {
                return Some(Next::Dead(rank));
            }
            self.dead_in_batch += 1;
            self.pass(1);
        }
    }

    /// Goes past what comes next.
    pub(super) fn pass_key(&mut self) {
        self.pass(1);
    }

    /// Goes past the matches of a group, which begins with what comes next, and returns how many are
    /// alive.
    pub(super) fn pass_group(&mut self, group: Range<u32>, work: &mut Work) -> usize {
        let left = &self.batch[self.at..];
        let within = left.partition_point(|rank| *rank < group.end);
        if within == left.len() && !self.rest.is_empty() {
            let keys = self.pass_large(group, within, work);
            self.wanted = match keys {
                0..=SMALL_GROUP_KEYS => keys.max(1) * BATCH_PER_KEY,
                _ => 1,
            };
            return keys;
        }
        let dead = &self.live.dead;
        let dead = left[..within].iter().filter(|rank| dead.contains(**rank));
        let dead = dead.count();
        work.take((within / RANKS_PER_STEP) as u32);
        self.dead_in_batch += dead;
        self.pass(within);
        within - dead
    }

    /// As [`pass_group`](Self::pass_group), of a group that has all that is left of the batch, and may
    /// have more.
    fn pass_large(&mut self, group: Range<u32>, within: usize, work: &mut Work) -> usize {
        self.at = self.batch.len();
        match &mut self.rest {
            Rest::Listed(ranks) => {
                work.take((ranks.len() / RANKS_PER_STEP) as u32);
                let before = ranks.len();
                ranks.retain(|rank| *rank >= group.end);
                within + before - ranks.len()
            }
            Rest::Rectangle(rest) => {
                let before = match self.below {
                    Some(below) => below,
                    None => rest.reach(group.start, work).below,
                };
                let after = rest.reach(group.end, work).below;
                self.below = Some(after);
                rest.ranks.start = group.end.max(rest.ranks.start);
                // Its graves are those of no other group, so that all groups of a page look at each grave
                // that is sorted once.
                let dead = &self.live.dead;
                let dead = match dead.count_ranks(&group) {
                    0 => 0,
                    _ => dead.count(&group, &rest.reverse_ranks, Counting::Exact),
                };
                // A matrix that was stored may be one of other keys.
                after.saturating_sub(before).saturating_sub(dead) as usize
            }
        }
    }

    /// Goes past so many of the batch.
    fn pass(&mut self, matches: usize) {
        self.at += matches;
        self.below = self.below.map(|below| below + matches as u32);
    }

    /// Takes the next batch, which is empty where nothing is left.
    fn refill(&mut self, work: &mut Work) {
        // A few that are dead, of a small batch, say nothing.
        self.most_were_dead = self.dead_in_batch * 2 > self.batch.len().max(BATCH_FIRST);
        self.batch.clear();
        (self.at, self.dead_in_batch) = (0, 0);
        if self.rest.is_empty() {
            return;
        }
        if self.most_were_dead {
            self.wanted = BATCH_MAX;
        }
        match self.rest {
            Rest::Listed(_) => self.take_of_list(work),
            Rest::Rectangle(..) => {
                if self.wanted > 1 {
                    self.take_of_rectangle(work);
                } else {
                    self.take_next(work);
                }
            }
        }
        self.wanted = (self.wanted * 2).min(BATCH_MAX);
        // The cache misses of decoding them overlap.
        let batch = self.batch.iter();
        batch.for_each(|rank| self.live.segment.prefetch(*rank));
    }

    fn take_of_list(&mut self, work: &mut Work) {
        let Rest::Listed(ranks) = &mut self.rest else {
            return;
        };
        let some = self.wanted.max(BATCH_LISTED_MIN).min(ranks.len());
        work.take((ranks.len() / RANKS_PER_STEP + some / SORTED_PER_STEP) as u32);
        if some < ranks.len() {
            ranks.select_nth_unstable(some);
        }
        self.batch.extend(ranks.drain(..some));
        self.batch.sort_unstable();
    }

    /// Asks the matrix. Where most of what came before was dead, ranges that are wholly dead are left out,
    /// which pays then.
    fn take_of_rectangle(&mut self, work: &mut Work) {
        let Rest::Rectangle(Rectangle {
            ranks,
            reverse_ranks,
            ..
        }) = &mut self.rest
        else {
            return;
        };
        let Live { segment, dead, .. } = self.live;
        let prune = self.most_were_dead;
        if prune {
            work.take(STEPS_PER_PRUNED_REFILL);
            self.below = None;
        }
        let is_void = |ranks: Range<u32>, count: u32| {
            prune && dead.count_folded(&ranks, reverse_ranks) >= count
        };
        let complete = segment.first(
            ranks.clone(),
            reverse_ranks.clone(),
            self.wanted,
            is_void,
            &mut self.batch,
        );
        work.take(STEPS_PER_REFILL + self.batch.len() as u32 * STEPS_PER_FOUND);
        ranks.start = match self.batch.last() {
            Some(last) if !complete => last + 1,
            _ => ranks.end,
        };
    }

    /// Takes the next match of a rectangle alone.
    fn take_next(&mut self, work: &mut Work) {
        let Rest::Rectangle(rest) = &mut self.rest else {
            return;
        };
        let Reached { below, next } = rest.reach(rest.ranks.start, work);
        self.below = Some(below);
        let next = next.filter(|next| *next < rest.ranks.end);
        rest.ranks.start = next.map_or(rest.ranks.end, |next| next + 1);
        self.batch.extend(next);
    }
}

impl Rest<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Listed(ranks) => ranks.is_empty(),
            Self::Rectangle(rest) => rest.ranks.is_empty(),
        }
    }
}

impl Drop for Found<'_> {
    /// Tells the segment how many dead ranks were in the way.
    fn drop(&mut self) {
        let waste = self.dead_met.saturating_sub(self.given * DEAD_PER_KEY);
        self.live.waste(waste);
    }
}
