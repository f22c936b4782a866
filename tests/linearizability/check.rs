//! Whether a history of one key is linearizable: whether its operations have an order in which each is done
//! between its call and its return, and has the answer that the model gives it there.
//!
//! The search is that of Wing and Gong (*Testing and verifying concurrent objects*, 1993): of those operations that
//! none comes before any more, each is tried as the next. What was done, and what the key names then, is all that the
//! rest depends on; so no such configuration is tried twice (Lowe, *Testing for linearizability*, 2017). Keys
//! know nothing of each other, so that each is checked alone (Horn and Kroening, *Faster linearizability checking via
//! P-compositionality*, 2015). Knossos and Porcupine do the same.
//!
//! What was not answered returns at the end of time and need not be done. Of n operations of w clients that all
//! were answered there are at most n · w · 2^(w - 1) configurations: by the first to return that is not done; what
//! returned before it is done, and of what did not, at most one operation of each other client; and the last change
//! is one of w, since none of another client may have been called after it.

use crate::model::{Operation, State, Tags};
use std::collections::HashSet;
use std::fmt::{Display, Formatter};

/// What a check took that found an order.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// How many configurations were tried.
    pub configurations: usize,
}

/// A history that is not linearizable.
#[derive(Debug)]
pub struct Violation {
    /// Why it is not.
    pub reason: Reason,
    /// How many configurations were tried.
    pub configurations: usize,
    operations: Vec<Operation>,
    /// The longest order that was found, by number.
    longest: Vec<usize>,
}

/// Why a history is not linearizable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// One value was shown with two tags, or two values with one.
    Tags,
    /// The operations have no order.
    Order,
}

/// Looks for an order of the operations on one key, in any sequence, of which there was none at first.
///
/// # Errors
/// Where there is no order.
pub fn check(operations: &[Operation]) -> Result<Checked, Violation> {
    let mut operations = operations.to_vec();
    // So the first that is not done is the one that must be next, and what need not be done comes last.
    operations.sort_by_key(|operation| operation.returned);
    let Some(tags) = Tags::of(&operations) else {
        return Err(Violation {
            reason: Reason::Tags,
            configurations: 0,
            operations,
            longest: Vec::new(),
        });
    };
    let begin = Configuration {
        done: Done::nothing_of(operations.len()),
        state: State::default(),
    };
    let mut search = Search {
        operations,
        tags,
        tried: HashSet::new(),
        order: Vec::new(),
        longest: Vec::new(),
    };
    let is_found = search.finish(&begin);
    let configurations = search.tried.len();
    match is_found {
        true => Ok(Checked { configurations }),
        false => Err(Violation {
            reason: Reason::Order,
            configurations,
            operations: search.operations,
            longest: search.longest,
        }),
    }
}

/// What was done, in whatever order, and what the key names then.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration {
    done: Done,
    state: State,
}

/// Operations by number: a bit each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

struct Search {
    /// In the order of their returns.
    operations: Vec<Operation>,
    tags: Tags,
    tried: HashSet<Configuration>,
    /// What was done, in its order.
    order: Vec<usize>,
    longest: Vec<usize>,
}

impl Search {
    /// Whether what is not done yet has an order.
    fn finish(&mut self, configuration: &Configuration) -> bool {
        let Configuration { done, state } = configuration;
        if self.order.len() > self.longest.len() {
            self.longest.clone_from(&self.order);
        }
        let first = (0..self.operations.len()).find(|at| !done.has(*at));
        let Some(first) = first.filter(|first| self.operations[*first].answer.is_some()) else {
            return true;
        };
        if !self.tried.insert(configuration.clone()) {
            return false;
        }
        let until = self.operations[first].returned;
        for at in first..self.operations.len() {
            let operation = self.operations[at];
            if done.has(at) || operation.called > until {
                continue;
            }
            let Some(state) = state.after(&operation, &self.tags) else {
                continue;
            };
            self.order.push(at);
            let done = done.with(at);
            if self.finish(&Configuration { done, state }) {
                return true;
            }
            self.order.pop();
        }
        false
    }
}

impl Done {
    fn nothing_of(operations: usize) -> Self {
        Self(vec![0; operations.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        (self.0[at / 64] >> (at % 64)) & 1 == 1
    }

    fn with(&self, at: usize) -> Self {
        let mut with = self.clone();
        with.0[at / 64] |= 1 << (at % 64);
        with
    }
}

/// All operations as they were called, with their places in the longest order.
impl Display for Violation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let what = match self.reason {
            Reason::Tags => "one value was shown with two tags, or two values with one",
            Reason::Order => "the operations have no order; numbered is the longest",
        };
        writeln!(formatter, "{what}:")?;
        let mut by_call: Vec<usize> = (0..self.operations.len()).collect();
        by_call.sort_by_key(|at| self.operations[*at].called);
        for at in by_call {
            let place = self.longest.iter().position(|done| *done == at);
            let place = place.map_or(String::new(), |place| (place + 1).to_string());
            writeln!(formatter, "{place:>4} {}", self.operations[at])?;
        }
        Ok(())
    }
}
