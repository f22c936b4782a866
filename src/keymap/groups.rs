//! One page of a search that is divided into groups: the keys and groups of every part of an index,
//! merged in byte order, within a bound on the work.
//!
//! A group is a range of keys, so a segment finds its end by a bound and its size by a count, and none
//! of its keys is looked at but the first; a tree, which has some thousands of keys, walks them. What
//! several parts have of a group is added up, whatever that costs: **a group is given whole or not at
//! all**, so that a search goes on after its text.

mod found;
mod ranks;

use super::descending::{sink_last, sort_descending};
use super::live::{Live, Matches};
use super::page::{BYTES_PER_STEP, Work};
use super::segment::after_all_with;
use super::tree::{Tree, matching};
use crate::model::{GroupItem, GroupList, Grouping};
use ranks::SegmentGroups;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Bound;

/// So many keys of a group that a tree walks cost a step.
const TREE_KEYS_PER_STEP: usize = 4;

/// Some of the keys and groups that a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPage {
    /// The keys that belong to no group and the groups, in the byte order of their texts. Each group
    /// has all of its keys that match.
    pub items: GroupList,
    /// Where to go on: every item up to this text was given. `None` where no item is left, or where none
    /// was asked for.
    pub resume: Option<Box<[u8]>>,
}

/// What a page asks of every part.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupRequest<'a> {
    pub(super) grouping: &'a Grouping,
    /// Which keys count for the page: those from here on.
    pub(super) start: Bound<&'a [u8]>,
}

/// From which key on the items are whose texts are above `after`; all where it is empty. `None` where no
/// key can be so high.
pub(super) fn start_above(grouping: &Grouping, after: &[u8]) -> Option<Bound<Vec<u8>>> {
    match grouping.group_of(after) {
        // The text of its own group is not above it, and so none of the group's keys is of interest.
        Some(text) => after_all_with(text).map(Bound::Included),
        None if after.is_empty() => Some(Bound::Unbounded),
        None => Some(Bound::Excluded(after.to_vec())),
    }
}

/// Merges the sources into a page of at most `limit` items within so many steps.
pub(super) fn merge_groups(mut sources: Vec<Source<'_>>, limit: usize, steps: u32) -> GroupPage {
    let mut page = GroupPage::default();
    let mut work = Work::of(steps);
    // Every source gets a share to begin with, so that each page makes progress in all of them.
    let share = steps / (sources.len() as u32 + 1);
    sources.retain_mut(|source| work.within(share, |work| source.advance(work)));
    let is_before = |left: &Source<'_>, right: &Source<'_>| left.text() < right.text();
    sort_descending(&mut sources, is_before);
    while let Some(source) = sources.last_mut() {
        // What another part has of the last group is given with it.
        if page.items.last_text() != Some(source.text()) {
            let barrier = work.barrier.as_deref();
            if barrier.is_some_and(|barrier| source.text() > barrier) {
                break;
            }
            if page.items.len() >= limit || work.steps == 0 {
                // With no item given yet, `steps` cannot be used up: the shares leave one over.
                page.resume = page.items.last_text().map(Into::into);
                return page;
            }
        }
        page.items.add(source.item());
        work.take((source.text().len() / BYTES_PER_STEP) as u32);
        if source.advance(&mut work) {
            sink_last(&mut sources, is_before);
        } else {
            sources.pop();
        }
    }
    page.resume = work.barrier;
    page
}

/// The items of one part, in byte order. They are boxed, since a merge moves them about.
pub(super) enum Source<'a> {
    Tree(Box<TreeGroups<'a>>),
    Segment(Box<SegmentGroups<'a>>),
}

/// The items of a tree.
pub(super) struct TreeGroups<'a> {
    grouping: &'a Grouping,
    keys: Peekable<Box<dyn Iterator<Item = &'a [u8]> + 'a>>,
    item: GroupItem<'a>,
}

impl<'a> Source<'a> {
    /// What of a tree is asked for, its `dead` left out.
    pub(super) fn tree(
        keys: &'a Tree,
        dead: Option<&'a BTreeSet<Box<[u8]>>>,
        request: GroupRequest<'a>,
    ) -> Self {
        let GroupRequest { grouping, start } = request;
        let keys: Box<dyn Iterator<Item = &'a [u8]> + 'a> =
            Box::new(matching(keys, dead, &grouping.filter, start));
        Self::Tree(Box::new(TreeGroups {
            grouping,
            keys: keys.peekable(),
            item: GroupItem::Key(b""),
        }))
    }

    /// What of the matches of a segment is asked for.
    pub(super) fn segment(live: &'a Live, matches: Matches, request: GroupRequest<'a>) -> Self {
        Self::Segment(Box::new(SegmentGroups::new(live, matches, request)))
    }

    /// The item that the source is at.
    fn item(&self) -> GroupItem<'_> {
        match self {
            Self::Tree(tree) => tree.item,
            Self::Segment(segment) => segment.item(),
        }
    }

    fn text(&self) -> &[u8] {
        self.item().text()
    }

    /// Goes on to the next item and says whether there is one that is known. Where the steps run out
    /// first, the page ends at the text of what was examined last, which is one item at least.
    fn advance(&mut self, work: &mut Work) -> bool {
        match self {
            Self::Tree(tree) => tree.advance(work),
            Self::Segment(segment) => segment.advance(work),
        }
    }
}

impl TreeGroups<'_> {
    fn advance(&mut self, work: &mut Work) -> bool {
        let Some(key) = self.keys.next() else {
            return false;
        };
        let mut keys = 1;
        self.item = match self.grouping.group_of(key) {
            None => GroupItem::Key(key),
            Some(text) => {
                while self.keys.next_if(|key| key.starts_with(text)).is_some() {
                    keys += 1;
                }
                GroupItem::Group { text, keys }
            }
        };
        work.take(1 + (keys / TREE_KEYS_PER_STEP) as u32);
        true
    }
}
