//! What was changed a while ago, read from the engine's logs for one who goes on behind a mark, on whichever server.
//!
//! ```text
//! mark ─→ window ─→ window, twice as long ─→ … ─→ the last entries that the stream of this server has not ─→ stream
//! ```
//!
//! All logs are read up to the end of a window before any is read behind it, so that one whose client leaves meanwhile can
//! go on there. In each log entries come in their order, and each must follow the one before it.

use super::told::{happened, history};
use crate::store::StoreError;
use crate::store::stream::{Before, Happened, Mark, Place};
use crate::valkey::{Client, EngineError, Entry, PARTITIONS, Position, Span};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Logs that are read at a time, and entries of each.
const LOGS: usize = 32;
const ENTRIES: usize = 16;

/// The most changes that come at once.
pub const PAST_CHANGES_MAX: usize = LOGS * ENTRIES;

/// How long the first window is, in microseconds.
const FIRST_WINDOW: u64 = 1_000_000;

/// How long to wait before what failed is read again.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// What was changed behind a mark, up to where a stream goes on.
#[derive(Debug)]
pub struct Past {
    client: Rc<Client>,
    /// One for each partition.
    logs: Vec<Log>,
    /// The logs that are to be read in this window.
    waiting: VecDeque<usize>,
    /// All up to there was given.
    mark: Mark,
    /// The end of the window.
    horizon: u64,
    /// Up to where the stream has nothing more: what it has is not given here, whatever its id.
    until: u64,
    window: u64,
    /// Since when nothing could be read.
    failing_since: Option<Instant>,
    /// How long the engine may take for one step, and fail.
    patience: Duration,
}

/// A partition's log: which entry was read last, and up to which id it is to be.
#[derive(Debug)]
struct Log {
    at: Position,
    to: u64,
}

/// Why the past is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastError {
    /// It is not kept any more, or was another engine's.
    Gone,
    /// The engine fails.
    Failed(StoreError),
}

impl From<EngineError> for PastError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.into())
    }
}

impl Past {
    /// Begins behind a mark, up to the last entries that a stream has.
    ///
    /// # Errors
    /// Where it is not there.
    pub(in crate::store) async fn begin(
        client: Rc<Client>,
        mark: Mark,
        before: Before,
        patience: Duration,
    ) -> Result<Self, PastError> {
        let all: Vec<usize> = (0..PARTITIONS).collect();
        let deadline = Instant::now() + patience;
        let mut logs = Vec::with_capacity(PARTITIONS);
        let last = client.last_entries(&all, mark.at, deadline).await;
        for (at, to) in last.into_iter().zip(*before.tails) {
            logs.push(Log {
                // Where that is kept, so is all that follows.
                at: at?.ok_or(PastError::Gone)?,
                to,
            });
        }
        let past = Self {
            client,
            logs,
            waiting: VecDeque::new(),
            mark,
            horizon: mark.at,
            until: before.until,
            window: FIRST_WINDOW,
            failing_since: None,
            patience,
        };
        past.check().await?;
        Ok(past)
    }

    /// The changes that come next, some; `None` at the end, from which on the stream has them.
    ///
    /// # Errors
    /// Where they are not there any more, and where the engine fails for as long as a request may take.
    pub async fn next(&mut self) -> Result<Option<Vec<Happened>>, PastError> {
        loop {
            if self.waiting.is_empty() && !self.widen() {
                // A master that has lost something may have said all this, or it was told before that happened.
                self.check().await?;
                return Ok(None);
            }
            let changes = self.read().await?;
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
        }
    }

    /// Where one can go on that has all that was given.
    pub fn place(&self) -> Place {
        Place::of_mark(self.mark)
    }

    /// Goes on to the next window; `false` where there is none.
    fn widen(&mut self) -> bool {
        self.mark.at = known(self.mark.at, self.horizon, self.until);
        let last = self.logs.iter().map(|log| log.to).max().unwrap_or(0);
        if self.horizon >= last {
            return false;
        }
        self.horizon = self.horizon.saturating_add(self.window).min(last);
        self.window = self.window.saturating_mul(2);
        let horizon = self.horizon;
        let logs = self.logs.iter().enumerate();
        let waiting = logs.filter(|(_, log)| log.at.at() < log.to.min(horizon));
        self.waiting = waiting.map(|(partition, _)| partition).collect();
        true
    }

    /// Reads the logs that wait, some.
    async fn read(&mut self) -> Result<Vec<Happened>, PastError> {
        let some = self.waiting.len().min(LOGS);
        let some: Vec<usize> = self.waiting.drain(..some).collect();
        if some.is_empty() {
            return Ok(Vec::new());
        }
        let span = |partition: &usize| Span {
            partition: *partition,
            from: self.logs[*partition].at.id.clone(),
            to: self.logs[*partition]
                .to
                .min(self.horizon)
                .to_string()
                .into_bytes()
                .into(),
        };
        let spans: Vec<Span> = some.iter().map(span).collect();
        let deadline = Instant::now() + self.patience;
        // One more, since each begins with the entry that was read last.
        let logs = self.client.logs(&spans, ENTRIES + 1, deadline).await;
        let mut changes = Vec::new();
        let mut failure = None;
        for (partition, log) in some.into_iter().zip(logs) {
            match log {
                Ok(log) => self.take(partition, log, &mut changes)?,
                Err(error) => {
                    failure = Some(error);
                    self.waiting.push_back(partition);
                }
            }
        }
        match failure {
            None => self.failing_since = None,
            Some(error) => self.bear(error).await?,
        }
        Ok(changes)
    }

    /// Takes the entries of a log that follow the one that was read last.
    fn take(
        &mut self,
        partition: usize,
        log: Vec<Entry>,
        changes: &mut Vec<Happened>,
    ) -> Result<(), PastError> {
        let is_whole = log.len() <= ENTRIES;
        let mut entries = log.into_iter();
        let first = entries.next().map(|entry| entry.position);
        if first.as_ref() != Some(&self.logs[partition].at) {
            return Err(PastError::Gone);
        }
        for entry in entries {
            changes.extend(happened(&entry).map(|(happened, _)| happened));
            self.logs[partition].at = entry.position;
        }
        if !is_whole {
            self.waiting.push_back(partition);
        }
        Ok(())
    }

    /// Waits a little, unless it has failed for long.
    async fn bear(&mut self, error: EngineError) -> Result<(), PastError> {
        let now = Instant::now();
        if now.duration_since(*self.failing_since.get_or_insert(now)) > self.patience {
            return Err(error.into());
        }
        sleep(FAILURE_PAUSE).await;
        Ok(())
    }

    /// Whether the engine went through the same until now as until the mark was given. Masters are asked last: what was
    /// read before was theirs then.
    async fn check(&self) -> Result<(), PastError> {
        let all: Vec<usize> = (0..PARTITIONS).collect();
        let deadline = Instant::now() + self.patience;
        let heads = self.client.heads(&all, deadline).await;
        let mut sinces = Vec::with_capacity(PARTITIONS);
        for head in heads {
            sinces.push(head?.updates.ok_or(PastError::Gone)?.since);
        }
        let masters = self.client.histories(0..PARTITIONS, deadline).await;
        let masters = masters.ok_or(PastError::Gone)?;
        match history(self.client.namespace(), 0, &masters, sinces.into_iter()) == self.mark.history
        {
            true => Ok(()),
            false => Err(PastError::Gone),
        }
    }
}

/// Up to which id all entries were given once those of a window were that ends at a horizon: one that comes later may have
/// an id below that, where masters' clocks differ or one share of the stream is behind the others.
fn known(before: u64, horizon: u64, until: u64) -> u64 {
    horizon.min(until).max(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_said_to_have_what_the_stream_may_get_yet() {
        assert_eq!(known(10, 15, 20), 15);
        assert_eq!(known(10, 25, 20), 20);
        // All of that was given by another server.
        assert_eq!(known(30, 35, 20), 30);
    }
}
