//! Owns the key index of one share of the partitions, on the thread that it was started on.
//!
//! As the memory engine's actor it handles one message at a time, about 200 µs each, and catches
//! panics. A search first waits for a round of the follower that begins after it came.

use super::Rounds;
use crate::keymap::{KeyIndex, Room};
use crate::model::Key;
use crate::store::StoreError;
use crate::store::abort::{BROKEN, abort};
use crate::store::merger::JobDone;
use crate::store::message::{
    Admitted, Count, Counted, Found, FoundGroups, Group, Search, Taken, Total,
};
use crate::store::shared::{Footprint, HEARTBEAT, Shared};
use crate::trace::Tick;
use crate::valkey::{EngineError, PARTITIONS, Step};
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Steps in one message: so many take about 200 µs.
pub(super) const STEPS_MAX: usize = 128;

/// How long a count waits for a round.
const COUNT_PATIENCE: Duration = Duration::from_millis(250);

/// Asks to change the set of keys of one partition, at most [`STEPS_MAX`] at a time.
#[derive(Debug, Message)]
#[rtype(result = "Result<Applied, StoreError>")]
pub(super) struct Apply {
    pub(super) partition: usize,
    pub(super) steps: Vec<Step>,
}

/// What became of an [`Apply`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    /// Steps that changed nothing: a key to add that was there, or one to remove that was not.
    pub(super) idle: usize,
    /// How many keys of the partition the index has now.
    pub(super) keys: usize,
    /// Whether to wait before more is applied.
    pub(super) room: Room,
}

/// Waits for a round that begins after it came.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(in crate::store) struct Round;

/// Says how many keys the share has by its heads.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Synced {
    pub(super) keys: usize,
}

/// Says that a partition is to be read again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::store) struct Suspect {
    pub(in crate::store) partition: usize,
}

/// Asks how many of some keys, from the first on, name something.
#[derive(Debug, Message)]
#[rtype(result = "Result<usize, StoreError>")]
pub(in crate::store) struct CountKnown {
    pub(in crate::store) keys: Vec<Key>,
}

/// Owns the index of one share of the partitions.
#[derive(Debug)]
pub(in crate::store) struct ReplicaActor {
    shard: usize,
    index: KeyIndex,
    /// Keys of each partition in the index.
    keys: Vec<usize>,
    /// Keys of the share by its heads.
    head_keys: usize,
    held: Footprint,
    /// How long a search waits for a round.
    patience: Duration,
    rounds: Rc<Rounds>,
    shared: Arc<Shared>,
}

impl ReplicaActor {
    pub(in crate::store) fn new(
        shard: usize,
        patience: Duration,
        shared: Arc<Shared>,
    ) -> (Self, Rc<Rounds>) {
        let rounds = Rc::new(Rounds::default());
        let mut index = KeyIndex::default();
        index.bound_trees(shared.tree_bytes());
        let actor = Self {
            shard,
            index,
            keys: vec![0; PARTITIONS],
            head_keys: 0,
            held: Footprint::default(),
            patience,
            rounds: rounds.clone(),
            shared,
        };
        (actor, rounds)
    }

    fn apply(&mut self, Apply { partition, steps }: Apply) -> Applied {
        let mut idle = 0;
        for step in steps {
            let has_changed = match step {
                // Values are elsewhere: a slot that is always the same takes no memory.
                Step::Add(key) => {
                    let is_new = self.index.find(&key).is_none();
                    if is_new {
                        self.index.insert(&key, 0);
                        self.keys[partition] += 1;
                    }
                    is_new
                }
                Step::Update(_) => true,
                Step::Remove(key) => {
                    let was_there = self.index.remove(&key).is_some();
                    self.keys[partition] -= usize::from(was_there);
                    was_there
                }
            };
            idle += usize::from(!has_changed);
        }
        Applied {
            idle,
            keys: self.keys[partition],
            room: self.index.room(),
        }
    }

    fn search(&self, search: &Search) -> Found {
        let Search {
            filter,
            after,
            limit,
            total,
        } = search;
        let (page, total) = match total {
            Total::Wanted => self.index.page_and_count(filter, after, *limit),
            Total::Known => (self.index.page(filter, after, *limit), 0),
        };
        Found { page, total }
    }

    fn group(&self, group: &Group) -> FoundGroups {
        let Group {
            grouping,
            after,
            limit,
            total,
        } = group;
        let (page, total) = match total {
            Total::Wanted => self.index.groups_and_count(grouping, after, *limit),
            Total::Known => (self.index.groups(grouping, after, *limit), 0),
        };
        FoundGroups { page, total }
    }

    fn known(&self, keys: &[Key]) -> usize {
        let is_known = |key: &&Key| self.index.find(key.as_bytes()).is_some();
        keys.iter().take_while(is_known).count()
    }

    /// A round that begins now.
    fn round(&self) -> impl Future<Output = Result<(), EngineError>> + use<> {
        let round = tokio::time::timeout(self.patience, self.rounds.join());
        async move {
            match round.await {
                Ok(Ok(synced)) => synced,
                // No round came to an end, or the follower itself has.
                Ok(Err(_)) | Err(_) => Err(EngineError::Behind),
            }
        }
    }

    /// What the first page of a search waits for; those after it go on with what was synced then.
    fn synced(&self, total: Total) -> impl Future<Output = Result<(), EngineError>> + use<> {
        let round = match total {
            Total::Wanted => Some(self.round()),
            Total::Known => None,
        };
        async move {
            match round {
                None => Ok(()),
                Some(round) => round.await,
            }
        }
    }

    fn guard<T>(&mut self, handler: impl FnOnce(&mut Self) -> T) -> Result<T, StoreError> {
        let caught = catch_unwind(AssertUnwindSafe(|| handler(self)));
        caught.map_err(|_| StoreError::Panicked)
    }

    fn changed(&mut self, context: &mut Context<Self>) {
        self.recount();
        self.hand_out_jobs(context);
    }

    /// Counts what the index takes after a change.
    fn recount(&mut self) {
        let now = Footprint {
            bytes: self.index.heap_bytes(),
            merging_bytes: self.index.merging_bytes(),
            reclaimable_bytes: 0,
            upcoming: self.index.upcoming(),
        };
        self.shared.recount(&mut self.held, now);
    }

    /// Hands out the jobs that there is room for, one after the other, so that each counts for the next. Most often there
    /// is none, and then it waits for no other shard.
    fn hand_out_jobs(&mut self, context: &mut Context<Self>) {
        while self.index.may_have_job() && self.index.wants_job(self.shared.merge_room()) {
            let shared = self.shared.clone();
            let beginning = shared.begin_jobs();
            let Some(job) = self.index.next_job_within(shared.merge_room()) else {
                break;
            };
            self.recount();
            drop(beginning);
            shared.merger.run(job, context.address().recipient());
        }
    }
}

impl Actor for ReplicaActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.beat(self.shard);
        context.run_interval(HEARTBEAT, |replica, context| {
            replica.shared.beat(replica.shard);
            // There may be room now that another share gave back.
            if replica.index.look_again() {
                replica.hand_out_jobs(context);
            }
        });
    }
}

/// No key is lost with it, since the engine has them all; without its index the server is of no use
/// all the same.
impl Drop for ReplicaActor {
    fn drop(&mut self) {
        self.shared.end(self.shard);
    }
}

impl Handler<Admitted<Search>> for ReplicaActor {
    type Result = ResponseActFuture<Self, Taken<Result<Found, StoreError>>>;

    fn handle(&mut self, message: Admitted<Search>, _: &mut Self::Context) -> Self::Result {
        let at = Tick::now();
        let synced = self.synced(message.message.total).into_actor(self);
        Box::pin(synced.map(move |synced, replica, context| {
            let found = match synced {
                Ok(()) => {
                    let found = replica.guard(|replica| replica.search(&message.message));
                    // A search that met many deleted keys asks for a merge.
                    replica.hand_out_jobs(context);
                    found
                }
                Err(error) => Err(error.into()),
            };
            Taken { answer: found, at }
        }))
    }
}

impl Handler<Admitted<Group>> for ReplicaActor {
    type Result = ResponseActFuture<Self, Taken<Result<FoundGroups, StoreError>>>;

    fn handle(&mut self, message: Admitted<Group>, _: &mut Self::Context) -> Self::Result {
        let at = Tick::now();
        let synced = self.synced(message.message.total).into_actor(self);
        Box::pin(synced.map(move |synced, replica, context| {
            let found = match synced {
                Ok(()) => {
                    let found = replica.guard(|replica| replica.group(&message.message));
                    replica.hand_out_jobs(context);
                    found
                }
                Err(error) => Err(error.into()),
            };
            Taken { answer: found, at }
        }))
    }
}

/// The number of keys is that of a round now, or the last one known where none ends in time.
impl Handler<Count> for ReplicaActor {
    type Result = ResponseActFuture<Self, Result<Counted, StoreError>>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let round = tokio::time::timeout(COUNT_PATIENCE, self.rounds.join());
        Box::pin(round.into_actor(self).map(|_, replica, _| {
            replica.guard(|replica| Counted {
                keys: replica.head_keys,
                index: replica.index.stats(),
                ending: 0,
                expired: replica.rounds.lapsed.get(),
                expiry_lag: replica.rounds.lag.get(),
            })
        }))
    }
}

impl Handler<Apply> for ReplicaActor {
    type Result = Result<Applied, StoreError>;

    fn handle(&mut self, message: Apply, context: &mut Self::Context) -> Self::Result {
        let applied = self.guard(|replica| replica.apply(message));
        self.changed(context);
        applied
    }
}

impl Handler<Synced> for ReplicaActor {
    type Result = ();

    fn handle(&mut self, Synced { keys }: Synced, _: &mut Self::Context) {
        self.head_keys = keys;
    }
}

impl Handler<Suspect> for ReplicaActor {
    type Result = ();

    fn handle(&mut self, Suspect { partition }: Suspect, _: &mut Self::Context) {
        self.rounds.suspect(partition);
    }
}

/// Another server, or we ourselves, may have made a key that is not in the index yet.
impl Handler<CountKnown> for ReplicaActor {
    type Result = ResponseActFuture<Self, Result<usize, StoreError>>;

    fn handle(&mut self, CountKnown { keys }: CountKnown, _: &mut Self::Context) -> Self::Result {
        match self.guard(|replica| replica.known(&keys)) {
            Ok(known) if known < keys.len() => {
                let round = self.round().into_actor(self);
                Box::pin(round.map(move |synced, replica, _| {
                    synced?;
                    replica.guard(|replica| replica.known(&keys))
                }))
            }
            known => Box::pin(std::future::ready(known).into_actor(self)),
        }
    }
}

impl Handler<Round> for ReplicaActor {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    fn handle(&mut self, Round: Round, _: &mut Self::Context) -> Self::Result {
        let round = self.round().into_actor(self);
        Box::pin(round.map(|synced, _, _| synced.map_err(StoreError::from)))
    }
}

impl Handler<JobDone> for ReplicaActor {
    type Result = ();

    fn handle(&mut self, JobDone(outcome): JobDone, context: &mut Self::Context) {
        let merger = &self.shared.merger;
        merger.end(outcome, context.address().recipient(), |outcome| {
            self.index.finish(outcome)
        });
        if self.index.is_broken() {
            abort(BROKEN);
        }
        self.changed(context);
        self.rounds.room.notify_one();
    }
}
