//! What is refused, and when.

use super::*;
use crate::effort::effort;
use crate::trace::Trace;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

#[test]
fn a_queued_message_whose_sender_gave_up_is_not_carried_out() {
    with_store(1, 1, Duration::from_millis(100), |store| async move {
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = memory(&store).ask(0, block, Manner::Refuse);
        let given_up = async {
            let answer = store.change(set("k")).await;
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
        assert_eq!(read.await.unwrap(), None);
    });
}

#[test]
fn past_the_bound_messages_are_refused_and_health_and_metrics_are_not() {
    with_store(1, 1, PATIENT, |store| async move {
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = memory(&store).ask(0, block, Manner::Refuse);
        let waiting = futures_util::future::join_all((0..63).map(|_| store.get(key("k"))));
        let others = async {
            // Runs after those above were polled once, so that all places are taken.
            assert_eq!(store.get(key("k")).await, Err(StoreError::Overloaded));
            assert_eq!(
                store.search(everything(None)).await.unwrap_err(),
                StoreError::Overloaded
            );
            assert!(store.is_alive());
            let unanswered = store.stats(Duration::from_millis(10)).await;
            assert!(matches!(unanswered, Err(StoreError::Timeout(_))));
            drop(release);
            let stats = store.stats(PATIENT).await.unwrap();
            assert_eq!(stats.messages_refused, 2);
        };
        let (block, (waiting, ())) =
            futures_util::future::join(block, futures_util::future::join(waiting, others)).await;
        assert_eq!(block, Ok(()));
        assert!(waiting.into_iter().all(|answer| answer == Ok(None)));
    });
}

#[test]
fn what_waits_for_an_actor_waits_in_the_queue() {
    with_store(1, 1, PATIENT, |store| async move {
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = memory(&store).ask(0, block, Manner::Refuse);
        let mut trace = Some(Trace::begin(None, Some(0)));
        let get = async {
            let mut get = pin!(store.get(key("k")));
            let get = poll_fn(|context| Trace::within(&mut trace, || get.as_mut().poll(context)));
            get.await
        };
        let begun = Tick::now();
        let release = async {
            while Tick::now().since(begun) < 100 {
                tokio::task::yield_now().await;
            }
            drop(release);
        };
        let (blocked, got, ()) = futures_util::future::join3(block, get, release).await;
        assert_eq!((blocked, got), (Ok(()), Ok(None)));
        let spent = trace.unwrap().slow().unwrap();
        // The clock may be behind by a tick at either end.
        assert!(spent.queue_ms >= 80, "{spent:?}");
        assert!(
            spent.queue_ms + spent.store_ms <= spent.total_ms,
            "{spent:?}"
        );
    });
}

#[test]
fn a_bulk_load_fills_the_store_whatever_merges_take_meanwhile() {
    const BYTES_MAX: usize = 8 << 20;
    with_store_of(1, bounded(BYTES_MAX), |store| async move {
        let mut number = 0;
        let stopped = loop {
            let names = number..number + MESSAGE_CHANGES_MAX;
            number += MESSAGE_CHANGES_MAX;
            let mutations = names.map(|number| set(&number.to_string())).collect();
            let written = store.change_many(0, mutations).await.unwrap();
            if let Some(Stopped { error, .. }) = written.stopped {
                break error;
            }
            assert!(number < 1_000_000, "the store is bounded");
        };
        assert_eq!(
            stopped,
            StoreError::Full {
                bytes_max: BYTES_MAX
            }
        );
        let stats = store.stats(PATIENT).await.unwrap();
        assert!(stats.bytes <= BYTES_MAX * 5 / 4, "{} bytes", stats.bytes);
        let at_rest = stats.bytes - stats.counted.index.merging_bytes;
        assert!(at_rest > BYTES_MAX / 2, "{at_rest} bytes, and merges done");
    });
}

#[test]
fn what_was_deleted_from_a_full_store_makes_room_for_others() {
    const BYTES_MAX: usize = 16 << 20;
    with_store_of(1, bounded(BYTES_MAX), |store| async move {
        let body = bytes::Bytes::from(vec![b'1'; 200]);
        let large = |name: String| Mutation::set(key(&name), ContentType::JSON, body.clone());
        let mut stored = 0;
        loop {
            let names = stored..stored + MESSAGE_CHANGES_MAX;
            let mutations = names.map(|number| large(number.to_string())).collect();
            let written = store.change_many(0, mutations).await.unwrap();
            stored += written.counts.created as usize;
            if written.stopped.is_some() {
                break;
            }
        }
        assert!(stored > 30_000, "{stored} were stored");
        // Every other one, so that no larger piece of memory falls empty.
        for number in (0..stored).step_by(2) {
            let deleted = store.change(Mutation::delete(key(&number.to_string())));
            assert!(matches!(deleted.await.unwrap(), Changed::Deleted(_)));
        }
        // Half as many: new keys take more until they are merged, and merges take room while they run.
        let begun = Instant::now();
        for number in 0..stored / 4 {
            while let Err(error) = store.change(large(format!("new{number}"))).await {
                assert_eq!(
                    error,
                    StoreError::Full {
                        bytes_max: BYTES_MAX
                    }
                );
                assert!(begun.elapsed() < PATIENT, "{number} of {stored} fit again");
            }
        }
        let stats = store.stats(PATIENT).await.unwrap();
        let at_rest = stats.bytes - stats.counted.index.merging_bytes;
        assert!(at_rest <= BYTES_MAX, "{at_rest} bytes, and merges done");
    });
}

/// Sets values of `body_bytes` in bulk until one does not fit while no merge takes room, and returns how many did.
async fn fill(store: &Store, name: &str, body_bytes: usize) -> usize {
    let body = bytes::Bytes::from(vec![b'1'; body_bytes]);
    let mut stored = 0;
    let mut may_merge = true;
    loop {
        let names = stored..stored + MESSAGE_CHANGES_MAX;
        let mutations = names.map(|number| {
            let key = key(&format!("{name}{number}"));
            Mutation::set(key, ContentType::JSON, body.clone())
        });
        let written = store.change_many(0, mutations.collect()).await.unwrap();
        let created = written.counts.created as usize;
        stored += created;
        match written.stopped {
            None => may_merge = true,
            Some(Stopped {
                error: StoreError::Full { .. },
                ..
            }) if created == 0 && !may_merge => return stored,
            Some(Stopped {
                error: StoreError::Full { .. },
                ..
            }) => {
                merges_have_ended(store).await;
                may_merge = false;
            }
            Some(Stopped { error, .. }) => panic!("{error:?}"),
        }
    }
}

/// Waits until no merge runs: what one had reserved is free again then.
async fn merges_have_ended(store: &Store) {
    let begun = Instant::now();
    while store
        .stats(PATIENT)
        .await
        .unwrap()
        .counted
        .index
        .merges_running
        > 0
    {
        assert!(begun.elapsed() < PATIENT, "merges end");
    }
}

/// Nine of ten numbers, in no order that memory knows.
fn nine_of_ten(count: usize) -> impl Iterator<Item = usize> {
    let mixed = move |number: usize| number * 7919 % count;
    (0..count).map(mixed).filter(|number| number % 10 != 0)
}

#[test]
fn what_was_deleted_from_a_full_store_makes_room_for_values_of_another_size() {
    let bytes_max = effort(16 << 20, 32 << 20);
    let fresh = with_store_of(1, bounded(bytes_max), |store| async move {
        fill(&store, "new", 200).await
    });
    with_store_of(1, bounded(bytes_max), |store| async move {
        let stored = fill(&store, "old", 100).await;
        assert!(stored > bytes_max / 340, "{stored} were stored");
        for number in nine_of_ten(stored) {
            let deletion = Mutation::delete(key(&format!("old{number}")));
            store.change(deletion).await.unwrap();
        }
        // No single write is refused for what is not in use.
        let value = Mutation::set(key("single"), ContentType::JSON, vec![b'1'; 200].into());
        store.change(value).await.unwrap();
        let fitted = fill(&store, "new", 200).await;
        assert!(
            fitted > fresh * 7 / 10,
            "{fitted} fit where {fresh} fit a new store"
        );
    });
}

#[test]
fn a_store_that_nothing_is_asked_of_any_more_gives_memory_back() {
    with_store(1, 1, PATIENT, |store| async move {
        let body = bytes::Bytes::from(vec![b'1'; 200]);
        let set = |number: usize| {
            Mutation::set(key(&number.to_string()), ContentType::JSON, body.clone())
        };
        let count = 100_000;
        for chunk in (0..count).collect::<Vec<_>>().chunks(MESSAGE_CHANGES_MAX) {
            let mutations = chunk.iter().copied().map(set).collect();
            store.change_many(0, mutations).await.unwrap();
        }
        let full = store.stats(PATIENT).await.unwrap().bytes;
        for number in nine_of_ten(count) {
            let deletion = Mutation::delete(key(&number.to_string()));
            store.change(deletion).await.unwrap();
        }
        let begun = Instant::now();
        loop {
            let bytes = store.stats(PATIENT).await.unwrap().bytes;
            if bytes < full / 4 {
                break;
            }
            assert!(
                begun.elapsed() < PATIENT,
                "{bytes} of {full} bytes are held"
            );
        }
        for number in (0..count).step_by(10) {
            let value = store.get(key(&number.to_string())).await.unwrap();
            assert_eq!(value.unwrap().body, body);
        }
    });
}

#[test]
fn what_one_shard_can_do_without_is_room_for_another() {
    let options = StoreOptions {
        shards: 2,
        ..bounded(32 << 20)
    };
    with_store_of(2, options, |store| async move {
        // Keys of the first shard, until the store is full.
        let owned = |shard: usize, name: &'static str| {
            let store = store.clone();
            let keys = (0..).map(move |number| key(&format!("{name}{number}")));
            keys.filter(move |key| store.owner(key) == shard)
        };
        let body = bytes::Bytes::from(vec![b'1'; 100]);
        let set = |key: Key| Mutation::set(key, ContentType::JSON, body.clone());
        let mut keys = owned(0, "old");
        let mut stored: Vec<Key> = Vec::new();
        loop {
            let some: Vec<Key> = keys.by_ref().take(MESSAGE_CHANGES_MAX).collect();
            let mutations = some.iter().cloned().map(set).collect();
            let written = store.change_many(0, mutations).await.unwrap();
            stored.extend(some.into_iter().take(written.counts.created as usize));
            if written.stopped.is_some() {
                break;
            }
        }
        for key in stored.iter().step_by(6) {
            let deleted = store.change(Mutation::delete(key.clone())).await;
            assert!(matches!(deleted.unwrap(), Changed::Deleted(_)));
        }
        for (number, key) in owned(1, "new").take(500).enumerate() {
            let written = store.change(set(key)).await;
            let stats = store.stats(PATIENT).await.unwrap();
            let merging = stats.counted.index.merging_bytes;
            assert!(
                written.is_ok(),
                "{number}: {written:?}, {} bytes held, {merging} by merges",
                stats.bytes
            );
        }
    });
}

#[test]
fn a_delete_that_leads_to_no_job_does_not_wait_for_shards_that_begin_some() {
    with_store(1, 1, PATIENT, |store| async move {
        for first in (0..8192).step_by(MESSAGE_CHANGES_MAX) {
            let names = first..first + MESSAGE_CHANGES_MAX;
            let mutations = names.map(|number| set(&number.to_string())).collect();
            store.change_many(0, mutations).await.unwrap();
        }
        let begun = Instant::now();
        loop {
            let index = store.stats(PATIENT).await.unwrap().counted.index;
            if (index.segments, index.fresh_keys, index.merging_bytes) == (1, 0, 0) {
                break;
            }
            assert!(begun.elapsed() < PATIENT, "{index:?}");
        }
        let shared = store.0.shared.clone();
        let (begins, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let _beginning = shared.begin_jobs();
            begins.send(()).unwrap();
            ended.recv().unwrap_or_default();
        });
        begun.recv().unwrap();
        let deleted = store.change(Mutation::delete(key("1"))).await;
        assert!(matches!(deleted, Ok(Changed::Deleted(_))), "{deleted:?}");
        drop(end);
        other.join().unwrap();
    });
}

/// The most bytes that a store held, by a thread that looks at it all the time.
struct Peak {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Peak {
    fn of(store: &Store) -> Self {
        let (shared, is_over) = (store.0.shared.clone(), Arc::<AtomicBool>::default());
        let ended = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(shared.bytes());
                std::thread::yield_now();
            }
            most
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }

    fn bytes(mut self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn long(name: &str, number: u64) -> String {
    format!("{name}{number:08}{}", "k".repeat(900))
}

/// Sets long keys until one does not fit, and returns how many did. All before it are there, and some after it.
async fn fill_with_long_keys(store: &Store, name: &str) -> u64 {
    let (mut number, mut created) = (0, 0);
    loop {
        let mut batch = store.batch();
        while !batch.is_full(usize::MAX) {
            batch.push(number, set(&long(name, number)));
            number += 1;
        }
        let made = batch.make().await;
        created += made.counts.created;
        match made.failure {
            None => assert!(number < 1_000_000, "the store is bounded"),
            Some((_, StoreError::Full { .. })) => return created,
            Some((_, error)) => panic!("{error:?}"),
        }
    }
}

async fn keys(store: &Store) -> u64 {
    store.stats(PATIENT).await.unwrap().counted.keys as u64
}

#[test]
fn long_keys_fill_a_small_bound_on_many_shards() {
    const BYTES_MAX: usize = 16 << 20;
    let options = StoreOptions {
        shards: 8,
        ..bounded(BYTES_MAX)
    };
    with_store_of(2, options, |store| async move {
        // Trees of 1 MiB each would leave no room for segments of them.
        let filled = fill_with_long_keys(&store, "key").await;
        assert!(filled as usize > BYTES_MAX * 4 / 10 / 900, "{filled} fit");
    });
}

#[test]
fn long_keys_stay_within_the_bound_whatever_merges_run_and_give_room_back() {
    const BYTES_MAX: usize = 32 << 20;
    // A message of each shard is counted once it is done, and so is what deletes take.
    const SLACK: usize = BYTES_MAX / 32;
    let options = StoreOptions {
        shards: 2,
        ..bounded(BYTES_MAX)
    };
    with_store_of(2, options, |store| async move {
        let peak = Peak::of(&store);
        let filled = fill_with_long_keys(&store, "first").await;
        assert_eq!(keys(&store).await, filled);
        assert!(filled as usize > BYTES_MAX / 2 / 900, "{filled} fit");

        let mut erasing = store.erase(Filter::default());
        while !erasing.is_done() {
            erasing.go_on().await.unwrap();
        }
        assert_eq!((erasing.deleted(), keys(&store).await), (filled, 0));
        let begun = Instant::now();
        while store.stats(PATIENT).await.unwrap().bytes > BYTES_MAX / 8 {
            assert!(begun.elapsed() < PATIENT, "memory comes back");
        }

        let again = fill_with_long_keys(&store, "again").await;
        assert!(again > filled * 8 / 10, "{again} fit, and {filled} before");
        // Every other one, so that no segment falls empty: only merges make room.
        let mut deleted = 0;
        for number in (0..again).step_by(2) {
            let deletion = Mutation::delete(key(&long("again", number)));
            match store.change(deletion).await.unwrap() {
                Changed::Deleted(_) => deleted += 1,
                // Of the last some may not have been made.
                Changed::Absent => assert!(number + 1000 > again, "{number} of {again}"),
                changed @ (Changed::Created(_)
                | Changed::Updated(_)
                | Changed::Kept(_)
                | Changed::Unmet(_)) => panic!("{changed:?}"),
            }
        }
        let begun = Instant::now();
        for number in 0..again / 4 {
            while let Err(error) = store.change(set(&long("third", number))).await {
                assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
                assert!(begun.elapsed() < PATIENT, "{number} of {again} fit again");
            }
        }
        assert_eq!(keys(&store).await, again - deleted + again / 4);
        for number in (0..again / 4).step_by(7) {
            for name in ["again", "third"] {
                let is_there = name == "third" || number % 2 == 1;
                let value = store.get(key(&long(name, number))).await.unwrap();
                assert_eq!(value.is_some(), is_there, "{name} {number}");
            }
        }
        let most = peak.bytes();
        assert!(most <= BYTES_MAX + SLACK, "{most} of {BYTES_MAX} bytes");
    });
}
