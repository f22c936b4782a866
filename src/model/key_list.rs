//! Many keys in two allocations.

/// An append-only list of keys, packed into one buffer: a page of a search crosses threads as
/// two allocations instead of one for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyList {
    /// Appends a key.
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Appends the keys of another list.
    pub fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }

    /// What the list takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key at `index`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    /// The key pushed last.
    pub fn last(&self) -> Option<&[u8]> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The keys in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Drops all keys but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.ends.truncate(len);
            self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_in_order_and_truncate() {
        let mut list = KeyList::default();
        assert_eq!(list.last(), None);
        for key in [b"a".as_slice(), b"", b"ccc"] {
            list.push(key);
        }
        assert_eq!(
            list.iter().collect::<Vec<_>>(),
            [b"a".as_slice(), b"", b"ccc"]
        );
        assert_eq!(list.last(), Some(b"ccc".as_slice()));
        list.truncate(2);
        list.push(b"d");
        assert_eq!(
            list.iter().collect::<Vec<_>>(),
            [b"a".as_slice(), b"", b"d"]
        );
        assert_eq!(list.get(3), None);
    }
}
