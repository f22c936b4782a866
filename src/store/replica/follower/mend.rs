//! Partitions that are read whole, since the index is empty or has diverged, or to see whether it
//! has: how readings begin, and how what was read takes the place of what the index held.

use super::Follower;
use super::tail::Page;
use crate::model::{Filter, KeyList};
use crate::store::StoreError;
use crate::store::message::{Admitted, Search, Total};
use crate::store::replica::reading::{Mend, Reading, Replayed};
use crate::store::stream::Share;
use crate::valkey::{EngineError, Entry, Head, Place, Position, Repair, Step};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Partitions that are read at a time, which bounds the memory that this takes.
const READINGS_MAX: usize = 4;

/// How often a partition's log and head are read again at the end of a reading, where repairs or
/// writes come in between.
const ENDS_MAX: usize = 8;

/// How long to wait after a failure.
pub(super) const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Keys that a walk over the index takes at a time.
const WALK_KEYS: usize = 512;

/// A partition that was read.
pub(super) type Read = (usize, Result<Reading, EngineError>);

impl Follower {
    /// Begins to read suspect partitions, as many as may be read at a time.
    pub(super) async fn begin_readings(&mut self) {
        let free = READINGS_MAX.saturating_sub(self.readings.len());
        let waiting = self.suspects.difference(&self.being_read);
        // Those that cannot be read come last, one at a time and in turn, or they would keep the others
        // waiting.
        let is_unreachable = |partition: &&usize| self.unreachable.contains(partition);
        let (failed, others): (Vec<usize>, Vec<usize>) = waiting.partition(is_unreachable);
        let is_trying = self.unreachable.intersection(&self.being_read).count() > 0;
        let later = failed.iter().find(|partition| **partition > self.tried);
        let again = later.or(failed.first()).copied().filter(|_| !is_trying);
        let next: Vec<usize> = others.into_iter().chain(again).take(free).collect();
        if next.is_empty() {
            return;
        }
        // While a master fails, which may be the layout's, the scrub looks at it.
        if self.options.client.outage().is_none() {
            let checked = self.options.client.check_layout(self.deadline()).await;
            self.options.status.layout(checked);
            if checked == Err(EngineError::Layout) {
                tokio::time::sleep(FAILURE_PAUSE).await;
                return;
            }
        }
        self.tried = again.unwrap_or(self.tried);
        for partition in next {
            if !self.unloaded.contains(&partition) {
                self.options.status.reloaded();
                log::info!("partition {partition} differs from the engine and is read again");
            }
            self.read(partition);
        }
    }

    /// Begins to compare the next partition with the engine.
    pub(super) async fn scrub(&mut self) {
        if self.options.share == 0 {
            let client = &self.options.client;
            let checked = client.check_layout(self.deadline()).await;
            self.options.status.layout(checked);
            self.options.status.policy(client.evicts().await);
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
        let (client, patience) = (self.options.client.clone(), self.options.patience);
        // A task of its own: it may be the one that connects to the engine, for which all others wait,
        // and here it would stand still for as long as a round takes.
        let reading = actix::spawn(Reading::read(client, partition, patience));
        self.readings.push(Box::pin(async move {
            // A panic, which the hook has logged, is a failure as others are.
            let read = reading.await.unwrap_or(Err(EngineError::Other));
            (partition, read)
        }));
    }

    /// Puts what was read in place.
    pub(super) async fn end_readings(&mut self, done: Vec<Read>) {
        let mut sets: HashMap<usize, HashSet<Box<[u8]>>> = HashMap::new();
        for (partition, read) in done {
            self.being_read.remove(&partition);
            let ended = match read {
                Ok(reading) => self.end_reading(partition, reading).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(Some(keys)) => {
                    if self.unreachable.remove(&partition) {
                        for other in self.of_same_master(partition).await {
                            self.unreachable.remove(&other);
                        }
                    }
                    sets.insert(partition, keys);
                }
                Ok(None) => {}
                Err(error) => {
                    log::debug!("partition {partition} could not be read: {error}");
                    let is_suspect = self.suspects.contains(&partition);
                    if is_suspect && self.unreachable.insert(partition) && !error.is_of_data() {
                        let others = self.of_same_master(partition).await;
                        let others = others.into_iter();
                        let others = others.filter(|other| self.suspects.contains(other));
                        self.unreachable.extend(others);
                    }
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
        let unloaded = self.unreachable.intersection(&self.unloaded).count();
        self.options
            .status
            .unreachable(self.options.share, unloaded);
    }

    async fn of_same_master(&self, partition: usize) -> Vec<usize> {
        let client = &self.options.client;
        client.of_same_master(partition, self.deadline()).await
    }

    /// Tells the searches that wait why they wait in vain.
    pub(super) fn refuse(&self, error: EngineError) {
        let tickets = self.options.rounds.take();
        self.options.client.refused(tickets.len(), error);
        for ticket in tickets {
            // As above.
            let _ = ticket.send(Err(error));
        }
    }

    /// Replays the log over a reading, and mends what is wrong with the log or the head. The keys at
    /// that head, which the partition is then known at; `None` where the reading is of no use.
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
                .options
                .client
                .log_to_end(partition, from, self.deadline())
                .await;
            let (head, entries) = match ended {
                // A log or a head of another type can be made anew.
                Err(EngineError::Foreign)
                    if self.options.client.mend(partition, self.deadline()).await? =>
                {
                    log::warn!("the log or head of partition {partition} was of another type");
                    continue;
                }
                ended => ended?,
            };
            self.options.status.answered();
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
                        .options
                        .client
                        .repair(partition, &repair, self.deadline())
                        .await?
                    {
                        log::warn!("the head of partition {partition} was wrong and is mended");
                        self.options.status.repaired();
                        reading.forget_heads();
                    }
                }
                Replayed::Whole { mend: None } => {
                    self.littered(partition, reading.left_out);
                    return Ok(Some(self.compare(partition, reading, head, entries).await));
                }
            }
        }
        // Writes were faster every time: what was read is of no use any more.
        if self.suspects.contains(&partition) {
            self.read(partition);
        }
        Ok(None)
    }

    /// Takes note of fields of a partition's buckets that are no keys of theirs, and are left out.
    fn littered(&mut self, partition: usize, fields: usize) {
        if fields == 0 {
            self.littered.remove(&partition);
            return;
        }
        self.options.status.repaired();
        if self.littered.insert(partition) {
            log::warn!(
                "partition {partition} holds {fields} fields that are no keys of its buckets, which somebody \
                 else has put there; they are left out"
            );
        }
    }

    /// Brings the index of a partition that is not suspect up to the head as its log says, so that
    /// what then differs from what was read is a difference. The keys that were read.
    async fn compare(
        &mut self,
        partition: usize,
        reading: Reading,
        head: Head,
        entries: Vec<Entry>,
    ) -> HashSet<Box<[u8]>> {
        let known = &self.known[&partition].position;
        if !self.suspects.contains(&partition) && *known != head.position {
            let from = match known {
                Some(known) => entries.iter().position(|entry| entry.position == *known),
                None => Some(0),
            };
            let log = from.map_or(Vec::new(), |from| entries[from..].to_vec());
            let mut log = log.into_iter();
            let has_known = known.is_none() || log.next().is_some();
            let mut page = Page::default();
            let mut steps = Vec::new();
            for entry in log {
                page.add(&entry);
                steps.extend(entry.step.filter(Step::is_of_keys));
            }
            match self.apply(partition, steps).await {
                Ok(applied) if has_known && applied.idle == 0 => self.tail.take(partition, page),
                Ok(_) | Err(_) => {
                    self.suspects.insert(partition);
                    // Though what was read is put in place at once and may be the same keys: nobody was told what was
                    // updated meanwhile.
                    self.tail.leave(Share::Away);
                }
            }
        }
        let known = self.known.entry(partition).or_default();
        known.position = head.position;
        known.head_keys = reading.keys.len();
        reading.keys
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
                self.options.status.loaded();
            } else if applied.keys != before || applied.keys != keys.len() {
                if !was_suspect {
                    log::warn!("partition {partition} differed from the engine and is mended");
                }
                self.options.status.repaired();
                // By what nobody was told of.
                self.tail.leave(Share::Away);
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
        let found = self.options.actor.send(search).await;
        let found = found.map_err(|_| StoreError::Stopping)?.answer?;
        let page = found.page;
        Ok((page.keys, page.resume))
    }
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
