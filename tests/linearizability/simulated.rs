//! Histories that a register gives which is as it should be, under clients that take turns at random; and the
//! checker against the definition.

use crate::check::check;
use crate::model::{Answer, Asked, Body, Operation, State, Tag, Tags};
use crate::plan::{self, Random};

/// A history to be made.
#[derive(Clone, Copy)]
struct Shape {
    clients: usize,
    /// What each of them asks.
    requests: usize,
    /// Of a hundred requests, so many get no answer on their way there, and as many on their way back.
    lost_percent: usize,
}

/// A key, as the contract has it.
#[derive(Default)]
struct Register {
    present: Option<(Body, Tag)>,
    tags: u64,
}

/// A client, and how far it is with its request.
struct Client {
    number: usize,
    stage: Stage,
    seen: Option<Tag>,
    left: usize,
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    /// The request is on its way.
    Called(Operation),
    /// Its answer is.
    Done(Operation, Answer),
}

struct Simulation {
    random: Random,
    lost_percent: usize,
    register: Register,
    now: u64,
    /// Requests that nobody waits for any more, and that may still arrive.
    astray: Vec<Asked>,
    operations: Vec<Operation>,
}

impl Register {
    fn answer(&mut self, asked: Asked) -> Answer {
        let present = self.present.map(|(_, tag)| tag);
        if !asked.condition().holds(present) {
            return Answer::Unmet(present);
        }
        match asked {
            Asked::Get => match self.present {
                Some((body, tag)) => Answer::Value(body, tag),
                None => Answer::Missing,
            },
            Asked::Set(body, _) => {
                self.tags += 1;
                let tag = Tag(self.tags);
                match self.present.replace((body, tag)) {
                    Some(_) => Answer::Updated(tag),
                    None => Answer::Created(tag),
                }
            }
            Asked::Delete(_) => match self.present.take() {
                Some(_) => Answer::Deleted,
                None => Answer::Missing,
            },
        }
    }
}

/// A history in the order of its returns.
fn simulate(shape: Shape, seed: u64) -> Vec<Operation> {
    let client = |number| Client {
        number,
        stage: Stage::Idle,
        seen: None,
        left: shape.requests,
    };
    let mut clients: Vec<Client> = (0..shape.clients).map(client).collect();
    let mut simulation = Simulation {
        random: Random::seeded(seed),
        lost_percent: shape.lost_percent,
        register: Register::default(),
        now: 0,
        astray: Vec::new(),
        operations: Vec::new(),
    };
    while clients.iter().any(|client| client.left > 0) {
        let turn = simulation.random.below(clients.len());
        simulation.advance(&mut clients[turn]);
        simulation.let_one_arrive();
    }
    simulation.operations
}

impl Simulation {
    fn advance(&mut self, client: &mut Client) {
        self.now += 1;
        let stage = client.stage;
        client.stage = match stage {
            Stage::Idle if client.left == 0 => Stage::Idle,
            Stage::Idle => {
                let asked = plan::next(&mut self.random, Body(self.now), client.seen);
                Stage::Called(Operation::new(client.number, asked, self.now))
            }
            Stage::Called(operation) if self.is_lost() => {
                self.astray.push(operation.asked);
                self.end(client, operation);
                Stage::Idle
            }
            Stage::Called(operation) => {
                Stage::Done(operation, self.register.answer(operation.asked))
            }
            Stage::Done(operation, _) if self.is_lost() => {
                self.end(client, operation);
                Stage::Idle
            }
            Stage::Done(operation, answer) => {
                self.end(client, operation.answered(answer, self.now));
                Stage::Idle
            }
        };
    }

    fn is_lost(&mut self) -> bool {
        self.random.below(100) < self.lost_percent
    }

    fn end(&mut self, client: &mut Client, operation: Operation) {
        client.left -= 1;
        if let Some((_, tag)) = operation.shows() {
            client.seen = Some(tag);
        }
        self.operations.push(operation);
    }

    fn let_one_arrive(&mut self) {
        if !self.astray.is_empty() && self.random.below(8) == 0 {
            let at = self.random.below(self.astray.len());
            let asked = self.astray.swap_remove(at);
            self.register.answer(asked);
        }
    }
}

#[test]
fn what_a_register_answers_has_an_order() {
    for seed in 0..200 {
        for lost_percent in [0, 2] {
            let shape = Shape {
                clients: 5,
                requests: 30,
                lost_percent,
            };
            if let Err(violation) = check(&simulate(shape, seed)) {
                panic!("seed {seed}: {violation}");
            }
        }
    }
}

#[test]
fn a_check_is_bounded_by_what_is_asked_at_once() {
    let shape = Shape {
        clients: 4,
        requests: 40,
        lost_percent: 0,
    };
    for seed in 0..50 {
        let mut operations = simulate(shape, seed);
        let checked = check(&operations).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(checked.configurations <= bound(&operations, shape));
        operations.push(stale_read(&operations));
        let violation = check(&operations).expect_err("every order was tried");
        assert!(violation.configurations <= bound(&operations, shape));
    }
}

/// As many configurations as there are at the most, where all was answered.
fn bound(operations: &[Operation], shape: Shape) -> usize {
    (operations.len() * shape.clients) << (shape.clients - 1)
}

/// A read, after all else, of the first value that was acknowledged.
fn stale_read(operations: &[Operation]) -> Operation {
    let mut sets = operations
        .iter()
        .filter(|operation| matches!(operation.asked, Asked::Set(..)))
        .filter_map(|operation| Some((operation, operation.shows()?)));
    let (first, (body, tag)) = sets.next().unwrap();
    assert!(
        sets.any(|(later, _)| later.called > first.returned),
        "another took its place"
    );
    let last = operations.last().map_or(0, |last| last.returned);
    Operation::new(0, Asked::Get, last + 1).answered(Answer::Value(body, tag), last + 2)
}

#[test]
fn the_verdict_is_that_of_the_definition() {
    let shape = Shape {
        clients: 3,
        requests: 3,
        lost_percent: 8,
    };
    let mut verdicts = [0; 2];
    for seed in 0..1_000 {
        let mut operations = simulate(shape, seed);
        let mut random = Random::seeded(!seed);
        for _ in 0..random.below(3) {
            disturb(&mut operations, &mut random);
        }
        let expected = Tags::of(&operations)
            .is_some_and(|tags| has_order(&operations, &State::default(), &tags));
        assert_eq!(check(&operations).is_ok(), expected, "seed {seed}");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 100), "{verdicts:?}");
}

/// Gives an operation the answer of another.
fn disturb(operations: &mut [Operation], random: &mut Random) {
    let [one, other] = [0; 2].map(|_| random.below(operations.len()));
    if let (Some(_), Some(answer)) = (operations[one].answer, operations[other].answer) {
        operations[one].answer = Some(answer);
    }
}

/// Whether what is left has an order, word for word: some operation comes first, of which none that is left
/// had returned when it was called, and the others have an order after it. What was not answered may be left.
fn has_order(left: &[Operation], state: &State, tags: &Tags) -> bool {
    let may_be_left = left.iter().all(|operation| operation.answer.is_none());
    may_be_left
        || (0..left.len()).any(|first| {
            let mut rest = left.to_vec();
            let first = rest.remove(first);
            rest.iter().all(|other| other.returned > first.called)
                && state
                    .after(&first, tags)
                    .is_some_and(|state| has_order(&rest, &state, tags))
        })
}
