//! The same question, put to the key index and to what one would use instead.

use crate::PAGE;
use fst::{IntoStreamer, Streamer};
use kvstore::keymap::KeyIndex;
use kvstore::model::Filter;
use std::collections::{BTreeSet, HashSet};

/// The total, and the keys of the first page.
pub type Answer = (usize, Vec<Vec<u8>>);

pub fn by_index(index: &KeyIndex, filter: &Filter) -> Answer {
    let (page, total) = index.page_and_count(filter, b"", PAGE);
    let mut found: Vec<Vec<u8>> = page.keys.iter().map(<[u8]>::to_vec).collect();
    let mut resume = page.resume;
    while found.len() < PAGE
        && let Some(after) = resume
    {
        let page = index.page(filter, &after, PAGE - found.len());
        found.extend(page.keys.iter().map(<[u8]>::to_vec));
        resume = page.resume;
    }
    (total, found)
}

pub fn by_walk(keys: &BTreeSet<&[u8]>, filter: &Filter) -> Answer {
    let from = keys.range(filter.prefix.as_slice()..);
    let walked = from.take_while(|key| key.starts_with(&filter.prefix));
    let (mut total, mut found) = (0, Vec::new());
    for key in walked.filter(|key| key.ends_with(&filter.suffix)) {
        total += 1;
        if found.len() < PAGE {
            found.push(key.to_vec());
        }
    }
    (total, found)
}

pub fn by_scan(keys: &HashSet<&[u8]>, filter: &Filter) -> Answer {
    let mut found: Vec<&[u8]> = keys
        .iter()
        .copied()
        .filter(|key| filter.matches(key))
        .collect();
    let total = found.len();
    found.sort_unstable();
    (
        total,
        found.into_iter().take(PAGE).map(<[u8]>::to_vec).collect(),
    )
}

/// Walks the FST of the longer filter, and tests for the other.
pub fn by_fsts(
    forward: &fst::Set<Vec<u8>>,
    backward: &fst::Set<Vec<u8>>,
    filter: &Filter,
) -> Answer {
    let reverse = filter.suffix.len() > filter.prefix.len();
    let (set, start) = if reverse {
        (backward, filter.suffix.iter().rev().copied().collect())
    } else {
        (forward, filter.prefix.clone())
    };
    let mut stream = set.range().ge(&start).into_stream();
    let (mut total, mut found) = (0, Vec::new());
    while let Some(key) = stream.next() {
        if !key.starts_with(&start) {
            break;
        }
        let key: Vec<u8> = if reverse {
            key.iter().rev().copied().collect()
        } else {
            key.to_vec()
        };
        if filter.matches(&key) {
            total += 1;
            if reverse || found.len() < PAGE {
                found.push(key);
            }
        }
    }
    found.sort_unstable();
    found.truncate(PAGE);
    (total, found)
}
