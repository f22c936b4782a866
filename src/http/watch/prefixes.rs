//! Which of many texts a key begins with: found without looking at the others.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What belongs to texts, by text.
#[derive(Debug)]
pub(super) struct PrefixMap<T>(BTreeMap<Box<[u8]>, T>);

/// What belongs to the texts that a key begins with, the longest first.
pub(super) struct Matching<'a, T> {
    map: &'a BTreeMap<Box<[u8]>, T>,
    key: &'a [u8],
    /// Up to which text there may be more.
    bound: Bound<&'a [u8]>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> PrefixMap<T> {
    /// Whether there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What belongs to a text, made where there is nothing.
    pub(super) fn entry(&mut self, text: &[u8]) -> &mut T
    where
        T: Default,
    {
        self.0.entry(text.into()).or_default()
    }

    /// Changes what belongs to a text, which goes if it is empty then.
    pub(super) fn change(&mut self, text: &[u8], change: impl FnOnce(&mut T) -> Emptied) {
        if let Some(value) = self.0.get_mut(text)
            && change(value) == Emptied::Yes
        {
            self.0.remove(text);
        }
    }

    /// What belongs to the texts that a key begins with. O(log n) for each of them and each place at which another
    /// text leaves the key, of which there are few.
    pub(super) fn matching<'a>(&'a self, key: &'a [u8]) -> Matching<'a, T> {
        Matching {
            map: &self.0,
            key,
            bound: Bound::Included(key),
        }
    }

    /// All that belongs to any text.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }
}

/// Whether nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    Yes,
    No,
}

impl Emptied {
    pub(super) fn when(is_empty: bool) -> Self {
        match is_empty {
            true => Self::Yes,
            false => Self::No,
        }
    }
}

impl<'a, T> Iterator for Matching<'a, T> {
    type Item = &'a T;

    /// A text that the key begins with is not above it, nor is any text between the two that does not begin with it.
    /// So the next is the last below the bound, or begins what that has in common with the key.
    fn next(&mut self) -> Option<&'a T> {
        loop {
            let below: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, self.bound);
            let (text, value) = self.map.range::<[u8], _>(below).next_back()?;
            let pairs = text.iter().zip(self.key);
            let common = pairs.take_while(|(left, right)| left == right).count();
            if common == text.len() {
                self.bound = Bound::Excluded(&**text);
                return Some(value);
            }
            self.bound = Bound::Included(&self.key[..common]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn just_the_texts_that_a_key_begins_with_are_found(
            texts in prop::collection::vec("[ab]{0,5}", 0..30),
            keys in prop::collection::vec("[abc]{0,6}", 1..20),
        ) {
            let mut map: PrefixMap<Vec<&str>> = PrefixMap::default();
            for text in &texts {
                map.entry(text.as_bytes()).push(text);
            }
            for key in &keys {
                let found = map.matching(key.as_bytes()).flatten();
                let mut found: Vec<&str> = found.copied().collect();
                found.sort_unstable();
                let begin = texts.iter().filter(|text| key.starts_with(text.as_str()));
                let mut expected: Vec<&str> = begin.map(String::as_str).collect();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            for text in &texts {
                map.change(text.as_bytes(), |texts| {
                    texts.pop();
                    Emptied::when(texts.is_empty())
                });
            }
            prop_assert!(map.is_empty());
            prop_assert_eq!(map.values().count(), 0);
        }
    }
}
