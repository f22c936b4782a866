//! The store over an engine outside of this process: what `Store` does where values are elsewhere.
//!
//! A request for a value goes to the engine from the thread that has the request, by that thread's
//! own connections. No actor has a part in it, but the bound on what is in flight is the same.

use super::message::{ManyWritten, Stopped};
use super::replica::{Follower, FollowerOptions, ReplicaActor, ReplicaStats, ReplicaStatus};
use super::replica::{Has, Suspect, share_of};
use super::{Address, Admission, Keeper, Readiness, Store, StoreError};
use crate::model::{Key, Mutation, Revision, Value, Written};
use crate::valkey::{Client, Engine, EngineError, Place};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What of a request's time, in percent, a search waits for its index before it is told so.
const ROUND_PERCENT: u32 = 95;

/// What a new key takes in the index besides its own bytes, about, until a merge: in bytes.
const INDEX_ENTRY_BYTES: usize = 60;

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
        let get = async |client: Rc<Client>, deadline| client.get(key, deadline).await;
        self.engine(remote, key, Admission::Refuse, get).await
    }

    pub(super) async fn set_remote(
        &self,
        remote: &Remote,
        mutation: &Mutation,
    ) -> Result<Written, StoreError> {
        self.check_index_room(&mutation.key).await?;
        let set = async |client: Rc<Client>, deadline| client.set(mutation, deadline).await;
        self.engine(remote, &mutation.key, Admission::RefuseEarly, set)
            .await
    }

    pub(super) async fn delete_remote(
        &self,
        remote: &Remote,
        mutation: &Mutation,
    ) -> Result<Option<Revision>, StoreError> {
        let delete = async |client: Rc<Client>, deadline| client.delete(mutation, deadline).await;
        self.engine(remote, &mutation.key, Admission::RefuseEarly, delete)
            .await
    }

    /// Sets keys in pipelines in which no key is twice, so that lines of one key apply in order.
    pub(super) async fn set_many_remote(
        &self,
        remote: &Remote,
        shard: usize,
        mutations: Vec<Mutation>,
    ) -> Result<ManyWritten, StoreError> {
        remote.check()?;
        let _permit = self.admit(shard, Admission::Wait).await?;
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
            let (some, full) = self.that_fit(some).await;
            let deadline = Instant::now() + self.0.options.request_timeout;
            let answers = client.set_many(some, deadline).await;
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
            if let Some(error) = full {
                let at = begun;
                written.stopped.get_or_insert(Stopped { at, error });
            }
        }
        Ok(written)
    }

    /// Those of some changes before the first that the index has no room for, and why it has none.
    async fn that_fit<'a>(&self, some: &'a [Mutation]) -> (&'a [Mutation], Option<StoreError>) {
        for (index, mutation) in some.iter().enumerate() {
            if let Err(error) = self.check_index_room(&mutation.key).await {
                return (&some[..index], Some(error));
            }
        }
        (some, None)
    }

    /// Whether this server's index has room for a key; for one that it has, it always has. What
    /// others add is indexed all the same.
    async fn check_index_room(&self, key: &Key) -> Result<(), StoreError> {
        let bytes_max = self.0.options.store_bytes_max;
        let held = self.0.shared.bytes.load(Ordering::Relaxed);
        if held.saturating_add(key.as_bytes().len() + INDEX_ENTRY_BYTES) <= bytes_max {
            return Ok(());
        }
        let has = async |address: &Address, _| match &address.keeper {
            Keeper::Replica(actor) => actor.send(Has { key: key.clone() }).await,
            Keeper::Memory(_) => unreachable!("the shards of an engine elsewhere are replicas"),
        };
        let (patience, shard) = (self.0.options.request_timeout, self.owner(key));
        let asked = Box::pin(self.ask_address(patience, shard, Admission::Bypass, has));
        match asked.await? {
            true => Ok(()),
            false => Err(StoreError::Full { bytes_max }),
        }
    }

    /// Asks the engine, within a request's time and the bound on what is in flight.
    async fn engine<T>(
        &self,
        remote: &Remote,
        key: &Key,
        admission: Admission,
        ask: impl AsyncFnOnce(Rc<Client>, Instant) -> Result<T, EngineError>,
    ) -> Result<T, StoreError> {
        remote.check()?;
        let _permit = self.admit(self.owner(key), admission).await?;
        let deadline = Instant::now() + self.0.options.request_timeout;
        let answer = ask(self.client(remote), deadline).await;
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

/// Which shard indexes a key.
pub(super) fn share_of_key(key: &Key, shards: usize) -> usize {
    share_of(Place::of(key.as_bytes()).partition, shards)
}
