//! The items of a segment: each begins at the next live match, and a group of it ends at a bound.

use super::GroupRequest;
use super::found::{Found, Next, Rectangle, Rest};
use crate::keymap::blocks::Walk;
use crate::keymap::dead::NextAlive;
use crate::keymap::live::{Live, Matches};
use crate::keymap::page::{BYTES_PER_STEP, LOOKS_PER_STEP, Work};
use crate::keymap::segment::Segment;
use crate::model::{GroupItem, Grouping};
use std::ops::{Bound, Range};

/// What going to a key and looking for its delimiter costs, in steps.
const STEPS_PER_KEY: u32 = 3;

/// What looking into a block for the end of a group costs, in steps.
const STEPS_PER_LOOK: u32 = 1;

/// What counting the dead of a range of ranks costs, in steps.
const STEPS_PER_DEAD_COUNT: u32 = 4;

/// The items of a segment, in byte order.
pub(in crate::keymap) struct SegmentGroups<'a> {
    live: &'a Live,
    grouping: &'a Grouping,
    left: Left<'a>,
    /// Past the item, whose first key it gave last.
    walk: Walk<'a>,
    /// How much of that key is the item's text.
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
        let found = |rest| Left::Found(Found::new(live, rest));
        let left = match matches {
            Matches::None => Left::Ranks(0..0),
            Matches::Ranks(ranks) => Left::Ranks(ranks.start.max(start)..ranks.end),
            Matches::Listed(mut ranks) => {
                ranks.retain(|rank| *rank >= start);
                found(Rest::Listed(ranks))
            }
            Matches::Rectangle(ranks, reverse_ranks) => {
                let ranks = ranks.start.max(start)..ranks.end;
                found(Rest::Rectangle(Rectangle::new(live, ranks, reverse_ranks)))
            }
        };
        Self {
            live,
            grouping,
            left,
            walk: live.segment.walk(start),
            text_bytes: 0,
            keys: None,
        }
    }

    /// The item that it is at.
    pub(super) fn item(&self) -> GroupItem<'_> {
        let text = &self.walk.key()[..self.text_bytes];
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
        self.walk.skip_to(rank);
        let Some(key) = self.walk.advance() else {
            return false;
        };
        let key_bytes = key.len();
        work.take(STEPS_PER_KEY + (key_bytes / BYTES_PER_STEP) as u32);
        let Some(text_bytes) = self.grouping.group_of(key).map(<[u8]>::len) else {
            self.left.pass_key(rank);
            if !is_alive {
                work.end_at(self.walk.key());
            }
            (self.text_bytes, self.keys) = (key_bytes, None);
            return is_alive;
        };
        let looks = self.walk.pass_alike(text_bytes);
        work.take(looks * (STEPS_PER_LOOK + (text_bytes / BYTES_PER_STEP) as u32));
        // Stored ranks may lead anywhere, but not back.
        let end = self.walk.next_rank().max(rank + 1);
        let alive = self.left.pass_group(self.live, rank..end, work);
        let keys = alive.max(usize::from(is_alive));
        if keys == 0 {
            // Where the steps ran out within a group that is dead, it is done with all the same.
            work.end_at(&self.walk.key()[..text_bytes]);
            return false;
        }
        (self.text_bytes, self.keys) = (text_bytes, Some(keys));
        true
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
                if live.dead.len() > 0 {
                    work.take(STEPS_PER_DEAD_COUNT);
                }
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
