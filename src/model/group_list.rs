//! Many keys and groups of keys in three allocations.

use super::KeyList;

/// A key, or a group of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupItem<'a> {
    /// A key that belongs to no group.
    Key(&'a [u8]),
    /// The keys of a group.
    Group {
        /// What they begin with, up to and with the delimiter.
        text: &'a [u8],
        /// How many of them match: one at least.
        keys: usize,
    },
}

impl<'a> GroupItem<'a> {
    /// What it stands by in the order of items: the key, or what the keys begin with.
    pub fn text(self) -> &'a [u8] {
        match self {
            Self::Key(text) | Self::Group { text, .. } => text,
        }
    }
}

/// An append-only list of items, packed as a [`KeyList`] is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupList {
    texts: KeyList,
    /// How many keys each group has; 0 for a key, since no group has none.
    keys: Vec<usize>,
}

impl GroupList {
    /// Appends an item. What is of the group appended last is another part of it, and added to it.
    pub fn add(&mut self, item: GroupItem<'_>) {
        let (text, keys) = match item {
            GroupItem::Key(text) => (text, 0),
            GroupItem::Group { text, keys } => (text, keys),
        };
        let is_of_last = keys > 0 && self.texts.last() == Some(text);
        if let Some(last) = self.keys.last_mut().filter(|_| is_of_last) {
            *last += keys;
        } else {
            self.texts.push(text);
            self.keys.push(keys);
        }
    }

    /// Appends the items of another list, none of which is of the last group of this one.
    pub fn append(&mut self, other: &Self) {
        self.texts.append(&other.texts);
        self.keys.extend_from_slice(&other.keys);
    }

    /// What the list takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.texts.memory_bytes() + self.keys.capacity() * size_of::<usize>()
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The item at `index`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<GroupItem<'_>> {
        let text = self.texts.get(index)?;
        Some(match *self.keys.get(index)? {
            0 => GroupItem::Key(text),
            keys => GroupItem::Group { text, keys },
        })
    }

    /// The text of the item appended last.
    pub fn last_text(&self) -> Option<&[u8]> {
        self.texts.last()
    }

    /// The items in the order in which they were appended.
    pub fn iter(&self) -> impl Iterator<Item = GroupItem<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Drops all items but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.texts.truncate(len);
        self.keys.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str, keys: usize) -> GroupItem<'_> {
        let text = text.as_bytes();
        GroupItem::Group { text, keys }
    }

    #[test]
    fn items_read_back_in_order_and_parts_of_a_group_are_added_up() {
        let mut list = GroupList::default();
        assert_eq!((list.last_text(), list.len()), (None, 0));
        for item in [
            GroupItem::Key(b"a"),
            group("b/", 2),
            group("b/", 3),
            GroupItem::Key(b"c"),
            group("d/", 1),
        ] {
            list.add(item);
        }
        let expected = [
            GroupItem::Key(b"a"),
            group("b/", 5),
            GroupItem::Key(b"c"),
            group("d/", 1),
        ];
        assert_eq!(list.iter().collect::<Vec<_>>(), expected);
        assert_eq!(list.last_text(), Some(b"d/".as_slice()));
        assert_eq!(list.get(4), None);
        let mut all = list.clone();
        all.truncate(2);
        assert_eq!(all.iter().collect::<Vec<_>>(), expected[..2]);
        list.truncate(9);
        all.append(&list);
        assert_eq!((all.len(), all.get(5)), (6, Some(group("d/", 1))));
    }
}
