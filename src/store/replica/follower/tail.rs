//! Hands what a follower reads to those who watch, while there are any or were a while ago.
//!
//! A share *joins* a recording in two rounds. In the first it has the engine promise that no entry comes any more with an
//! id up to now, so that a partition where nothing is changed holds nobody back; in the second it reads these promises
//! and where its logs end. From then on it tells of every entry that it reads, and up to which id it has told of all.
//!
//! **Invariant: what a share tells is what its logs have, one entry after the other.** Where it cannot go on so, since a
//! partition is suspect or its updates were not logged for a while, those who follow have to begin anew.

use super::{Follower, FollowerOptions, partitions_of};
use crate::durable::Append;
use crate::store::replica::told::{history, write};
use crate::store::stream::{Mark, News, Recording, Share, Stream};
use crate::valkey::{Entry, Head, Logging, Position, Updates};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long after a round the next begins while somebody watches: so long, or twice as long as the round took.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_ROUNDS: u32 = 2;

/// How often it is promised of logs that no entry comes up to then. So old is a mark that a client goes on behind, at the
/// most, unless masters fail.
const PROMISES: Duration = Duration::from_secs(10);

/// A log that is known up to less than this ago needs no promise: another server may have seen to it.
const PROMISE_AGE: Duration = Duration::from_secs(5);

/// How long to wait before logs are switched again that others have switched back.
const SWITCHES: Duration = Duration::from_secs(1);

/// What makes a sequence of numbers that are unlike any history.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// What of a share is told to those who watch.
#[derive(Debug)]
pub(super) struct Tail {
    stream: Arc<Stream>,
    namespace: String,
    share: usize,
    partitions: Range<usize>,
    state: State,
    /// What was read and is not told yet, and of which partitions up to which id that is.
    page: Page,
    tails: Vec<(usize, u64)>,
    /// What the heads say of updates that were read last.
    updates: BTreeMap<usize, Updates>,
    /// Since when updates were logged when the share joined, and whether some were not for a while since then.
    sinces: BTreeMap<usize, u64>,
    has_missed: bool,
    /// Of each partition up to which id all is told.
    untils: BTreeMap<usize, u64>,
    /// What the masters went through, when they were asked last; whether they said otherwise before, in this round; and
    /// the partitions that were not read since they first said so.
    masters: Option<Vec<u64>>,
    has_changed: bool,
    unread: BTreeSet<usize>,
    /// What that is together, and the last number that stood for what is not known.
    history: u64,
    unknown: u64,
    promise_at: Instant,
    switch_at: Instant,
    /// Whether all logs were once as this server is to have them.
    is_switched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is told.
    Idle,
    /// It is promised of all logs that nothing comes up to a moment.
    Promised(Recording),
    /// All that is read is told.
    Joined(Recording),
}

/// Entries of a log, as records.
#[derive(Debug, Default)]
pub(super) struct Page {
    content: Vec<u8>,
    records: u32,
    last: u64,
}

impl Page {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.records += u32::from(write(entry, &mut self.content));
        self.last = entry.position.at();
    }
}

impl Tail {
    pub(super) fn new(options: &FollowerOptions) -> Self {
        let unknown = options.incarnation.wrapping_add(options.share as u64);
        Self {
            stream: options.stream.clone(),
            namespace: options.client.namespace().into(),
            share: options.share,
            partitions: partitions_of(options.share, options.shares),
            state: State::Idle,
            page: Page::default(),
            tails: Vec::new(),
            updates: BTreeMap::new(),
            sinces: BTreeMap::new(),
            has_missed: false,
            untils: BTreeMap::new(),
            masters: None,
            has_changed: false,
            unread: BTreeSet::new(),
            history: unknown,
            unknown,
            promise_at: Instant::now(),
            switch_at: Instant::now(),
            is_switched: false,
        }
    }

    /// How long after a round that took so long the next begins, where somebody watches.
    pub(super) fn pause(&self, round: Duration) -> Option<Duration> {
        let is_followed = self.stream.is_followed();
        is_followed.then(|| PAUSE.max(round * PAUSE_ROUNDS))
    }

    /// Whether what is read is told.
    pub(super) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined(_))
    }

    /// Takes what was read of a partition's log, all of which the index has.
    pub(super) fn take(&mut self, partition: usize, page: Page) {
        if self.is_joined() && page.records > 0 {
            self.page.content.extend_from_slice(&page.content);
            self.page.records += page.records;
            self.tails.push((partition, page.last));
        }
    }

    /// Takes note of what a head says that was read now.
    pub(super) fn note(&mut self, partition: usize, head: &Head) {
        let since = head.updates.map(|updates| updates.since);
        self.has_missed |= self.is_joined() && self.sinces.get(&partition).copied() != since;
        match head.updates {
            Some(updates) => self.updates.insert(partition, updates),
            None => self.updates.remove(&partition),
        };
    }

    /// Tells no more: those who follow have to begin anew.
    pub(super) fn leave(&mut self, now: Share) {
        self.stream.leave_out(self.share, now);
        self.be_idle();
    }

    fn be_idle(&mut self) {
        self.state = State::Idle;
        self.page = Page::default();
        self.tails = Vec::new();
        self.untils.clear();
        self.sinces.clear();
        self.has_missed = false;
    }

    /// Whether all partitions of the share log updates, as far as their heads are known.
    fn has_updates(&self) -> bool {
        self.updates.len() == self.partitions.len()
    }

    /// What became of logs that do not have all that is needed.
    fn lack(&self) -> Share {
        match self.has_updates() {
            true => Share::Away,
            false => Share::Off,
        }
    }

    /// Begins a round.
    pub(super) fn begin_round(&mut self) {
        self.has_changed = false;
    }

    /// Some partitions were brought up to heads that were read in this round.
    fn was_read(&mut self, partitions: impl Iterator<Item = usize>) {
        // Of another master, perhaps, than the one that has answered since.
        if !self.has_changed {
            for partition in partitions {
                self.unread.remove(&partition);
            }
        }
    }

    /// Takes note of what the masters say that they went through until now. Two answers in a row must be the same: then all
    /// that was read between them is of one history. What was before is too once each log was found to go on from there.
    fn learn(&mut self, masters: Option<Vec<u64>>) {
        if masters != self.masters {
            self.has_changed = true;
            self.unread = self.partitions.clone().collect();
        }
        let is_one = masters == self.masters && self.unread.is_empty() && self.has_updates();
        self.history = match &masters {
            Some(masters) if is_one => {
                let sinces = self.updates.values().map(|updates| updates.since);
                history(&self.namespace, self.partitions.start, masters, sinces)
            }
            Some(_) | None => {
                self.unknown = self.unknown.wrapping_add(STRIDE);
                self.unknown
            }
        };
        self.masters = masters;
    }

    /// Up to where all of the share is told.
    fn mark(&self) -> Option<Mark> {
        let is_whole = self.untils.len() == self.partitions.len();
        let at = self.untils.values().min().copied().filter(|_| is_whole);
        Some(Mark {
            history: self.history,
            at: at?,
        })
    }
}

impl Follower {
    /// Tells what was read and is in the index, once it is known of which history that is.
    pub(super) async fn tell(&mut self) {
        let State::Joined(recording) = self.tail.state else {
            return;
        };
        if self.tail.tails.is_empty() || self.tail.has_missed {
            return;
        }
        self.ask_masters().await;
        let tail = &mut self.tail;
        let page = take(&mut tail.page);
        let news = News {
            append: Append {
                shard: tail.share as u32,
                records: page.records,
                content: page.content,
            },
            tails: take(&mut tail.tails),
            history: tail.history,
        };
        tail.stream.tell(recording, tail.share, news);
    }

    /// What follows a round that has brought the index up to the heads of some partitions: up to which id all of their
    /// entries are known then.
    pub(super) async fn follow_up(&mut self, untils: &[(usize, Option<u64>)]) {
        self.switch(untils).await;
        let recording = self.tail.stream.recording();
        if let State::Promised(own) | State::Joined(own) = self.tail.state
            && recording != Some(own)
        {
            self.tail.be_idle();
        }
        let Some(recording) = recording else {
            return;
        };
        if !self.suspects.is_empty() {
            return;
        }
        let read = untils.iter().map(|(partition, _)| *partition);
        self.tail.was_read(read);
        if self.tail.is_joined() {
            return self.go_on(recording, untils).await;
        }
        let all: Option<BTreeMap<usize, u64>> = untils
            .iter()
            .map(|(partition, until)| Some((*partition, (*until)?)))
            .collect();
        match all {
            None => self.tail.leave(Share::Off),
            // Some could not be read.
            Some(all) if all.len() < self.partitions.len() => {}
            Some(all) if self.tail.state == State::Promised(recording) => {
                self.join(recording, all).await;
            }
            Some(_) => self.promise_first(recording).await,
        }
    }

    /// Tells up to where all is told.
    async fn go_on(&mut self, recording: Recording, untils: &[(usize, Option<u64>)]) {
        if self.tail.has_missed {
            let now = self.tail.lack();
            return self.tail.leave(now);
        }
        self.tell().await;
        for (partition, until) in untils {
            if let Some(until) = until {
                self.tail.untils.insert(*partition, *until);
            }
        }
        if Instant::now() >= self.tail.promise_at {
            self.tail.promise_at = Instant::now() + PROMISES;
            self.promise(PROMISE_AGE).await;
            self.ask_masters().await;
        }
        if let Some(mark) = self.tail.mark() {
            self.tail.stream.advance(recording, self.tail.share, mark);
        }
    }

    /// Begins to join a recording.
    async fn promise_first(&mut self, recording: Recording) {
        // It may have had no updates until now.
        self.tail.leave(Share::Away);
        if self.promise(Duration::ZERO).await {
            self.ask_masters().await;
            self.tail.state = State::Promised(recording);
        }
    }

    /// Joins a recording: what comes from here on is told.
    async fn join(&mut self, recording: Recording, untils: BTreeMap<usize, u64>) {
        self.ask_masters().await;
        let tail = &mut self.tail;
        let updates = tail.updates.iter();
        tail.sinces = updates
            .map(|(partition, updates)| (*partition, updates.since))
            .collect();
        tail.untils = untils;
        let last = |partition: usize| {
            let position = self.known[&partition].position.as_ref();
            (partition, position.map_or(0, Position::at))
        };
        let tails: Vec<(usize, u64)> = self.partitions.clone().map(last).collect();
        let has_joined = match tail.mark() {
            Some(mark) => tail.stream.attend(recording, tail.share, mark, &tails),
            None => false,
        };
        tail.promise_at = Instant::now() + PROMISES;
        match has_joined {
            true => tail.state = State::Joined(recording),
            false => tail.be_idle(),
        }
    }

    /// Promises that no entries come up to now, where that is not known up to less than some time ago. Whether that
    /// was done.
    async fn promise(&self, age: Duration) -> bool {
        let partitions = self.partitions.clone();
        let client = &self.options.client;
        let promised = client.promise(partitions, age, self.deadline()).await;
        if let Err(error) = promised {
            log::debug!(
                "it could not be promised of all logs that nothing comes up to now: {error}"
            );
        }
        promised.is_ok()
    }

    async fn ask_masters(&mut self) {
        let partitions = self.partitions.clone();
        let client = &self.options.client;
        let masters = client.histories(partitions, self.deadline()).await;
        self.tail.learn(masters);
    }

    /// Has the logs of partitions that were read be as this server is to have them.
    async fn switch(&mut self, read: &[(usize, Option<u64>)]) {
        let Some(wanted) = self.options.logging else {
            return;
        };
        if Instant::now() < self.tail.switch_at {
            return;
        }
        let tail = &self.tail;
        let is_other = |partition: &usize| match (wanted, tail.updates.get(partition)) {
            // Who has started last has its way, so that servers of different settings do not go on about it.
            (Logging::Updates { entries }, Some(updates)) => {
                updates.kept != entries && !tail.is_switched
            }
            (Logging::Updates { .. }, None) => true,
            (Logging::Keys, updates) => updates.is_some(),
        };
        let read = read.iter().map(|(partition, _)| *partition);
        let others: Vec<usize> = read.clone().filter(is_other).collect();
        if others.is_empty() {
            self.tail.is_switched |= read.count() == self.partitions.len();
            return;
        }
        self.tail.switch_at = Instant::now() + SWITCHES;
        let client = &self.options.client;
        match (
            client.switch(&others, wanted, self.deadline()).await,
            wanted,
        ) {
            (Ok(0), _) => {}
            (Ok(count), Logging::Updates { .. }) => log::info!(
                "updates of {count} partitions are logged from now on, so that they can be watched (setting \
                 engine_watch)"
            ),
            (Ok(count), Logging::Keys) => {
                log::info!(
                    "updates of {count} partitions are not logged any more (setting engine_watch)"
                );
            }
            (Err(error), _) => log::debug!("not all logs could be switched: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: Range<usize> = 4..6;

    fn tail() -> Tail {
        let updates = |partition| {
            let updates = Updates {
                since: 1,
                promise: 1,
                kept: 9,
            };
            (partition, updates)
        };
        Tail {
            stream: Arc::new(Stream::new(1 << 20)),
            namespace: "kv".into(),
            share: 0,
            partitions: PARTITIONS,
            state: State::Idle,
            page: Page::default(),
            tails: Vec::new(),
            updates: PARTITIONS.map(updates).collect(),
            sinces: BTreeMap::new(),
            has_missed: false,
            untils: BTreeMap::new(),
            masters: None,
            has_changed: false,
            unread: BTreeSet::new(),
            history: 0,
            unknown: 0,
            promise_at: Instant::now(),
            switch_at: Instant::now(),
            is_switched: false,
        }
    }

    #[test]
    fn a_history_is_known_once_all_was_read_between_two_answers_that_are_alike() {
        let mut tail = tail();
        let of = |masters: [u64; 2]| history("kv", 4, &masters, [1, 1].into_iter());
        tail.begin_round();
        tail.learn(Some(vec![7, 7]));
        // What was read in this round was so before they answered.
        tail.was_read(PARTITIONS);
        tail.learn(Some(vec![7, 7]));
        assert_ne!(tail.history, of([7, 7]));
        tail.begin_round();
        tail.was_read(PARTITIONS);
        tail.learn(Some(vec![7, 7]));
        assert_eq!(tail.history, of([7, 7]));
        // A master gives way in the middle of a round, and one of its partitions cannot be read in the next.
        tail.begin_round();
        tail.learn(Some(vec![7, 8]));
        let unknown = tail.history;
        assert_ne!(unknown, of([7, 8]));
        tail.learn(Some(vec![7, 8]));
        tail.begin_round();
        tail.was_read(4..5);
        tail.learn(Some(vec![7, 8]));
        assert!(tail.history != unknown && tail.history != of([7, 8]));
        tail.begin_round();
        tail.was_read(5..6);
        tail.learn(Some(vec![7, 8]));
        assert_eq!(tail.history, of([7, 8]));
        // Nobody knows what one went through that does not say.
        for _ in 0..2 {
            tail.begin_round();
            tail.was_read(PARTITIONS);
            tail.learn(None);
            assert_ne!(tail.history, of([7, 8]));
        }
    }
}
