//! Reads of many values at a time.

use super::Client;
use crate::model::{Fetched, Key, Value};
use crate::valkey::call::{Access, Call};
use crate::valkey::layout::{BLOB_HEAD_BYTES_MAX, Place};
use crate::valkey::log::{array, number};
use crate::valkey::scripts::Run;
use crate::valkey::{EngineError, Operation};
use redis::Value as Reply;
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Client {
    /// The values of some keys, in their order. A command each, in a pipeline to each master: what all of
    /// them take together is for the caller to know before.
    ///
    /// # Errors
    /// As [`EngineError`] says, where one of them is not to be had.
    pub async fn get_many(
        &self,
        keys: &[Key],
        deadline: Instant,
    ) -> Result<Vec<Option<Value>>, EngineError> {
        let calls: Vec<Call> = keys.iter().map(|key| self.get_call(key)).collect();
        let asked = async {
            let answers = self.link.ask_many(Access::Read, &calls, deadline).await;
            let mut values = Vec::with_capacity(keys.len());
            for (call, answer) in calls.iter().zip(answers) {
                let answer = match answer {
                    Err(error) if may_repeat(error) => {
                        self.link.ask(Access::Read, call, deadline).await
                    }
                    answer => answer,
                };
                values.push(self.value(answer?)?);
            }
            Ok::<_, EngineError>(values)
        };
        self.observed(Operation::Get, asked).await
    }

    /// The values of some keys whose bodies have at most so many bytes, in the order of the keys, and how
    /// long the others are. A script for each partition, or one where all are at one node.
    ///
    /// # Errors
    /// As of [`get_many`](Self::get_many).
    pub async fn get_short(
        &self,
        keys: &[Key],
        body_bytes_max: usize,
        deadline: Instant,
    ) -> Result<Vec<Fetched>, EngineError> {
        let asked = async {
            let groups = self.groups(keys);
            let runs = groups.iter().map(|(partition, places)| {
                let some = places.iter().map(|place| &keys[*place]);
                self.short_run(*partition, some, body_bytes_max)
            });
            let runs: Vec<Run<'_>> = runs.collect();
            let mut all = vec![Fetched::Nothing; keys.len()];
            let answers = self.run_many(&runs, deadline).await;
            for (places, answer) in groups.values().zip(answers) {
                for (place, found) in places.iter().zip(array(answer?)?) {
                    all[*place] = self.fetched(found)?;
                }
            }
            Ok::<_, EngineError>(all)
        };
        self.observed(Operation::Get, asked).await
    }

    /// The places of keys that one script can ask for.
    fn groups(&self, keys: &[Key]) -> BTreeMap<usize, Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, key) in keys.iter().enumerate() {
            let partition = match self.link.is_single() {
                true => 0,
                false => Place::of(key.as_bytes()).partition,
            };
            groups.entry(partition).or_default().push(place);
        }
        groups
    }

    fn short_run<'a>(
        &self,
        partition: usize,
        keys: impl Iterator<Item = &'a Key> + Clone,
        body_bytes_max: usize,
    ) -> Run<'_> {
        let layout = &self.engine.layout;
        let blob_bytes_max = body_bytes_max.saturating_add(BLOB_HEAD_BYTES_MAX);
        let buckets = keys.clone();
        let buckets = buckets.map(|key| layout.bucket(Place::of(key.as_bytes())));
        Run {
            script: &self.engine.scripts.short,
            partition,
            keys: buckets.collect(),
            arguments: std::iter::once(blob_bytes_max.to_string().into_bytes())
                .chain(keys.map(|key| key.as_bytes().to_vec()))
                .collect(),
        }
    }

    /// Runs scripts that read, together where there are several.
    async fn run_many(
        &self,
        runs: &[Run<'_>],
        deadline: Instant,
    ) -> Vec<Result<Reply, EngineError>> {
        if let [run] = runs {
            return vec![self.run(Access::Read, run, deadline).await];
        }
        let calls: Vec<Call> = runs.iter().map(|run| run.by_hash()).collect();
        let answers = self.link.ask_many(Access::Read, &calls, deadline).await;
        let mut all = Vec::with_capacity(runs.len());
        for (run, answer) in runs.iter().zip(answers) {
            all.push(match answer {
                Err(error) if may_repeat(error) || error == EngineError::Unscripted => {
                    self.run(Access::Read, run, deadline).await
                }
                answer => answer,
            });
        }
        all
    }

    /// What a key names, as the script says it.
    fn fetched(&self, found: Reply) -> Result<Fetched, EngineError> {
        if let Reply::Int(_) = found {
            return number(&found).map(Fetched::Long);
        }
        Ok(match self.value(found)? {
            Some(value) => Fetched::Value(value),
            None => Fetched::Nothing,
        })
    }
}

/// Whether a read that was asked together with others is asked again by itself.
fn may_repeat(error: EngineError) -> bool {
    error.passes() || error == EngineError::Unanswered
}
