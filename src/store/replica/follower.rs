//! Keeps the index of one share in step with the engine.
//!
//! It works in rounds: the heads of all partitions in one go, then the logs of those that have
//! moved on, up to the head just read. A search waits for a round that begins after it came, and so
//! sees every write that was acknowledged before. Searches that come during a round share the next.
//!
//! **Invariant: the index of a partition that is not suspect is that of the position it is known
//! at.** Whatever contradicts this makes the partition suspect: a log that lacks our position or the
//! head, a step that changes nothing, a count that is another. A suspect partition is read whole,
//! and searches wait until there is none.

mod mend;
mod tail;

use super::actor::{Applied, Apply, ReplicaActor, STEPS_MAX, Synced};
use super::{ReplicaStatus, Rounds};
use crate::keymap::Room;
use crate::store::StoreError;
use crate::store::stream::{Share, Stream};
use crate::valkey::{
    Client, EngineError, Entry, Head, LOG_ENTRIES, LOG_PAGE, Logging, PARTITIONS, Position, Span,
    Step,
};
use actix::Addr;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use mend::{FAILURE_PAUSE, Read};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tail::{Page, Tail};
use tokio::time::{Instant, sleep, sleep_until};

/// How long after a round the next begins at the latest, so that few changes gather: sooner, down to the
/// least, while the log of a partition grows so fast that it might be cut before it was read.
const ROUND_INTERVAL: Duration = Duration::from_millis(250);
const ROUND_INTERVAL_LEAST: Duration = Duration::from_millis(8);

/// Partitions whose logs are read at a time, which bounds the memory that this takes.
const LOGS_MAX: usize = 32;

/// How a follower is set up.
#[derive(Debug)]
pub(in crate::store) struct FollowerOptions {
    /// This thread's access to the engine.
    pub(in crate::store) client: Rc<Client>,
    /// Who owns the index.
    pub(in crate::store) actor: Addr<ReplicaActor>,
    /// Who waits for rounds.
    pub(in crate::store) rounds: Rc<Rounds>,
    /// What all shares say of themselves.
    pub(in crate::store) status: Arc<ReplicaStatus>,
    /// Which share.
    pub(in crate::store) share: usize,
    /// How many shares there are.
    pub(in crate::store) shares: usize,
    /// How long the engine may take for one step.
    pub(in crate::store) patience: Duration,
    /// How long after a partition was compared with the engine the next is.
    pub(in crate::store) scrub_interval: Duration,
    /// What is to be in the logs, where this server has a say in it.
    pub(in crate::store) logging: Option<Logging>,
    /// Where it is told what they have, while somebody watches.
    pub(in crate::store) stream: Arc<Stream>,
    /// Which process that stream is of.
    pub(in crate::store) incarnation: u64,
}

/// Keeps the index of one share in step.
pub(in crate::store) struct Follower {
    options: FollowerOptions,
    /// The partitions of the share.
    partitions: Range<usize>,
    /// Where the index of each partition is.
    known: HashMap<usize, Known>,
    suspects: BTreeSet<usize>,
    /// Suspects that were never read.
    unloaded: BTreeSet<usize>,
    readings: FuturesUnordered<LocalBoxFuture<'static, Read>>,
    being_read: BTreeSet<usize>,
    /// Suspects that could not be read when that was last tried: their master fails, or what is there is no
    /// data of ours.
    unreachable: BTreeSet<usize>,
    /// The last of them that was tried again.
    tried: usize,
    /// Partitions in whose buckets somebody has put what is no key of theirs.
    littered: BTreeSet<usize>,
    next_scrub: usize,
    /// How long after a round the next begins.
    round_interval: Duration,
    /// What is told to those who watch.
    tail: Tail,
}

/// What the index holds of a partition.
#[derive(Clone, Debug, Default)]
struct Known {
    position: Option<Position>,
    keys: usize,
    /// Keys by the head that was read last.
    head_keys: usize,
}

/// A partition that must be read whole, since what was read contradicts what is known.
#[derive(Debug)]
struct Diverged;

impl Follower {
    pub(in crate::store) fn new(options: FollowerOptions) -> Self {
        let partitions = partitions_of(options.share, options.shares);
        let known = partitions
            .clone()
            .map(|partition| (partition, Known::default()));
        Self {
            known: known.collect(),
            suspects: partitions.clone().collect(),
            unloaded: partitions.clone().collect(),
            next_scrub: partitions.start,
            partitions,
            tail: Tail::new(&options),
            options,
            readings: FuturesUnordered::new(),
            being_read: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            tried: 0,
            littered: BTreeSet::new(),
            round_interval: ROUND_INTERVAL,
        }
    }

    /// Follows the engine for ever.
    pub(in crate::store) async fn run(mut self) {
        self.options
            .status
            .suspects(self.options.share, self.suspects.len());
        self.wait_until_open().await;
        let mut next_round = Instant::now();
        let mut next_scrub = Instant::now() + self.options.scrub_interval;
        loop {
            self.options.status.turned(self.options.share);
            self.begin_readings().await;
            let asked = !self.options.rounds.is_empty() && self.suspects.is_empty();
            // A timer is no way to begin at once: it goes off with the next tick of a millisecond.
            let begin = async {
                if !asked {
                    sleep_until(next_round).await;
                }
            };
            let rounds = self.options.rounds.clone();
            // Until then no search is answered, and a master that hangs would hold up the readings.
            let is_read =
                self.options.status.is_foreign() || self.suspects.is_subset(&self.unreachable);
            tokio::select! {
                () = begin, if is_read => {
                    let began = Instant::now();
                    self.round_with_searches().await;
                    let pause = self.tail.pause(began.elapsed());
                    let pause = pause.map_or(self.round_interval, |pause| pause.min(self.round_interval));
                    next_round = Instant::now() + pause;
                }
                Some(read) = self.readings.next(), if !self.readings.is_empty() => {
                    let mut done = vec![read];
                    while let Some(Some(read)) = self.readings.next().now_or_never() {
                        done.push(read);
                    }
                    self.end_readings(done).await;
                }
                () = rounds.woken.notified() => {
                    for partition in self.options.rounds.suspects.take() {
                        if self.partitions.contains(&partition) {
                            self.suspects.insert(partition);
                        }
                    }
                }
                () = sleep_until(next_scrub) => {
                    self.scrub().await;
                    next_scrub = Instant::now() + self.options.scrub_interval;
                }
            }
            if !self.suspects.is_empty() {
                self.tail.leave(Share::Away);
            }
            self.options
                .status
                .suspects(self.options.share, self.suspects.len());
        }
    }

    /// Waits until the engine is found to be one that can be used. Searches hear meanwhile why it is not.
    async fn wait_until_open(&self) {
        let opened = self.options.status.opened();
        let mut opened = std::pin::pin!(opened);
        loop {
            tokio::select! {
                () = &mut opened => return,
                () = self.options.rounds.woken.notified() => {}
                () = sleep(FAILURE_PAUSE) => {}
            }
            if let Some(cause) = self.options.client.outage() {
                self.refuse(cause);
            }
        }
    }

    /// A round, and what the searches that waited for it hear.
    async fn round_with_searches(&mut self) {
        let tickets = self.options.rounds.take();
        let began = std::time::Instant::now();
        let answer = match self.round().await {
            Ok(()) if self.options.status.is_foreign() => Err(EngineError::Layout),
            Ok(()) if self.suspects.is_empty() => {
                self.options.status.synced(self.options.share, began);
                Ok(())
            }
            Ok(()) => return self.options.rounds.put_back(tickets),
            Err(error) => {
                self.options.client.refused(tickets.len(), error);
                Err(error)
            }
        };
        for ticket in tickets {
            // Whoever asked may have gone away.
            let _ = ticket.send(answer);
        }
    }

    /// Brings all partitions but the suspect ones up to heads that are read now.
    async fn round(&mut self) -> Result<(), EngineError> {
        self.tail.begin_round();
        let partitions: Vec<usize> = self.partitions.clone().collect();
        let heads = self
            .options
            .client
            .heads(&partitions, self.deadline())
            .await;
        let mut failure = None;
        let mut behind: Vec<(usize, Head)> = Vec::new();
        let mut untils: Vec<(usize, Option<u64>)> = Vec::new();
        for (partition, head) in partitions.into_iter().zip(heads) {
            let head = match head {
                Ok(head) => head,
                Err(EngineError::Foreign) => {
                    self.suspects.insert(partition);
                    continue;
                }
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            self.options.status.answered();
            self.tail.note(partition, &head);
            let known = self.known.entry(partition).or_default();
            known.head_keys = head.count();
            if self.suspects.contains(&partition) {
                continue;
            }
            untils.push((partition, head.until()));
            if head.position != known.position {
                behind.push((partition, head));
            } else if head.count() != known.keys {
                self.suspects.insert(partition);
            }
        }
        let mut longest = 0;
        for some in behind.chunks(LOGS_MAX) {
            longest = longest.max(self.catch_up(some).await?);
        }
        self.follow_up(&untils).await;
        self.round_interval = match longest > LOG_ENTRIES / 2 {
            true => (self.round_interval / 2).max(ROUND_INTERVAL_LEAST),
            false => (self.round_interval * 2).min(ROUND_INTERVAL),
        };
        let keys = self.known.values().map(|known| known.head_keys).sum();
        self.options.actor.do_send(Synced { keys });
        failure.map_or(Ok(()), Err)
    }

    /// Reads and applies the logs of partitions up to their heads. How many entries the longest had.
    async fn catch_up(&mut self, behind: &[(usize, Head)]) -> Result<usize, EngineError> {
        let mut pages = 0;
        let mut longest = 0;
        let mut behind: Vec<&(usize, Head)> = behind.iter().collect();
        while !behind.is_empty() {
            let mut spans = Vec::with_capacity(behind.len());
            behind.retain(|(partition, head)| match &head.position {
                Some(last) => {
                    let from = match &self.known[partition].position {
                        Some(position) => position.id.clone(),
                        None => Box::from(*b"-"),
                    };
                    spans.push(Span {
                        partition: *partition,
                        from,
                        to: last.id.clone(),
                    });
                    true
                }
                // The head is gone, and with it all that we know.
                None => {
                    self.suspects.insert(*partition);
                    false
                }
            });
            let logs = self.options.client.logs(&spans, LOG_PAGE, self.deadline());
            let logs = logs.await;
            let mut unfinished = Vec::new();
            for ((partition, head), log) in behind.drain(..).map(|it| (it.0, it)).zip(logs) {
                let log = match log {
                    Ok(log) => log,
                    // An id that is none, or a log of another type.
                    Err(EngineError::Other | EngineError::Foreign) => {
                        self.suspects.insert(partition);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                longest = longest.max(pages * LOG_PAGE + log.len());
                match self.follow(partition, &head.1, log).await {
                    Ok(true) => {}
                    Ok(false) => unfinished.push(head),
                    Err(Diverged) => {
                        log::debug!("partition {partition} has diverged");
                        self.suspects.insert(partition);
                    }
                }
            }
            self.tell().await;
            behind = unfinished;
            pages += 1;
        }
        Ok(longest)
    }

    /// Applies a piece of a log that should begin where the index is and lead to a head. Whether it
    /// has reached that.
    async fn follow(
        &mut self,
        partition: usize,
        head: &Head,
        log: Vec<Entry>,
    ) -> Result<bool, Diverged> {
        let is_whole = log.len() < LOG_PAGE;
        let mut log = log.into_iter();
        if let Some(known) = &self.known[&partition].position {
            let first = log.next().map(|entry| entry.position);
            if first.as_ref() != Some(known) {
                return Err(Diverged);
            }
        }
        let mut position = self.known[&partition].position.clone();
        let mut steps = Vec::new();
        let mut page = Page::default();
        let is_told = self.tail.is_joined();
        for entry in log {
            if is_told {
                page.add(&entry);
            }
            position = Some(entry.position);
            steps.extend(entry.step.filter(Step::is_of_keys));
        }
        let has_reached = position == head.position;
        if !has_reached && is_whole {
            return Err(Diverged);
        }
        let mut idle = 0;
        // Updates alone are nothing to the index.
        if !steps.is_empty() {
            let applied = self.apply(partition, steps).await.map_err(|_| Diverged)?;
            self.known.entry(partition).or_default().keys = applied.keys;
            idle = applied.idle;
        }
        let known = self.known.entry(partition).or_default();
        known.position = position;
        if idle > 0 || (has_reached && known.keys != head.count()) {
            return Err(Diverged);
        }
        self.tail.take(partition, page);
        Ok(has_reached)
    }

    /// Changes the index by messages of a few steps each, and waits where it has no room.
    async fn apply(&self, partition: usize, steps: Vec<Step>) -> Result<Applied, StoreError> {
        let mut steps = steps.into_iter();
        let mut idle = 0;
        loop {
            let some: Vec<Step> = steps.by_ref().take(STEPS_MAX).collect();
            let is_last = some.len() < STEPS_MAX;
            let applied = self.send(partition, some).await?;
            idle += applied.idle;
            if is_last {
                return Ok(Applied { idle, ..applied });
            }
            if applied.room != Room::Open {
                self.wait_for_room(partition).await?;
            }
        }
    }

    async fn wait_for_room(&self, partition: usize) -> Result<(), StoreError> {
        while self.send(partition, Vec::new()).await?.room != Room::Open {
            self.options.rounds.room.notified().await;
        }
        Ok(())
    }

    async fn send(&self, partition: usize, steps: Vec<Step>) -> Result<Applied, StoreError> {
        let applied = self.options.actor.send(Apply { partition, steps }).await;
        applied.map_err(|_| StoreError::Stopping)?
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.patience
    }
}

/// The partitions of a share: neighbours, since these are at few nodes of a cluster.
pub(super) fn partitions_of(share: usize, shares: usize) -> Range<usize> {
    let first = |share: usize| (share * PARTITIONS).div_ceil(shares);
    first(share)..first(share + 1)
}

/// The share that a partition belongs to.
pub(in crate::store) fn share_of(partition: usize, shares: usize) -> usize {
    partition * shares / PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_belongs_to_one_share() {
        for shares in [1, 2, 3, 7, 64, 255, 256] {
            let mut next = 0;
            for share in 0..shares {
                let partitions = partitions_of(share, shares);
                assert_eq!(partitions.start, next);
                for partition in partitions.clone() {
                    assert_eq!(share_of(partition, shares), share, "{shares} shares");
                }
                next = partitions.end;
            }
            assert_eq!(next, PARTITIONS);
        }
    }
}
