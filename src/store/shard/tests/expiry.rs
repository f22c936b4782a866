//! Values that end, by a clock that is set.

use super::*;
use crate::durable::{Records, State};
use crate::model::{ContentTypes, Deadline};
use std::sync::atomic::{AtomicU64, Ordering};

const START: u64 = 1_700_000_000_000;

/// Runs a test of a store whose clock is what the test says.
fn with_clock<F: Future>(test: impl FnOnce(Store, Arc<AtomicU64>) -> F) -> F::Output {
    let millis = Arc::new(AtomicU64::new(START));
    let options = StoreOptions {
        shards: 3,
        clock: Clock::set_by(millis.clone()),
        ..options()
    };
    with_store_of(2, options, |store| test(store, millis))
}

fn ending(text: &str, at: u64) -> Mutation {
    set(text).until(Some(Deadline::from_millis(at)))
}

async fn total(store: &Store) -> usize {
    store.search(everything(Some(1))).await.unwrap().total
}

#[test]
fn a_value_is_there_until_its_deadline_and_not_at_it() {
    with_clock(async |store: Store, clock: Arc<AtomicU64>| {
        store.change(ending("a", START + 10)).await.unwrap();
        store.change(set("b")).await.unwrap();
        clock.store(START + 9, Ordering::Relaxed);
        assert!(store.get(key("a")).await.unwrap().is_some());
        assert_eq!(total(&store).await, 2);
        let kept = Mutation::expire(key("a"), Some(Deadline::from_millis(START + 20)));
        assert!(matches!(store.change(kept).await, Ok(Changed::Kept(_))));
        clock.store(START + 19, Ordering::Relaxed);
        assert!(store.get(key("a")).await.unwrap().is_some());
        clock.store(START + 20, Ordering::Relaxed);
        assert_eq!(store.get(key("a")).await.unwrap(), None);
        assert_eq!(
            store.change(Mutation::delete(key("a"))).await,
            Ok(Changed::Absent)
        );
        assert_eq!(
            store.change(Mutation::expire(key("a"), None)).await,
            Ok(Changed::Absent)
        );
        assert_eq!(
            total(&store).await,
            1,
            "a search takes out what has ended first"
        );
        let counted = store.stats(PATIENT).await.unwrap().counted;
        assert_eq!((counted.keys, counted.expired, counted.ending), (1, 1, 0));
        assert!(matches!(
            store.change(set("a")).await,
            Ok(Changed::Created(_))
        ));
        // A clock that goes back takes nothing back and brings nothing back.
        clock.store(START, Ordering::Relaxed);
        assert_eq!(total(&store).await, 2);
    });
}

#[test]
fn what_is_set_again_after_its_end_is_new_though_its_key_was_not_taken_out() {
    with_clock(async |store: Store, clock: Arc<AtomicU64>| {
        store.change(ending("a", START + 10)).await.unwrap();
        clock.store(START + 10, Ordering::Relaxed);
        // Nothing but the change itself comes between.
        let again = store.change(ending("a", START + 30)).await;
        assert!(matches!(again, Ok(Changed::Created(_))), "{again:?}");
        clock.store(START + 29, Ordering::Relaxed);
        assert_eq!(total(&store).await, 1);
        clock.store(START + 30, Ordering::Relaxed);
        assert_eq!(total(&store).await, 0);
    });
}

#[test]
fn who_follows_a_store_hears_of_each_end_once() {
    with_clock(async |store: Store, clock: Arc<AtomicU64>| {
        let mut following = store.follow().await.unwrap();
        for number in 0..100 {
            let mutation = ending(&format!("k{number}"), START + 1 + number % 7);
            store.change(mutation).await.unwrap();
        }
        clock.store(START + 10, Ordering::Relaxed);
        let types = ContentTypes::default();
        let mut ended = std::collections::BTreeSet::new();
        let mut sets = 0;
        while ended.len() < 100 {
            total(&store).await;
            let (_, turn) = following.next().await.unwrap();
            for record in Records::new(&turn.content, &types) {
                let record = record.unwrap();
                match record.state {
                    State::Set(value) => {
                        assert!(value.expires_at.is_some());
                        sets += 1;
                    }
                    State::Expired(_) => assert!(ended.insert(record.key)),
                    State::Removed(_) => unreachable!("nothing was deleted"),
                }
            }
        }
        assert_eq!(sets, 100);
    });
}

#[test]
fn the_timer_takes_out_what_nobody_asks_for() {
    with_clock(async |store: Store, clock: Arc<AtomicU64>| {
        for number in 0..2000 {
            store
                .change(ending(&format!("k{number}"), START + number))
                .await
                .unwrap();
        }
        let least = store.0.shared.bytes() / 2;
        clock.store(START + 5000, Ordering::Relaxed);
        // What is held is counted when keys go, and asks nobody.
        let begun = Instant::now();
        while store.0.shared.bytes() > least {
            assert!(
                begun.elapsed() < PATIENT,
                "{} bytes",
                store.0.shared.bytes()
            );
            tokio::task::yield_now().await;
        }
        let expired = store.stats(PATIENT).await.unwrap().counted.expired;
        assert!(expired > 500, "{expired}");
    });
}
