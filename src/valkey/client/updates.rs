//! Logs that have updates too: whether they do, what is promised of them, and what was logged a while ago.

use super::Client;
use super::fitness::text_or_verbatim;
use crate::valkey::call::{Access, Call};
use crate::valkey::log::{Entry, Position, number};
use crate::valkey::scripts::Run;
use crate::valkey::{EngineError, LOG_ENTRIES, Operation, PARTITIONS};
use redis::cmd;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// What is to be in the log of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// Keys that come and go, and updates, of all of which it keeps about so many.
    Updates {
        /// How many.
        entries: usize,
    },
    /// Keys that come and go.
    Keys,
}

impl Client {
    /// Has the logs of some partitions be so from now on, for all who write. How many were otherwise.
    ///
    /// # Errors
    /// The first that there was; others may be so nevertheless.
    pub async fn switch(
        &self,
        partitions: &[usize],
        logging: Logging,
        deadline: Instant,
    ) -> Result<usize, EngineError> {
        let kept = match logging {
            Logging::Updates { entries } => entries.to_string(),
            Logging::Keys => String::new(),
        };
        let run = |partition: &usize| Run {
            script: &self.engine.scripts.switch,
            partition: *partition,
            keys: vec![
                self.engine.layout.log(*partition),
                self.engine.layout.head(*partition),
            ],
            arguments: vec![
                self.engine.next_operation().to_string().into(),
                LOG_ENTRIES.to_string().into(),
                kept.clone().into(),
            ],
        };
        let runs: Vec<Run<'_>> = partitions.iter().map(run).collect();
        self.run_writes(&runs, deadline).await
    }

    /// Promises of the logs of some partitions that no entry comes any more with an id up to now, of those that are known
    /// up to less than so long ago. How many that were.
    ///
    /// # Errors
    /// The first that there was; of others it may be promised nevertheless.
    pub async fn promise(
        &self,
        partitions: Range<usize>,
        age: Duration,
        deadline: Instant,
    ) -> Result<usize, EngineError> {
        let run = |partition| Run {
            script: &self.engine.scripts.promise,
            partition,
            keys: vec![self.engine.layout.head(partition)],
            arguments: vec![age.as_micros().to_string().into()],
        };
        let runs: Vec<Run<'_>> = partitions.map(run).collect();
        self.run_writes(&runs, deadline).await
    }

    /// Runs scripts that may run twice and answer with a number. The sum of these.
    async fn run_writes(&self, runs: &[Run<'_>], deadline: Instant) -> Result<usize, EngineError> {
        let calls: Vec<Call> = runs.iter().map(Run::by_hash).collect();
        let answers = self.link.ask_many(Access::Write, &calls, deadline).await;
        let mut sum = 0;
        let mut failure = None;
        for (run, answer) in runs.iter().zip(answers) {
            let answer = match answer {
                Err(EngineError::Unscripted) => self.run(Access::Write, run, deadline).await,
                answer => answer,
            };
            match answer.and_then(|answer| number(&answer)) {
                Ok(count) => sum += count,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(sum), Err)
    }

    /// The last entry of each of some logs whose id is not above one; `None` where it is kept no more.
    pub async fn last_entries(
        &self,
        partitions: &[usize],
        at: u64,
        deadline: Instant,
    ) -> Vec<Result<Option<Position>, EngineError>> {
        let call = |partition: &usize| {
            let mut command = cmd("XREVRANGE");
            command.arg(self.engine.layout.log(*partition));
            command.arg(at).arg("-").arg("COUNT").arg(1);
            Call::new(*partition, command)
        };
        let calls: Vec<Call> = partitions.iter().map(call).collect();
        let answers = self.ask_many(Operation::Sync, &calls, deadline).await;
        let answers = partitions.iter().zip(answers);
        let read = answers.map(|(partition, answer)| {
            let mut entries = Entry::read_all(answer?, *partition)?;
            Ok(entries.pop().map(|entry| entry.position))
        });
        read.collect()
    }

    /// What tells the history of each of some partitions' masters from all others, as the engine itself does for its
    /// replicas: another master has another, and so has one that was started anew. `None` where it does not say, of any of
    /// them.
    pub async fn histories(&self, partitions: Range<usize>, deadline: Instant) -> Option<Vec<u64>> {
        let mut command = cmd("INFO");
        command.arg("replication");
        let answers = self
            .link
            .ask_masters(partitions.clone(), &command, deadline)
            .await;
        let mut histories = [None; PARTITIONS];
        for (of_master, answer) in answers {
            let info = text_or_verbatim(answer.ok()?)?;
            let mut lines = info.lines();
            let history = lines.find_map(|line| line.strip_prefix("master_replid:"))?;
            for partition in of_master {
                histories[partition] = Some(xxh3_64(history.trim().as_bytes()));
            }
        }
        histories[partitions].iter().copied().collect()
    }

    /// What all of the engine's keys begin with.
    pub fn namespace(&self) -> &str {
        self.engine.layout.namespace()
    }
}
