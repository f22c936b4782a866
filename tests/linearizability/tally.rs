//! What histories were made of, so that one can see that they show something.

use crate::history::History;
use crate::model::{Answer, Operation};
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

/// How many operations there were of each kind.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    pub fn add(&mut self, history: &History) {
        for operations in history.keys() {
            for operation in operations {
                self.count(kind(operation));
                // Called while another was under way.
                let is_during = |other: &Operation| {
                    other.called < operation.called && operation.called < other.returned
                };
                if operations.iter().any(is_during) {
                    self.count("at once");
                }
            }
        }
    }

    /// Asserts that there were some of each of these kinds.
    #[track_caller]
    pub fn assert_some(&self, kinds: &[&'static str]) {
        for kind in kinds {
            assert!(self.0.contains_key(kind), "{kind}: {self}");
        }
    }

    fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }
}

impl Display for Tally {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let counts = self.0.iter().map(|(kind, count)| format!("{count} {kind}"));
        write!(formatter, "{}", counts.collect::<Vec<_>>().join(", "))
    }
}

fn kind(operation: &Operation) -> &'static str {
    match operation.answer {
        None => "not answered",
        Some(Answer::Value(..)) => "read",
        Some(Answer::Missing) => "missing",
        Some(Answer::Created(_)) => "created",
        Some(Answer::Updated(_)) => "updated",
        Some(Answer::Deleted) => "deleted",
        Some(Answer::Unmet(Some(_))) => "unmet",
        Some(Answer::Unmet(None)) => "unmet by none",
        Some(Answer::Refused) => "refused",
    }
}
