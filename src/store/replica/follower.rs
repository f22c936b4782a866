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

use super::actor::{Applied, Apply, ReplicaActor, STEPS_MAX, Synced};
use super::reading::{Mend, Reading, Replayed};
use super::{ReplicaStatus, Waiting};
use crate::keymap::Room;
use crate::model::{Filter, KeyList};
use crate::store::StoreError;
use crate::store::message::{Admitted, Search, Total};
use crate::valkey::{
    Client, EngineError, Entry, Head, LOG_PAGE, PARTITIONS, Place, Position, Repair, Span, Step,
};
use actix::Addr;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long after a round the next begins at the latest, so that few changes gather.
const ROUND_INTERVAL: Duration = Duration::from_millis(250);

/// Partitions that are read at a time, and whose logs are. They bound the memory that this takes.
const READINGS_MAX: usize = 4;
const LOGS_MAX: usize = 32;

/// How often a partition's log and head are read again at the end of a reading, where repairs or
/// writes come in between.
const ENDS_MAX: usize = 8;

/// How long to wait after a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Keys that a walk over the index takes at a time.
const WALK_KEYS: usize = 512;

/// How a follower is set up.
#[derive(Clone, Debug)]
pub(in crate::store) struct FollowerOptions {
    /// Which share.
    pub(in crate::store) share: usize,
    /// How many shares there are.
    pub(in crate::store) shares: usize,
    /// How long the engine may take for one step.
    pub(in crate::store) patience: Duration,
    /// How long after a partition was compared with the engine the next is.
    pub(in crate::store) scrub_interval: Duration,
}

/// Keeps the index of one share in step.
pub(in crate::store) struct Follower {
    options: FollowerOptions,
    client: Rc<Client>,
    actor: Addr<ReplicaActor>,
    waiting: Rc<Waiting>,
    status: Arc<ReplicaStatus>,
    /// The partitions of the share.
    partitions: Range<usize>,
    /// Where the index of each partition is.
    known: HashMap<usize, Known>,
    suspects: BTreeSet<usize>,
    /// Suspects that were never read.
    unloaded: BTreeSet<usize>,
    readings: FuturesUnordered<LocalBoxFuture<'static, Read>>,
    being_read: BTreeSet<usize>,
    next_scrub: usize,
}

/// What the index holds of a partition.
#[derive(Clone, Debug, Default)]
struct Known {
    position: Option<Position>,
    keys: usize,
    /// Keys by the head that was read last.
    head_keys: usize,
}

type Read = (usize, Result<Reading, EngineError>);

/// A partition that must be read whole, since what was read contradicts what is known.
#[derive(Debug)]
struct Diverged;

impl Follower {
    pub(in crate::store) fn new(
        options: FollowerOptions,
        client: Rc<Client>,
        actor: Addr<ReplicaActor>,
        waiting: Rc<Waiting>,
        status: Arc<ReplicaStatus>,
    ) -> Self {
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
            options,
            client,
            actor,
            waiting,
            status,
            readings: FuturesUnordered::new(),
            being_read: BTreeSet::new(),
        }
    }

    /// Follows the engine for ever.
    pub(in crate::store) async fn run(mut self) {
        self.status
            .suspects(self.options.share, self.suspects.len());
        self.status.opened().await;
        let mut next_round = Instant::now();
        let mut next_scrub = Instant::now() + self.options.scrub_interval;
        loop {
            self.begin_readings().await;
            let asked = !self.waiting.is_empty() && self.suspects.is_empty();
            let at = if asked { Instant::now() } else { next_round };
            let waiting = self.waiting.clone();
            tokio::select! {
                () = sleep_until(at) => {
                    self.round_with_searches().await;
                    next_round = Instant::now() + ROUND_INTERVAL;
                }
                Some(read) = self.readings.next(), if !self.readings.is_empty() => {
                    let mut done = vec![read];
                    while let Some(Some(read)) = futures_util::FutureExt::now_or_never(self.readings.next()) {
                        done.push(read);
                    }
                    self.end_readings(done).await;
                }
                () = waiting.woken.notified() => {
                    for partition in self.waiting.suspects.take() {
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
            self.status
                .suspects(self.options.share, self.suspects.len());
        }
    }

    /// A round, and what the searches that waited for it hear.
    async fn round_with_searches(&mut self) {
        let tickets = self.waiting.take();
        let began = std::time::Instant::now();
        let answer = match self.round().await {
            Ok(()) if self.suspects.is_empty() => {
                self.status.synced(self.options.share, began);
                Ok(())
            }
            Ok(()) if self.status.is_foreign() => Err(EngineError::Layout),
            Ok(()) => return self.waiting.put_back(tickets),
            Err(error) => Err(error),
        };
        for ticket in tickets {
            // Whoever asked may have gone away.
            let _ = ticket.send(answer);
        }
    }

    /// Brings all partitions but the suspect ones up to heads that are read now.
    async fn round(&mut self) -> Result<(), EngineError> {
        let partitions: Vec<usize> = self.partitions.clone().collect();
        let heads = self.client.heads(&partitions, self.deadline()).await;
        let mut failure = None;
        let mut behind: Vec<(usize, Head)> = Vec::new();
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
            self.status.answered();
            let known = self.known.entry(partition).or_default();
            known.head_keys = head.count();
            if self.suspects.contains(&partition) {
                continue;
            }
            if head.position != known.position {
                behind.push((partition, head));
            } else if head.count() != known.keys {
                self.suspects.insert(partition);
            }
        }
        for some in behind.chunks(LOGS_MAX) {
            self.catch_up(some).await?;
        }
        let keys = self.known.values().map(|known| known.head_keys).sum();
        self.actor.do_send(Synced { keys });
        failure.map_or(Ok(()), Err)
    }

    /// Reads and applies the logs of partitions up to their heads.
    async fn catch_up(&mut self, behind: &[(usize, Head)]) -> Result<(), EngineError> {
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
            let logs = self.client.logs(&spans, self.deadline()).await;
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
                match self.follow(partition, &head.1, log).await {
                    Ok(true) => {}
                    Ok(false) => unfinished.push(head),
                    Err(Diverged) => {
                        log::debug!("partition {partition} has diverged");
                        self.suspects.insert(partition);
                    }
                }
            }
            behind = unfinished;
        }
        Ok(())
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
        for entry in log {
            position = Some(entry.position);
            steps.extend(entry.step);
        }
        let has_reached = position == head.position;
        if !has_reached && is_whole {
            return Err(Diverged);
        }
        let applied = self.apply(partition, steps).await.map_err(|_| Diverged)?;
        let known = self.known.entry(partition).or_default();
        known.position = position;
        known.keys = applied.keys;
        if applied.idle > 0 || (has_reached && applied.keys != head.count()) {
            return Err(Diverged);
        }
        Ok(has_reached)
    }

    /// Begins to read suspect partitions, as many as may be read at a time.
    async fn begin_readings(&mut self) {
        let free = READINGS_MAX.saturating_sub(self.readings.len());
        let next = self.suspects.difference(&self.being_read).take(free);
        let next: Vec<usize> = next.copied().collect();
        if next.is_empty() {
            return;
        }
        let checked = self.client.check_layout(self.deadline()).await;
        self.status.layout(checked);
        if checked.is_err() {
            tokio::time::sleep(FAILURE_PAUSE).await;
            return;
        }
        for partition in next {
            if !self.unloaded.contains(&partition) {
                self.status.reloaded();
                log::info!("partition {partition} differs from the engine and is read again");
            }
            self.read(partition);
        }
    }

    /// Begins to compare the next partition with the engine.
    async fn scrub(&mut self) {
        if self.options.share == 0 {
            self.status
                .layout(self.client.check_layout(self.deadline()).await);
        }
        let partition = self.next_scrub;
        if self.suspects.is_empty() && !self.being_read.contains(&partition) {
            self.next_scrub += 1;
            if self.next_scrub == self.partitions.end {
                self.next_scrub = self.partitions.start;
            }
            self.read(partition);
        }
    }

    fn read(&mut self, partition: usize) {
        self.being_read.insert(partition);
        let (client, patience) = (self.client.clone(), self.options.patience);
        self.readings.push(Box::pin(async move {
            (partition, Reading::read(client, partition, patience).await)
        }));
    }

    /// Puts what was read in place.
    async fn end_readings(&mut self, done: Vec<Read>) {
        let mut sets: HashMap<usize, HashSet<Box<[u8]>>> = HashMap::new();
        for (partition, read) in done {
            self.being_read.remove(&partition);
            let ended = match read {
                Ok(reading) => self.end_reading(partition, reading).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(Some(keys)) => {
                    sets.insert(partition, keys);
                }
                Ok(None) => {}
                Err(error) => {
                    log::debug!("partition {partition} could not be read: {error}");
                    // A scrub that fails is tried again in its turn.
                    if self.suspects.contains(&partition) {
                        self.refuse(error);
                        tokio::time::sleep(FAILURE_PAUSE).await;
                    }
                }
            }
        }
        if self.install(&sets).await.is_err() {
            log::error!("the index could not take in what was read; it is read again");
            self.suspects.extend(sets.keys());
        }
    }

    /// Tells the searches that wait why they wait in vain.
    fn refuse(&self, error: EngineError) {
        for ticket in self.waiting.take() {
            // As above.
            let _ = ticket.send(Err(error));
        }
    }

    /// Replays the log over a reading, and mends what is wrong with the log or the head. The keys,
    /// where the index does not hold just these. On return the index is known to be at that head,
    /// or the partition is suspect.
    async fn end_reading(
        &mut self,
        partition: usize,
        mut reading: Reading,
    ) -> Result<Option<HashSet<Box<[u8]>>>, EngineError> {
        for _ in 0..ENDS_MAX {
            let known = self.known[&partition].position.clone();
            let known = known.filter(|_| !self.suspects.contains(&partition));
            let from = earlier(known.as_ref(), reading.first.position.as_ref());
            let ended = self
                .client
                .log_to_end(partition, from, self.deadline())
                .await;
            let (head, entries) = match ended {
                // A log or a head of another type can be made anew.
                Err(EngineError::Foreign)
                    if self.client.mend(partition, self.deadline()).await? =>
                {
                    log::warn!("the log or head of partition {partition} was of another type");
                    continue;
                }
                ended => ended?,
            };
            self.status.answered();
            match reading.replay(&head, &entries) {
                Replayed::Cut => {
                    if !self.suspects.contains(&partition) {
                        return Ok(None);
                    }
                    self.read(partition);
                    return Ok(None);
                }
                Replayed::Whole {
                    mend: Some(Mend { append }),
                } => {
                    let repair = Repair {
                        head,
                        keys: reading.keys.len(),
                        append,
                    };
                    if self
                        .client
                        .repair(partition, &repair, self.deadline())
                        .await?
                    {
                        log::warn!("the head of partition {partition} was wrong and is mended");
                        self.status.repaired();
                        reading.forget_heads();
                    }
                }
                Replayed::Whole { mend: None } => {
                    return Ok(self.compare(partition, reading, head, entries).await);
                }
            }
        }
        // Writes were faster every time: what was read is of no use any more.
        if self.suspects.contains(&partition) {
            self.read(partition);
        }
        Ok(None)
    }

    /// Brings the index of a partition that is not suspect up to the head, and says whether it must
    /// be made what was read.
    async fn compare(
        &mut self,
        partition: usize,
        reading: Reading,
        head: Head,
        entries: Vec<Entry>,
    ) -> Option<HashSet<Box<[u8]>>> {
        let known = &self.known[&partition].position;
        if !self.suspects.contains(&partition) && *known != head.position {
            let from = match known {
                Some(known) => entries.iter().position(|entry| entry.position == *known),
                None => Some(0),
            };
            let log = from.map_or(Vec::new(), |from| entries[from..].to_vec());
            let mut log = log.into_iter();
            let has_known = known.is_none() || log.next().is_some();
            let steps: Vec<Step> = log.filter_map(|entry| entry.step).collect();
            match self.apply(partition, steps).await {
                Ok(applied) if has_known && applied.idle == 0 => {}
                Ok(_) | Err(_) => {
                    self.suspects.insert(partition);
                }
            }
        }
        let known = self.known.entry(partition).or_default();
        known.position = head.position;
        known.head_keys = reading.keys.len();
        Some(reading.keys)
    }

    /// Makes the index of some partitions hold just these keys.
    async fn install(
        &mut self,
        sets: &HashMap<usize, HashSet<Box<[u8]>>>,
    ) -> Result<(), StoreError> {
        let mut larger = HashSet::new();
        for (partition, keys) in sets {
            let before = self.apply(*partition, Vec::new()).await?.keys;
            let steps = keys.iter().cloned().map(Step::Add).collect();
            let applied = self.apply(*partition, steps).await?;
            let was_suspect = self.suspects.remove(partition);
            if self.unloaded.remove(partition) {
                self.status.loaded();
            } else if applied.keys != before || applied.keys != keys.len() {
                if !was_suspect {
                    log::warn!("partition {partition} differed from the engine and is mended");
                }
                self.status.repaired();
            }
            if applied.keys != keys.len() {
                larger.insert(*partition);
            }
            self.known.entry(*partition).or_default().keys = keys.len();
        }
        self.remove_others(sets, larger).await
    }

    /// Removes the keys of some partitions that are not among those given: a walk over the whole
    /// index, since it keeps partitions no apart.
    async fn remove_others(
        &mut self,
        sets: &HashMap<usize, HashSet<Box<[u8]>>>,
        larger: HashSet<usize>,
    ) -> Result<(), StoreError> {
        let mut after = Some(Box::default());
        while let Some(from) = after.filter(|_| !larger.is_empty()) {
            let page = self.walk(from).await?;
            let mut others: HashMap<usize, Vec<Step>> = HashMap::new();
            for key in page.0.iter() {
                let partition = Place::of(key).partition;
                if larger.contains(&partition) && !sets[&partition].contains(key) {
                    others
                        .entry(partition)
                        .or_default()
                        .push(Step::Remove(key.into()));
                }
            }
            for (partition, steps) in others {
                self.apply(partition, steps).await?;
            }
            after = page.1;
        }
        Ok(())
    }

    async fn walk(&self, after: Box<[u8]>) -> Result<(KeyList, Option<Box<[u8]>>), StoreError> {
        let search = Admitted {
            message: Search {
                filter: Arc::new(Filter::default()),
                after,
                limit: WALK_KEYS,
                total: Total::Known,
            },
            permit: None,
        };
        let found = self.actor.send(search).await;
        let page = found.map_err(|_| StoreError::Stopping)??.page;
        Ok((page.keys, page.resume))
    }

    /// Changes the index by messages of a few steps each, and waits where it has no room.
    async fn apply(&self, partition: usize, steps: Vec<Step>) -> Result<Applied, StoreError> {
        let mut steps = steps.into_iter();
        let mut idle = 0;
        loop {
            let some: Vec<Step> = steps.by_ref().take(STEPS_MAX).collect();
            let is_last = some.len() < STEPS_MAX;
            let message = Apply {
                partition,
                steps: some,
            };
            let applied = self.actor.send(message).await;
            let applied = applied.map_err(|_| StoreError::Stopping)??;
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
        loop {
            let message = Apply {
                partition,
                steps: Vec::new(),
            };
            let applied = self.actor.send(message).await;
            if applied.map_err(|_| StoreError::Stopping)??.room == Room::Open {
                return Ok(());
            }
            self.waiting.room.notified().await;
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.patience
    }
}

/// The partitions of a share: neighbours, since these are at few nodes of a cluster.
fn partitions_of(share: usize, shares: usize) -> Range<usize> {
    let first = |share: usize| (share * PARTITIONS).div_ceil(shares);
    first(share)..first(share + 1)
}

/// The share that a partition belongs to.
pub(in crate::store) fn share_of(partition: usize, shares: usize) -> usize {
    partition * shares / PARTITIONS
}

/// The earlier of two positions, as what to read a log from.
fn earlier<'a>(known: Option<&'a Position>, first: Option<&'a Position>) -> &'a [u8] {
    let positions = [known, first].into_iter().flatten();
    let earliest = positions
        .filter_map(|at| Some((at.number()?, &at.id[..])))
        .min();
    match (first.and_then(Position::number), earliest) {
        // Of a partition that was empty, or whose head is no id, all is read.
        (None, _) | (_, None) => b"-",
        (Some(_), Some((_, id))) => id,
    }
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
