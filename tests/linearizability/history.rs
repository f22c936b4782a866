//! Histories: what clients that ask at once are told, key by key.

use crate::check::{Violation, check};
use crate::model::{Answer, Asked, Body, Operation, Tag};
use crate::plan::{self, Random};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many histories are made at once, each of keys of its own.
pub const AT_ONCE: usize = 10;

/// Clients of a history, and how often each asks.
const CLIENTS: usize = 5;
const REQUESTS: usize = 30;

/// Whom a client asks.
pub trait Face: Send {
    /// What is answered; nothing where no answer comes, or one that says that nobody knows.
    fn ask(&mut self, key: &str, asked: Asked) -> Option<Answer>;
}

/// What was asked of some keys, and answered.
pub struct History {
    keys: Vec<(String, Vec<Operation>)>,
}

impl History {
    /// Has clients ask at once, each by a face of its own, and reads the keys at the end.
    pub fn record<F: Face>(face: &(impl Fn() -> F + Sync)) -> Self {
        let name = moment();
        let count = 2 + Random::fresh().below(2);
        let keys: Vec<String> = (0..count).map(|key| format!("h{name}-{key}")).collect();
        let client = |number| Client::new(number, face(), &keys);
        let mut seen = at_once((0..CLIENTS).map(client).collect());
        seen.push(Client::new(CLIENTS, face(), &keys).read_all());
        let mut operations: Vec<Vec<Operation>> = vec![Vec::new(); count];
        for of_client in seen {
            for (all, some) in operations.iter_mut().zip(of_client) {
                all.extend(some);
            }
        }
        Self {
            keys: keys.into_iter().zip(operations).collect(),
        }
    }

    /// [`AT_ONCE`] histories at once.
    pub fn record_many<F: Face>(face: &(impl Fn() -> F + Sync)) -> Vec<Self> {
        thread::scope(|scope| {
            let record = || scope.spawn(move || Self::record(face));
            let recording: Vec<_> = (0..AT_ONCE).map(|_| record()).collect();
            let recorded = recording.into_iter().map(|history| history.join().unwrap());
            recorded.collect()
        })
    }

    /// Its operations by key.
    pub fn keys(&self) -> impl Iterator<Item = &[Operation]> {
        self.keys
            .iter()
            .map(|(_, operations)| operations.as_slice())
    }

    /// Whether each key's operations have an order.
    ///
    /// # Errors
    /// The first key's that have none.
    pub fn check(&self) -> Result<(), Violation> {
        for operations in self.keys() {
            check(operations)?;
        }
        Ok(())
    }

    #[track_caller]
    pub fn assert_linearizable(&self) {
        for (key, operations) in &self.keys {
            if let Err(violation) = check(operations) {
                panic!("{key}: {violation}");
            }
        }
    }
}

/// Has all clients begin at the same moment, and returns what each saw of each key.
fn at_once<'a, F: Face>(clients: Vec<Client<'a, F>>) -> Vec<Vec<Vec<Operation>>> {
    let begin = &Barrier::new(clients.len());
    thread::scope(|scope| {
        let run = |client: Client<'a, F>| {
            scope.spawn(move || {
                begin.wait();
                client.run()
            })
        };
        let running: Vec<_> = clients.into_iter().map(run).collect();
        let seen = running.into_iter().map(|client| client.join().unwrap());
        seen.collect()
    })
}

/// A moment after all that were asked for before.
fn moment() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

struct Client<'a, F> {
    number: usize,
    face: F,
    keys: &'a [String],
    /// The tag of the value of each key that it saw last.
    seen: Vec<Option<Tag>>,
    operations: Vec<Vec<Operation>>,
    random: Random,
}

impl<'a, F: Face> Client<'a, F> {
    fn new(number: usize, face: F, keys: &'a [String]) -> Self {
        Self {
            number,
            face,
            keys,
            seen: vec![None; keys.len()],
            operations: vec![Vec::new(); keys.len()],
            random: Random::fresh(),
        }
    }

    fn run(mut self) -> Vec<Vec<Operation>> {
        for _ in 0..REQUESTS {
            let key = self.random.below(self.keys.len());
            // A moment is a body that nobody else has.
            let asked = plan::next(&mut self.random, Body(moment()), self.seen[key]);
            self.ask(key, asked);
        }
        self.operations
    }

    fn read_all(mut self) -> Vec<Vec<Operation>> {
        for key in 0..self.keys.len() {
            self.ask(key, Asked::Get);
        }
        self.operations
    }

    fn ask(&mut self, key: usize, asked: Asked) {
        let called = Operation::new(self.number, asked, moment());
        let answer = self.face.ask(&self.keys[key], asked);
        let operation = answer.map_or(called, |answer| called.answered(answer, moment()));
        if let Some((_, tag)) = operation.shows() {
            self.seen[key] = Some(tag);
        }
        self.operations[key].push(operation);
    }
}
