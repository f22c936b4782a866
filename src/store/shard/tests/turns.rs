//! The order in which an actor answers, and that it lets others have their turns.

use super::*;
use crate::durable::{Record, Records, State};
use crate::model::ContentTypes;

#[test]
fn reads_that_are_answered_together_see_what_was_asked_for_before_them_and_no_more() {
    let (blocked, found, total) = with_store(1, 1, PATIENT, |store| async move {
        let store = &store;
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let block = memory(store).ask(0, block, Manner::Refuse);
        // All of these are in the mailbox before the first is handled.
        let asked = async {
            let get = || async { store.get(key("k")).await.unwrap().map(|value| value.body) };
            let put = |body: &'static str| async move {
                let mutation = Mutation::set(key("k"), ContentType::JSON, body.into());
                store.change(mutation).await.unwrap()
            };
            let remove = async { store.change(Mutation::delete(key("k"))).await.unwrap() };
            let many = store.change_many(0, vec![set("k")]);
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
        for keys in keys.chunks(MESSAGE_CHANGES_MAX) {
            let mutations = keys.iter().map(|key| set(key)).collect();
            store.change_many(0, mutations).await.unwrap();
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
        let began = Instant::now();
        while began.elapsed() <= TURN {}
        context.address().do_send(Busy {
            first_beat: Some(first_beat),
            ..message
        });
        self.pause(context);
    }
}

#[test]
fn an_actor_whose_mailbox_is_never_empty_shows_that_it_is_alive() {
    with_store(1, 1, PATIENT, |store| async move {
        let actor = memory(&store).actors.get(0).unwrap();
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
fn who_follows_a_store_gets_the_changes_of_all_shards_and_of_each_key_in_order() {
    let options = StoreOptions {
        shards: 3,
        ..options()
    };
    with_store_of(2, options, async |store: Store| {
        store.change(set("before")).await.unwrap();
        let mut following = store.follow().await.unwrap();
        let mut expected: Vec<(String, Option<Revision>)> = Vec::new();
        for round in 0..4 {
            for number in 0..20 {
                let text = format!("k{number}");
                if (round + number) % 3 == 0 {
                    let gone = store.change(Mutation::delete(key(&text))).await.unwrap();
                    if gone.revision().is_some() {
                        expected.push((text, None));
                    }
                } else {
                    let changed = store.change(set(&text)).await.unwrap();
                    expected.push((text, changed.revision()));
                }
            }
        }
        let mut batch = store.batch();
        (0..9).for_each(|number| batch.push(number, set(&format!("b{number}"))));
        assert_eq!(batch.make().await.failure, None);
        let types = ContentTypes::default();
        let mut found: Vec<(String, Option<Revision>)> = Vec::new();
        let mut last = 0;
        while found.len() < expected.len() + 9 {
            let (end, turn) = following.next().await.unwrap();
            assert_eq!(end.0, last + u64::from(turn.records));
            last = end.0;
            for record in Records::new(&turn.content, &types) {
                let Record { key, state } = record.unwrap();
                let revision = match state {
                    State::Set(value) => Some(value.revision),
                    State::Removed(_) | State::Expired(_) => None,
                };
                found.push((key.as_str().to_owned(), revision));
            }
        }
        let of = |list: &[(String, Option<Revision>)], text: &str| -> Vec<Option<Revision>> {
            let own = list.iter().filter(|(key, _)| key == text);
            own.map(|(_, revision)| *revision).collect()
        };
        for number in 0..20 {
            let text = format!("k{number}");
            assert_eq!(of(&found, &text), of(&expected, &text), "{text}");
        }
        assert!((0..9).all(|number| of(&found, &format!("b{number}")).len() == 1));
    });
}
