//! Values that end: which have, and the removal of their keys.

use super::{Client, LOG_ENTRIES};
use crate::model::Deadline;
use crate::valkey::call::{Access, Call};
use crate::valkey::layout::Place;
use crate::valkey::log::{array, is_key, number, text};
use crate::valkey::scripts::Run;
use crate::valkey::{EngineError, Operation};
use redis::{Value as Reply, cmd};
use std::ops::Range;
use tokio::time::Instant;

/// Keys of a partition that are looked at together.
pub const LAPSING_KEYS: usize = 50;

/// A key whose value has ended by a clock of ours, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsing {
    /// The key.
    pub key: Vec<u8>,
    /// When it ended, for all that is known.
    pub since: Deadline,
}

impl Client {
    /// The first [`LAPSING_KEYS`] keys of each of some partitions whose values have ended at a moment. What
    /// a partition does not answer is left for another time.
    ///
    /// # Errors
    /// Where no partition answers.
    pub async fn lapsing(
        &self,
        partitions: Range<usize>,
        now: Deadline,
        deadline: Instant,
    ) -> Result<Vec<Lapsing>, EngineError> {
        let call = |partition| {
            let mut command = cmd("ZRANGE");
            command.arg(self.engine.layout.ends(partition));
            command.arg("-inf").arg(now.as_millis());
            command.arg("BYSCORE").arg("LIMIT").arg(0);
            command.arg(LAPSING_KEYS).arg("WITHSCORES");
            Call::new(partition, command)
        };
        let calls: Vec<Call> = partitions.map(call).collect();
        let answers = self.ask_many(Operation::Sync, &calls, deadline).await;
        let mut lapsing = Vec::new();
        let mut answered = Err(EngineError::Unreachable);
        for (call, answer) in calls.iter().zip(answers) {
            match answer.and_then(|answer| read(answer, call.partition)) {
                Ok(keys) => {
                    lapsing.extend(keys);
                    answered = Ok(());
                }
                Err(error) if answered.is_err() => answered = Err(error),
                Err(_) => {}
            }
        }
        answered.map(|()| lapsing)
    }

    /// Takes keys out, those of them whose values have ended by the engine's clock, and says how many.
    pub async fn lapse(&self, lapsing: &[Lapsing], deadline: Instant) -> usize {
        let runs: Vec<Run<'_>> = lapsing.iter().map(|one| self.lapse_run(&one.key)).collect();
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

    fn lapse_run(&self, key: &[u8]) -> Run<'_> {
        let place = Place::of(key);
        let operation = self.engine.next_operation();
        Run {
            script: &self.engine.scripts.lapse,
            partition: place.partition,
            keys: self.names(place),
            arguments: vec![
                key.into(),
                operation.to_string().into(),
                LOG_ENTRIES.to_string().into(),
            ],
        }
    }
}

/// Reads keys and scores. What somebody else has put there is left out.
fn read(answer: Reply, partition: usize) -> Result<Vec<Lapsing>, EngineError> {
    let mut lapsing = Vec::new();
    let mut words = array(answer)?.into_iter();
    while let (Some(key), Some(score)) = (words.next(), words.next()) {
        let key = text(key)?;
        if !is_key(&key) || Place::of(&key).partition != partition {
            continue;
        }
        let score = str::from_utf8(&text(score)?)
            .ok()
            .and_then(|score| score.parse::<f64>().ok());
        let since = Deadline::from_millis(score.map_or(0, |score| score as u64));
        lapsing.push(Lapsing { key, since });
    }
    Ok(lapsing)
}
