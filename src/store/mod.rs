//! The store: a handle that knows which actor answers what, and bounds what is in flight.
//!
//! Handlers of requests know only [`Store`]. It hides the engine, how many shards there are and
//! where they live. It knows no HTTP.
//!
//! # Layout
//! - `search`, `batch`, `many`, `erase`: a search, a bulk body, reads of many keys and a removal by filter over
//!   all shards; `groups`: a search that is divided into groups
//! - `engine`: what is asked of whatever holds the data
//!   - `memory`: actors that own keys and values; `shard`: one of them; `turn`: what it was asked
//!     - `durable`: where their data is kept; `journal`: the log that they hand their records to;
//!       `checkpointer`: who takes checkpoints of them
//!   - `remote`: a server elsewhere; `replica`: the index of its keys, and what its log tells
//! - `admission`: who is let in; `actors`: where the actors are; `message`: what they are asked
//! - `shared`: what shards hold together; `stream`: what they change, in one order, for those who follow it;
//!   `merger`: the threads that do their maps' jobs

mod abort;
mod actors;
mod admission;
mod batch;
mod checkpointer;
mod durable;
mod engine;
mod erase;
mod error;
mod groups;
mod journal;
mod many;
mod memory;
mod merger;
mod message;
mod readiness;
mod remote;
mod replica;
mod search;
mod shard;
mod shared;
mod stream;
mod turn;

pub use admission::Manner;
pub use batch::{Batch, BatchChanged};
pub use checkpointer::CheckpointStats;
pub use durable::{DataStats, DurableOptions, LoadStats};
pub use erase::Erasing;
pub use error::{EngineError, StoreError};
pub use groups::{GroupPages, Grouped};
pub use journal::{FILE_BYTES as LOG_FILE_BYTES, JournalStats, SyncObserver};
pub use message::{ChangeCounts, Counted};
pub use readiness::{OpenError, Readiness, Troubles};
pub use remote::{Followed, RemoteOptions};
pub use replica::{PAST_CHANGES_MAX, Past, PastError, ReplicaStats};
pub use search::{Pages, Searched};
pub use stream::{
    Became, ChangeView, ChangesStats, FollowError, Following, Gone, Happened, NoPlace, Place, Seen,
};

use crate::clock::Clock;
use crate::durable::Position;
use crate::lifecycle::{Lifecycle, Stage};
use crate::model::{Changed, Deadline, Key, Mutation, Value};
use crate::trace::Wait;
use abort::abort;
use actors::Actors;
use admission::Admission;
use durable::Durable;
use engine::Engine;
use futures_util::future::try_join_all;
use memory::Memory;
use message::{Found, FoundGroups, Group, ManyChanged, Search};
use remote::Remote;
use shared::{Bounds, Shared};
use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use stream::Origin;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// How long a message of a bulk body may wait for merges. Those of the largest stores take a minute.
const BULK_PATIENCE: Duration = Duration::from_secs(120);

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many shards the keys are divided into.
    pub shards: usize,
    /// How many messages may wait for a shard.
    pub messages_in_flight_max: usize,
    /// The bound on the memory of all keys and values, or of the index of an engine's keys, in bytes.
    pub store_bytes_max: usize,
    /// The bound on the memory of the changes that are kept for those who follow them, in bytes, which counts
    /// as keys and values do.
    pub changes_bytes_max: usize,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// The key of the hash that divides the keys.
    pub hash_key: [u64; 2],
    /// The engine outside of this process, where the data is not in it.
    pub remote: Option<RemoteOptions>,
    /// Where the data of this process is kept, if it is; the shards and the key of the hash are the
    /// directory's then.
    pub durable: Option<DurableOptions>,
    /// By which values end.
    pub clock: Clock,
}

/// The handle of the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    shards: usize,
    /// How many threads have begun to host shards.
    hosts: AtomicUsize,
    searches_aborted: AtomicU64,
}

/// What the store is made of and has seen, summed over its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StoreStats {
    /// Keys and the key index.
    pub counted: Counted,
    /// Bytes that keys, values and changes take, with the room that merges take or that is kept for them.
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
    /// What is measured of a data directory.
    pub data: Option<DataStats>,
    /// What is kept for those who follow the changes.
    pub changes: ChangesStats,
}

impl Store {
    /// A store whose shards are not there yet: threads take them in by [`Store::host`].
    ///
    /// # Errors
    /// Where the system gives no threads for merges, or no random numbers.
    pub fn new(options: StoreOptions, lifecycle: Arc<Lifecycle>) -> io::Result<Self> {
        let StoreOptions {
            shards,
            messages_in_flight_max,
            store_bytes_max,
            changes_bytes_max,
            request_timeout,
            hash_key,
            remote,
            durable,
            clock,
        } = options;
        let durable = durable.filter(|_| remote.is_none());
        let (shards, hash_key) = match &durable {
            None => (shards, hash_key),
            Some(durable) => {
                let layout = durable.directory.layout();
                (layout.shards as usize, layout.hash_key)
            }
        };
        let admission = Arc::new(Admission::new(shards, messages_in_flight_max));
        let bounds = Bounds {
            bytes_max: store_bytes_max,
            changes_bytes_max,
        };
        let shared = Arc::new(Shared::new(shards, bounds, lifecycle, clock)?);
        let (admitted, held) = (admission.clone(), shared.clone());
        let engine = match remote {
            None => {
                let actors = Actors::new(shards, messages_in_flight_max, held.clone());
                if durable.is_none() {
                    held.stream.begin(Origin {
                        incarnation: getrandom::u64().map_err(io::Error::other)?,
                        start: 0,
                        first: Position(0),
                        log: None,
                    });
                }
                let durable = durable.map(|options| Durable::new(options, held.clone()));
                let memory =
                    Memory::new(actors, admitted, held, durable, hash_key, request_timeout);
                Engine::Memory(memory)
            }
            Some(remote) => {
                let actors = Actors::new(shards, messages_in_flight_max, held.clone());
                let remote = Remote::new(remote, actors, admitted, held, request_timeout);
                Engine::Remote(remote.map_err(io::Error::other)?)
            }
        };
        Ok(Self(Arc::new(Inner {
            engine,
            admission,
            shared,
            shards,
            hosts: AtomicUsize::new(0),
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
            if self.0.shared.lifecycle.stage() >= Stage::Stopping {
                return;
            }
            abort("a worker thread was lost with its keys and replaced");
        }
        for shard in (host..self.0.shards).step_by(threads) {
            self.0.engine.host(shard);
        }
    }

    /// Waits until an engine outside of this process can be used, and then has its keys read; loads what
    /// is in a data directory.
    ///
    /// # Errors
    /// Where it never will without a change of the configuration: it refuses our credentials, holds
    /// data of another layout, or drops keys when it is full; the directory is damaged.
    pub async fn open(&self) -> Result<(), OpenError> {
        self.0.engine.open().await
    }

    // No `async fn`s here and in `memory`, where one future is another's: each would hold its arguments
    // once more, and move them.

    /// The value of a key.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full`.
    pub fn get(&self, key: Key) -> impl Future<Output = Result<Option<Value>, StoreError>> {
        self.0.engine.get(key)
    }

    /// Makes a change.
    ///
    /// # Errors
    /// Any [`StoreError`]. After `Timeout` it is unknown whether the change was made; after any
    /// other it was not.
    pub fn change(&self, mutation: Mutation) -> impl Future<Output = Result<Changed, StoreError>> {
        self.0.engine.change(mutation)
    }

    /// Counts the keys and takes the store's measures. Never refused for load.
    ///
    /// # Errors
    /// Where a shard does not answer within `patience`.
    pub async fn stats(&self, patience: Duration) -> Result<StoreStats, StoreError> {
        let _wait = Wait::in_store();
        let asked = (0..self.0.shards).map(|shard| self.0.engine.count(shard));
        let answers = timeout(patience, try_join_all(asked));
        let answers = answers.await.map_err(|_| StoreError::Timeout(patience))??;
        let mut counted = Counted::default();
        for answer in answers {
            counted += answer;
        }
        Ok(StoreStats {
            counted,
            bytes: self.0.shared.taken_bytes(),
            bytes_max: self.0.shared.bytes_max,
            messages_in_flight: self.0.admission.in_flight(),
            messages_refused: self.0.admission.refused(),
            searches_aborted: self.0.searches_aborted.load(Ordering::Relaxed),
            replica: self.0.engine.replica_stats(),
            data: self.0.engine.data_stats(),
            changes: self.0.shared.stream.stats(),
        })
    }

    /// What time it is, for deadlines.
    pub fn now(&self) -> Deadline {
        self.0.shared.clock.now()
    }

    /// Follows the changes that are made from now on, in one order. With a data directory they come once
    /// they are as safe as answers need. A search or read that begins after this shows what was changed before.
    ///
    /// Over an engine elsewhere they come without the bodies of values, some milliseconds after they were made by
    /// whichever server.
    ///
    /// # Errors
    /// `Off` and `Starting`.
    pub async fn follow(&self) -> Result<Following, FollowError> {
        match &self.0.engine {
            Engine::Memory(_) => self.0.shared.stream.follow(),
            Engine::Remote(remote) => Box::pin(remote.follow()).await,
        }
    }

    /// The same from a place on that was given with a change, over a restart too where the data is kept, and by any server
    /// that shares it.
    ///
    /// # Errors
    /// Any [`FollowError`].
    pub async fn follow_after(&self, place: Place) -> Result<Followed, FollowError> {
        match &self.0.engine {
            Engine::Memory(_) => Ok(Followed {
                past: None,
                following: self.0.shared.stream.follow_after(place).await?,
            }),
            Engine::Remote(remote) => Box::pin(remote.follow_after(place)).await,
        }
    }

    /// Whether all actors have shown within the last seconds that they are alive. Asks nobody, so
    /// that overload does not look like death.
    pub fn is_alive(&self) -> bool {
        self.0.shared.is_alive()
    }

    /// Whether requests can be served. Asks nobody.
    pub fn readiness(&self) -> Readiness {
        self.0.engine.readiness()
    }

    /// Whether the values that are read share the memory of those that are stored.
    pub fn shares_values(&self) -> bool {
        self.engine_address().is_none()
    }

    /// Where the engine outside of this process is, if there is one; without its credentials.
    pub fn engine_address(&self) -> Option<String> {
        self.0.engine.address()
    }

    /// Notes that a search ended before its last key.
    pub fn search_aborted(&self) {
        self.0.searches_aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until what a batch or an [`Erasing`] has changed is as safe as a single change is when it is answered. To be
    /// done before anybody hears of it.
    ///
    /// # Errors
    /// `Timeout` where it takes too long: then it is not known.
    pub async fn settled(&self) -> Result<(), StoreError> {
        self.0.engine.settled().await
    }

    /// Ends the store, once nothing is asked of it any more: what waits for the disk is written.
    ///
    /// Where it is kept, a last checkpoint is taken if there is time until a moment.
    pub async fn close(&self, until: Instant) {
        self.0.engine.close(until).await;
    }

    /// Makes changes of one shard, in their order. Waits for admission.
    async fn change_many(
        &self,
        shard: usize,
        mutations: Vec<Mutation>,
    ) -> Result<ManyChanged, StoreError> {
        let _place = self.enter_bulk(shard).await?;
        let engine = &self.0.engine;
        engine.change_many(shard, mutations, BULK_PATIENCE).await
    }

    /// A place among the bulk messages of a shard, which is waited for.
    async fn enter_bulk(&self, shard: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let _wait = Wait::begin();
        self.0.admission.enter_bulk(shard, BULK_PATIENCE).await
    }

    fn search_shard(
        &self,
        shard: usize,
        search: Search,
        manner: Manner,
    ) -> impl Future<Output = Result<Found, StoreError>> {
        self.0.engine.search(shard, search, manner)
    }

    fn group_shard(
        &self,
        shard: usize,
        group: Group,
        manner: Manner,
    ) -> impl Future<Output = Result<FoundGroups, StoreError>> {
        self.0.engine.group(shard, group, manner)
    }

    fn owner(&self, key: &Key) -> usize {
        self.0.engine.owner(key)
    }

    /// How many shards the keys are divided into.
    pub fn shards(&self) -> usize {
        self.0.shards
    }
}
