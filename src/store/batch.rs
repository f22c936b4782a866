//! Many changes, divided among the shards and made in their order.

use super::message::{ChangeCounts, Stopped};
use super::{Store, StoreError};
use crate::model::Mutation;
use futures_util::future::join_all;

/// Changes in one message: so many take about 150 µs.
pub(super) const MESSAGE_CHANGES_MAX: usize = 64;

/// Changes that are collected and then made together. Those of one key are made in their order.
#[derive(Debug)]
pub struct Batch {
    store: Store,
    /// By shard, each with its number.
    changes: Vec<Vec<(u64, Mutation)>>,
    /// What the values take, in bytes.
    body_bytes: usize,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchChanged {
    /// What became of the changes that were made.
    pub counts: ChangeCounts,
    /// The numbers of those that were not made since their condition did not hold, in order.
    pub unmet: Vec<u64>,
    /// The lowest number of a change that was not made, and why. Of those after it some may be made.
    pub failure: Option<(u64, StoreError)>,
}

impl Store {
    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch {
            store: self.clone(),
            changes: (0..self.shards()).map(|_| Vec::new()).collect(),
            body_bytes: 0,
        }
    }
}

impl Batch {
    /// Adds a change, under a number that its failure is told by.
    pub fn push(&mut self, number: u64, mutation: Mutation) {
        self.body_bytes += mutation.body_bytes();
        let shard = self.store.owner(&mutation.key);
        self.changes[shard].push((number, mutation));
    }

    /// The lowest number of a change that is to be made, where there is any.
    pub fn first(&self) -> Option<u64> {
        let firsts = self.changes.iter().filter_map(|changes| changes.first());
        firsts.map(|(number, _)| *number).min()
    }

    /// Whether it is to be made before more is added, where values may take so many bytes.
    pub fn is_full(&self, body_bytes_max: usize) -> bool {
        let is_full = |changes: &Vec<_>| changes.len() >= MESSAGE_CHANGES_MAX;
        self.body_bytes > body_bytes_max || self.changes.iter().any(is_full)
    }

    /// Makes the changes, and is empty then. Waits for admission, two minutes at the most.
    pub async fn make(&mut self) -> BatchChanged {
        self.body_bytes = 0;
        let store = &self.store;
        let shards = self.changes.iter_mut().enumerate();
        let some = shards.filter(|(_, changes)| !changes.is_empty());
        let answers = join_all(some.map(|(shard, changes)| {
            let (numbers, mutations): (Vec<u64>, Vec<Mutation>) = changes.drain(..).unzip();
            async move { (numbers, store.change_many(shard, mutations).await) }
        }));
        let mut batch = BatchChanged::default();
        for (numbers, answer) in answers.await {
            let stopped = match answer {
                Ok(many) => {
                    batch.counts += many.counts;
                    batch.unmet.extend(many.unmet.iter().map(|at| numbers[*at]));
                    many.stopped
                }
                Err(error) => Some(Stopped { at: 0, error }),
            };
            if let Some(Stopped { at, error }) = stopped {
                let number = numbers[at];
                if batch
                    .failure
                    .as_ref()
                    .is_none_or(|(first, _)| number < *first)
                {
                    batch.failure = Some((number, error));
                }
            }
        }
        batch.unmet.sort_unstable();
        batch
    }
}
