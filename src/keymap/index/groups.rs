//! Searches of an index that are divided into groups.

use super::KeyIndex;
use crate::keymap::dead::Counting;
use crate::keymap::groups::{GroupPage, GroupRequest, Source, merge_groups, start_above};
use crate::keymap::page::{Asked, Request};
use crate::keymap::tree::scan_tree;
use crate::model::Grouping;

impl KeyIndex {
    /// The keys that belong to no group and the groups, of both those whose text is above `after`, at most
    /// `limit` together and within about 200 µs of work. A group whose text is not above `after` is left
    /// out whole, also where some of its keys are.
    ///
    /// A group costs O(log n) for each segment, however many keys it has, and a walk over those of its
    /// keys that are in trees. A page may end early, even without an item: [`GroupPage::resume`] says
    /// where to go on.
    pub fn groups(&self, grouping: &Grouping, after: &[u8], limit: usize) -> GroupPage {
        self.search_groups(grouping, after, limit, Asked::Page).0
    }

    /// As [`groups`](Self::groups), and how many keys match in all, whatever `after` and `limit` say.
    pub fn groups_and_count(
        &self,
        grouping: &Grouping,
        after: &[u8],
        limit: usize,
    ) -> (GroupPage, usize) {
        self.search_groups(grouping, after, limit, Asked::PageAndCount)
    }

    /// A page, and how many keys match in all where that is asked for; else less is counted.
    fn search_groups(
        &self,
        grouping: &Grouping,
        after: &[u8],
        limit: usize,
        asked: Asked,
    ) -> (GroupPage, usize) {
        let counted = Request {
            filter: &grouping.filter,
            after,
            asked,
        };
        let start = start_above(grouping, after).filter(|_| limit > 0);
        let request = start.as_ref().map(|start| GroupRequest {
            grouping,
            start: start.as_ref().map(Vec::as_slice),
        });
        let mut sources: Vec<Source<'_>> = Vec::with_capacity(self.segments.len() + 1);
        let mut total = 0;
        for (keys, dead) in self.trees() {
            if asked == Asked::PageAndCount {
                total += scan_tree(keys, dead, &counted, 0).0;
            }
            if !keys.is_empty() {
                sources.extend(request.map(|request| Source::tree(keys, dead, request)));
            }
        }
        let counting = match asked {
            Asked::Page => Counting::Folded,
            Asked::PageAndCount => Counting::Exact,
        };
        for live in &self.segments {
            let (count, matches) = live.matches(&grouping.filter, counting);
            if count > 0 {
                total += count as usize;
                sources.extend(request.map(|request| Source::segment(live, matches, request)));
            }
        }
        let page = merge_groups(sources, limit, counted.steps_left(self.segments.len()));
        self.heed_waste();
        (page, total)
    }
}
