//! The store over an engine outside of this process: what `Store` does where values are elsewhere.
//!
//! A request for a value goes to the engine from the thread that has the request, by that thread's
//! own connections. No actor has a part in it, but the bound on what is in flight is the same.

use super::message::{ManyWritten, Stopped};
use super::replica::{Follower, FollowerOptions, ReplicaActor, ReplicaStats, ReplicaStatus};
use super::replica::{Known, Suspect, share_of};
use super::shared::Fit;
use super::{Address, Admission, BULK_PATIENCE, Keeper, Readiness, Store, StoreError};
use crate::model::{Key, Mutation, Revision, Value, Written};
use crate::valkey::{Client, Engine, EngineError, Place};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

/// What of a request's time, in percent, a search waits for its index before it is told so.
const ROUND_PERCENT: u32 = 95;

/// What a new key takes in the index besides its own bytes, about, until a merge: in bytes.
const INDEX_ENTRY_BYTES: usize = 60;

/// How long to wait before the index is looked at again, whose merges leave no room.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// How long to wait before an engine that could not be reached is tried again at the start.
const START_PAUSE: Duration = Duration::from_millis(200);

/// How an engine outside of this process is used.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// The engine.
    pub engine: Arc<Engine>,
    /// How long after a partition was compared with the engine the next is.
    pub scrub_interval: Duration,
    /// How long the engine may be silent before the server is not ready.
    pub unready_after: Duration,
}

/// An engine outside of this process, and how far its index is.
#[derive(Debug)]
pub(super) struct Remote {
    options: RemoteOptions,
    status: Arc<ReplicaStatus>,
}

thread_local! {
    /// This thread's access to each engine, by the store's address.
    static CLIENTS: RefCell<HashMap<usize, Rc<Client>>> = RefCell::default();
}

impl Remote {
    pub(super) fn new(options: RemoteOptions, shards: usize) -> Self {
        Self {
            options,
            status: Arc::new(ReplicaStatus::new(shards)),
        }
    }

    pub(super) fn stats(&self) -> ReplicaStats {
        self.status.stats(self.options.engine.reconnects())
    }

    pub(super) fn address(&self) -> String {
        self.options.engine.address().to_string()
    }

    /// Whether the engine may be asked.
    fn check(&self) -> Result<(), EngineError> {
        if self.status.is_foreign() {
            return Err(EngineError::Layout);
        }
        Ok(())
    }

    pub(super) fn readiness(&self) -> Readiness {
        if self.status.is_foreign() {
            Readiness::EngineForeign
        } else if self.status.silence() > self.options.unready_after {
            Readiness::EngineSilent
        } else if self.status.is_loaded() {
            Readiness::Ready
        } else {
            Readiness::Loading
        }
    }
}

impl Store {
    /// Waits until the engine outside of this process can be used, and then has its keys read.
    ///
    /// # Errors
    /// Where it never will without a change of the configuration: it refuses our credentials, holds
    /// data of another layout, or drops keys when it is full.
    pub async fn open(&self) -> Result<(), OpenError> {
        let Some(remote) = &self.0.remote else {
            return Ok(());
        };
        let client = remote.options.engine.client();
        let client = client.map_err(|error| OpenError::Address(error.to_string()))?;
        let mut said = None;
        loop {
            let deadline = Instant::now() + self.0.options.request_timeout;
            let checked = async {
                client.check_layout(deadline).await?;
                client.evicts().await
            };
            let error = match checked.await {
                Ok(false) => break,
                Ok(true) => return Err(OpenError::Evicts),
                Err(error @ (EngineError::Denied | EngineError::Layout | EngineError::Foreign)) => {
                    return Err(OpenError::Refused(error));
                }
                Err(error) => error,
            };
            if said.replace(error) != Some(error) {
                let address = remote.options.engine.address();
                log::warn!("not ready, since {address} cannot be used yet: {error}");
            }
            sleep(START_PAUSE).await;
        }
        remote.status.open();
        Ok(())
    }

    pub(super) fn host_replica(&self, shard: usize, remote: &Remote) -> Address {
        let patience = self.0.options.request_timeout;
        let (actor, waiting) =
            ReplicaActor::new(shard, patience * ROUND_PERCENT / 100, self.0.shared.clone());
        let actor = self.start(actor);
        let options = FollowerOptions {
            client: self.client(remote),
            actor: actor.clone(),
            waiting,
            status: remote.status.clone(),
            share: shard,
            shares: self.shards(),
            patience,
            scrub_interval: remote.options.scrub_interval * self.shards() as u32,
        };
        actix::spawn(Follower::new(options).run());
        Address {
            search: actor.clone().recipient(),
            count: actor.clone().recipient(),
            keeper: Keeper::Replica(actor),
        }
    }

    pub(super) async fn get_remote(
        &self,
        remote: &Remote,
        key: &Key,
    ) -> Result<Option<Value>, StoreError> {
        let (_permit, deadline) = self
            .enter(remote, self.owner(key), Admission::Refuse)
            .await?;
        let value = self.client(remote).get(key, deadline).await;
        self.answered(key, value)
    }

    pub(super) async fn set_remote(
        &self,
        remote: &Remote,
        mutation: &Mutation,
    ) -> Result<Written, StoreError> {
        let shard = self.owner(&mutation.key);
        let (_permit, deadline) = self.enter(remote, shard, Admission::RefuseEarly).await?;
        let some = std::slice::from_ref(mutation);
        if Box::pin(self.that_fit(shard, some, deadline)).await? == 0 {
            return Err(self.full());
        }
        let written = self.client(remote).set(mutation, deadline).await;
        self.answered(&mutation.key, written)
    }

    pub(super) async fn delete_remote(
        &self,
        remote: &Remote,
        mutation: &Mutation,
    ) -> Result<Option<Revision>, StoreError> {
        let key = &mutation.key;
        let (_permit, deadline) = self
            .enter(remote, self.owner(key), Admission::RefuseEarly)
            .await?;
        let revision = self.client(remote).delete(mutation, deadline).await;
        self.answered(key, revision)
    }

    /// Sets keys in pipelines in which no key is twice, so that lines of one key apply in order.
    pub(super) async fn set_many_remote(
        &self,
        remote: &Remote,
        shard: usize,
        mutations: Vec<Mutation>,
    ) -> Result<ManyWritten, StoreError> {
        self.wait_for_merges(&mutations).await;
        let (_permit, _) = self.enter(remote, shard, Admission::Wait).await?;
        let client = self.client(remote);
        let mut written = ManyWritten::default();
        let mut begun = 0;
        while begun < mutations.len() && written.stopped.is_none() {
            let mut keys = HashSet::new();
            let rest = &mutations[begun..];
            let distinct = rest
                .iter()
                .take_while(|mutation| keys.insert(&mutation.key));
            let some = &rest[..distinct.count()];
            let deadline = Instant::now() + self.0.options.request_timeout;
            let (some, stopped) = match self.that_fit(shard, some, deadline).await {
                Ok(all) if all == some.len() => (some, None),
                Ok(count) => (&some[..count], Some(self.full())),
                Err(error) => (&some[..0], Some(error)),
            };
            let answers = match some {
                [] => Vec::new(),
                _ => client.set_many(some, deadline).await,
            };
            for (index, answer) in answers.into_iter().enumerate() {
                match answer {
                    Ok(Written { created: true, .. }) => written.created += 1,
                    Ok(Written { created: false, .. }) => written.updated += 1,
                    Err(error) => {
                        self.doubt(&some[index].key, error);
                        let (at, error) = (begun + index, StoreError::Engine(error));
                        written.stopped.get_or_insert(Stopped { at, error });
                    }
                }
            }
            begun += some.len();
            if let Some(error) = stopped {
                let at = begun;
                written.stopped.get_or_insert(Stopped { at, error });
            }
        }
        Ok(written)
    }

    /// How many of some changes of a shard come before the first that its index has no room for. It
    /// always has for a key that there is. What others add is indexed all the same.
    async fn that_fit(
        &self,
        shard: usize,
        some: &[Mutation],
        deadline: Instant,
    ) -> Result<usize, StoreError> {
        // What merges take for a while is no reason to refuse: bulk bodies have waited for it.
        if self.0.shared.fit(index_bytes(some)) != Fit::Never {
            return Ok(some.len());
        }
        let keys = some.iter().map(|mutation| mutation.key.clone()).collect();
        let known = async |address: &Address, _| match &address.keeper {
            Keeper::Replica(actor) => actor.send(Known { keys }).await,
            Keeper::Memory(_) => unreachable!("the shards of an engine elsewhere are replicas"),
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        let asked = self.ask_address(patience, shard, Admission::Bypass, known);
        asked.await.map_err(|error| match error {
            // Nothing was asked of the engine yet.
            StoreError::Timeout(_) => StoreError::Engine(EngineError::Behind),
            error => error,
        })
    }

    /// Waits while it is merges that leave no room for some changes.
    async fn wait_for_merges(&self, some: &[Mutation]) {
        let bytes = index_bytes(some);
        let patience = Instant::now() + BULK_PATIENCE;
        while self.0.shared.fit(bytes) == Fit::AfterMerges && Instant::now() < patience {
            sleep(ROOM_PAUSE).await;
        }
    }

    fn full(&self) -> StoreError {
        let bytes_max = self.0.shared.bytes_max;
        StoreError::Full { bytes_max }
    }

    /// What precedes asking the engine for a request: a place among those in flight, held for as long
    /// as the permit, and until when an answer must be there.
    async fn enter(
        &self,
        remote: &Remote,
        shard: usize,
        admission: Admission,
    ) -> Result<(Option<OwnedSemaphorePermit>, Instant), StoreError> {
        remote.check()?;
        let permit = self.admit(shard, admission).await?;
        Ok((permit, Instant::now() + self.0.options.request_timeout))
    }

    /// What the engine's answer is for who asked.
    fn answered<T>(&self, key: &Key, answer: Result<T, EngineError>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            self.doubt(key, error);
            error.into()
        })
    }

    /// Has a partition looked at whose log or head may be what made a change fail.
    fn doubt(&self, key: &Key, error: EngineError) {
        let address = self.0.shards[self.owner(key)].address.get();
        if let EngineError::Foreign | EngineError::Other = error
            && let Some(Keeper::Replica(actor)) = address.map(|address| &address.keeper)
        {
            let partition = Place::of(key.as_bytes()).partition;
            actor.do_send(Suspect { partition });
        }
    }

    /// This thread's access to the engine.
    fn client(&self, remote: &Remote) -> Rc<Client> {
        let identity = Arc::as_ptr(&self.0) as usize;
        CLIENTS.with_borrow_mut(|clients| {
            let make = || {
                let client = remote.options.engine.client();
                Rc::new(client.expect("the address was parsed when the configuration was"))
            };
            clients.entry(identity).or_insert_with(make).clone()
        })
    }
}

/// Why an engine outside of this process can never be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It says no, and always will.
    #[error("{0}")]
    Refused(EngineError),
    /// It may drop keys.
    #[error(
        "the engine drops keys when it is full (maxmemory-policy allkeys-…), and would drop many \
         at once without a trace: set its maxmemory-policy to noeviction"
    )]
    Evicts,
    /// The client does not take its address.
    #[error("the engine's address is of no use: {0}")]
    Address(String),
}

/// What the index takes of some keys, were all of them new, in bytes.
fn index_bytes(some: &[Mutation]) -> usize {
    let bytes = |mutation: &Mutation| mutation.key.as_bytes().len() + INDEX_ENTRY_BYTES;
    some.iter().map(bytes).sum()
}

/// Which shard indexes a key.
pub(super) fn share_of_key(key: &Key, shards: usize) -> usize {
    share_of(Place::of(key.as_bytes()).partition, shards)
}
