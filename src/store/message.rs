//! What the store's actors are asked, in bare verbs, and what they answer.

use super::StoreError;
use crate::durable::{Moment, Position};
use crate::keymap::{GroupPage, Image, IndexStats, Page, SlotValues};
use crate::model::{Changed, Fetched, Filter, Grouping, Key, Mutation, Value};
use crate::trace::Tick;
use actix::Message;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// A message that was let in, with the permit that it gives back once it was handled. The permit
/// travels with the message, not with its sender, so that senders who go away do not let in more
/// than the bound.
#[derive(Debug)]
pub(super) struct Admitted<M> {
    /// The message.
    pub(super) message: M,
    /// Its place among the messages in flight; health and metrics need none.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl<M: Message> Message for Admitted<M> {
    type Result = Taken<M::Result>;
}

/// The answer to a message that was let in, and when it was taken up: until then it was in the queue.
#[derive(Debug)]
pub(super) struct Taken<T> {
    /// The answer.
    pub(super) answer: T,
    /// The moment.
    pub(super) at: Tick,
}

/// Asks for the value of a key.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Value>, StoreError>")]
pub(super) struct Get {
    /// The key.
    pub(super) key: Key,
}

/// Asks for the values of many keys, in their order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Fetched>, StoreError>")]
pub(super) struct GetMany {
    /// The keys.
    pub(super) keys: Vec<Key>,
    /// Which of the values are wanted.
    pub(super) bodies: Bodies,
}

/// Asks to make a change.
#[derive(Debug, Message)]
#[rtype(result = "Result<Changed, StoreError>")]
pub(super) struct Change {
    /// The change.
    pub(super) mutation: Mutation,
}

/// Asks to make many changes, in their order.
#[derive(Debug, Message)]
#[rtype(result = "Result<ManyChanged, StoreError>")]
pub(super) struct ChangeMany {
    /// The changes.
    pub(super) mutations: Vec<Mutation>,
}

/// Asks for some of the keys that match.
#[derive(Debug, Message)]
#[rtype(result = "Result<Found, StoreError>")]
pub(super) struct Search {
    /// Which keys.
    pub(super) filter: Arc<Filter>,
    /// Only keys above this one; all where it is empty.
    pub(super) after: Box<[u8]>,
    /// At most so many.
    pub(super) limit: usize,
    /// Whether the total is asked for too, from the same moment as the keys.
    pub(super) total: Total,
}

/// Asks to remove some of the keys that match.
#[derive(Debug, Message)]
#[rtype(result = "Result<Erased, StoreError>")]
pub(super) struct Erase {
    /// Which keys.
    pub(super) filter: Arc<Filter>,
    /// Only keys above this one; all where it is empty.
    pub(super) after: Box<[u8]>,
}

/// Asks for some of the keys that match, divided into groups.
#[derive(Debug, Message)]
#[rtype(result = "Result<FoundGroups, StoreError>")]
pub(super) struct Group {
    /// Which keys, and how they are divided.
    pub(super) grouping: Arc<Grouping>,
    /// Only keys and groups above this text; all where it is empty.
    pub(super) after: Box<[u8]>,
    /// At most so many keys and groups.
    pub(super) limit: usize,
    /// Whether the total is asked for too, from the same moment.
    pub(super) total: Total,
}

/// Asks how many keys there are, and what the shard is made of.
#[derive(Debug, Message)]
#[rtype(result = "Result<Counted, StoreError>")]
pub(super) struct Count;

/// Says how far the log is on disk.
#[derive(Clone, Copy, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub(super) enum Reached {
    /// All up to a position is.
    Position(Position),
    /// What is, nobody knows: the log has failed, and the process is about to end.
    Nothing,
}

/// Asks a shard for what a checkpoint is made of.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Snap {
    /// All its keys at this moment, and which moment that is; nothing where it has to wait for a job.
    Image(SyncSender<Option<(Image, Moment)>>),
    /// The values of the first of some slots, of as many as take about 100 µs.
    Values(Range<u32>, SyncSender<SlotValues>),
}

/// Which of many values are wanted, by their bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    /// All.
    All,
    /// Those of up to so many bytes. Of others it is said how long they are.
    UpTo(usize),
}

/// Whether a search needs the number of all matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    /// It does.
    Wanted,
    /// It does not.
    Known,
}

/// What became of a [`ChangeMany`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ManyChanged {
    /// What became of the changes that were made.
    pub(super) counts: ChangeCounts,
    /// Which were not made since their condition did not hold, from 0 on.
    pub(super) unmet: Vec<usize>,
    /// What ended it early.
    pub(super) stopped: Option<Stopped>,
}

/// How many changes of many had which effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Changes that made a key.
    pub created: u64,
    /// Changes of a key that there was.
    pub updated: u64,
    /// Changes that removed a key.
    pub deleted: u64,
    /// Removals of a key that named nothing.
    pub absent: u64,
    /// Changes of when a value ends.
    pub kept: u64,
    /// Changes whose condition did not hold.
    pub unmet: u64,
}

impl Bodies {
    /// The longest body that is wanted, in bytes.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::UpTo(bytes) => bytes,
        }
    }
}

impl ManyChanged {
    /// Takes in what became of a change.
    pub(super) fn add(&mut self, at: usize, changed: Changed) {
        self.counts.add(changed);
        if let Changed::Unmet(_) = changed {
            self.unmet.push(at);
        }
    }
}

impl ChangeCounts {
    /// Counts one more.
    fn add(&mut self, changed: Changed) {
        let count = match changed {
            Changed::Created(_) => &mut self.created,
            Changed::Updated(_) => &mut self.updated,
            Changed::Deleted(_) => &mut self.deleted,
            Changed::Kept(_) => &mut self.kept,
            Changed::Absent => &mut self.absent,
            Changed::Unmet(_) => &mut self.unmet,
        };
        *count += 1;
    }
}

impl std::ops::AddAssign for ChangeCounts {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.absent += other.absent;
        self.kept += other.kept;
        self.unmet += other.unmet;
    }
}

/// Why a [`ChangeMany`] ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    /// The first change that was not made, from 0 on. Of those after it the memory engine made
    /// none, another engine perhaps some.
    pub(super) at: usize,
    /// Why it was not.
    pub(super) error: StoreError,
}

/// What a [`Search`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Keys, and where to go on.
    pub(super) page: Page,
    /// The number of all matches of the shard, where it was asked for.
    pub(super) total: usize,
}

/// What became of an [`Erase`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Erased {
    /// How many keys were removed.
    pub(super) deleted: u64,
    /// Where to go on; `None` where no match is left.
    pub(super) resume: Option<Box<[u8]>>,
    /// What ended it early.
    pub(super) stopped: Option<StoreError>,
}

/// What a [`Group`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundGroups {
    /// Keys and groups, and where to go on.
    pub(super) page: GroupPage,
    /// The number of all keys of the shard that match, where it was asked for.
    pub(super) total: usize,
}

/// What a shard is made of, or a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Keys.
    pub keys: usize,
    /// What the key index is made of.
    pub index: IndexStats,
    /// Values that end.
    pub ending: usize,
    /// Keys that were taken out since their value had ended.
    pub expired: u64,
    /// For how long the value has ended that did so first of those that are still counted.
    pub expiry_lag: Duration,
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.keys += other.keys;
        self.index += other.index;
        self.ending += other.ending;
        self.expired += other.expired;
        self.expiry_lag = self.expiry_lag.max(other.expiry_lag);
    }
}
