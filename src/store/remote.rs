//! The engine outside of this process.
//!
//! A request for a value goes to it from the thread that has the request, by that thread's own
//! connections. No actor has a part in it, but the bound on what is in flight is the same. Searches are
//! answered by actors that own an index of its keys.
//!
//! # Layout
//! - `readiness`: whether it can be used; `room`: whether the index has room; `whole`: requests that are carried to their
//!   end
//! - `watching`: following what is changed

mod readiness;
mod room;
mod watching;
mod whole;

pub use watching::Followed;

use super::StoreError;
use super::actors::Actors;
use super::admission::{Admission, Manner};
use super::batch::MESSAGE_CHANGES_MAX;
use super::erase::key_of;
use super::message::{
    Admitted, Bodies, Count, Counted, Erase, Erased, Found, FoundGroups, GetMany, Group,
    ManyChanged, Search, Stopped, Taken, Total,
};
use super::replica::{
    Follower, FollowerOptions, Lapser, ReplicaActor, ReplicaStats, ReplicaStatus, Suspect, share_of,
};
use super::shared::Shared;
use crate::model::{Changed, Fetched, Key, Mutation, Value};
use crate::patience::patiently;
use crate::trace::Wait;
use crate::valkey::{Client, Engine, EngineError, Logging, Place};
use actix::dev::ToEnvelope;
use actix::{Context, Handler, Message};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use whole::whole;

/// What of a request's time, in percent, a search waits for its index before it is told so.
const ROUND_PERCENT: u32 = 95;

/// How an engine outside of this process is used.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// The engine.
    pub engine: Arc<Engine>,
    /// How long after a partition was compared with the engine the next is.
    pub scrub_interval: Duration,
    /// How long the engine may be silent before the server is not ready.
    pub unready_after: Duration,
    /// What is to be in the engine's logs, where this server has a say in it.
    pub logging: Option<Logging>,
}

/// An engine outside of this process, and how far its index is.
#[derive(Debug)]
pub(super) struct Remote {
    options: RemoteOptions,
    status: Arc<ReplicaStatus>,
    pub(super) actors: Actors<ReplicaActor>,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    /// How long an answer may take.
    patience: Duration,
    /// Which process tells of changes.
    incarnation: u64,
}

thread_local! {
    /// This thread's access to each engine, by its status' address.
    static CLIENTS: RefCell<HashMap<usize, Rc<Client>>> = RefCell::default();
}

impl Remote {
    /// # Errors
    /// Where the system gives no random number.
    pub(super) fn new(
        options: RemoteOptions,
        actors: Actors<ReplicaActor>,
        admission: Arc<Admission>,
        shared: Arc<Shared>,
        patience: Duration,
    ) -> Result<Self, getrandom::Error> {
        let incarnation = getrandom::u64()?;
        shared.stream.begin_with_shares(incarnation, actors.len());
        Ok(Self {
            options,
            status: Arc::new(ReplicaStatus::new(actors.len())),
            actors,
            admission,
            shared,
            patience,
            incarnation,
        })
    }

    pub(super) fn stats(&self) -> ReplicaStats {
        let engine = &self.options.engine;
        self.status.stats(engine.reconnects(), engine.outage())
    }

    pub(super) fn address(&self) -> String {
        self.options.engine.address().to_string()
    }

    /// Takes a share of the index in on this thread.
    pub(super) fn host(&self, shard: usize) {
        let patience = self.patience * ROUND_PERCENT / 100;
        let (actor, rounds) = ReplicaActor::new(shard, patience, self.shared.clone());
        let shares = self.actors.len();
        let options = FollowerOptions {
            client: self.client(),
            actor: self.actors.host(shard, actor),
            rounds: rounds.clone(),
            status: self.status.clone(),
            share: shard,
            shares,
            patience: self.patience,
            scrub_interval: self.options.scrub_interval * shares as u32,
            logging: self.options.logging,
            stream: self.shared.stream.clone(),
            incarnation: self.incarnation,
        };
        let lapser = Lapser {
            client: self.client(),
            rounds,
            status: self.status.clone(),
            clock: self.shared.clock.clone(),
            share: shard,
            shares,
            patience: self.patience,
        };
        actix::spawn(lapser.run());
        let ended = FollowerEnded(self.shared.clone(), shard);
        actix::spawn(async move {
            // Without it no search is answered any more. It ends by a panic only, or with the process.
            let _ended = ended;
            Follower::new(options).run().await;
        });
    }

    /// Which shard a key belongs to: the one that indexes the key's partition.
    pub(super) fn owner(&self, key: &Key) -> usize {
        share_of(Place::of(key.as_bytes()).partition, self.actors.len())
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let _wait = Wait::in_store();
        let (permit, deadline) = self.enter(self.owner(key), Manner::Refuse).await?;
        let (client, asked) = (self.client(), key.clone());
        let value = whole(async move {
            let value = client.get(&asked, deadline).await;
            drop(permit);
            value
        });
        let value = value.await?;
        Ok(value.filter(|value| value.is_there(self.shared.clock.now())))
    }

    pub(super) async fn get_many(
        &self,
        shard: usize,
        message: GetMany,
        manner: Manner,
    ) -> Result<Vec<Fetched>, StoreError> {
        let GetMany { keys, bodies } = message;
        let wait = Wait::begin();
        let entered = timeout(self.patience, self.enter(shard, manner)).await;
        let (permit, deadline) = entered.unwrap_or(Err(StoreError::Timeout(self.patience)))?;
        wait.let_in();
        let client = self.client();
        let fetched = whole(async move {
            let fetched = match bodies {
                Bodies::UpTo(bytes) => client.get_short(&keys, bytes, deadline).await,
                Bodies::All => {
                    let values = client.get_many(&keys, deadline).await;
                    let fetched = |value| Fetched::of(value, usize::MAX);
                    values.map(|values| values.into_iter().map(fetched).collect())
                }
            };
            drop(permit);
            fetched
        });
        let clock = &self.shared.clock;
        let fetched = fetched.await?.into_iter();
        Ok(fetched.map(|one| one.there_at(|| clock.now())).collect())
    }

    pub(super) async fn change(&self, mutation: Mutation) -> Result<Changed, StoreError> {
        let shard = self.owner(&mutation.key);
        let _wait = Wait::in_store();
        let (permit, deadline) = self.enter(shard, Manner::RefuseEarly).await?;
        let some = std::slice::from_ref(&mutation);
        if Box::pin(self.that_fit(shard, some, deadline)).await? == 0 {
            return Err(self.shared.full());
        }
        let client = self.client();
        let partition = Place::of(mutation.key.as_bytes()).partition;
        let changed = whole(async move {
            let changed = client.change(&mutation, deadline).await;
            drop(permit);
            changed
        });
        changed.await.map_err(|error| {
            self.doubt(partition, error);
            error.into()
        })
    }

    /// Makes changes in pipelines in which no key is twice, so that those of one key are made in order.
    pub(super) async fn change_many(
        &self,
        shard: usize,
        mutations: &[Mutation],
        patience: Duration,
    ) -> Result<ManyChanged, StoreError> {
        let wait = Wait::begin();
        self.wait_for_merges(mutations, patience).await;
        let (_permit, _) = self.enter(shard, Manner::Wait).await?;
        wait.let_in();
        let client = self.client();
        let mut many = ManyChanged::default();
        let mut begun = 0;
        while begun < mutations.len() && many.stopped.is_none() {
            let mut keys = HashSet::new();
            let rest = &mutations[begun..];
            let distinct = rest
                .iter()
                .take_while(|mutation| keys.insert(&mutation.key));
            let some = &rest[..distinct.count()];
            let deadline = Instant::now() + self.patience;
            let (some, stopped) = match self.that_fit(shard, some, deadline).await {
                Ok(all) if all == some.len() => (some, None),
                Ok(count) => (&some[..count], Some(self.shared.full())),
                Err(error) => (&some[..0], Some(error)),
            };
            let answers = match some {
                [] => Vec::new(),
                _ => client.change_many(some, deadline).await,
            };
            for (index, answer) in answers.into_iter().enumerate() {
                match answer {
                    Ok(changed) => many.add(begun + index, changed),
                    Err(error) => {
                        self.doubt(Place::of(some[index].key.as_bytes()).partition, error);
                        let (at, error) = (begun + index, StoreError::Engine(error));
                        many.stopped.get_or_insert(Stopped { at, error });
                    }
                }
            }
            begun += some.len();
            if let Some(error) = stopped {
                many.stopped.get_or_insert(Stopped { at: begun, error });
            }
        }
        Ok(many)
    }

    pub(super) async fn search(
        &self,
        shard: usize,
        search: Search,
        manner: Manner,
    ) -> Result<Found, StoreError> {
        self.ask(shard, search, manner).await
    }

    pub(super) async fn group(
        &self,
        shard: usize,
        group: Group,
        manner: Manner,
    ) -> Result<FoundGroups, StoreError> {
        self.ask(shard, group, manner).await
    }

    /// Asks the index of a shard, within a time and the bound on what is in flight.
    async fn ask<M, T>(&self, shard: usize, message: M, manner: Manner) -> Result<T, StoreError>
    where
        M: Message<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        ReplicaActor: Handler<Admitted<M>>,
        Context<ReplicaActor>: ToEnvelope<ReplicaActor, Admitted<M>>,
    {
        let wait = Wait::begin();
        let asked = async {
            let permit = Some(self.admission.enter(shard, manner).await?);
            wait.let_in();
            self.actors.send(shard, Admitted { message, permit }).await
        };
        let found = patiently(self.patience, asked).await;
        let Taken { answer, at } = found.unwrap_or(Err(StoreError::Timeout(self.patience)))?;
        wait.taken_up(at);
        answer
    }

    /// Removes the keys of a page of the index, in one pipeline.
    pub(super) async fn erase(
        &self,
        shard: usize,
        Erase { filter, after }: Erase,
    ) -> Result<Erased, StoreError> {
        let search = Search {
            filter,
            // Which waits until the index has all that was acknowledged before.
            total: match after.is_empty() {
                true => Total::Wanted,
                false => Total::Known,
            },
            after,
            limit: MESSAGE_CHANGES_MAX,
        };
        let Found { page, .. } = self.search(shard, search, Manner::Wait).await?;
        let keys = page.keys.iter().map(key_of);
        let mutations: Vec<Mutation> = keys.map(Mutation::delete).collect();
        let changed = self.change_many(shard, &mutations, self.patience);
        let ManyChanged {
            counts, stopped, ..
        } = changed.await?;
        Ok(Erased {
            deleted: counts.deleted,
            resume: page.resume,
            stopped: stopped.map(|stopped| stopped.error),
        })
    }

    pub(super) async fn count(&self, shard: usize) -> Result<Counted, StoreError> {
        self.actors.ask(shard, Count).await
    }

    /// What precedes asking the engine for a request: a place among those in flight, held for as long
    /// as the permit, and until when an answer must be there.
    async fn enter(
        &self,
        shard: usize,
        manner: Manner,
    ) -> Result<(OwnedSemaphorePermit, Instant), StoreError> {
        if self.status.is_foreign() {
            return Err(EngineError::Layout.into());
        }
        let permit = self.admission.enter(shard, manner).await?;
        Ok((permit, Instant::now() + self.patience))
    }

    /// Has a partition looked at whose log or head may be what made a change fail. Not again soon, since
    /// it may be a bucket, which no reading mends.
    fn doubt(&self, partition: usize, error: EngineError) {
        if error == EngineError::Foreign
            && self.status.may_doubt(partition)
            && let Ok(actor) = self.actors.get(share_of(partition, self.actors.len()))
        {
            actor.do_send(Suspect { partition });
        }
    }

    /// This thread's access to the engine.
    fn client(&self) -> Rc<Client> {
        let identity = Arc::as_ptr(&self.status) as usize;
        CLIENTS.with_borrow_mut(|clients| {
            let make = || {
                let client = self.options.engine.client();
                Rc::new(client.expect("the address was parsed when the configuration was"))
            };
            clients.entry(identity).or_insert_with(make).clone()
        })
    }
}

/// Ends the process as the end of an actor does.
struct FollowerEnded(Arc<Shared>, usize);

impl Drop for FollowerEnded {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}
