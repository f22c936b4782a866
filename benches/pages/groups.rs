//! What a page of groups costs, against a page of keys of the same index and filter. The answer is
//! compared with that of a walk.

use crate::rivals::by_index;
use crate::shapes::Shape;
use crate::{Merges, PAGE, build, median_us, shown};
use kvstore::keymap::KeyIndex;
use kvstore::model::{Delimiter, Filter, GroupItem, Grouping};
use std::collections::BTreeSet;

/// What keys are divided at: the first is between their parts, the last anywhere.
const DELIMITERS: [&str; 3] = ["-", ":", "7"];

/// The total, and the text of each item of the first page with how many keys it has as a group.
type Answer = (usize, Vec<(Vec<u8>, Option<usize>)>);

pub fn report(shape: &Shape) {
    let keys: BTreeSet<&[u8]> = shape.keys.iter().map(String::as_bytes).collect();
    let index = build(&shape.keys, Merges::AllDone);
    let broad = shape.suffixes.last().map_or("", String::as_str);
    let part = shape.prefixes[1].as_str();
    for delimiter in DELIMITERS {
        for (prefix, suffix) in [("", ""), ("", broad), (part, ""), (part, broad)] {
            let grouping = Grouping {
                filter: Filter {
                    prefix: prefix.into(),
                    suffix: suffix.into(),
                },
                delimiter: Delimiter::new(delimiter.as_bytes()).expect("it has a byte"),
            };
            let expected = by_walk(&keys, &grouping);
            let of_groups = expected.1.iter().filter_map(|(_, keys)| *keys);
            let (groups, within) =
                of_groups.fold((0, 0), |(groups, within), keys| (groups + 1, within + keys));
            let ours = median_us(|| assert_eq!(by_groups(&index, &grouping), expected));
            let page = by_index(&index, &grouping.filter);
            let plain = median_us(|| assert_eq!(by_index(&index, &grouping.filter), page));
            println!(
                "| {} {} | {} | {} | `{delimiter}` | {groups} of {} | {within} | {ours:.1} \
                 | {plain:.1} | {:.1} |",
                keys.len(),
                shape.name,
                shown(prefix),
                shown(suffix),
                expected.1.len(),
                ours / plain
            );
        }
    }
}

fn by_groups(index: &KeyIndex, grouping: &Grouping) -> Answer {
    let owned = |item: GroupItem<'_>| match item {
        GroupItem::Key(key) => (key.to_vec(), None),
        GroupItem::Group { text, keys } => (text.to_vec(), Some(keys)),
    };
    let (page, total) = index.groups_and_count(grouping, b"", PAGE);
    let mut found: Vec<(Vec<u8>, Option<usize>)> = page.items.iter().map(owned).collect();
    let mut resume = page.resume;
    while found.len() < PAGE
        && let Some(after) = resume
    {
        let page = index.groups(grouping, &after, PAGE - found.len());
        found.extend(page.items.iter().map(owned));
        resume = page.resume;
    }
    (total, found)
}

fn by_walk(keys: &BTreeSet<&[u8]>, grouping: &Grouping) -> Answer {
    let filter = &grouping.filter;
    let from = keys.range(filter.prefix.as_slice()..).copied();
    let walked = from.take_while(|key| key.starts_with(&filter.prefix));
    let mut total = 0;
    let mut found: Vec<(Vec<u8>, Option<usize>)> = Vec::new();
    for key in walked.filter(|key| filter.matches(key)) {
        total += 1;
        let (text, is_group) = match grouping.group_of(key) {
            None => (key, false),
            Some(text) => (text, true),
        };
        let is_of_last = is_group && found.last().is_some_and(|(last, _)| last == text);
        if let Some((_, Some(keys))) = found.last_mut().filter(|_| is_of_last) {
            *keys += 1;
        } else if found.len() <= PAGE {
            found.push((text.to_vec(), is_group.then_some(1)));
        }
    }
    found.truncate(PAGE);
    (total, found)
}
