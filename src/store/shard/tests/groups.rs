//! Searches that are divided into groups, over several shards.

use super::*;
use crate::model::{Delimiter, GroupItem, Grouping};
use std::collections::BTreeMap;

/// The text of an item, and how many keys it has where it is a group.
type Item = (Vec<u8>, Option<usize>);

fn owned(item: GroupItem<'_>) -> Item {
    match item {
        GroupItem::Key(key) => (key.to_vec(), None),
        GroupItem::Group { text, keys } => (text.to_vec(), Some(keys)),
    }
}

fn slash() -> Delimiter {
    Delimiter::new(b"/").unwrap()
}

/// The total, and all items in steps of so many.
async fn grouped(store: &Store, query: Query, step: usize) -> (usize, Vec<Item>) {
    let mut grouped = store.groups(query, slash()).await.unwrap();
    let mut found = Vec::new();
    while !grouped.pages.is_done() {
        let items = grouped.pages.next(step).await.unwrap();
        assert!(items.len() <= step);
        found.extend(items.iter().map(owned));
    }
    assert!(grouped.pages.next(step).await.unwrap().is_empty());
    (grouped.total, found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn groups_over_any_number_of_shards_are_those_of_one(
        keys in prop::collection::btree_set("[ab/]{1,6}", 0..200),
        shards in 1usize..6,
        prefix in "[ab/]{0,2}",
        suffix in "[ab]{0,1}",
        after in "[ab/]{0,3}",
        limit in prop::option::of(1usize..40),
        step in 1usize..20,
    ) {
        let filter = Filter { prefix: prefix.into(), suffix: suffix.into() };
        let grouping = Grouping { filter: filter.clone(), delimiter: slash() };
        let matching = keys.iter().map(String::as_bytes).filter(|key| filter.matches(key));
        let mut items: BTreeMap<Vec<u8>, Option<usize>> = BTreeMap::new();
        for key in matching.clone() {
            match grouping.group_of(key) {
                None => {
                    items.insert(key.to_vec(), None);
                }
                Some(text) => {
                    let keys = items.entry(text.to_vec()).or_default();
                    *keys = Some(keys.unwrap_or(0) + 1);
                }
            }
        }
        let above = items.into_iter().filter(|(text, _)| text.as_slice() > after.as_bytes());
        let expected: Vec<Item> = above.take(limit.unwrap_or(usize::MAX)).collect();
        let expected = (matching.count(), expected);
        let query = Query { filter, after: after.into(), limit };
        let found = with_store(shards, shards.min(2), PATIENT, |store| {
            let keys = keys.clone();
            async move {
                for key in &keys {
                    store.change(set(key)).await.unwrap();
                }
                grouped(&store, query, step).await
            }
        });
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_group_of_many_keys_is_whole_whichever_shards_they_are_on() {
    with_store(3, 2, PATIENT, |store| async move {
        let mut batch = store.batch();
        for number in 0..12_000_u64 {
            batch.push(number, set(&format!("{:02}/{number:05}", number % 40)));
            if batch.is_full(usize::MAX) {
                assert_eq!(batch.make().await.failure, None);
            }
        }
        assert_eq!(batch.make().await.failure, None);
        let name = |group: usize| (format!("{group:02}/").into_bytes(), Some(300));
        let expected: Vec<Item> = (0..40).map(name).collect();
        for step in [1, 7, 1000] {
            let found = grouped(&store, everything(None), step).await;
            assert_eq!(found, (12_000, expected.clone()));
        }
        let found = grouped(&store, everything(Some(25)), 10).await;
        assert_eq!(found, (12_000, expected[..25].to_vec()));
    });
}
