//! Lists of entity tags (RFC 9110, 8.8.3 and 13.1), which conditions are made of.

use actix_web::http::header::{HeaderMap, HeaderName};

/// The tags of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntityTags {
    /// `*`: whatever there is.
    Any,
    List(Vec<EntityTag>),
}

/// An entity tag: what stands between its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag {
    pub(super) is_weak: bool,
    pub(super) opaque: Vec<u8>,
}

/// A header is no list of entity tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl EntityTags {
    /// The tags of a header, which may be sent in several lines; `None` where there is none.
    ///
    /// # Errors
    /// Where it is no list of tags, nor `*`.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Malformed> {
        if !headers.contains_key(name) {
            return Ok(None);
        }
        let lines: Vec<&[u8]> = headers.get_all(name).map(|line| line.as_bytes()).collect();
        Self::parse(&lines.join(&b", "[..])).map(Some)
    }

    /// Reads `*` or `#entity-tag`, in which elements may be empty.
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, Malformed> {
        if text.trim_ascii() == b"*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        loop {
            text = text.trim_ascii_start();
            if let Some(rest) = text.strip_prefix(b",") {
                text = rest;
                continue;
            }
            if text.is_empty() {
                break;
            }
            let (tag, rest) = EntityTag::split_off(text).ok_or(Malformed)?;
            tags.push(tag);
            text = rest.trim_ascii_start();
            if !text.is_empty() && !text.starts_with(b",") {
                return Err(Malformed);
            }
        }
        if tags.is_empty() {
            return Err(Malformed);
        }
        Ok(Self::List(tags))
    }

    /// Whether a tag of ours, which is strong, is among these by weak comparison.
    pub(super) fn match_weakly(&self, opaque: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|tag| tag.opaque == opaque),
        }
    }

    /// Whether it is among these by strong comparison.
    pub(super) fn match_strongly(&self, opaque: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|tag| !tag.is_weak && tag.opaque == opaque),
        }
    }
}

impl EntityTag {
    /// The tag that a text begins with, and what follows it.
    fn split_off(text: &[u8]) -> Option<(Self, &[u8])> {
        let (is_weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let rest = quoted.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let opaque = &rest[..end];
        let is_etagc = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        opaque.iter().all(is_etagc).then(|| {
            let tag = Self {
                is_weak,
                opaque: opaque.into(),
            };
            (tag, &rest[end + 1..])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_reads_back_whatever_is_in_its_tags(
            tags in prop::collection::vec((any::<bool>(), "[!#-~é]{0,6}"), 1..5),
            gaps in prop::collection::vec(prop::sample::select(vec![",", ", ", " ,\t", ",,", " , , "]), 5),
        ) {
            let mut text = String::new();
            for (number, (is_weak, opaque)) in tags.iter().enumerate() {
                text += if number > 0 { gaps[number] } else { "" };
                text += &format!("{}\"{opaque}\"", if *is_weak { "W/" } else { "" });
            }
            let expected = tags.iter().map(|(is_weak, opaque)| EntityTag {
                is_weak: *is_weak,
                opaque: opaque.clone().into_bytes(),
            });
            let parsed = EntityTags::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&parsed, &EntityTags::List(expected.collect()));
            for (is_weak, opaque) in &tags {
                prop_assert!(parsed.match_weakly(opaque.as_bytes()));
                let is_strong = !is_weak || tags.contains(&(false, opaque.clone()));
                prop_assert_eq!(parsed.match_strongly(opaque.as_bytes()), is_strong);
            }
            prop_assert!(!parsed.match_weakly(b"another one"));
        }

        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            let _ = EntityTags::parse(&text);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(EntityTags::parse(b" * "), Ok(EntityTags::Any));
        for text in [
            "",
            ",",
            "a",
            "\"a",
            "a\"",
            "\"a\" \"b\"",
            "w/\"a\"",
            "\"a b\"",
            "*, \"a\"",
            "W/a",
            "\"a\"x",
        ] {
            assert_eq!(EntityTags::parse(text.as_bytes()), Err(Malformed), "{text}");
        }
    }
}
