//! The hub of a thread against a naive list of those who watch, over a store in process: who is told what, who falls
//! behind and where, and that what they read by themselves from there on is just what they were not told.

use super::super::events::Wire;
use super::*;
use crate::config::{Config, Settings};
use crate::lifecycle::{Lifecycle, Stage};
use crate::model::{ContentType, Key, Mutation};
use crate::server;
use actix::System;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

const TEXTS: [&str; 5] = ["", "a", "ab", "b", "ba"];

#[derive(Clone, Debug)]
enum Step {
    Admit {
        prefix: &'static str,
        suffix: &'static str,
        form: Form,
    },
    /// At once, as turns take them.
    Change(Vec<Changing>),
    Take(prop::sample::Index, usize),
    Dismiss(prop::sample::Index),
    /// One that is behind reads on, and is told again.
    CatchUp(prop::sample::Index),
}

#[derive(Clone, Debug)]
enum Changing {
    Set { key: String, bytes: usize },
    Delete { key: String },
}

fn form() -> impl Strategy<Value = Form> {
    let wire = prop::sample::select(vec![Wire::Events, Wire::Lines]);
    let contents = prop::sample::select(vec![Contents::Tags, Contents::Entries]);
    (wire, contents).prop_map(|(wire, contents)| Form { wire, contents })
}

fn changing() -> impl Strategy<Value = Changing> {
    // Some longer than is told, and some of which few fit.
    let bytes = prop_oneof![
        6 => 2_usize..100,
        2 => 5_000_usize..20_000,
        1 => Just(QUEUED_BYTES_MAX),
        1 => Just(QUEUED_BYTES_MAX + 1),
    ];
    let key = || "[ab]{1,4}";
    prop_oneof![
        4 => (key(), bytes).prop_map(|(key, bytes)| Changing::Set { key, bytes }),
        1 => key().prop_map(|key| Changing::Delete { key }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let text = || prop::sample::select(TEXTS.to_vec());
    let step = prop_oneof![
        3 => (text(), text(), form()).prop_map(|(prefix, suffix, form)| Step::Admit { prefix, suffix, form }),
        6 => prop::collection::vec(changing(), 1..8).prop_map(Step::Change),
        3 => (index(), 1_usize..60_000).prop_map(|(who, bytes)| Step::Take(who, bytes)),
        1 => index().prop_map(Step::Dismiss),
        2 => index().prop_map(Step::CatchUp),
    ];
    prop::collection::vec(step, 1..40)
}

/// A change as it came.
struct Came {
    place: Place,
    key: Vec<u8>,
    bytes: usize,
    /// Its text in each form.
    texts: [Vec<u8>; Form::COUNT],
}

/// One who watches, and what should have become of it.
struct Naive {
    seat: Rc<Seat>,
    is_live: bool,
    place: Place,
    queue: VecDeque<(Vec<u8>, Place)>,
}

/// The hub, and the naive list beside it, in the order in which the hub took them in.
struct World {
    state: Arc<State>,
    hub: Rc<Hub>,
    following: Following,
    came: Vec<Came>,
    list: Vec<Naive>,
}

impl Naive {
    fn queued(&self) -> usize {
        self.queue.iter().map(|(text, _)| text.len()).sum()
    }
}

impl World {
    async fn new(state: &Arc<State>) -> Self {
        Self {
            state: state.clone(),
            hub: Hub::new(state.clone()),
            following: state.store.follow().await.unwrap(),
            came: Vec::new(),
            list: Vec::new(),
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Admit {
                prefix,
                suffix,
                form,
            } => {
                let [prefix, suffix] = [prefix, suffix].map(|text| text.as_bytes().to_vec());
                let filter = Arc::new(Filter { prefix, suffix });
                let place = self.following.place();
                let seat = Seat::new(filter, form, place);
                let naive = Naive {
                    seat,
                    is_live: false,
                    place,
                    queue: VecDeque::new(),
                };
                self.admit(naive);
            }
            Step::Change(changes) => self.change(changes).await,
            Step::Take(who, bytes) if !self.list.is_empty() => {
                let who = who.index(self.list.len());
                self.take_some(who, bytes);
            }
            Step::Dismiss(who) if !self.list.is_empty() => {
                let naive = self.list.remove(who.index(self.list.len()));
                self.hub.dismiss(&naive.seat);
            }
            Step::CatchUp(who) if !self.list.is_empty() => {
                self.catch_up(who.index(self.list.len()));
            }
            Step::Take(..) | Step::Dismiss(_) | Step::CatchUp(_) => {}
        }
        self.check();
    }

    fn admit(&mut self, mut naive: Naive) {
        // The hub may be behind what this has seen, and not ahead of it.
        let admitted = self.hub.admit(&naive.seat, &self.following);
        assert_eq!(admitted, Admitted::Yes);
        (naive.is_live, naive.place) = (true, self.following.place());
        self.list.push(naive);
    }

    /// Makes changes, and waits until all are told who can be.
    async fn change(&mut self, changes: Vec<Changing>) {
        let key = |text: &str| Key::parse(text.to_owned().into(), 1024).unwrap();
        let changes = changes.iter().map(|change| match change {
            Changing::Set { key: text, bytes } => {
                let body = format!("\"{}\"", "x".repeat(bytes - 2));
                Mutation::set(key(text), ContentType::JSON, body.into())
            }
            Changing::Delete { key: text } => Mutation::delete(key(text)),
        });
        let made = changes.map(|change| self.state.store.change(change));
        for made in join_all(made).await {
            made.unwrap();
        }
        let first = self.came.len();
        self.see();
        for at in first..self.came.len() {
            self.tell(at);
        }
        let end = self.following.end();
        let deadline = Instant::now() + DEADLINE;
        let is_told = |naive: &Naive| !naive.seat.is_live() || self.hub.told(&naive.seat) >= end;
        while !self.list.iter().all(is_told) {
            assert!(Instant::now() < deadline, "the hub tells of {end}");
            yield_now().await;
        }
    }

    /// Looks at what was changed.
    fn see(&mut self) {
        let types = &self.state.content_types;
        let forms = [
            (Wire::Events, Contents::Tags),
            (Wire::Events, Contents::Entries),
            (Wire::Lines, Contents::Tags),
            (Wire::Lines, Contents::Entries),
        ];
        loop {
            let seen = self.following.look(|change| {
                let mut texts: [Vec<u8>; Form::COUNT] = Default::default();
                for (wire, contents) in forms {
                    let form = Form { wire, contents };
                    let text = &mut texts[form.number()];
                    form.write(&change.read(types), Some(change.place), text);
                }
                self.came.push(Came {
                    place: change.place,
                    key: change.key().to_vec(),
                    bytes: change.bytes(),
                    texts,
                });
                ControlFlow::Continue(())
            });
            match seen {
                Seen::Some => {}
                Seen::Nothing => return,
                Seen::Logged(_) | Seen::Gone => panic!("all is kept"),
            }
        }
    }

    /// Tells all in the list of a change, as the hub should: the longest prefix first, and of one prefix the longest
    /// suffix.
    fn tell(&mut self, at: usize) {
        let change = &self.came[at];
        let mut total: usize = self.list.iter().map(Naive::queued).sum();
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|who| {
            let filter = &self.list[*who].seat.filter;
            std::cmp::Reverse((filter.prefix.len(), filter.suffix.len()))
        });
        for who in order {
            let naive = &mut self.list[who];
            let Seat { filter, form, .. } = &*naive.seat;
            let is_due = naive.is_live && change.place > naive.place;
            if !is_due || !filter.matches(&change.key) {
                continue;
            }
            let text = &change.texts[form.number()];
            let is_long = form.contents == Contents::Entries && change.bytes > QUEUED_BYTES_MAX;
            if is_long
                || naive.queued() + text.len() > QUEUED_BYTES_MAX
                || total + text.len() > HUB_BYTES_MAX
            {
                (naive.is_live, naive.place) = (false, change.place.before());
                continue;
            }
            total += text.len();
            naive.place = change.place;
            naive.queue.push_back((text.clone(), change.place));
        }
    }

    fn take_some(&mut self, who: usize, bytes_max: usize) {
        let naive = &mut self.list[who];
        let (mut expected, mut bytes) = (Vec::new(), 0);
        while let Some((text, _)) = naive.queue.front()
            && (expected.is_empty() || bytes + text.len() <= bytes_max)
        {
            bytes += text.len();
            expected.extend(naive.queue.pop_front());
        }
        let taken = self.hub.take(&naive.seat, bytes_max);
        let taken = taken.into_iter();
        let taken: Vec<(Vec<u8>, Place)> =
            taken.map(|told| (told.text.to_vec(), told.place)).collect();
        assert!(taken == expected, "just what was told is taken, in order");
    }

    /// As one does that is told no more: it takes the rest, reads on, and takes its seat again.
    fn catch_up(&mut self, who: usize) {
        if self.list[who].is_live {
            return;
        }
        while !self.list[who].queue.is_empty() {
            self.take_some(who, 1);
        }
        let naive = self.list.remove(who);
        let place = naive.seat.place();
        self.hub.dismiss(&naive.seat);
        let mut reading = self.following.fork();
        reading.go_to(place);
        let mut read = Vec::new();
        while reading.look(|change| {
            read.push(change.place);
            ControlFlow::Continue(())
        }) == Seen::Some
        {}
        let missed = self.came.iter().filter(|came| came.place > naive.place);
        let missed: Vec<Place> = missed.map(|came| came.place).collect();
        assert_eq!(read, missed);
        self.admit(naive);
    }

    /// Compares the hub with the list.
    fn check(&self) {
        let mut total = 0;
        for naive in &self.list {
            let Naive {
                seat,
                is_live,
                place,
                ..
            } = naive;
            assert_eq!(seat.is_live(), *is_live, "{:?}", seat.filter);
            assert_eq!(seat.place(), *place);
            assert_eq!(seat.queued_bytes.get(), naive.queued());
            assert!(naive.queued() <= QUEUED_BYTES_MAX);
            total += naive.queued();
        }
        assert_eq!(self.hub.queued_bytes.get(), total);
        assert!(total <= HUB_BYTES_MAX);
    }
}

/// What handlers of one worker work with, whose store is on this thread.
fn hosted() -> Arc<State> {
    let settings = Settings {
        workers: Some(1),
        ..Settings::default()
    };
    let config = Config::resolve(settings).unwrap();
    let state = server::state(&config, Arc::new(Lifecycle::default())).unwrap();
    state.store.host(1);
    Arc::new(state)
}

/// Has a store that is lost count as one that was told to stop.
struct Stopping(Arc<State>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.lifecycle.advance(Stage::Stopping);
    }
}

#[test]
fn all_are_told_what_they_would_be_by_a_naive_list() {
    let system = System::new();
    let state = system.block_on(async { hosted() });
    let _stopping = Stopping(state.clone());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let ran = runner.run(&steps(), |steps| {
        system.block_on(async {
            let mut world = World::new(&state).await;
            for step in steps {
                world.take(step).await;
            }
            for naive in world.list {
                world.hub.dismiss(&naive.seat);
            }
            assert_eq!(world.hub.queued_bytes.get(), 0);
        });
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn all_together_are_told_no_more_than_a_hub_may_hold() {
    let system = System::new();
    let state = system.block_on(async { hosted() });
    let _stopping = Stopping(state.clone());
    system.block_on(async {
        let mut world = World::new(&state).await;
        let form = Form {
            wire: Wire::Lines,
            contents: Contents::Entries,
        };
        for _ in 0..20 {
            let (prefix, suffix) = ("", "");
            let admit = Step::Admit {
                prefix,
                suffix,
                form,
            };
            world.take(admit).await;
        }
        let key = "a".to_owned();
        let set = Changing::Set { key, bytes: 9_000 };
        world.take(Step::Change(vec![set])).await;
        let live = world.list.iter().filter(|naive| naive.is_live).count();
        assert!(
            (1..20).contains(&live),
            "{live} of 20 are told: those who came first hold what there is"
        );
        for naive in &world.list {
            world.hub.dismiss(&naive.seat);
        }
    });
}

#[test]
fn nobody_is_let_in_whom_others_are_ahead_of() {
    let system = System::new();
    let state = system.block_on(async { hosted() });
    let _stopping = Stopping(state.clone());
    system.block_on(async {
        let mut world = World::new(&state).await;
        let early = state.store.follow().await.unwrap();
        let (prefix, suffix) = ("a", "");
        let form = Form {
            wire: Wire::Events,
            contents: Contents::Tags,
        };
        let admit = Step::Admit {
            prefix,
            suffix,
            form,
        };
        world.take(admit).await;
        let key = "a".to_owned();
        let set = Changing::Set { key, bytes: 2 };
        world.take(Step::Change(vec![set])).await;
        let filter = world.list[0].seat.filter.clone();
        let seat = Seat::new(filter, form, early.place());
        assert_eq!(world.hub.admit(&seat, &early), Admitted::No);
        assert!(!seat.is_live());
        world.hub.dismiss(&world.list[0].seat);
    });
}
