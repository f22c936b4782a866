//! The engine in this process: actors that own keys and values, one a shard.

use super::StoreError;
use super::actors::Actors;
use super::admission::{Admission, Manner};
use super::durable::{DataStats, Durable};
use super::message::{
    Admitted, Change, ChangeMany, Count, Counted, Erase, Erased, Found, FoundGroups, Get, GetMany,
    Group, ManyChanged, Search, Taken,
};
use super::readiness::OpenError;
use super::shard::ShardActor;
use super::shared::{HEARTBEAT, Shared};
use crate::durable::LoadedShard;
use crate::model::{Changed, Fetched, Key, Mutation, Value};
use crate::patience::patiently;
use crate::trace::Wait;
use actix::Message;
use actix::dev::ToEnvelope;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How often it is looked whether all shards have started that were loaded.
const HOST_POLL: Duration = Duration::from_millis(1);

/// The engine in this process.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) actors: Arc<Actors<ShardActor>>,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    /// Where the data is kept, if it is.
    pub(super) durable: Option<Durable>,
    /// The key of the hash that divides the keys.
    hash_key: [u64; 2],
    /// How long an answer may take.
    patience: Duration,
}

impl Memory {
    pub(super) fn new(
        actors: Actors<ShardActor>,
        admission: Arc<Admission>,
        shared: Arc<Shared>,
        durable: Option<Durable>,
        hash_key: [u64; 2],
        patience: Duration,
    ) -> Self {
        Self {
            actors: Arc::new(actors),
            admission,
            shared,
            durable,
            hash_key,
            patience,
        }
    }

    /// Takes a shard in on this thread; where data is kept, once that of the shard was loaded.
    pub(super) fn host(&self, shard: usize) {
        let (actors, shared) = (self.actors.clone(), self.shared.clone());
        let host = move |loaded, journal| {
            let actor = ShardActor::new(shard, shared, loaded, journal);
            let actor = actor.expect("the system gives random numbers");
            actors.host(shard, actor);
        };
        let Some(durable) = &self.durable else {
            return host(LoadedShard::default(), None);
        };
        let (loaded, shared) = (durable.loaded(shard), self.shared.clone());
        actix::spawn(async move {
            let mut beats = tokio::time::interval(HEARTBEAT);
            tokio::pin!(loaded);
            loop {
                tokio::select! {
                    // Nothing comes where it cannot be loaded: the process ends then.
                    loaded = &mut loaded => match loaded {
                        Some((loaded, journal)) => return host(loaded, Some(journal)),
                        None => return,
                    },
                    _ = beats.tick() => shared.beat(shard),
                }
            }
        });
    }

    /// Loads what is kept, and begins the log.
    ///
    /// # Errors
    /// Where what is there is not what was acknowledged.
    pub(super) async fn open(&self) -> Result<(), OpenError> {
        if let Some(durable) = &self.durable {
            let loaded = durable.load().await?;
            while !self.actors.are_there() {
                tokio::time::sleep(HOST_POLL).await;
            }
            durable.tell(&loaded);
        }
        Ok(())
    }

    /// Waits until all is on disk that was changed before.
    ///
    /// # Errors
    /// `Timeout` where it takes too long.
    pub(super) async fn settled(&self) -> Result<(), StoreError> {
        let Some(journal) = self.durable.as_ref().and_then(Durable::journal) else {
            return Ok(());
        };
        let _wait = Wait::in_store();
        let settled = timeout(self.patience, journal.settled()).await;
        settled.map_err(|_| StoreError::Timeout(self.patience))
    }

    /// Writes what waits for the disk.
    pub(super) async fn close(&self, until: Instant) {
        if let Some(durable) = &self.durable {
            durable.close(until).await;
        }
    }

    pub(super) fn data_stats(&self) -> Option<DataStats> {
        self.durable.as_ref()?.stats()
    }

    /// Which shard a key belongs to: by SipHash-1-3 with a secret key, so that clients cannot choose
    /// keys that all fall on one shard.
    pub(super) fn owner(&self, key: &Key) -> usize {
        let shards = self.actors.len();
        if shards == 1 {
            return 0;
        }
        let [first, second] = self.hash_key;
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(key.as_bytes());
        ((u128::from(hasher.finish()) * shards as u128) >> 64) as usize
    }

    pub(super) fn get(&self, key: Key) -> impl Future<Output = Result<Option<Value>, StoreError>> {
        let shard = self.owner(&key);
        self.ask(shard, Get { key }, Manner::Refuse)
    }

    pub(super) fn get_many(
        &self,
        shard: usize,
        message: GetMany,
        manner: Manner,
    ) -> impl Future<Output = Result<Vec<Fetched>, StoreError>> {
        self.ask(shard, message, manner)
    }

    pub(super) fn change(
        &self,
        mutation: Mutation,
    ) -> impl Future<Output = Result<Changed, StoreError>> {
        let shard = self.owner(&mutation.key);
        self.ask(shard, Change { mutation }, Manner::Refuse)
    }

    pub(super) fn change_many(
        &self,
        shard: usize,
        mutations: Vec<Mutation>,
        patience: Duration,
    ) -> impl Future<Output = Result<ManyChanged, StoreError>> {
        self.ask_within(patience, shard, ChangeMany { mutations }, Manner::Wait)
    }

    pub(super) fn erase(
        &self,
        shard: usize,
        erase: Erase,
    ) -> impl Future<Output = Result<Erased, StoreError>> {
        self.ask(shard, erase, Manner::Wait)
    }

    pub(super) fn search(
        &self,
        shard: usize,
        search: Search,
        manner: Manner,
    ) -> impl Future<Output = Result<Found, StoreError>> {
        self.ask(shard, search, manner)
    }

    pub(super) fn group(
        &self,
        shard: usize,
        group: Group,
        manner: Manner,
    ) -> impl Future<Output = Result<FoundGroups, StoreError>> {
        self.ask(shard, group, manner)
    }

    pub(super) fn count(&self, shard: usize) -> impl Future<Output = Result<Counted, StoreError>> {
        self.actors.ask(shard, Count)
    }

    pub(super) fn ask<M, T>(
        &self,
        shard: usize,
        message: M,
        manner: Manner,
    ) -> impl Future<Output = Result<T, StoreError>>
    where
        M: Message<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        ShardActor: actix::Handler<Admitted<M>>,
        actix::Context<ShardActor>: ToEnvelope<ShardActor, Admitted<M>>,
    {
        self.ask_within(self.patience, shard, message, manner)
    }

    /// Asks a shard, within a time and the bound on what is in flight.
    pub(super) async fn ask_within<M, T>(
        &self,
        patience: Duration,
        shard: usize,
        message: M,
        manner: Manner,
    ) -> Result<T, StoreError>
    where
        M: Message<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        ShardActor: actix::Handler<Admitted<M>>,
        actix::Context<ShardActor>: ToEnvelope<ShardActor, Admitted<M>>,
    {
        let wait = Wait::begin();
        let asked = async {
            let permit = Some(self.admission.enter(shard, manner).await?);
            wait.let_in();
            self.actors.send(shard, Admitted { message, permit }).await
        };
        let answer = patiently(patience, asked).await;
        let Taken { answer, at } = answer.unwrap_or(Err(StoreError::Timeout(patience)))?;
        wait.taken_up(at);
        answer
    }
}
