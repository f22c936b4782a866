//! The store by its handle and its messages, on threads of its own.

mod bounds;
mod erasing;
mod expiry;
mod groups;
mod many;
mod parked;
mod turns;

use super::*;
use crate::clock::Clock;
use crate::keymap::Room;
use crate::lifecycle::Stage;
use crate::model::{Changed, ContentType, Filter, Key, Mutation, Query, Revision, Value};
use crate::store::admission::Manner;
use crate::store::batch::MESSAGE_CHANGES_MAX;
use crate::store::engine::Engine;
use crate::store::memory::Memory;
use crate::store::message::{Stopped, Taken};
use crate::store::{Readiness, Store, StoreOptions};
use crate::trace::Tick;
use actix::{Arbiter, Message, MessageResult, System};
use proptest::prelude::*;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc;

fn key(text: &str) -> Key {
    Key::parse(text.into(), 1024).unwrap()
}

/// The engine of a store in memory.
fn memory(store: &Store) -> &Memory {
    match &store.0.engine {
        Engine::Memory(memory) => memory,
        Engine::Remote(_) => unreachable!("the store is in memory"),
    }
}

fn set(text: &str) -> Mutation {
    Mutation::set(key(text), ContentType::JSON, "1".into())
}

/// What stores are set up with that no test asks for something else.
fn options() -> StoreOptions {
    StoreOptions {
        shards: 1,
        messages_in_flight_max: 64,
        store_bytes_max: usize::MAX,
        changes_bytes_max: 1 << 20,
        request_timeout: PATIENT,
        hash_key: [1, 2],
        remote: None,
        durable: None,
        clock: Clock::running(),
    }
}

/// The same with a bound on the memory of all keys and values.
fn bounded(store_bytes_max: usize) -> StoreOptions {
    StoreOptions {
        store_bytes_max,
        ..options()
    }
}

/// A store on `threads` threads, and these threads.
fn store(threads: usize, options: StoreOptions) -> (Store, Vec<Arbiter>) {
    let store = Store::new(options, Arc::default()).unwrap();
    let arbiters: Vec<Arbiter> = (0..threads).map(|_| Arbiter::new()).collect();
    let (sender, receiver) = mpsc::channel();
    for arbiter in &arbiters {
        let (store, sender) = (store.clone(), sender.clone());
        arbiter.spawn_fn(move || {
            store.host(threads);
            // A second call on the same thread takes nothing in.
            store.host(threads);
            sender.send(()).unwrap();
        });
    }
    arbiters.iter().for_each(|_| receiver.recv().unwrap());
    assert!(matches!(store.readiness(), Readiness::Ready(_)) && store.is_alive());
    (store, arbiters)
}

/// Runs a test of a store, which is told that it is stopping at the end.
fn with_store<F: Future>(
    shards: usize,
    threads: usize,
    request_timeout: Duration,
    test: impl FnOnce(Store) -> F,
) -> F::Output {
    let options = StoreOptions {
        shards,
        request_timeout,
        ..options()
    };
    with_store_of(threads, options, test)
}

/// As [`with_store`], set up in another way.
fn with_store_of<F: Future>(
    threads: usize,
    options: StoreOptions,
    test: impl FnOnce(Store) -> F,
) -> F::Output {
    System::new().block_on(async {
        let (store, arbiters) = store(threads, options);
        let output = test(store.clone()).await;
        store.0.shared.lifecycle.advance(Stage::Stopping);
        for arbiter in arbiters {
            arbiter.stop();
            arbiter.join().unwrap();
        }
        output
    })
}

const PATIENT: Duration = Duration::from_secs(30);

/// Runs something on the actor, under its guard. No jobs are handed out after it.
#[derive(Message)]
#[rtype(result = "Result<(), StoreError>")]
struct Run(Box<dyn FnOnce(&mut ShardActor) + Send>);

impl Handler<Admitted<Run>> for ShardActor {
    type Result = MessageResult<Admitted<Run>>;

    fn handle(&mut self, message: Admitted<Run>, _: &mut Self::Context) -> Self::Result {
        let at = Tick::now();
        let answer = caught(|| {
            (message.message.0)(self);
            Ok(())
        });
        MessageResult(Taken { answer, at })
    }
}

#[test]
fn a_panic_inside_a_message_is_answered_and_loses_no_key() {
    with_store(1, 1, PATIENT, |store| async move {
        store.change(set("k")).await.unwrap();
        let explode = Run(Box::new(|_| panic!("on purpose")));
        let answer = memory(&store).ask(0, explode, Manner::Refuse);
        assert_eq!(answer.await, Err(StoreError::Panicked));
        assert!(store.get(key("k")).await.unwrap().is_some());
        assert_eq!(store.stats(PATIENT).await.unwrap().counted.keys, 1);
    });
}

#[test]
fn an_actor_that_is_lost_aborts_the_process() {
    const CHILD: &str = "KVSTORE_TEST_LOSES_AN_ACTOR";
    if std::env::var_os(CHILD).is_some() {
        env_logger::init();
        System::new().block_on(async {
            let shards = 2;
            let options = StoreOptions {
                shards,
                ..options()
            };
            let (_store, mut arbiters) = store(2, options);
            let lost = arbiters.swap_remove(0);
            lost.stop();
            let _ = lost.join();
        });
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::shard::tests::an_actor_that_is_lost_aborts_the_process",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env("RUST_LOG", "error")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.signal(), Some(6), "{log}");
    assert!(log.contains("ended while serving; aborting"), "{log}");
}

fn everything(limit: Option<usize>) -> Query {
    Query {
        filter: Filter::default(),
        after: Vec::new(),
        limit,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn searches_over_any_number_of_shards_are_one_ordered_search(
        keys in prop::collection::btree_set("[ab]{1,6}", 0..150),
        shards in 1usize..6,
        prefix in "[ab]{0,2}",
        suffix in "[ab]{0,2}",
        after in "[ab]{0,3}",
        limit in prop::option::of(1usize..60),
        step in 1usize..40,
    ) {
        let filter = Filter { prefix: prefix.into(), suffix: suffix.into() };
        let matching: Vec<&String> = keys.iter().filter(|key| filter.matches(key.as_bytes())).collect();
        let expected: Vec<Vec<u8>> = matching.iter()
            .filter(|key| ***key > after)
            .take(limit.unwrap_or(usize::MAX))
            .map(|key| key.as_bytes().to_vec())
            .collect();
        let query = Query { filter: filter.clone(), after: after.clone().into(), limit };
        let keys = keys.clone();
        let (total, found) = with_store(shards, shards.min(2), PATIENT, |store| async move {
            for key in &keys {
                store.change(set(key)).await.unwrap();
            }
            let mut searched = store.search(query).await.unwrap();
            let mut found = Vec::new();
            while !searched.pages.is_done() {
                let keys = searched.pages.next(step).await.unwrap();
                assert!(keys.len() <= step);
                found.extend(keys.iter().map(<[u8]>::to_vec));
            }
            (searched.total, found)
        });
        prop_assert_eq!(total, matching.len());
        prop_assert_eq!(found, expected);
    }
}
