//! The items of a segment: each begins at the next live match, and a group of it ends at a bound.

use super::GroupRequest;
use super::found::{Found, Next, Rest};
use crate::keymap::blocks::KeyBuffer;
use crate::keymap::dead::NextAlive;
use crate::keymap::live::{Live, Matches};
use crate::keymap::page::{BOUND_BYTES_PER_STEP, BYTES_PER_STEP, LOOKS_PER_STEP, Work};
use crate::keymap::segment::{Segment, after_all_with};
use crate::model::{GroupItem, Grouping};
use std::ops::{Bound, Range};

/// What decoding a key and looking for its delimiter costs, in steps.
const STEPS_PER_KEY: u32 = 6;

/// What looking for the end of a group costs, in steps: where it is in the block of its first key, and
/// what is added where it is further on.
const STEPS_PER_NEAR_BOUND: u32 = 4;
const STEPS_PER_BOUND: u32 = 20;

/// What counting the dead of a range of ranks costs, in steps.
const STEPS_PER_DEAD_COUNT: u32 = 4;

/// The items of a segment, in byte order.
pub(in crate::keymap) struct SegmentGroups<'a> {
    live: &'a Live,
    grouping: &'a Grouping,
    left: Left<'a>,
    /// The first key of the item, whose text is as long as this.
    key: KeyBuffer,
    text_bytes: usize,
    /// How many keys the item has, where it is a group.
    keys: Option<usize>,
}

/// The matches that no item was made of yet.
enum Left<'a> {
    /// All of some ranks.
    Ranks(Range<u32>),
    /// Some of the ranks there are.
    Found(Found<'a>),
}

impl<'a> SegmentGroups<'a> {
    pub(super) fn new(live: &'a Live, matches: Matches, request: GroupRequest<'a>) -> Self {
        let GroupRequest { grouping, start } = request;
        let start = first_rank(&live.segment, start);
        let suffix = grouping.filter.suffix.as_slice();
        let found = |rest| Left::Found(Found::new(live, suffix, rest));
        let left = match matches {
            Matches::None => Left::Ranks(0..0),
            Matches::Ranks(ranks) => Left::Ranks(ranks.start.max(start)..ranks.end),
            Matches::Listed(mut ranks) => {
                ranks.retain(|rank| *rank >= start);
                found(Rest::Listed(ranks))
            }
            Matches::Rectangle(ranks, reverse_ranks) => {
                let ranks = ranks.start.max(start)..ranks.end;
                found(Rest::Rectangle(ranks, reverse_ranks))
            }
        };
        Self {
            live,
            grouping,
            left,
            key: KeyBuffer::default(),
            text_bytes: 0,
            keys: None,
        }
    }

    /// The item that it is at.
    pub(super) fn item(&self) -> GroupItem<'_> {
        let text = &self.key.as_slice()[..self.text_bytes];
        match self.keys {
            None => GroupItem::Key(text),
            Some(keys) => GroupItem::Group { text, keys },
        }
    }

    /// Goes on to the next item, as [`Source::advance`](super::Source::advance) says.
    pub(super) fn advance(&mut self, work: &mut Work) -> bool {
        let (rank, is_alive) = match self.left.next(self.live, work) {
            None => return false,
            Some(Next::Alive(rank)) => (rank, true),
            Some(Next::Dead(rank)) => (rank, false),
        };
        self.live.segment.key_at(rank, &mut self.key);
        let key = self.key.as_slice();
        work.take(STEPS_PER_KEY + (key.len() / BYTES_PER_STEP) as u32);
        let Some(text) = self.grouping.group_of(key) else {
            self.left.pass_key(rank);
            if !is_alive {
                work.end_at(key);
            }
            (self.text_bytes, self.keys) = (key.len(), None);
            return is_alive;
        };
        // A stored segment may lead anywhere, but not back.
        let end = self.end_of(text, rank, work).max(rank + 1);
        let alive = self.left.pass_group(self.live, rank..end, work);
        let keys = alive.max(usize::from(is_alive));
        if keys == 0 {
            // Where the steps ran out within a group that is dead, it is done with all the same.
            work.end_at(text);
            return false;
        }
        (self.text_bytes, self.keys) = (text.len(), Some(keys));
        true
    }

    /// The rank after the last key that begins with `text`, as that of `rank` does.
    fn end_of(&self, text: &[u8], rank: u32, work: &mut Work) -> u32 {
        let segment = &self.live.segment;
        let Some(after) = after_all_with(text) else {
            return segment.len();
        };
        work.take(STEPS_PER_NEAR_BOUND + (after.len() / BYTES_PER_STEP) as u32);
        segment.near_bound(rank, &after).unwrap_or_else(|| {
            work.take(STEPS_PER_BOUND + (after.len() / BOUND_BYTES_PER_STEP) as u32);
            segment.lower_bound(&after)
        })
    }
}

impl Left<'_> {
    /// The next match that is alive, or where the steps ran out before.
    fn next(&mut self, live: &Live, work: &mut Work) -> Option<Next> {
        match self {
            Self::Ranks(ranks) => {
                let NextAlive { rank, looks } = live.dead.next_alive(ranks.start);
                work.take(1 + looks / LOOKS_PER_STEP);
                (rank < ranks.end).then_some(Next::Alive(rank))
            }
            Self::Found(found) => found.next(work),
        }
    }

    /// Goes past the match that is next.
    fn pass_key(&mut self, rank: u32) {
        match self {
            Self::Ranks(ranks) => ranks.start = rank + 1,
            Self::Found(found) => found.pass_key(),
        }
    }

    /// Goes past the matches of a group whose first is next, and returns how many are alive.
    fn pass_group(&mut self, live: &Live, group: Range<u32>, work: &mut Work) -> usize {
        match self {
            Self::Ranks(ranks) => {
                ranks.start = group.end;
                work.take(STEPS_PER_DEAD_COUNT);
                group.len() - live.dead.count_ranks(&group) as usize
            }
            Self::Found(found) => found.pass_group(group, work),
        }
    }
}

/// The first rank within a bound.
fn first_rank(segment: &Segment, start: Bound<&[u8]>) -> u32 {
    match start {
        Bound::Unbounded => 0,
        Bound::Included(key) => segment.lower_bound(key),
        Bound::Excluded(key) => segment.ranks_above(key).start,
    }
}
