//! The store: a handle that knows which actor answers what, and bounds what is in flight.
//!
//! Handlers of requests know only [`Store`]. It hides the engine, how many shards there are and
//! where they live. It knows no HTTP.

mod error;
mod merger;
pub mod message;
mod parked;
mod remote;
mod replica;
mod search;
mod shard;
mod shared;
mod waiting;

pub use error::{EngineError, StoreError};
pub use remote::{OpenError, RemoteOptions};
pub use replica::ReplicaStats;
pub use search::{Pages, Searched};

use crate::lifecycle::{Lifecycle, Stage};
use crate::model::{Key, Mutation, Revision, Value, Written};
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message, Recipient};
use futures_util::future::try_join_all;
use message::{Admitted, Count, Counted, Delete, Get, ManyWritten, Search, Set, SetMany};
use remote::Remote;
use shard::ShardActor;
use shared::Shared;
use siphasher::sip::SipHasher13;
use std::cell::RefCell;
use std::hash::Hasher;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a message of a bulk body may wait for merges. Those of the largest stores take a minute.
const BULK_PATIENCE: Duration = Duration::from_secs(120);

/// Changes in one message: so many take about 150 µs.
pub const SET_MANY_MAX: usize = 64;

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many shards the keys are divided into.
    pub shards: usize,
    /// How many messages may wait for a shard.
    pub messages_in_flight_max: usize,
    /// The bound on the memory of all keys and values, or of the index of an engine's keys, in bytes.
    pub store_bytes_max: usize,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// The key of the hash that divides the keys.
    pub hash_key: [u64; 2],
    /// The engine outside of this process, where the data is not in it.
    pub remote: Option<RemoteOptions>,
}

/// The handle of the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: StoreOptions,
    shards: Vec<Shard>,
    shared: Arc<Shared>,
    remote: Option<Remote>,
    /// How many threads have begun to host shards.
    hosts: AtomicUsize,
    refused: AtomicU64,
    searches_aborted: AtomicU64,
}

/// Where a shard is, once it is there, and who may write to it.
#[derive(Debug)]
struct Shard {
    address: OnceLock<Address>,
    admission: Arc<Semaphore>,
    /// Whom bulk bodies ask before: they take half of the places at the most, since they wait for
    /// them, and keep them while they wait for merges.
    bulk: Arc<Semaphore>,
}

/// Whom a shard's messages go to.
#[derive(Debug)]
struct Address {
    search: Recipient<Admitted<Search>>,
    count: Recipient<Admitted<Count>>,
    keeper: Keeper,
}

/// Who keeps what of a shard.
#[derive(Debug)]
enum Keeper {
    /// Keys and values.
    Memory(Addr<ShardActor>),
    /// Keys; the values are in an engine outside of this process.
    Replica(Addr<replica::ReplicaActor>),
}

/// Whether a message that finds no admission is refused or waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Refuse,
    /// As `Refuse`, and leaves half of the room to others: an engine that takes no writes for a
    /// while holds them all, and should be read meanwhile.
    RefuseEarly,
    Wait,
    Bypass,
}

/// What the store is made of and has seen, summed over its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Keys and the key index.
    pub counted: Counted,
    /// Bytes that keys and values take.
    pub bytes: usize,
    /// The bound on these.
    pub bytes_max: usize,
    /// Messages that wait or are being handled.
    pub messages_in_flight: usize,
    /// Messages that were refused since too many waited.
    pub messages_refused: u64,
    /// Searches that ended before their last key.
    pub searches_aborted: u64,
    /// What the index of an engine outside of this process says of itself.
    pub replica: Option<ReplicaStats>,
}

/// Whether requests can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They can.
    Ready,
    /// Not all shards are there.
    Starting,
    /// The keys of the engine are being read.
    Loading,
    /// The engine has not answered for a while.
    EngineSilent,
    /// The engine holds data of another layout.
    EngineForeign,
}

impl Store {
    /// A store whose shards are not there yet: threads take them in by [`Store::host`].
    ///
    /// # Errors
    /// Where the system gives no threads for merges.
    pub fn new(options: StoreOptions, lifecycle: Arc<Lifecycle>) -> io::Result<Self> {
        let shards = (0..options.shards)
            .map(|_| Shard {
                address: OnceLock::new(),
                admission: Arc::new(Semaphore::new(options.messages_in_flight_max)),
                bulk: Arc::new(Semaphore::new((options.messages_in_flight_max / 2).max(1))),
            })
            .collect();
        let shared = Shared::new(options.shards, options.store_bytes_max, lifecycle)?;
        let remote = options.remote.clone();
        Ok(Self(Arc::new(Inner {
            remote: remote.map(|remote| Remote::new(remote, options.shards)),
            options,
            shards,
            shared: Arc::new(shared),
            hosts: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            searches_aborted: AtomicU64::new(0),
        })))
    }

    /// Takes this thread's share of the shards in, where `threads` threads do so. Called again on
    /// the same thread, it does nothing.
    ///
    /// A thread more than `threads` means that one of them was lost with its keys and replaced:
    /// then this aborts the process.
    ///
    /// # Panics
    /// Outside an actix runtime, and where the system gives no random numbers.
    pub fn host(&self, threads: usize) {
        thread_local! {
            static HOSTED: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
        }
        let this = Arc::downgrade(&self.0);
        let is_hosted = HOSTED.with_borrow(|hosted| hosted.iter().any(|one| one.ptr_eq(&this)));
        if is_hosted {
            return;
        }
        HOSTED.with_borrow_mut(|hosted| hosted.push(this));
        let host = self.0.hosts.fetch_add(1, Ordering::AcqRel);
        if host >= threads {
            if self.is_stopping() {
                return;
            }
            abort("a worker thread was lost with its keys and replaced");
        }
        for shard in (host..self.0.shards.len()).step_by(threads) {
            let address = match &self.0.remote {
                None => self.host_shard(shard),
                Some(remote) => self.host_replica(shard, remote),
            };
            let taken = self.0.shards[shard].address.set(address);
            taken.expect("each host takes other shards");
        }
    }

    fn host_shard(&self, shard: usize) -> Address {
        let actor = ShardActor::new(shard, self.0.shared.clone());
        let actor = self.start(actor.expect("the system gives random numbers"));
        Address {
            search: actor.clone().recipient(),
            count: actor.clone().recipient(),
            keeper: Keeper::Memory(actor),
        }
    }

    fn start<A: Actor<Context = actix::Context<A>>>(&self, actor: A) -> Addr<A> {
        // The bound is the semaphore's; the mailbox must not add a smaller one.
        let mut context = actix::Context::new();
        context.set_mailbox_capacity(self.0.options.messages_in_flight_max);
        context.run(actor)
    }

    // Here and below, what goes to an engine elsewhere is boxed: its futures are of kilobytes, and
    // every request would pay for their place.

    /// The value of a key.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full`.
    pub async fn get(&self, key: Key) -> Result<Option<Value>, StoreError> {
        if let Some(remote) = &self.0.remote {
            return Box::pin(self.get_remote(remote, &key)).await;
        }
        let shard = self.owner(&key);
        self.ask(shard, Get { key }, Admission::Refuse).await
    }

    /// Makes a change that sets a key.
    ///
    /// # Errors
    /// Any [`StoreError`]. After `Timeout` it is unknown whether the change was made; after any
    /// other it was not.
    pub async fn set(&self, mutation: Mutation) -> Result<Written, StoreError> {
        if let Some(remote) = &self.0.remote {
            return Box::pin(self.set_remote(remote, &mutation)).await;
        }
        let shard = self.owner(&mutation.key);
        self.ask(shard, Set { mutation }, Admission::Refuse).await
    }

    /// Makes a change that removes a key. `None` where the key named nothing.
    ///
    /// # Errors
    /// As [`Store::set`], but for `Full`.
    pub async fn delete(&self, mutation: Mutation) -> Result<Option<Revision>, StoreError> {
        if let Some(remote) = &self.0.remote {
            return Box::pin(self.delete_remote(remote, &mutation)).await;
        }
        let shard = self.owner(&mutation.key);
        self.ask(shard, Delete { mutation }, Admission::Refuse)
            .await
    }

    /// Makes changes that set keys of one shard, in their order. Waits for admission.
    ///
    /// # Errors
    /// Where the message as a whole failed; else [`ManyWritten::stopped`] says what failed.
    pub async fn set_many(
        &self,
        shard: usize,
        mutations: Vec<Mutation>,
    ) -> Result<ManyWritten, StoreError> {
        debug_assert!(mutations.len() <= SET_MANY_MAX);
        let bulk = self.0.shards[shard].bulk.clone().acquire_owned();
        let _place = match timeout(BULK_PATIENCE, bulk).await {
            Ok(place) => place.expect("the semaphore is never closed"),
            Err(_) => return Err(StoreError::Timeout(BULK_PATIENCE)),
        };
        if let Some(remote) = &self.0.remote {
            return Box::pin(self.set_many_remote(remote, shard, mutations)).await;
        }
        self.ask_within(BULK_PATIENCE, shard, SetMany { mutations }, Admission::Wait)
            .await
    }

    /// Which shard a key belongs to: by SipHash-1-3 with a secret key, so that clients cannot
    /// choose keys that all fall on one shard; with an engine outside of this process, the shard
    /// that indexes the key's partition.
    pub fn owner(&self, key: &Key) -> usize {
        let shards = self.0.shards.len();
        if self.0.remote.is_some() {
            return remote::share_of_key(key, shards);
        }
        if shards == 1 {
            return 0;
        }
        let [first, second] = self.0.options.hash_key;
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(key.as_bytes());
        ((u128::from(hasher.finish()) * shards as u128) >> 64) as usize
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.shards.len()
    }

    /// Counts the keys and takes the store's measures. Never refused for load.
    ///
    /// # Errors
    /// Where a shard does not answer within `patience`.
    pub async fn stats(&self, patience: Duration) -> Result<StoreStats, StoreError> {
        let asked = (0..self.shards()).map(|shard| {
            let count = async |address: &Address, permit| {
                let message = Count;
                address.count.send(Admitted { message, permit }).await
            };
            self.ask_address(patience, shard, Admission::Bypass, count)
        });
        let answers = timeout(patience, try_join_all(asked));
        let answers = answers.await.map_err(|_| StoreError::Timeout(patience))??;
        let mut counted = Counted::default();
        for answer in answers {
            counted.keys += answer.keys;
            counted.index += answer.index;
        }
        let waiting = |shard: &Shard| {
            self.0.options.messages_in_flight_max - shard.admission.available_permits()
        };
        Ok(StoreStats {
            counted,
            bytes: self.0.shared.bytes(),
            bytes_max: self.0.shared.bytes_max,
            messages_in_flight: self.0.shards.iter().map(waiting).sum(),
            messages_refused: self.0.refused.load(Ordering::Relaxed),
            searches_aborted: self.0.searches_aborted.load(Ordering::Relaxed),
            replica: self.0.remote.as_ref().map(Remote::stats),
        })
    }

    /// Whether all actors have shown within the last seconds that they are alive. Asks nobody, so
    /// that overload does not look like death.
    pub fn is_alive(&self) -> bool {
        self.0.shared.is_alive()
    }

    /// Whether requests can be served. Asks nobody.
    pub fn readiness(&self) -> Readiness {
        let mut shards = self.0.shards.iter();
        if !shards.all(|shard| shard.address.get().is_some()) {
            return Readiness::Starting;
        }
        let remote = self.0.remote.as_ref();
        remote.map_or(Readiness::Ready, Remote::readiness)
    }

    /// Whether the values that are read share the memory of those that are stored.
    pub fn shares_values(&self) -> bool {
        self.0.remote.is_none()
    }

    /// Where the engine outside of this process is, if there is one; without its credentials.
    pub fn engine_address(&self) -> Option<String> {
        self.0.remote.as_ref().map(Remote::address)
    }

    /// Notes that a search ended before its last key.
    pub fn search_aborted(&self) {
        self.0.searches_aborted.fetch_add(1, Ordering::Relaxed);
    }

    async fn ask<M, T>(
        &self,
        shard: usize,
        message: M,
        admission: Admission,
    ) -> Result<T, StoreError>
    where
        M: Message<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        ShardActor: Handler<Admitted<M>>,
        <ShardActor as Actor>::Context: ToEnvelope<ShardActor, Admitted<M>>,
    {
        let patience = self.0.options.request_timeout;
        self.ask_within(patience, shard, message, admission).await
    }

    async fn search_shard(
        &self,
        shard: usize,
        message: Search,
        admission: Admission,
    ) -> Result<message::Found, StoreError> {
        let patience = self.0.options.request_timeout;
        let search = async |address: &Address, permit| {
            address.search.send(Admitted { message, permit }).await
        };
        self.ask_address(patience, shard, admission, search).await
    }

    async fn ask_within<M, T>(
        &self,
        patience: Duration,
        shard: usize,
        message: M,
        admission: Admission,
    ) -> Result<T, StoreError>
    where
        M: Message<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        ShardActor: Handler<Admitted<M>>,
        <ShardActor as Actor>::Context: ToEnvelope<ShardActor, Admitted<M>>,
    {
        let send = async |address: &Address, permit| match &address.keeper {
            Keeper::Memory(address) => address.send(Admitted { message, permit }).await,
            Keeper::Replica(_) => unreachable!("an engine elsewhere is asked for values itself"),
        };
        self.ask_address(patience, shard, admission, send).await
    }

    /// Asks a shard, within a time and the bound on what is in flight.
    async fn ask_address<T>(
        &self,
        patience: Duration,
        shard: usize,
        admission: Admission,
        send: impl AsyncFnOnce(
            &Address,
            Option<OwnedSemaphorePermit>,
        ) -> Result<Result<T, StoreError>, MailboxError>,
    ) -> Result<T, StoreError> {
        let asked = async {
            let permit = self.admit(shard, admission).await?;
            let address = self.0.shards[shard].address.get();
            let address = address.ok_or(StoreError::Starting)?;
            match send(address, permit).await {
                Ok(answer) => answer,
                Err(MailboxError::Closed) => Err(self.lost(shard)),
                Err(MailboxError::Timeout) => Err(StoreError::Timeout(patience)),
            }
        };
        match timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Timeout(patience)),
        }
    }

    async fn admit(
        &self,
        shard: usize,
        admission: Admission,
    ) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let semaphore = self.0.shards[shard].admission.clone();
        let refused = || {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            StoreError::Overloaded
        };
        let permit = match admission {
            Admission::RefuseEarly
                if semaphore.available_permits() <= self.0.options.messages_in_flight_max / 2 =>
            {
                return Err(refused());
            }
            Admission::Refuse | Admission::RefuseEarly => {
                semaphore.try_acquire_owned().map_err(|_| refused())?
            }
            Admission::Wait => {
                let permit = semaphore.acquire_owned().await;
                permit.expect("the semaphore is never closed")
            }
            Admission::Bypass => return Ok(None),
        };
        Ok(Some(permit))
    }

    /// What it means that a shard's mailbox is closed.
    fn lost(&self, shard: usize) -> StoreError {
        if self.is_stopping() {
            return StoreError::Stopping;
        }
        abort(&format!("shard {shard} was lost with its keys"))
    }

    fn is_stopping(&self) -> bool {
        self.0.shared.lifecycle.stage() >= Stage::Stopping
    }
}

/// What a shell reports of an aborted process.
const ABORTED: i32 = 128 + 6;

/// Why a process ends whose background work fails for good: it would park sets for ever.
const BROKEN: &str =
    "new keys can no longer be made part of the index, by a defect or damaged memory";

/// Ends the process at once, so that an orchestrator restarts it.
fn abort(why: &str) -> ! {
    log::error!("{why}; aborting, since the store is no longer whole");
    log::logger().flush();
    // The system keeps the abort's signal from the first process of a container, and a trap follows,
    // which is another exit code.
    if std::process::id() == 1 {
        std::process::exit(ABORTED);
    }
    std::process::abort()
}
