//! How a search is divided into groups.

use super::Filter;
use memchr::memmem::Finder;

/// What keys are divided at: one byte or more.
#[derive(Clone, Debug)]
pub struct Delimiter(Finder<'static>);

/// Which keys match, and at what they are divided.
///
/// A key belongs to the group of its text up to and with the first delimiter that begins after the
/// prefix, and to none where there is no such delimiter. **All keys that begin with the text of a group
/// belong to it**: what comes after a delimiter makes none that ends before it. So a group is a range of
/// the keys in byte order, and no other group or key without one lies within.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// Which keys match.
    pub filter: Filter,
    /// What they are divided at.
    pub delimiter: Delimiter,
}

impl Delimiter {
    /// Takes some bytes as a delimiter; `None` where there are none.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(Finder::new(bytes).into_owned()))
    }

    /// The delimiter as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.needle()
    }

    /// Where the first one in a text ends. O(length of the text).
    pub fn end_in(&self, text: &[u8]) -> Option<usize> {
        let start = self.0.find(text)?;
        Some(start + self.as_bytes().len())
    }
}

impl Grouping {
    /// The text of the group that a key belongs to, if it belongs to one. Also of what is no key: the
    /// only group that can have keys on both sides of a text.
    pub fn group_of<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let rest = key.strip_prefix(self.filter.prefix.as_slice())?;
        let end = self.delimiter.end_in(rest)?;
        Some(&key[..key.len() - rest.len() + end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouping(prefix: &str, delimiter: &str) -> Grouping {
        Grouping {
            filter: Filter {
                prefix: prefix.into(),
                suffix: Vec::new(),
            },
            delimiter: Delimiter::new(delimiter.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn a_group_ends_with_the_first_delimiter_after_the_prefix() {
        for (prefix, delimiter, key, expected) in [
            ("", "/", "a/b/c", Some("a/")),
            ("", "/", "/", Some("/")),
            ("", "/", "abc", None),
            ("a/", "/", "a/b/c", Some("a/b/")),
            ("a/", "/", "a//c", Some("a//")),
            ("a/", "/", "a/b", None),
            // What begins within the prefix does not count.
            ("a/", "//", "a//b", None),
            ("a/", "//", "a///b", Some("a///")),
            ("", "//", "a/b///c", Some("a/b//")),
            ("", "aa", "aaa", Some("aa")),
            // Not of the prefix at all.
            ("b", "/", "a/b/", None),
            ("a/b", "/", "a", None),
            ("", "/", "", None),
        ] {
            let found = grouping(prefix, delimiter);
            let found = found.group_of(key.as_bytes());
            assert_eq!(
                found,
                expected.map(str::as_bytes),
                "{prefix} {delimiter} {key}"
            );
        }
    }

    #[test]
    fn a_delimiter_has_bytes() {
        assert!(Delimiter::new(b"").is_none());
        let delimiter = Delimiter::new(b"::").map(|delimiter| delimiter.as_bytes().to_vec());
        assert_eq!(delimiter.as_deref(), Some(b"::".as_slice()));
    }
}
