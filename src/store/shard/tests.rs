//! The store by its handle and its messages, on threads of its own.

use super::*;
use crate::lifecycle::Stage;
use crate::model::{ContentType, Filter, Query};
use crate::store::{Readiness, SET_MANY_MAX, Store, StoreOptions};
use actix::{Arbiter, Message, System};
use proptest::prelude::*;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc;

fn key(text: &str) -> Key {
    Key::parse(text.into(), 1024).unwrap()
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
        request_timeout: PATIENT,
        hash_key: [1, 2],
        remote: None,
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
    assert!(store.readiness() == Readiness::Ready && store.is_alive());
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
    type Result = Result<(), StoreError>;

    fn handle(&mut self, message: Admitted<Run>, _: &mut Self::Context) -> Self::Result {
        self.guard(|shard| {
            (message.message.0)(shard);
            Ok(())
        })
    }
}

#[test]
fn a_panic_inside_a_message_is_answered_and_loses_no_key() {
    with_store(1, 1, PATIENT, |store| async move {
        store.set(set("k")).await.unwrap();
        let explode = Run(Box::new(|_| panic!("on purpose")));
        let answer = store.ask(0, explode, crate::store::Admission::Refuse);
        assert_eq!(answer.await, Err(StoreError::Panicked));
        assert!(store.get(key("k")).await.unwrap().is_some());
        assert_eq!(store.stats(PATIENT).await.unwrap().counted.keys, 1);
    });
}

#[test]
fn reads_that_are_answered_together_see_what_was_asked_for_before_them_and_no_more() {
    let (blocked, found, total) = with_store(1, 1, PATIENT, |store| async move {
        let store = &store;
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = store.ask(0, block, crate::store::Admission::Refuse);
        // All of these are in the mailbox before the first is handled.
        let asked = async {
            let get = || async { store.get(key("k")).await.unwrap().map(|value| value.body) };
            let put = |body: &'static str| async move {
                let mutation = Mutation::set(key("k"), ContentType::JSON, body.into());
                store.set(mutation).await.unwrap()
            };
            let remove = async { store.delete(Mutation::delete(key("k"))).await.unwrap() };
            let many = store.set_many(0, vec![set("k")]);
            let query = Query {
                filter: Filter::default(),
                after: Vec::new(),
                limit: None,
            };
            let total = async { store.search(query).await.unwrap().total };
            let (first, _, second, third, _, fourth, _, fifth, many, sixth, total, seventh, ()) = tokio::join!(
                biased;
                get(),
                put("1"),
                get(),
                get(),
                put("2"),
                get(),
                remove,
                get(),
                many,
                get(),
                total,
                get(),
                async { drop(release) }
            );
            many.unwrap();
            let found = [first, second, third, fourth, fifth, sixth, seventh];
            (found, total)
        };
        let (blocked, (found, total)) = futures_util::future::join(block, asked).await;
        (blocked, found, total)
    });
    let body = |text: &'static str| Some(bytes::Bytes::from_static(text.as_bytes()));
    let (one, two) = (body("1"), body("2"));
    let expected = [None, one.clone(), one.clone(), two, None, one.clone(), one];
    assert_eq!((blocked, total), (Ok(()), 1));
    assert_eq!(found, expected);
}

#[test]
fn many_searches_in_a_row_let_others_of_the_thread_have_a_turn() {
    System::new().block_on(async {
        let store = Store::new(options(), Arc::default()).unwrap();
        store.host(1);
        let keys: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
        for keys in keys.chunks(SET_MANY_MAX) {
            let mutations = keys.iter().map(|key| set(key)).collect();
            store.set_many(0, mutations).await.unwrap();
        }
        // How often another task had its turn when each search was answered.
        let turns = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = turns.clone();
        let other = actix::spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let searches = (0..64).map(|_| {
            let (store, turns) = (store.clone(), turns.clone());
            actix::spawn(async move {
                let query = Query {
                    filter: Filter::default(),
                    after: Vec::new(),
                    limit: Some(500),
                };
                store.search(query).await.unwrap();
                turns.get()
            })
        });
        let answered = futures_util::future::join_all(searches).await;
        other.abort();
        let answered: Vec<i32> = answered.into_iter().map(Result::unwrap).collect();
        let (first, last) = (answered.iter().min(), answered.iter().max());
        let between = last.unwrap() - first.unwrap();
        store.0.shared.lifecycle.advance(Stage::Stopping);
        assert!(
            between >= 3,
            "{between} turns between the first and the last"
        );
    });
}

#[test]
fn a_queued_message_whose_sender_gave_up_is_not_carried_out() {
    with_store(1, 1, Duration::from_millis(100), |store| async move {
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = store.ask(0, block, crate::store::Admission::Refuse);
        let given_up = async {
            let answer = store.set(set("k")).await;
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
        let block = store.ask(0, block, crate::store::Admission::Refuse);
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
fn a_bulk_load_fills_the_store_whatever_merges_take_meanwhile() {
    const BYTES_MAX: usize = 8 << 20;
    with_store_of(1, bounded(BYTES_MAX), |store| async move {
        let mut number = 0;
        let stopped = loop {
            let names = number..number + SET_MANY_MAX;
            number += SET_MANY_MAX;
            let mutations = names.map(|number| set(&number.to_string())).collect();
            let written = store.set_many(0, mutations).await.unwrap();
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
            let names = stored..stored + SET_MANY_MAX;
            let mutations = names.map(|number| large(number.to_string())).collect();
            let written = store.set_many(0, mutations).await.unwrap();
            stored += written.created as usize;
            if written.stopped.is_some() {
                break;
            }
        }
        assert!(stored > 30_000, "{stored} were stored");
        // Every other one, so that no larger piece of memory falls empty.
        for number in (0..stored).step_by(2) {
            let deleted = store.delete(Mutation::delete(key(&number.to_string())));
            assert!(deleted.await.unwrap().is_some());
        }
        // Half as many: new keys take more until they are merged, and merges take room while they run.
        let begun = Instant::now();
        for number in 0..stored / 4 {
            while let Err(error) = store.set(large(format!("new{number}"))).await {
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

/// Adds keys to shard 0 and hands no job out, until so little room is left.
async fn crowd(store: &Store, room: Room) {
    let crowd = Run(Box::new(move |shard| {
        let mut number = 0_u64;
        while shard.map.room() != room {
            let value = Value {
                content_type: ContentType::JSON,
                body: "1".into(),
                revision: Revision(number),
            };
            shard.map.set(&key(&format!("filler{number}")), value);
            number += 1;
            assert!(number < 100_000, "{room:?} is reached");
        }
    }));
    // A busy machine may take longer for it than a request may.
    let admission = crate::store::Admission::Refuse;
    let crowded = store.ask_within(PATIENT, 0, crowd, admission).await;
    crowded.unwrap();
}

/// Waits until a write that needs all room goes through.
async fn until_roomy(store: &Store) {
    let written = tokio::time::timeout(PATIENT, async {
        store.set_many(0, vec![set("last")]).await.unwrap();
    });
    written.await.unwrap();
}

#[test]
fn a_parked_write_whose_sender_gave_up_is_not_made() {
    with_store(1, 1, Duration::from_millis(100), |store| async move {
        crowd(&store, Room::Full).await;
        // Nothing of this shard hands out a job before the write is parked, and the jobs that it
        // does hand out wait behind this.
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let parked = store.set(set("k"));
        let blocking = store.ask(0, block, crate::store::Admission::Refuse);
        let (parked, _) = futures_util::future::join(parked, blocking).await;
        assert!(matches!(parked, Err(StoreError::Timeout(_))), "{parked:?}");
        drop(release);
        until_roomy(&store).await;
        let read = tokio::time::timeout(PATIENT, async {
            loop {
                if let Ok(read) = store.get(key("k")).await {
                    return read;
                }
            }
        });
        assert_eq!(read.await.unwrap(), None);
        assert!(store.get(key("last")).await.unwrap().is_some());
    });
}

#[test]
fn single_writes_do_not_wait_behind_parked_bulk_writes() {
    with_store(1, 1, PATIENT, |store| async move {
        crowd(&store, Room::Crowded).await;
        let order = std::cell::RefCell::new(Vec::new());
        let bulk = async {
            store.set_many(0, vec![set("bulk")]).await.unwrap();
            order.borrow_mut().push("bulk");
        };
        let single = async {
            store.set(set("single")).await.unwrap();
            order.borrow_mut().push("single");
        };
        futures_util::future::join(bulk, single).await;
        assert_eq!(order.into_inner(), ["single", "bulk"]);
    });
}

#[test]
fn bulk_writes_wait_for_merges_and_all_are_made() {
    with_store(2, 1, PATIENT, |store| async move {
        let mut shards = vec![Vec::new(); 2];
        for number in 0..60_000 {
            let mutation = set(&number.to_string());
            shards[store.owner(&mutation.key)].push(mutation);
        }
        let load = shards.into_iter().enumerate().map(|(shard, mutations)| {
            let store = store.clone();
            async move {
                for chunk in mutations.chunks(SET_MANY_MAX) {
                    let written = store.set_many(shard, chunk.to_vec()).await.unwrap();
                    assert_eq!(written.created as usize, chunk.len());
                    assert_eq!(written.stopped, None);
                }
            }
        });
        futures_util::future::join_all(load).await;
        let stats = store.stats(PATIENT).await.unwrap();
        assert_eq!(stats.counted.keys, 60_000);
        assert!(stats.counted.index.segments > 0);
        assert!(stats.bytes > 60_000 * 20);
    });
}

/// Takes a whole turn and sends itself again, until the actor shows that it is alive.
#[derive(Message)]
#[rtype(result = "()")]
struct Busy {
    begun: Instant,
    /// The heartbeat that the first of them saw.
    first_beat: Option<u64>,
    is_alive: mpsc::Sender<bool>,
}

impl Handler<Busy> for ShardActor {
    type Result = ();

    fn handle(&mut self, message: Busy, context: &mut Self::Context) {
        let beat = self.shared.last_beat(self.shard);
        let first_beat = message.first_beat.unwrap_or_else(|| {
            // More futures than a turn that is ended early has time for.
            (0..3).for_each(|_| {
                context.spawn(std::future::pending().into_actor(self));
            });
            beat
        });
        if beat != first_beat || message.begun.elapsed() > PATIENT {
            message.is_alive.send(beat != first_beat).unwrap();
            return;
        }
        self.begin_long();
        while self.turn_began.is_some_and(|began| began.elapsed() <= TURN) {}
        context.address().do_send(Busy {
            first_beat: Some(first_beat),
            ..message
        });
        self.end_long(context);
    }
}

#[test]
fn an_actor_whose_mailbox_is_never_empty_shows_that_it_is_alive() {
    with_store(1, 1, PATIENT, |store| async move {
        let address = store.0.shards[0].address.get().unwrap();
        let crate::store::Keeper::Memory(actor) = &address.keeper else {
            unreachable!("the store is in memory");
        };
        let (sender, receiver) = mpsc::channel();
        actor.do_send(Busy {
            begun: Instant::now(),
            first_beat: None,
            is_alive: sender,
        });
        assert_eq!(receiver.recv(), Ok(true));
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
                store.set(set(key)).await.unwrap();
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
