//! What a search finds, some at a time, and how it is written: keys, or keys and groups of them.

use super::State;
use super::buffers::Charge;
use crate::model::{GroupItem, GroupList, KeyList};
use crate::store::{GroupPages, Pages, StoreError};
use serde::Serialize;
use std::io::Write;

/// How many items are fetched at a time.
pub(super) const FETCHED_ITEMS: usize = 1024;

/// What an answer lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A key, as a string.
    Key(&'a str),
    /// How many keys begin alike, as an object.
    Group { text: &'a str, keys: usize },
}

/// A group as it is written.
#[derive(Serialize)]
struct GroupResponse<'a> {
    group: &'a str,
    keys: usize,
}

/// Some of what a search finds, in its order.
pub(super) trait Items: Default + Unpin + 'static {
    /// How many there are.
    fn count(&self) -> usize;

    /// What they take in memory, in bytes.
    fn bytes(&self) -> usize;

    /// Appends those that come after them.
    fn join(&mut self, more: Self);

    /// Drops all but the first so many.
    fn cut(&mut self, count: usize);

    /// The one of a number, from 0 on.
    fn item(&self, at: usize) -> Option<Item<'_>>;
}

/// Where more items come from.
pub(super) trait Source: 'static {
    type Items: Items;

    /// Some more, at most so many; none at the end.
    fn more(&mut self, most: usize) -> impl Future<Output = Result<Self::Items, StoreError>>;

    /// Whether there are no more.
    fn is_over(&self) -> bool;

    /// What was fetched and not given yet takes in memory, in bytes.
    fn bytes(&self) -> usize;

    /// What fetching so many items may take at the most, in bytes.
    fn bytes_max(state: &State, items: usize) -> usize;
}

/// Items that were found.
pub(super) struct Found<S: Source> {
    pub(super) items: S::Items,
    /// Where those come from that follow, if there are any.
    pub(super) source: Option<S>,
    /// What all this takes of the budget.
    pub(super) charge: Charge,
}

impl<'a> Item<'a> {
    /// What it is ordered by, after which a search goes on.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Key(text) | Self::Group { text, .. } => text,
        }
    }

    /// Writes it as JSON.
    pub(super) fn write(self, target: &mut impl Write) {
        let written = match self {
            Self::Key(key) => serde_json::to_writer(target, key),
            Self::Group { text: group, keys } => {
                serde_json::to_writer(target, &GroupResponse { group, keys })
            }
        };
        written.expect("text and numbers are JSON");
    }
}

impl Items for KeyList {
    fn count(&self) -> usize {
        self.len()
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn join(&mut self, more: Self) {
        self.append(&more);
    }

    fn cut(&mut self, count: usize) {
        self.truncate(count);
    }

    fn item(&self, at: usize) -> Option<Item<'_>> {
        self.get(at).map(|key| Item::Key(text(key)))
    }
}

impl Items for GroupList {
    fn count(&self) -> usize {
        self.len()
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn join(&mut self, more: Self) {
        self.append(&more);
    }

    fn cut(&mut self, count: usize) {
        self.truncate(count);
    }

    fn item(&self, at: usize) -> Option<Item<'_>> {
        self.get(at).map(|item| match item {
            GroupItem::Key(key) => Item::Key(text(key)),
            GroupItem::Group { text: group, keys } => Item::Group {
                text: text(group),
                keys,
            },
        })
    }
}

impl Source for Pages {
    type Items = KeyList;

    async fn more(&mut self, most: usize) -> Result<KeyList, StoreError> {
        self.next(most).await
    }

    fn is_over(&self) -> bool {
        self.is_done()
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn bytes_max(state: &State, items: usize) -> usize {
        let items = items.min(FETCHED_ITEMS);
        state
            .store
            .page_bytes_max(items, state.limits.key_bytes_max)
    }
}

impl Source for GroupPages {
    type Items = GroupList;

    async fn more(&mut self, most: usize) -> Result<GroupList, StoreError> {
        self.next(most).await
    }

    fn is_over(&self) -> bool {
        self.is_done()
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn bytes_max(state: &State, items: usize) -> usize {
        let items = items.min(FETCHED_ITEMS);
        let key_bytes_max = state.limits.key_bytes_max;
        state.store.group_page_bytes_max(items, key_bytes_max)
    }
}

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("keys are text by construction")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_written_between_keys() {
        let list = |items: &[GroupItem<'_>]| {
            let mut list = GroupList::default();
            items.iter().for_each(|item| list.add(*item));
            list
        };
        let group = |text, keys| GroupItem::Group { text, keys };
        let mut items = list(&[GroupItem::Key(b"a\"b")]);
        items.join(list(&[group("é/".as_bytes(), 3), group(b"x/", 1)]));
        items.cut(2);
        let written = |at| {
            let mut text = Vec::new();
            if let Some(item) = items.item(at) {
                item.write(&mut text);
            }
            String::from_utf8(text).unwrap()
        };
        let all: Vec<String> = (0..3).map(written).collect();
        assert_eq!(all, ["\"a\\\"b\"", "{\"group\":\"é/\",\"keys\":3}", ""]);
        assert_eq!(items.item(1).map(Item::text), Some("é/"));
    }
}
