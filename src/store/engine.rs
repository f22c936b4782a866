//! What a store asks of whatever holds its data: one face, and who is behind it.

use super::StoreError;
use super::admission::Manner;
use super::batch::MESSAGE_CHANGES_MAX;
use super::durable::DataStats;
use super::memory::Memory;
use super::message::{
    Counted, Erase, Erased, Found, FoundGroups, GetMany, Group, ManyChanged, Search,
};
use super::readiness::{OpenError, Readiness, Troubles};
use super::remote::Remote;
use super::replica::ReplicaStats;
use crate::model::{Changed, Fetched, Key, Mutation, Value};
use std::time::{Duration, Instant};

/// Whatever holds the data of a store.
#[derive(Debug)]
pub(super) enum Engine {
    /// Actors of this process.
    Memory(Memory),
    /// A server outside of this process, and an index of its keys in it.
    Remote(Remote),
}

// What goes to an engine elsewhere is boxed: its futures are of kilobytes, and every request would pay
// for their place.
impl Engine {
    /// Waits until the engine can be used.
    ///
    /// # Errors
    /// Where it never will without a change of the configuration.
    pub(super) async fn open(&self) -> Result<(), OpenError> {
        match self {
            Self::Memory(memory) => memory.open().await,
            Self::Remote(remote) => remote.open().await,
        }
    }

    /// Takes a shard in on this thread.
    pub(super) fn host(&self, shard: usize) {
        match self {
            Self::Memory(memory) => memory.host(shard),
            Self::Remote(remote) => remote.host(shard),
        }
    }

    /// Which shard a key belongs to.
    pub(super) fn owner(&self, key: &Key) -> usize {
        match self {
            Self::Memory(memory) => memory.owner(key),
            Self::Remote(remote) => remote.owner(key),
        }
    }

    /// The value of a key.
    pub(super) async fn get(&self, key: Key) -> Result<Option<Value>, StoreError> {
        match self {
            Self::Memory(memory) => memory.get(key).await,
            Self::Remote(remote) => remote.get(&key).await,
        }
    }

    /// The values of keys of one shard, in their order.
    pub(super) async fn get_many(
        &self,
        shard: usize,
        message: GetMany,
        manner: Manner,
    ) -> Result<Vec<Fetched>, StoreError> {
        match self {
            Self::Memory(memory) => memory.get_many(shard, message, manner).await,
            Self::Remote(remote) => Box::pin(remote.get_many(shard, message, manner)).await,
        }
    }

    /// Makes a change.
    pub(super) async fn change(&self, mutation: Mutation) -> Result<Changed, StoreError> {
        match self {
            Self::Memory(memory) => memory.change(mutation).await,
            Self::Remote(remote) => remote.change(mutation).await,
        }
    }

    /// Makes changes of one shard. Waits for admission.
    pub(super) async fn change_many(
        &self,
        shard: usize,
        mutations: Vec<Mutation>,
        patience: Duration,
    ) -> Result<ManyChanged, StoreError> {
        match self {
            Self::Memory(memory) => memory.change_many(shard, mutations, patience).await,
            Self::Remote(remote) => Box::pin(remote.change_many(shard, &mutations, patience)).await,
        }
    }

    /// Removes some keys of a shard that match. Waits for admission.
    pub(super) async fn erase(&self, shard: usize, erase: Erase) -> Result<Erased, StoreError> {
        match self {
            Self::Memory(memory) => memory.erase(shard, erase).await,
            Self::Remote(remote) => Box::pin(remote.erase(shard, erase)).await,
        }
    }

    /// How many keys whoever asks for that holds at the most, of each shard.
    pub(super) fn erasing_keys(&self) -> usize {
        match self {
            // Where it goes on, and once more in the message.
            Self::Memory(_) => 2,
            // A page, its changes, and what is sent of these.
            Self::Remote(_) => 3 * MESSAGE_CHANGES_MAX,
        }
    }

    /// Waits until what was changed is as safe as it is to be.
    pub(super) async fn settled(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.settled().await,
            Self::Remote(_) => Ok(()),
        }
    }

    /// Ends it: what waits is done first.
    pub(super) async fn close(&self, until: Instant) {
        match self {
            Self::Memory(memory) => memory.close(until).await,
            Self::Remote(_) => {}
        }
    }

    /// What is measured of a data directory.
    pub(super) fn data_stats(&self) -> Option<DataStats> {
        match self {
            Self::Memory(memory) => memory.data_stats(),
            Self::Remote(_) => None,
        }
    }

    /// Searches a shard.
    pub(super) async fn search(
        &self,
        shard: usize,
        search: Search,
        manner: Manner,
    ) -> Result<Found, StoreError> {
        match self {
            Self::Memory(memory) => memory.search(shard, search, manner).await,
            Self::Remote(remote) => remote.search(shard, search, manner).await,
        }
    }

    /// Searches a shard and divides what it finds into groups.
    pub(super) async fn group(
        &self,
        shard: usize,
        group: Group,
        manner: Manner,
    ) -> Result<FoundGroups, StoreError> {
        match self {
            Self::Memory(memory) => memory.group(shard, group, manner).await,
            Self::Remote(remote) => remote.group(shard, group, manner).await,
        }
    }

    /// What a shard is made of. Never refused for load.
    pub(super) async fn count(&self, shard: usize) -> Result<Counted, StoreError> {
        match self {
            Self::Memory(memory) => memory.count(shard).await,
            Self::Remote(remote) => remote.count(shard).await,
        }
    }

    /// Whether requests can be served.
    pub(super) fn readiness(&self) -> Readiness {
        let (are_there, readiness) = match self {
            Self::Memory(memory) => {
                let ready = Readiness::Ready(Troubles::default());
                (memory.actors.are_there(), ready)
            }
            Self::Remote(remote) => (remote.actors.are_there(), remote.readiness()),
        };
        match are_there {
            true => readiness,
            false => Readiness::Starting,
        }
    }

    /// What the index of a server elsewhere says of itself.
    pub(super) fn replica_stats(&self) -> Option<ReplicaStats> {
        match self {
            Self::Memory(_) => None,
            Self::Remote(remote) => Some(remote.stats()),
        }
    }

    /// Where a server elsewhere is, without its credentials.
    pub(super) fn address(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Remote(remote) => Some(remote.address()),
        }
    }
}
