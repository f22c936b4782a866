//! Values that end: which have, and the removal of their keys.

use super::{Client, LOG_ENTRIES};
use crate::model::Deadline;
use crate::valkey::call::{Access, Call};
use crate::valkey::layout::Place;
use crate::valkey::log::{array, number, text};
use crate::valkey::scripts::Run;
use crate::valkey::{EngineError, Operation};
use redis::{Value as Reply, cmd};
use tokio::time::Instant;

/// Keys of a partition that are looked at together.
pub const LAPSING_KEYS: usize = 50;

/// A key whose value has ended by a clock of ours, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsing {
    /// The key.
    pub key: Vec<u8>,
    /// The partition in which it was found; that of another is no key of ours there, and only forgotten.
    pub partition: usize,
    /// When it ended, for all that is known.
    pub since: Deadline,
}

impl Client {
    /// When the first value of a partition ends, as far as is known without asking.
    pub fn first_end(&self, partition: usize) -> Option<Deadline> {
        self.engine.ends[partition].get()
    }

    /// The first [`LAPSING_KEYS`] keys of each of some partitions whose values have ended at a moment. What
    /// a partition does not answer is left for another time.
    ///
    /// # Errors
    /// Where no partition answers.
    pub async fn lapsing(
        &self,
        partitions: &[usize],
        now: Deadline,
        deadline: Instant,
    ) -> Result<Vec<Lapsing>, EngineError> {
        let due = self.first_ends(partitions, deadline).await?;
        let due = due.iter().filter(|first| first.since.is_past(now));
        let all_due = |first: &Lapsing| {
            let mut command = cmd("ZRANGE");
            command.arg(self.engine.layout.ends(first.partition));
            command.arg("-inf").arg(now.as_millis());
            command.arg("BYSCORE").arg("LIMIT").arg(0);
            command.arg(LAPSING_KEYS).arg("WITHSCORES");
            Call::new(first.partition, command)
        };
        let calls: Vec<Call> = due.map(all_due).collect();
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.asked(&calls, deadline).await;
        Ok(answers
            .filter_map(|(_, answer)| answer.ok())
            .flatten()
            .collect())
    }

    /// The first key that ends of each of some partitions that have one. Finds out what [`Client::first_end`] says.
    ///
    /// # Errors
    /// Where no partition answers.
    pub async fn first_ends(
        &self,
        partitions: &[usize],
        deadline: Instant,
    ) -> Result<Vec<Lapsing>, EngineError> {
        let first = |partition: &usize| {
            let mut command = cmd("ZRANGE");
            command.arg(self.engine.layout.ends(*partition));
            command.arg(0).arg(0).arg("WITHSCORES");
            Call::new(*partition, command)
        };
        let calls: Vec<Call> = partitions.iter().map(first).collect();
        let mut firsts = Vec::new();
        let mut answered = Err(EngineError::Unreachable);
        for (partition, answer) in self.asked(&calls, deadline).await {
            match answer {
                Ok(first) => {
                    let first = first.into_iter().next();
                    let end = first.as_ref().map(|first| first.since);
                    self.engine.ends[partition].is_found(end);
                    firsts.extend(first);
                    answered = Ok(());
                }
                // What stands there is no set of deadlines.
                Err(EngineError::Foreign) => drop(self.mend(partition, deadline).await),
                Err(error) if answered.is_err() => answered = Err(error),
                Err(_) => {}
            }
        }
        answered.map(|()| firsts)
    }

    async fn asked(
        &self,
        calls: &[Call],
        deadline: Instant,
    ) -> impl Iterator<Item = (usize, Result<Vec<Lapsing>, EngineError>)> {
        let answers = self.ask_many(Operation::Sync, calls, deadline).await;
        let answers = calls.iter().zip(answers).map(|(call, answer)| {
            let partition = call.partition;
            (partition, answer.and_then(|answer| read(answer, partition)))
        });
        answers.collect::<Vec<_>>().into_iter()
    }

    /// Takes keys out, those of them whose values have ended by the engine's clock, and says how many.
    pub async fn lapse(&self, lapsing: &[Lapsing], deadline: Instant) -> usize {
        let runs: Vec<Run<'_>> = lapsing.iter().map(|one| self.lapse_run(one)).collect();
        let calls: Vec<Call> = runs.iter().map(Run::by_hash).collect();
        let answers = self.link.ask_many(Access::Write, &calls, deadline).await;
        let mut taken = 0;
        for (run, answer) in runs.iter().zip(answers) {
            let answer = match answer {
                Err(EngineError::Unscripted) => self.run(Access::Write, run, deadline).await,
                answer => answer,
            };
            // What was not taken out is found again.
            let count = answer.and_then(|answer| number(&answer)).unwrap_or(0);
            taken += count;
        }
        taken
    }

    fn lapse_run(&self, Lapsing { key, partition, .. }: &Lapsing) -> Run<'_> {
        let place = Place {
            partition: *partition,
            ..Place::of(key)
        };
        let operation = self.engine.next_operation();
        let layout = &self.engine.layout;
        Run {
            script: &self.engine.scripts.lapse,
            partition: place.partition,
            keys: vec![
                layout.bucket(place),
                layout.log(place.partition),
                layout.head(place.partition),
                layout.ends(place.partition),
            ],
            arguments: vec![
                key.clone(),
                operation.to_string().into(),
                LOG_ENTRIES.to_string().into(),
            ],
        }
    }
}

/// Reads keys and scores.
fn read(answer: Reply, partition: usize) -> Result<Vec<Lapsing>, EngineError> {
    let mut lapsing = Vec::new();
    let mut words = array(answer)?.into_iter();
    while let (Some(key), Some(score)) = (words.next(), words.next()) {
        let key = text(key)?;
        let score = str::from_utf8(&text(score)?)
            .ok()
            .and_then(|score| score.parse::<f64>().ok());
        let since = Deadline::from_millis(score.map_or(0, |score| score as u64));
        lapsing.push(Lapsing {
            key,
            partition,
            since,
        });
    }
    Ok(lapsing)
}
