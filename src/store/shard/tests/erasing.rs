//! Removals by a filter.

use super::*;
use crate::durable::{Record, Records, State};
use crate::model::ContentTypes;
use crate::store::message::Erased;

fn filter(prefix: &str, suffix: &str) -> Filter {
    Filter {
        prefix: prefix.into(),
        suffix: suffix.into(),
    }
}

async fn fill(store: &Store, names: impl Iterator<Item = String>) {
    let mut batch = store.batch();
    for (number, name) in names.enumerate() {
        batch.push(number as u64, set(&name));
        if batch.is_full(usize::MAX) {
            assert_eq!(batch.make().await.failure, None);
        }
    }
    assert_eq!(batch.make().await.failure, None);
}

/// All keys, in order.
async fn all(store: &Store) -> Vec<String> {
    let mut searched = store.search(everything(None)).await.unwrap();
    let mut found = Vec::new();
    while !searched.pages.is_done() {
        let keys = searched.pages.next(500).await.unwrap();
        let keys = keys.iter().map(|key| String::from_utf8(key.into()));
        found.extend(keys.map(Result::unwrap));
    }
    found
}

/// Removes what matches, and returns how many keys that were.
async fn erase(store: &Store, filter: Filter) -> u64 {
    let mut erasing = store.erase(filter);
    while !erasing.is_done() {
        erasing.go_on().await.unwrap();
    }
    erasing.deleted()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_matches_is_removed_from_any_number_of_shards(
        keys in prop::collection::btree_set("[ab]{1,7}", 0..150),
        shards in 1usize..6,
        prefix in "[ab]{0,2}",
        suffix in "[ab]{0,2}",
    ) {
        let doomed = filter(&prefix, &suffix);
        let is_doomed = |key: &String| doomed.matches(key.as_bytes());
        let going = keys.iter().filter(|key| is_doomed(key)).count();
        let staying: Vec<String> = keys.iter().filter(|key| !is_doomed(key)).cloned().collect();
        let (deleted, left, again) = with_store(shards, shards.min(2), PATIENT, |store| async move {
            fill(&store, keys.into_iter()).await;
            let deleted = erase(&store, doomed.clone()).await;
            let left = all(&store).await;
            (deleted, left, erase(&store, doomed).await)
        });
        prop_assert_eq!(deleted, going as u64);
        prop_assert_eq!(left, staying);
        prop_assert_eq!(again, 0);
    }
}

#[test]
fn a_message_removes_some_keys_and_says_where_to_go_on() {
    with_store(1, 1, PATIENT, |store| async move {
        let name = |number: usize| format!("{number:04}");
        fill(&store, (0..1000).map(name)).await;
        let message = Erase {
            filter: Arc::default(),
            after: Box::from(&b"0499"[..]),
        };
        let erased = memory(&store).erase(0, message).await.unwrap();
        let Erased {
            deleted,
            resume,
            stopped,
        } = erased;
        assert!(
            (16..=MESSAGE_CHANGES_MAX as u64).contains(&deleted),
            "{deleted}"
        );
        let end = 500 + deleted as usize;
        assert_eq!(resume.as_deref(), Some(name(end - 1).as_bytes()));
        assert_eq!(stopped, None);
        let left = (0..1000).filter(|number| !(500..end).contains(number));
        assert_eq!(all(&store).await, left.map(name).collect::<Vec<_>>());
    });
}

#[test]
fn keys_that_are_set_behind_a_removal_stay_and_it_ends() {
    with_store(1, 1, PATIENT, |store| async move {
        fill(&store, (0..500).map(|number| format!("b{number:03}"))).await;
        let mut erasing = store.erase(Filter::default());
        erasing.go_on().await.unwrap();
        assert!(erasing.deleted() > 0 && !erasing.is_done());
        store.change(set("a")).await.unwrap();
        store.change(set("c")).await.unwrap();
        while !erasing.is_done() {
            erasing.go_on().await.unwrap();
        }
        assert_eq!(erasing.deleted(), 501);
        assert_eq!(all(&store).await, ["a"]);
    });
}

#[test]
fn a_removal_whose_sender_gave_up_is_not_carried_out() {
    with_store(1, 1, Duration::from_millis(100), |store| async move {
        let set_to_begin_with = tokio::time::timeout(PATIENT, async {
            while store.change(set("k")).await.is_err() {}
        });
        set_to_begin_with.await.unwrap();
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = memory(&store).ask(0, block, Manner::Refuse);
        let mut erasing = store.erase(Filter::default());
        let given_up = async {
            let answer = erasing.go_on().await;
            assert!(matches!(answer, Err(StoreError::Timeout(_))), "{answer:?}");
        };
        let (blocked, ()) = futures_util::future::join(block, given_up).await;
        assert!(matches!(blocked, Err(StoreError::Timeout(_))));
        drop(release);
        let read = tokio::time::timeout(PATIENT, async {
            loop {
                if let Ok(read) = store.get(key("k")).await {
                    return read;
                }
            }
        });
        assert!(read.await.unwrap().is_some());
    });
}

#[test]
fn who_follows_a_store_hears_of_every_key_that_a_filter_removes() {
    with_store(3, 2, PATIENT, |store| async move {
        let name = |number: usize| format!("{number:03}");
        fill(&store, (0..300).map(name)).await;
        let mut following = store.follow().await.unwrap();
        assert_eq!(erase(&store, filter("", "7")).await, 30);
        let types = ContentTypes::default();
        let mut removed = Vec::new();
        while removed.len() < 30 {
            let next = tokio::time::timeout(PATIENT, following.next());
            let (_, turn) = next.await.unwrap().unwrap();
            for record in Records::new(&turn.content, &types) {
                let Record { key, state } = record.unwrap();
                assert!(matches!(state, State::Removed(_)));
                removed.push(key.as_str().to_owned());
            }
        }
        removed.sort();
        let expected = (0..300).filter(|number| number % 10 == 7);
        assert_eq!(removed, expected.map(name).collect::<Vec<_>>());
    });
}
